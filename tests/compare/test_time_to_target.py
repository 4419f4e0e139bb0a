from __future__ import annotations

import math
from pathlib import Path

import pytest
from compare_runs import Cell, in_memory, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.compare.groups import Group, group_runs
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.statistics.survival import Times
from nnopt.compare.target import AXES, AxisTime, Target, TimeToTarget, time_to_target
from nnopt.store.record import RunRecord

GOAL = Target("val_accuracy", 0.8)
EXAMPLES = settings(max_examples=60, derandomize=True)


def group_of(records: list[RunRecord]) -> Group:
    groups, _ = group_runs(records)
    (group,) = groups
    return group


def measured(records: list[RunRecord], target: Target | None = GOAL, interpolate: bool = False) -> TimeToTarget:
    found = time_to_target(group_of(records), target, interpolate)
    assert found is not None
    return found


def steps_of(top: Path, values: list[Cell], *, interpolate: bool = False, **changes: object) -> Times:
    """On the axis of steps, of a single run."""
    record = make_run(top, "sgd", 0, values, **changes)  # type: ignore[arg-type]
    target = GOAL if "metric" not in changes else Target(str(changes["metric"]), 0.8)
    return measured([record], target, interpolate).axes["steps"].times


class TestMoments:
    def test_lie_between_two_evaluations(self, tmp_path: Path) -> None:
        times = steps_of(tmp_path, [0.2, 0.7, 0.85, 0.9])
        assert times == Times(seeds=(0,), low=(20,), high=(30,), reached=(True,), end=(40,))

    def test_are_given_on_every_axis(self, tmp_path: Path) -> None:
        record = make_run(
            tmp_path, "sgd", 0, [0.2, 0.7, 0.8], columns={"gradient_evaluations": [11, 21, 31]}, seconds_per_step=0.5
        )
        found = measured([record])
        assert list(found.axes) == list(AXES)
        assert (found.steps, found.samples, found.gradient_evaluations, found.seconds) == (30, 960, 31, 15)
        grids = {axis: (one.grid.low, one.grid.high) for axis, one in found.axes.items() if one.grid}
        assert grids == {
            "steps": (20, 30),
            "samples": (640, 960),
            "gradient_evaluations": (21, 31),
            "seconds": (10, 15),
        }

    def test_at_the_first_evaluation_begin_at_the_start(self, tmp_path: Path) -> None:
        times = steps_of(tmp_path, [0.9, 0.1])
        assert (times.low, times.high) == ((0,), (10,))

    def test_end_at_a_budget_in_seconds_which_the_last_step_oversteps(self, tmp_path: Path) -> None:
        """Two of five got there, one of them in the step that ends the run: that is not half of them."""
        ends = [6.001, 5.7, 6.0075, 6.002, 6.003]
        records = [
            make_run(
                tmp_path,
                "sgd",
                seed,
                [0.2, 0.8 if seed in (1, 2) else 0.3],
                columns={"train_seconds": [3.0, end]},
                spec={"budget": {"seconds": 6.0}},
            )
            for seed, end in enumerate(ends)
        ]
        found = measured(records)
        times = found.axes["seconds"].times
        assert (found.reached, found.seconds) == (2, None)
        assert (times.high, times.end) == ((6.0, 5.7, 6.0, 6.0, 6.0), (6.0, 5.7, 6.0, 6.0, 6.0))

    def test_before_training_are_known(self, tmp_path: Path) -> None:
        columns: dict[str, list[Cell]] = {name: [0, 10] for name in AXES.values()}
        found = measured([make_run(tmp_path, "sgd", 0, [0.9, 0.9], columns=columns)])
        assert {(one.times.low, one.times.high) for one in found.axes.values()} == {((0,), (0,))}
        assert found.steps == 0

    def test_count_once_where_the_metric_goes_up_and_down(self, tmp_path: Path) -> None:
        times = steps_of(tmp_path, [0.2, 0.8, 0.3, 0.2, 0.9, 0.1])
        assert (times.low, times.high) == ((10,), (20,))

    @pytest.mark.parametrize("missing", [None, "nan", "inf"])
    def test_have_a_wider_grid_where_a_value_is_missing(self, tmp_path: Path, missing: Cell) -> None:
        times = steps_of(tmp_path, [0.2, missing, missing, 0.8])
        assert (times.low, times.high, times.end) == ((10,), (40,), (40,))

    def test_after_missing_values_only_begin_at_the_start(self, tmp_path: Path) -> None:
        times = steps_of(tmp_path, [None, None, 0.8])
        assert (times.low, times.high) == ((0,), (30,))

    def test_never_reached_are_censored_at_the_last_evaluation_with_a_value(self, tmp_path: Path) -> None:
        times = steps_of(tmp_path, [0.2, 0.3, 0.4, None])
        assert times == Times(seeds=(0,), low=(30,), high=(30,), reached=(False,), end=(30,))

    def test_of_a_loss_come_from_above(self, tmp_path: Path) -> None:
        times = steps_of(tmp_path, [2.0, 0.9, 0.8, 0.1], metric="val_loss")
        assert (times.low, times.high) == ((20,), (30,))

    def test_lie_on_the_line_between_two_evaluations_only_if_asked(self, tmp_path: Path) -> None:
        """From 0.5 at step 20 to 0.9 at step 30: 0.8 at three quarters of the way."""
        record = make_run(tmp_path, "sgd", 0, [0.2, 0.5, 0.9])
        found = measured([record], interpolate=True)
        assert found.interpolated
        assert (found.steps, found.seconds) == (pytest.approx(27.5), pytest.approx(0.275))
        times = found.axes["steps"].times
        assert times.low == times.high
        assert times.end == (30,)
        assert not measured([record]).interpolated

    def test_at_the_first_evaluation_cannot_be_interpolated(self, tmp_path: Path) -> None:
        times = steps_of(tmp_path, [0.9, 0.95], interpolate=True)
        assert (times.low, times.high) == ((0,), (10,))

    @EXAMPLES
    @given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=8), st.booleans())
    def test_are_the_first_in_a_slow_search(self, values: list[float | None], interpolate: bool) -> None:
        found = measured([in_memory("sgd", 0, values)], interpolate=interpolate)  # type: ignore[arg-type]
        known = [(10.0 * (row + 1), value) for row, value in enumerate(values) if value is not None]
        if not known:
            assert (found.runs, found.without, found.axes) == (0, (0,), {})
            return
        times = found.axes["steps"].times
        before = [(step, value) for step, value in known if not any(v >= 0.8 for s, v in known if s <= step)]
        assert times.reached == (len(before) < len(known),)
        if not times.reached[0]:
            assert times.low == times.high == times.end == (known[-1][0],)
            return
        low, high = before[-1][0] if before else 0.0, known[len(before)][0]
        if interpolate and before:
            assert times.low == times.high
            assert low <= times.low[0] <= high
        else:
            assert (times.low, times.high) == ((low,), (high,))


