"""The range of good rates against one that is measured point by point."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from made_searches import LR, lr_trials

from nnopt.compare.search.sensitivity import Sensitivity, sensitivity
from nnopt.compare.search.trial import Trial

PAIRS = st.lists(
    st.tuples(st.floats(-5, 0).map(lambda power: float(10**power)), st.one_of(st.none(), st.floats(0.1, 1))),
    min_size=3,
    max_size=12,
    unique_by=lambda pair: round(math.log10(pair[0]), 2),
)


def measured(found: Sensitivity, higher_is_better: bool) -> tuple[float, float]:
    """The range by small steps from the best along the line, its diverged points infinitely bad."""
    logs = np.log([point.rate for point in found.curve])
    bad = -math.inf if higher_is_better else math.inf
    values = np.array([bad if point.value is None else point.value for point in found.curve])
    ends = []
    for outward in (-1, 1):
        at = math.log(found.best.rate)
        step = 5e-4 * outward
        while logs[0] <= at + step <= logs[-1]:
            place = min(int(np.searchsorted(logs, at + step)), len(logs) - 1)
            left, right = values[max(place - 1, 0)], values[place]
            if math.isinf(left) or math.isinf(right):
                break
            value = np.interp(at + step, logs, values)
            if value < found.threshold if higher_is_better else value > found.threshold:
                break
            at += step
        ends.append(math.exp(at))
    return ends[0], ends[1]


@given(PAIRS, st.booleans(), st.booleans())
def test_the_range_is_what_steps_along_the_line_find(
    pairs: list[tuple[float, float | None]], higher_is_better: bool, is_alone: bool
) -> None:
    assume(sum(value is not None for _, value in pairs) >= 3)
    found = sensitivity(lr_trials(pairs), LR, is_alone, higher_is_better)
    assert found is not None
    assert found.is_envelope is not is_alone
    best = (max if higher_is_better else min)(value for _, value in pairs if value is not None)
    assert found.best.value == best
    assert found.threshold == pytest.approx(best * (0.99 if higher_is_better else 1.01))
    low, high = measured(found, higher_is_better)
    assert found.low == pytest.approx(low, rel=2e-3)
    assert found.high == pytest.approx(high, rel=2e-3)
    assert found.low <= found.best.rate <= found.high
    assert found.decades >= 0
    if found.low_is_open:
        assert found.low == found.curve[0].rate
    if found.high_is_open:
        assert found.high == found.curve[-1].rate


def test_a_line_of_one_slope_is_crossed_where_it_is_one_per_cent_down() -> None:
    # In log10 of the rate the value falls by 0.1 a decade from 1 at 0.01: 1 % down is a tenth of a decade away.
    found = sensitivity(lr_trials([(1e-3, 0.9), (1e-2, 1.0), (1e-1, 0.9)]), LR, True, True)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(10**-2.1), pytest.approx(10**-1.9))
    assert found.decades == pytest.approx(0.2)
    assert not found.is_open
    assert found.sentence() == "within 1 % of the best for optimizer.lr 0.00794 to 0.0126, 0.20 decades"


def test_what_was_not_tried_leaves_the_end_open() -> None:
    found = sensitivity(lr_trials([(1e-3, 0.5), (1e-2, 0.999), (1e-1, 1.0)]), LR, True, True)
    assert found is not None
    assert (found.low_is_open, found.high_is_open) == (False, True)
    assert found.high == 0.1
    assert "at least 1." in found.sentence()
    assert found.sentence().endswith("(its upper end was not found)")
    flat = sensitivity(lr_trials([(1e-3, 1.0), (1e-2, 1.0), (1e-1, 1.0)]), LR, True, True)
    assert flat is not None
    assert flat.sentence().endswith("0.001 to 0.1, at least 2.00 decades (neither end was found)")


def test_a_trial_that_diverged_ends_the_range() -> None:
    found = sensitivity(lr_trials([(1e-3, 0.9), (1e-2, 1.0), (2e-2, 1.0), (1e-1, None), (1.0, 1.0)]), LR, True, True)
    assert found is not None
    assert (found.high, found.high_is_open) == (2e-2, False)
    assert [point.value for point in found.points] == [0.9, 1.0, 1.0, None, 1.0]


def test_the_envelope_is_the_best_of_each_quarter_decade() -> None:
    pairs = [(1.1e-3, 0.2), (1.2e-3, 0.8), (1.3e-3, None), (2.1e-3, None), (2e-2, 0.7), (5.6e-2, 0.9), (3e-2, 0.6)]
    found = sensitivity(lr_trials(pairs), LR, False, True)
    assert found is not None
    assert [(point.rate, point.value) for point in found.curve] == [
        (1.2e-3, 0.8),
        (2.1e-3, None),
        (2e-2, 0.7),
        (5.6e-2, 0.9),
    ]
    assert len(found.points) == 7


def test_trials_that_were_cut_short_and_other_kinds_say_nothing() -> None:
    trials = [
        *lr_trials([(1e-3, 0.9), (1e-2, 1.0), (1e-1, 0.9)]),
        Trial(3, {LR: 5e-2}, "pruned"),
        Trial(4, {LR: 6e-2}, "failed"),
        Trial(5, {"optimizer.kind": "lbfgs"}, "done", 2.0),
    ]
    assert sensitivity(trials, LR, True, True) == sensitivity(trials[:3], LR, True, True)


def test_fewer_than_three_rates_draw_no_line() -> None:
    assert sensitivity(lr_trials([(0.1, 1.0), (0.1, 2.0), (0.2, 3.0), (0.3, None)]), LR, True, True) is None
    assert sensitivity([], LR, True, True) is None
