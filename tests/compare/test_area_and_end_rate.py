from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compare_runs import Cell, in_memory, make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nnopt.compare.area import areas
from nnopt.compare.end_rate import end_rate, exchange
from nnopt.compare.groups import Group, group_runs

EXAMPLES = settings(max_examples=60, derandomize=True)
METRIC = "val_accuracy"


def run(top: Path, variant: str, seed: int, values: list[Cell], steps: list[int] | None = None) -> Group:
    """A group of one run, evaluated at these steps (else every ten)."""
    columns: dict[str, list[Cell]] = {"step": list(steps)} if steps else {}
    groups, _ = group_runs([make_run(top, variant, seed, values, columns=columns)])
    return groups[0]


class TestAreas:
    def test_are_the_mean_level_by_trapezoids(self, tmp_path: Path) -> None:
        """0 to 1 over ten steps, then 1 over ten: (5 + 10) / 20."""
        found, span = areas([run(tmp_path, "sgd", 0, [0.0, 1.0, 1.0])], METRIC)
        assert (found, span) == ({"sgd": [0.75]}, (10, 30))

    def test_compare_unequal_lengths_over_the_steps_in_common(self, tmp_path: Path) -> None:
        """From the latest first (20) to the earliest last evaluation (40), on the runs' own lines."""
        groups = [
            run(tmp_path, "short", 0, [0.0, 0.2, 0.4, 0.6]),
            run(tmp_path, "long", 0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [20, 30, 40, 50, 60, 70]),
        ]
        found, span = areas(groups, METRIC)
        assert span == (20, 40)
        assert found == {"short": [pytest.approx(0.4)], "long": [pytest.approx(0.2)]}

    def test_follow_a_runs_own_line_to_the_ends_of_the_span(self, tmp_path: Path) -> None:
        """The rarer run has no evaluation between 15 and 25: its line from 0 at 10 to 1 at 30 runs through them."""
        groups = [
            run(tmp_path, "often", 0, [0.5, 0.5, 0.5], [15, 20, 25]),
            run(tmp_path, "rarely", 0, [0.0, 1.0], [10, 30]),
        ]
        found, span = areas(groups, METRIC)
        assert span == (15, 25)
        assert found == {"often": [0.5], "rarely": [pytest.approx(0.5)]}

    def test_draw_the_line_past_a_missing_value(self, tmp_path: Path) -> None:
        found, _ = areas([run(tmp_path, "sgd", 0, [0.0, None, "nan", 0.9])], METRIC)
        assert found == {"sgd": [pytest.approx(0.45)]}

    def test_leave_out_a_run_with_fewer_than_two_values(self, tmp_path: Path) -> None:
        groups = [
            run(tmp_path, "sgd", 0, [0.0, 1.0]),
            run(tmp_path, "once", 0, [0.7], [15]),
            run(tmp_path, "never", 0, [None, None]),
        ]
        assert areas(groups, METRIC) == ({"sgd": [0.5], "once": [None], "never": [None]}, (10, 20))

    def test_have_none_where_runs_share_no_steps(self, tmp_path: Path) -> None:
        groups = [run(tmp_path, "early", 0, [0.1, 0.2], [1, 5]), run(tmp_path, "late", 0, [0.1, 0.2], [5, 9])]
        assert areas(groups, METRIC) == ({"early": [None], "late": [None]}, None)
        assert areas([], METRIC) == ({}, None)

    def test_are_those_of_the_runs_that_are_done_in_order(self, tmp_path: Path) -> None:
        records = [
            make_run(tmp_path, "sgd", seed, [seed / 10] * 3, status="diverged" if seed == 1 else "done")
            for seed in range(3)
        ]
        groups, _ = group_runs(records)
        assert areas(groups, METRIC)[0] == {"sgd": [0.0, pytest.approx(0.2)]}

    @EXAMPLES
    @given(st.lists(st.lists(st.floats(-5, 5), min_size=2, max_size=7), min_size=1, max_size=4), st.integers(0, 99))
    def test_are_those_of_a_line_looked_at_very_often(self, curves: list[list[float]], seed: int) -> None:
        generator = np.random.default_rng(seed)
        groups, steps = [], []
        for number, values in enumerate(curves):
            record = in_memory(f"v{number}", 0, values)
            steps.append(np.sort(generator.choice(np.arange(1.0, 40), size=len(values), replace=False)))
            record.curve()["step"] = steps[-1].tolist()  # type: ignore[index]
            groups += group_runs([record])[0]
        found, span = areas(groups, METRIC)
        low, high = max(own[0] for own in steps), min(own[-1] for own in steps)
        assert span == ((low, high) if low < high else None)
        if span:
            middles = np.linspace(low, high, 20_001)[:-1] + (high - low) / 40_000
            for number, values in enumerate(curves):
                (level,) = found[f"v{number}"]
                assert level == pytest.approx(np.interp(middles, steps[number], values).mean(), abs=1e-3)
                assert min(values) - 1e-9 <= level <= max(values) + 1e-9