class TestGroups:
    def test_count_those_that_diverged_as_never_there(self, tmp_path: Path) -> None:
        records = [
            make_run(tmp_path, "sgd", 0, [0.9], status="diverged"),
            make_run(tmp_path, "sgd", 1, [0.1, 0.9]),
            make_run(tmp_path, "sgd", 2, [], status="diverged"),
            make_run(tmp_path, "sgd", 3, [0.1, 0.2, 0.9]),
        ]
        found = measured(records)
        assert (found.reached, found.runs, found.without) == (2, 4, ())
        assert found.axes["steps"].times == Times(
            seeds=(0, 1, 2, 3),
            low=(math.inf, 10, math.inf, 20),
            high=(math.inf, 20, math.inf, 30),
            reached=(False, True, False, True),
            end=(math.inf, 20, math.inf, 30),
        )
        assert (found.steps, found.axes["steps"].grid) == (30, Interval(20, 30))

    def test_that_all_diverged_have_times_on_every_axis(self, tmp_path: Path) -> None:
        found = measured([make_run(tmp_path, "sgd", seed, [], status="diverged") for seed in range(3)])
        assert (found.reached, found.runs, found.steps) == (0, 3, None)
        assert {one.times.high for one in found.axes.values()} == {(math.inf,) * 3}

    @pytest.mark.parametrize("status", ["failed", "interrupted", "running", "pruned"])
    def test_leave_out_runs_that_have_not_ended(self, tmp_path: Path, status: str) -> None:
        records = [make_run(tmp_path, "sgd", 0, [0.1, 0.9]), make_run(tmp_path, "sgd", 1, [0.9], status=status)]
        found = measured(records)
        assert (found.reached, found.runs, found.without, found.steps) == (1, 1, (), 20)

    def test_name_the_seeds_that_have_no_value_of_the_metric(self, tmp_path: Path) -> None:
        records = [
            make_run(tmp_path, "sgd", 0, [0.1, 0.9]),
            make_run(tmp_path, "sgd", 1, [0.1, 0.9], metric="val_f1_macro"),
            make_run(tmp_path, "sgd", 2, [None, "nan"]),
        ]
        found = measured(records)
        assert (found.reached, found.runs, found.without) == (1, 1, (1, 2))

    def test_without_any_run_have_no_axes(self, tmp_path: Path) -> None:
        found = measured([make_run(tmp_path, "sgd", 0, [0.9], status="failed")])
        assert (found.reached, found.runs, found.axes, found.steps) == (0, 0, {}, None)
        assert found.success == Interval(0, 1)

    def test_have_only_the_axes_that_every_run_recorded(self, tmp_path: Path) -> None:
        records = [
            make_run(tmp_path, "sgd", 0, [0.1, 0.9]),
            make_run(tmp_path, "sgd", 1, [0.1, 0.9], columns={"gradient_evaluations": [None, None]}),
            make_run(tmp_path, "sgd", 2, [], status="diverged"),
        ]
        found = measured(records)
        assert list(found.axes) == ["steps", "samples", "seconds"]
        assert found.gradient_evaluations is None

    def test_give_the_success_rate_of_clopper_and_pearson(self, tmp_path: Path) -> None:
        """The usual example: 7 of 10 lie in 0.348 to 0.933."""
        found = measured([make_run(tmp_path, "sgd", seed, [0.9 if seed < 7 else 0.1]) for seed in range(10)])
        assert found.success.low == pytest.approx(0.3475, abs=1e-4)
        assert found.success.high == pytest.approx(0.9333, abs=1e-4)

    def test_have_no_median_where_fewer_than_half_got_there(self, tmp_path: Path) -> None:
        records = [make_run(tmp_path, "sgd", seed, [0.1, 0.9 if seed == 0 else 0.1]) for seed in range(3)]
        axis = measured(records).axes["steps"]
        assert (axis.median, axis.grid) == (None, None)
        assert axis.times.reached == (True, False, False)

    def test_use_the_runs_own_target_where_none_is_asked(self, tmp_path: Path) -> None:
        own = {"metric": "train_loss", "value": 0.7, "reached": True, "step": 30}
        record = make_run(tmp_path, "sgd", 0, [0.1, 0.2, 0.3], target=own)  # train_loss: 2, 1, 0.67
        found = measured([record], None)
        assert (found.target, found.steps) == (Target("train_loss", 0.7), own["step"])
        assert time_to_target(group_of([make_run(tmp_path, "adam", 0, [0.9])]), None) is None

    def test_whose_own_metric_was_never_recorded_have_no_value(self, tmp_path: Path) -> None:
        own = {"metric": "val_f1_macro", "value": 0.7, "reached": False}
        found = measured([make_run(tmp_path, "sgd", seed, [0.9], target=own) for seed in range(2)], None)
        assert (found.runs, found.without, found.axes) == (0, (0, 1), {})

    def test_of_unequal_length_hold_both_medians_in_the_grid(self, tmp_path: Path) -> None:
        """Two runs end at step 25, between the evaluations of the third: at 30 it is alone, at 20 it is not."""
        short = {"every": 25, "metric": "val_accuracy"}
        records = [make_run(tmp_path, "sgd", seed, [0.1], **short) for seed in (0, 1)]  # type: ignore[arg-type]
        axis = measured([*records, make_run(tmp_path, "sgd", 2, [0.1, 0.1, 0.9])]).axes["steps"]
        assert axis.median == 30
        assert axis.grid == Interval(30, math.inf)


