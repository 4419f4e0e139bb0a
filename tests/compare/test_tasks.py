"""Several experiments together: who takes part, what is computed, what is said of it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
from compare_runs import make_run
from rich.console import Console

from nnopt.compare.groups import Group, group_runs
from nnopt.compare.measures import column_measure
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.tables.tasks import across_json, across_markdown, render_across
from nnopt.compare.target import Target, time_to_target
from nnopt.compare.tasks.across import AcrossTasks, across_tasks, is_across_tasks
from nnopt.compare.tasks.scores import Task, scores
from nnopt.store.record import RunRecord

GOAL = 0.5


def runs_of(
    top: Path,
    task: str,
    first: Mapping[str, Sequence[int | None]],
    *,
    metric: str = "val_accuracy",
    spec: Mapping[str, Any] | None = None,
    **more: Any,
) -> list[RunRecord]:
    """Runs of one task: for each variant and seed the number of the evaluation (from 1) that sees the target."""
    records = []
    for variant, reached in first.items():
        for seed, at in enumerate(reached):
            values = [0.9 - seed / 100 if at is not None and place >= at else 0.1 for place in range(1, 13)]
            described = {"data": {"kind": task}, "optimizer": {"kind": variant}} if spec is None else dict(spec)
            run = make_run(top, variant, seed, values, experiment=task, metric=metric, spec=described, **more)
            records.append(run)
    return records


def summed_up(
    records: Sequence[RunRecord], baseline: str = "sgd", metric: str = "val_accuracy", target: str = "val_accuracy"
) -> AcrossTasks:
    groups, _ = group_runs(records)
    times = {group.label: time_to_target(group, Target(target, GOAL)) for group in groups}
    return across_tasks(groups, times, metric, True, baseline)


def groups_of(records: Sequence[RunRecord]) -> list[Group]:
    return group_runs(records)[0]


@pytest.fixture
def three(tmp_path: Path) -> AcrossTasks:
    """Three tasks, three variants, three seeds; slow misses the target in wine, in two of three runs."""
    digits = {"sgd": [4, 4, 4], "adam": [2, 2, 2], "slow": [8, 8, 8]}
    wine = {"sgd": [6, 6, 6], "adam": [2, 2, 2], "slow": [12, None, None]}
    mnist = {"sgd": [2, 3, 4], "adam": [4, 4, 4], "slow": [12, 12, 12]}
    return summed_up(
        [
            *runs_of(tmp_path, "digits", digits),
            *runs_of(tmp_path, "wine", wine),
            *runs_of(tmp_path, "mnist", mnist),
        ]
    )


def test_times_profiles_and_ranks_of_a_small_example(three: AcrossTasks) -> None:
    assert three.tasks == ("digits", "wine", "mnist")
    assert three.variants == ("sgd", "adam", "slow")
    assert three.axis == "steps"
    assert three.times == {"sgd": (40, 60, 30), "adam": (20, 20, 40), "slow": (80, None, 120)}
    third = pytest.approx(1 / 3)
    two_thirds = pytest.approx(2 / 3)
    assert three.profiles == {
        "sgd": ((1.0, third), (2.0, two_thirds), (3.0, 1.0)),
        "adam": ((1.0, two_thirds), (pytest.approx(4 / 3), 1.0)),
        "slow": ((1.0, 0.0), (4.0, two_thirds)),
    }
    assert {name: mean for name, (mean, _) in three.ranks.items()} == {
        "sgd": pytest.approx(5 / 3),
        "adam": pytest.approx(4 / 3),
        "slow": 3.0,
    }
    # Rank sums 5, 4 and 9: Friedman's statistic is 4.667, for which tables print 0.194.
    assert three.friedman_p == pytest.approx(7 / 36)


def test_a_speed_up_is_a_geometric_mean_over_the_tasks_that_both_solved(three: AcrossTasks) -> None:
    adam, slow = three.speedups
    assert (adam.variant, adam.baseline, adam.tasks, adam.left_out) == ("adam", "sgd", 3, ())
    assert adam.factor == pytest.approx(scipy.stats.gmean([2, 3, 3 / 4]))
    assert (slow.tasks, slow.left_out) == (2, ("wine (slow never got there)",))
    assert slow.factor == pytest.approx((40 / 80 * 30 / 120) ** 0.5)
    assert slow.interval is None


def test_its_interval_is_students_on_the_logs_but_never_narrower_than_the_grid(tmp_path: Path) -> None:
    records = []
    for place, (sgd, adam) in enumerate([(8, 4), (8, 4), (8, 4)]):
        records += runs_of(tmp_path, f"task-{place}", {"sgd": [sgd] * 3, "adam": [adam] * 3})
    (adam,) = summed_up(records).speedups
    assert adam.factor == pytest.approx(2)
    # Without any spread what is left is the grid: sgd in (70, 80], adam in (30, 40].
    assert adam.interval == Interval(pytest.approx(70 / 40), pytest.approx(80 / 30))


def test_a_target_seen_at_the_first_evaluation_leaves_no_bound(tmp_path: Path) -> None:
    records = [
        record for task in ("a", "b", "c") for record in runs_of(tmp_path, task, {"sgd": [3, 3, 3], "adam": [1, 1, 1]})
    ]
    across = summed_up(records)
    (adam,) = across.speedups
    assert adam.interval is not None
    assert adam.interval.high == float("inf")
    assert any("has no bound" in note for note in across.notes)
    assert json.loads(json.dumps(across_json(across), allow_nan=False))["speedups"][0]["interval"][1] == "inf"


def test_two_tasks_give_no_interval_and_say_so(tmp_path: Path) -> None:
    records = [
        record for task in ("a", "b") for record in runs_of(tmp_path, task, {"sgd": [4, 4, 4], "adam": [2, 2, 2]})
    ]
    across = summed_up(records)
    assert across.speedups[0].interval is None
    assert all(interval is None for _, interval in across.ranks.values())
    assert across.friedman_p == pytest.approx(0.5)
    assert "2 tasks give speed-ups and ranks no interval: that takes 3." in across.notes
    assert any("allow Friedman's test no p below 0.5" in note for note in across.notes)
    assert any("depend on who takes part" in note for note in across.notes)


def test_shares_are_scored_as_they_are_and_a_diverged_run_as_nothing(tmp_path: Path) -> None:
    records = []
    for task, level in (("a", 0.8), ("b", 0.6)):
        for seed in range(3):
            spec = {"data": {"kind": task}}
            lost = seed == 2 and task == "b"
            records.append(make_run(tmp_path, "sgd", seed, [level + seed / 100], experiment=task, spec=spec))
            status = "diverged" if lost else "done"
            records.append(make_run(tmp_path, "adam", seed, [level + 0.1], experiment=task, spec=spec, status=status))
    across = summed_up(records)
    assert across.score == "val_accuracy"
    assert across.iqm["sgd"][0] == pytest.approx(scipy.stats.trim_mean([0.8, 0.81, 0.82, 0.6, 0.61, 0.62], 0.25))
    assert across.iqm["adam"][0] == pytest.approx(scipy.stats.trim_mean([0.9, 0.9, 0.9, 0.7, 0.7, 0.0], 0.25))
    assert "1 run diverged and takes the worst value of the task (adam 1)." in across.notes


def test_other_metrics_are_scaled_within_each_task() -> None:
    loss = column_measure("val_loss")
    samples = {"sgd": {0: 4.0, 1: 6.0}, "adam": {0: 1.0, 1: 2.0}, "lost": {0: float("inf"), 1: 5.0}}
    task = Task("a", loss, {}, samples)
    found = scores([task], ["sgd", "adam", "lost"])
    # Means 5, 1.5 and, the worst value being 6, 5.5: 5.5 is 0 and 1.5 is 1.
    assert found.of.startswith("values scaled within each task")
    assert found.values == {
        "sgd": [pytest.approx([1.5 / 4, -0.5 / 4])],
        "adam": [pytest.approx([4.5 / 4, 3.5 / 4])],
        "lost": [pytest.approx([-0.5 / 4, 0.5 / 4])],
    }


def test_a_task_in_which_all_are_alike_has_no_scores() -> None:
    loss = column_measure("val_loss")
    alike = Task("alike", loss, {}, {"sgd": {0: 2.0}, "adam": {0: 2.0}})
    lost = Task("lost", loss, {}, {"sgd": {0: 2.0}, "adam": {0: float("inf")}})
    found = scores([alike, lost], ["sgd", "adam"])
    assert found.left_out == ("alike",)
    assert found.values == {"sgd": [[1.0]], "adam": [[0.0]]}


def test_each_task_is_judged_by_its_own_metric_where_it_lacks_the_one_asked(tmp_path: Path) -> None:
    records = runs_of(tmp_path, "digits", {"sgd": [2, 2, 2], "adam": [3, 3, 3]})
    records += runs_of(tmp_path, "diabetes", {"sgd": [2, 2, 2], "adam": [None] * 3}, metric="val_r2")
    across = summed_up(records)
    assert across.metrics == ("val_accuracy", "val_r2")
    assert across.axis is None
    assert across.profiles == {}
    assert across.speedups == ()
    assert across.score.startswith("values scaled")
    assert across.ranked_by == "each task's metric"
    # digits: equal means, rank 1.5 each; diabetes: sgd first.
    assert across.ranks["sgd"][0] == pytest.approx(1.25)
    assert across.ranks["adam"][0] == pytest.approx(1.75)
    assert any("diabetes has no target that all variants have" in note for note in across.notes)


def test_ranks_by_quality_put_variants_with_a_diverged_run_last(tmp_path: Path) -> None:
    records = []
    for task in ("a", "b", "c"):
        for seed in range(3):
            spec = {"data": {"kind": task}}
            records.append(make_run(tmp_path, "sgd", seed, [0.2], experiment=task, spec=spec))
            status = "diverged" if seed == 0 else "done"
            records.append(make_run(tmp_path, "adam", seed, [0.4], experiment=task, spec=spec, status=status))
    groups = groups_of(records)
    across = across_tasks(groups, {}, "val_accuracy", True, "sgd")
    assert across.ranks["sgd"][0] == 1.0
    assert across.ranks["adam"][0] == 2.0


def test_who_does_not_take_part_in_every_task_is_left_out_and_named(tmp_path: Path) -> None:
    records = runs_of(tmp_path, "a", {"sgd": [2] * 3, "adam": [2] * 3, "extra": [2] * 3, "failed": [2] * 3})
    records += runs_of(tmp_path, "b", {"sgd": [2] * 3, "adam": [2] * 3})
    records += [make_run(tmp_path, "failed", 0, [0.1], experiment="b", status="failed")]
    across = summed_up(records, baseline="extra")
    assert across.variants == ("sgd", "adam")
    assert across.baseline == "sgd"
    for sentence in (
        "extra is left out across tasks: it has no result in b.",
        "failed is left out across tasks: it has no result in b.",
        "extra does not take part in every task: sgd is the baseline here.",
    ):
        assert sentence in across.notes


def test_a_variant_of_two_specs_in_one_task_is_left_out(tmp_path: Path) -> None:
    records = runs_of(tmp_path, "a", {"sgd": [2] * 3, "adam": [2] * 3, "twice": [2] * 3})
    records += runs_of(tmp_path, "b", {"sgd": [2] * 3, "adam": [2] * 3, "twice": [2] * 3})
    other = make_run(tmp_path / "elsewhere", "twice", 5, [0.4], experiment="b", spec_hash="another")
    across = summed_up([*records, other])
    assert across.variants == ("sgd", "adam")
    assert "twice stands for 2 specs in b." in across.notes


def test_a_task_without_any_result_is_left_out(tmp_path: Path) -> None:
    records = []
    for task in ("a", "b"):
        records += runs_of(tmp_path, task, {"sgd": [2] * 3, "adam": [3] * 3})
    records += runs_of(tmp_path, "dead", {"sgd": [2], "adam": [3]}, status="failed")
    across = summed_up(records)
    assert across.tasks == ("a", "b")
    assert "dead is left out across tasks: no run there has ended with a val_accuracy." in across.notes


def test_the_same_task_twice_is_said_to_be_no_second_task(tmp_path: Path) -> None:
    spec = {"data": {"kind": "same"}}
    records = runs_of(tmp_path, "short", {"sgd": [2] * 3, "adam": [3] * 3}, spec=spec)
    records += runs_of(tmp_path, "long", {"sgd": [2] * 3, "adam": [3] * 3}, spec=spec)
    records += runs_of(tmp_path, "other", {"sgd": [2] * 3, "adam": [3] * 3})
    across = summed_up(records)
    assert any(note.startswith("short, long have the same data, model and loss") for note in across.notes)


def test_different_targets_within_a_task_are_no_common_target(tmp_path: Path) -> None:
    records = []
    for task in ("a", "b"):
        records += runs_of(tmp_path, task, {"sgd": [2] * 3, "adam": [3] * 3})
    groups = groups_of(records)
    times = {
        group.label: time_to_target(group, Target("val_accuracy", 0.5 if group.variant == "sgd" else 0.6))
        for group in groups
    }
    across = across_tasks(groups, times, "val_accuracy", True, "sgd")
    assert across.axis is None
    assert across.friedman_p is not None


def test_other_axes_measure_other_times(tmp_path: Path) -> None:
    records = [
        *runs_of(tmp_path, "a", {"sgd": [4] * 3}, seconds_per_step=0.01),
        *runs_of(tmp_path, "a", {"adam": [2] * 3}, seconds_per_step=0.04),
        *runs_of(tmp_path, "b", {"sgd": [4] * 3}, seconds_per_step=0.01),
        *runs_of(tmp_path, "b", {"adam": [2] * 3}, seconds_per_step=0.04),
    ]
    groups = groups_of(records)
    times = {group.label: time_to_target(group, Target("val_accuracy", GOAL)) for group in groups}
    across = across_tasks(groups, times, "val_accuracy", True, "sgd", axis="seconds")
    assert across.axis == "seconds"
    assert across.speedups[0].factor == pytest.approx(0.5)


def test_swapping_two_names_swaps_their_numbers(tmp_path: Path) -> None:
    cells = {"digits": ([4, 4, 5], [2, 2, 3]), "wine": ([6, 7, 6], [2, 3, 2]), "mnist": ([2, 3, 4], [4, 4, None])}
    one, other = (
        summed_up(
            [
                record
                for task, (first, second) in cells.items()
                for record in runs_of(tmp_path / folder, task, dict(zip(names, (first, second), strict=True)))
            ],
            baseline=names[0],
        )
        for folder, names in (("one", ("x", "y")), ("other", ("y", "x")))
    )
    swap = {"x": "y", "y": "x"}
    assert other.profiles == {swap[name]: profile for name, profile in one.profiles.items()}
    assert other.ranks == {swap[name]: rank for name, rank in one.ranks.items()}
    assert other.iqm == {swap[name]: value for name, value in one.iqm.items()}
    assert other.speedups[0].factor == one.speedups[0].factor


class TestIsAcrossTasks:
    def test_different_data_with_two_common_names(self, tmp_path: Path) -> None:
        records = [r for task in ("a", "b") for r in runs_of(tmp_path, task, {"sgd": [2], "adam": [2]})]
        assert is_across_tasks(groups_of(records))

    def test_one_experiment_is_not(self, tmp_path: Path) -> None:
        assert not is_across_tasks(groups_of(runs_of(tmp_path, "a", {"sgd": [2], "adam": [2]})))

    def test_the_same_task_again_is_not(self, tmp_path: Path) -> None:
        spec = {"data": {"kind": "x"}, "model": {"kind": "mlp"}}
        records = [r for task in ("a", "b") for r in runs_of(tmp_path, task, {"sgd": [2], "adam": [2]}, spec=spec)]
        assert not is_across_tasks(groups_of(records))

    def test_one_common_name_is_not_enough(self, tmp_path: Path) -> None:
        records = runs_of(tmp_path, "a", {"sgd": [2], "adam": [2]}) + runs_of(tmp_path, "b", {"sgd": [2], "lion": [2]})
        assert not is_across_tasks(groups_of(records))

    def test_runs_without_a_spec_are_not(self, tmp_path: Path) -> None:
        records = [r for task in ("a", "b") for r in runs_of(tmp_path, task, {"sgd": [2], "adam": [2]}, spec={})]
        assert not is_across_tasks(groups_of(records))


def printed(across: AcrossTasks, width: int) -> str:
    file = io.StringIO()
    render_across(across, Console(file=file, width=width, highlight=False))
    return file.getvalue()


@pytest.mark.parametrize("width", [60, 120])
def test_it_is_printed_whole_on_wide_and_narrow_terminals(three: AcrossTasks, width: int) -> None:
    text = printed(three, width)
    tables = [line for line in text.splitlines() if not line.startswith(("-", "Across"))]
    assert max(map(len, tables)) <= width
    for word in ("Across 3 tasks (digits, wine, mnist), against sgd", "profile score", "IQM", "mean rank", "never"):
        assert word in text
    assert "adam gets to the target 1.65 times as fast as sgd in steps" in text
    assert "…" not in text


def test_markdown_has_the_same_numbers(three: AcrossTasks) -> None:
    text = "\n".join(across_markdown(three))
    assert "| adam | 3 of 3 |" in text
    assert "| wine | 20 | 60 | never |" in text
    rows = [line for line in across_markdown(three) if line.startswith("|")]
    assert len({row.count("|") for row in rows[:5]}) == 1


def test_json_holds_everything_and_no_infinity(three: AcrossTasks) -> None:
    found = json.loads(json.dumps(across_json(three), allow_nan=False))
    assert found["times"]["slow"] == [80, None, 120]
    assert found["speedups"][1]["left_out"] == ["wine (slow never got there)"]
    assert found["profile_scores"]["adam"] == pytest.approx(2 / 3 * 1 / 9 + 1 * 8 / 9)
    assert found["baseline"] == "sgd"


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_tasks_without_any_result_still_give_an_answer(tmp_path: Path, status: str) -> None:
    """Nobody takes part, or everybody diverged everywhere."""
    records = []
    for task in ("a", "b"):
        records += runs_of(tmp_path, task, {"sgd": [2] * 3, "adam": [3] * 3}, status=status)
    across = summed_up(records)
    assert across.tasks == (("a", "b") if status == "diverged" else ())
    assert across.notes
    assert all(factor is None for factor in (one.factor for one in across.speedups))
    printed(across, 60)
    across_markdown(across)
    json.dumps(across_json(across), allow_nan=False)