class TestEndRate:
    def test_is_the_slope_through_the_last_fifth_of_the_evaluations(self) -> None:
        """Twenty evaluations every ten steps; the last four fall by 0.01 each."""
        values = [1.0] * 16 + [0.5, 0.49, 0.48, 0.47]
        assert end_rate(in_memory("sgd", 0, values), METRIC) == pytest.approx(-0.1)

    def test_takes_three_evaluations_at_least(self) -> None:
        assert end_rate(in_memory("sgd", 0, [9.0, 9.0, 0.0, 0.1, 0.2]), METRIC) == pytest.approx(1.0)
        assert end_rate(in_memory("sgd", 0, [0.1, 0.2]), METRIC) is None
        assert end_rate(in_memory("sgd", 0, []), METRIC) is None

    def test_passes_over_missing_values(self, tmp_path: Path) -> None:
        record = make_run(tmp_path, "sgd", 0, [0.0, 0.1, None, "nan", 0.4])
        assert end_rate(record, METRIC) == pytest.approx(1.0)
        assert end_rate(make_run(tmp_path, "adam", 0, [0.0, None, None, 0.4]), METRIC) is None

    def test_has_none_at_a_single_step(self, tmp_path: Path) -> None:
        record = make_run(tmp_path, "sgd", 0, [0.1, 0.2, 0.3], columns={"step": [5, 5, 5]})
        assert end_rate(record, METRIC) is None

    def test_of_another_metric_is_absent(self) -> None:
        assert end_rate(in_memory("sgd", 0, [0.1] * 5), "val_f1_macro") is None

    @EXAMPLES
    @given(st.lists(st.floats(-100, 100), min_size=3, max_size=30))
    def test_is_that_of_scipys_regression(self, values: list[float]) -> None:
        count = next(count for count in range(3, 31) if 5 * count >= len(values))
        steps = 10.0 * np.arange(1, len(values) + 1)
        slope = stats.linregress(steps[-count:], values[-count:]).slope
        assert end_rate(in_memory("sgd", 0, values), METRIC) == pytest.approx(100 * slope, abs=1e-7)


@pytest.mark.parametrize(
    ("difference", "rate", "steps"),
    [
        (-0.02, -0.004, 500),  # a loss 0.02 lower, which falls by 0.004 in a hundred steps
        (0.01, 0.02, 50),
        (0.0, -0.004, 0),
        (0.0, 0.004, 0),
        (0.02, -0.004, None),  # the rate leads away
        (-0.02, 0.004, None),
        (0.02, 0.0, None),
        (0.0, 0.0, None),
        (float("inf"), 0.1, None),
        (float("nan"), 0.1, None),
    ],
)
def test_exchange_is_the_steps_that_a_difference_is_worth(difference: float, rate: float, steps: float | None) -> None:
    found = exchange(difference, rate)
    assert found == (None if steps is None else pytest.approx(steps))
    assert str(found) != "-0.0"