def as_axis(found: TimeToTarget) -> AxisTime:
    return found.axes["steps"]


@EXAMPLES
@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=1, max_size=5), st.booleans())
def test_the_median_lies_in_its_grid_and_a_lost_run_never_makes_it_earlier(
    curves: list[list[float]], interpolate: bool
) -> None:
    longest = max(map(len, curves))
    curves = [[*curve, *[curve[-1]] * (longest - len(curve))] for curve in curves]  # one budget
    records = [in_memory("sgd", seed, curve) for seed, curve in enumerate(curves)]
    axis = as_axis(measured(records, interpolate=interpolate))
    if axis.median is not None:
        assert axis.grid is not None
        assert axis.grid.low <= axis.median == axis.grid.high
    lost = in_memory("sgd", 0, curves[0], status="diverged")
    after = as_axis(measured([lost, *records[1:]], interpolate=interpolate))
    assert (math.inf if after.median is None else after.median) >= (math.inf if axis.median is None else axis.median)


@EXAMPLES
@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=1, max_size=5))
def test_evaluating_half_as_often_never_gives_an_earlier_moment(curves: list[list[float]]) -> None:
    fine = [in_memory("sgd", seed, [v for value in curve for v in (value, value)]) for seed, curve in enumerate(curves)]
    coarse = [in_memory("sgd", seed, curve, every=20) for seed, curve in enumerate(curves)]
    one, two = (as_axis(measured(records)).times for records in (fine, coarse))
    assert one.reached == two.reached
    for low, high, wide_low, wide_high in zip(one.low, one.high, two.low, two.high, strict=True):
        assert wide_low <= low
        assert high <= wide_high
