from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare_runs import make_run, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.compare.curves import Aligned, align
from nnopt.compare.series import series
from nnopt.errors import RunsFolderError

STEPS = st.lists(st.integers(min_value=1, max_value=12), unique=True, min_size=1).map(sorted)


def aligned(curves: list[dict[int, float]]) -> Aligned:
    """The curves (step -> value) of runs whose step took a tenth of a second."""
    with tempfile.TemporaryDirectory() as top:
        records = []
        for seed, curve in enumerate(curves):
            record = make_run(Path(top), "sgd", seed, [])
            seconds = [step / 10 for step in curve]
            columns = {"step": list(curve), "train_seconds": seconds, "val_accuracy": list(curve.values())}
            write_csv(record.folder / "metrics.csv", columns)
            record.curve()
            records.append(record)
        return align(records, "val_accuracy")


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=4), st.integers(0, 1000))
def test_mean_sd_and_count_are_those_of_an_outer_join(steps: list[list[int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    curves = [{step: float(random.normal()) for step in run} for run in steps]
    found = aligned(curves)
    table = pd.concat([pd.Series(curve) for curve in curves], axis=1).sort_index()
    np.testing.assert_array_equal(found.steps, table.index)
    np.testing.assert_array_equal(found.count, table.count(axis=1))
    np.testing.assert_allclose(found.mean, table.mean(axis=1), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.sd, table.std(axis=1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.mean_seconds, table.index.to_numpy() / 10)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=4))
def test_a_piece_of_the_mean_has_the_same_runs_throughout_and_misses_none_under_way(
    steps: list[list[int]],
) -> None:
    found = aligned([dict.fromkeys(run, 1.0) for run in steps])
    for piece in found.segments():
        for place in piece:
            step = found.steps[place]
            under_way = {run for run, its in enumerate(steps) if its[0] <= step <= its[-1]}
            assert set(np.flatnonzero(found.present[:, place])) == under_way
        assert (found.present[:, piece] == found.present[:, piece[:1]]).all()


def test_a_mean_ends_where_a_run_does() -> None:
    found = aligned([{1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0}, {1: 1.0, 2: 1.0}])
    assert [found.steps[piece].tolist() for piece in found.segments()] == [[1, 2], [3, 4]]
    assert found.mean.tolist() == [0.5, 0.5, 0, 0]
    assert np.isnan(found.values[1, 2:]).all()


@pytest.mark.parametrize("missing", [None, "nan", "inf"])
def test_a_missing_value_is_not_made_up_and_holds_no_mean(tmp_path: Path, missing: float | str | None) -> None:
    """Runs of 10 to 50 and 10 to 40 steps; the first has no value at 20. Its own curve goes on from 10 to 30."""
    gap = make_run(tmp_path, "sgd", 0, [0.0, missing, 0.2, 0.3, 0.4])
    found = align([gap, make_run(tmp_path, "sgd", 1, [1.0, 1.0, 1.0, 1.0])], "val_accuracy")
    assert found.steps.tolist() == [10, 20, 30, 40, 50]
    assert np.isnan(found.values).tolist() == [[False, True, False, False, False], [False, False, False, False, True]]
    assert (found.values[0, 2], found.seconds[0, 2]) == (0.2, pytest.approx(0.3))
    assert found.common.tolist() == [0, 2, 3, 4]  # at 20 one run alone would bend the mean
    assert [found.steps[piece].tolist() for piece in found.segments()] == [[10, 30, 40], [50]]
    assert found.mean[found.common].tolist() == pytest.approx([0.5, 0.6, 0.65, 0.4])


def test_steps_that_only_some_runs_share_are_the_common_ones(tmp_path: Path) -> None:
    """Every ten against every fifteen steps: only at 30 and 60 was each that is under way evaluated."""
    records = [
        make_run(tmp_path, "sgd", seed, [0.1] * (60 // every), every=every) for seed, every in ((0, 10), (1, 15))
    ]
    found = align(records, "val_accuracy")
    assert found.steps.tolist() == [10, 15, 20, 30, 40, 45, 50, 60]
    assert found.steps[found.common].tolist() == [10, 30, 60]  # at 10 the other has not begun
    assert found.count.tolist() == [1, 1, 1, 2, 1, 1, 1, 2]
    assert not found.has_common_steps


def test_runs_evaluated_at_other_steps_have_no_common_mean() -> None:
    apart = aligned([dict.fromkeys(range(1, 20, 2), 0.0), dict.fromkeys(range(2, 21, 2), 1.0)])
    assert not apart.has_common_steps
    assert not aligned([{7: 0.0, 14: 0.0, 21: 0.0}, {9: 0.0, 18: 0.0, 27: 0.0}]).has_common_steps
    assert aligned([{1: 0.0, 2: 0.0}, {1: 1.0, 2: 1.0}]).has_common_steps
    assert aligned([{1: 0.0, 2: 0.0}, dict.fromkeys(range(1, 20), 1.0)]).has_common_steps
    assert aligned([{1: 0.0, 2: 0.0}]).has_common_steps


def test_without_values_there_is_nothing(tmp_path: Path) -> None:
    nothing = align([make_run(tmp_path, "sgd", 0, [None, "nan"])], "val_accuracy")
    assert (nothing.values.shape, list(nothing.segments())) == ((0, 0), [])
    assert not nothing.has_common_steps


def test_a_table_without_steps_is_damaged(tmp_path: Path) -> None:
    record = make_run(tmp_path, "sgd", 0, [0.5])
    write_csv(record.folder / "metrics.csv", {"train_seconds": [1.0], "val_accuracy": [0.5]})
    with pytest.raises(RunsFolderError, match="lacks values of step or train_seconds"):
        series(record, "val_accuracy")
