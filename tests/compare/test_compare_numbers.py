from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare_runs import make_run

from nnopt.compare.comparison import Comparison, Row, compare
from nnopt.errors import UsageError
from nnopt.store.record import RunRecord


def row_of(comparison: Comparison, label: str) -> Row:
    return next(row for row in comparison.rows if row.label == label)


def test_means_and_spreads_are_those_of_pandas(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    records = [
        make_run(tmp_path, variant, seed, random.uniform(0.3, 0.9, size=5 + seed).tolist())
        for variant in ("sgd", "adam")
        for seed in range(4)
    ]
    table = pd.concat(
        pd.read_csv(record.folder / "metrics.csv").assign(variant=record.variant, seed=record.seed)
        for record in records
    )
    runs = table.groupby(["variant", "seed"])["val_accuracy"]
    comparison = compare(records)
    for row in comparison.rows:
        for spread, series in ((row.last, runs.last()[row.label]), (row.best, runs.max()[row.label])):
            assert spread is not None
            assert spread.n == 4
            assert spread.mean == pytest.approx(series.mean(), rel=1e-12)
            assert spread.sd == pytest.approx(series.std(), rel=1e-12)
    by_last = runs.last().groupby("variant").mean().sort_values(ascending=False)
    assert comparison.ranking == tuple(by_last.index)


def test_less_is_better_for_a_loss(tmp_path: Path) -> None:
    records = [
        make_run(tmp_path, "sgd", 0, [2.0, 0.5, 0.9], metric="val_loss"),
        make_run(tmp_path, "adam", 0, [2.0, 1.5, 0.8], metric="val_loss"),
    ]
    comparison = compare(records)
    assert (comparison.metric, comparison.higher_is_better) == ("val_loss", False)
    assert comparison.ranking == ("adam", "sgd")
    best = row_of(comparison, "sgd").best
    assert best is not None
    assert best.mean == 0.5


def test_a_single_seed_has_no_spread_and_is_called_an_anecdote(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path, "sgd", 0, [0.5]), make_run(tmp_path, "adam", 0, [0.6])])
    assert [row.last and row.last.sd for row in comparison.rows] == [None, None]
    assert [finding.rule for finding in comparison.findings] == ["one-seed"]


def test_a_diverged_run_ranks_its_variant_last_and_is_left_out_of_the_mean_aloud(tmp_path: Path) -> None:
    records = [
        *(make_run(tmp_path, "adam", seed, [0.5, 0.9]) for seed in (0, 1)),
        make_run(tmp_path, "adam", 2, [0.1], status="diverged", diverged={"step": 14, "last_loss": 3.0}),
        *(make_run(tmp_path, "sgd", seed, [0.5, 0.6]) for seed in (0, 1, 2)),
    ]
    comparison = compare(records)
    assert comparison.ranking == ("sgd", "adam")
    adam = row_of(comparison, "adam")
    assert adam.last is not None
    assert (adam.last.mean, adam.last.n) == (0.9, 2)
    assert adam.statuses == {"done": 2, "diverged": 1}
    assert comparison.notes[0] == (
        "adam: 1 of 3 runs diverged (seed 2 at step 14): it ranks after variants without, and worst in tests; "
        "means are over the 2 that are done."
    )


def test_where_every_run_diverged_there_is_no_mean_and_no_best(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path, "sgd", seed, [0.9], status="diverged") for seed in (0, 1)])
    assert comparison.best is None
    assert comparison.rows[0].last is None
    assert "every run diverged" in comparison.notes[0]


def test_variants_without_a_value_rank_after_those_with_a_diverged_run(tmp_path: Path) -> None:
    records = [
        make_run(tmp_path, "none", 0, [], status="failed", reason="out of memory"),
        make_run(tmp_path, "some", 0, [0.9]),
        make_run(tmp_path, "some", 1, [0.9], status="diverged"),
        make_run(tmp_path, "fine", 0, [0.1]),
    ]
    comparison = compare(records)
    assert comparison.ranking == ("fine", "some", "none")
    assert any("out of memory" in sentence for sentence in comparison.left_out)


def test_values_that_are_not_finite_count_as_missing(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path, "sgd", 0, [0.5, "nan"]), make_run(tmp_path, "sgd", 1, ["inf", 0.7])])
    last = comparison.rows[0].last
    assert last is not None
    assert last.mean == pytest.approx(0.6)


def test_unfinished_runs_and_unequal_lengths_are_said(tmp_path: Path) -> None:
    records = [
        make_run(tmp_path, "sgd", 0, [0.5, 0.6]),
        make_run(tmp_path, "sgd", 1, [0.5, 0.6, 0.7]),
        make_run(tmp_path, "adam", 0, [0.5], status="interrupted"),
    ]
    comparison = compare(records)
    notes = comparison.notes
    assert comparison.left_out == ("adam: seed 0 was interrupted (1 of 1 left out of all numbers).",)
    assert "The runs are of unequal length, 20 to 30 steps: each counts with its own last value." in notes


class TestTarget:
    def records(self, top: Path) -> list[RunRecord]:
        return [
            make_run(top, "sgd", 0, [0.2, 0.8, 0.7, 0.9]),
            make_run(top, "sgd", 1, [0.2, 0.3, 0.8, 0.9]),
            make_run(top, "sgd", 2, [0.2, 0.3, 0.4, 0.5]),
            make_run(top, "adam", 0, [0.2, 0.3]),
        ]

    def test_is_read_off_the_curves_over_the_seeds_that_got_there(self, tmp_path: Path) -> None:
        comparison = compare(self.records(tmp_path), target=0.75)
        sgd = row_of(comparison, "sgd").to_target
        assert sgd is not None
        assert (sgd.reached, sgd.runs) == (2, 3)
        # Kaplan-Meier medians of 20, 30 and more than 40: two of three runs were there by step 30
        assert (sgd.steps, sgd.samples, sgd.gradient_evaluations) == (30, 960, 30)
        assert sgd.seconds == pytest.approx(0.3)

    def test_a_value_just_reached_is_reached(self, tmp_path: Path) -> None:
        sgd = row_of(compare(self.records(tmp_path), target=0.8), "sgd").to_target
        assert sgd is not None
        assert sgd.steps == 30

    def test_not_reached_stays_none(self, tmp_path: Path) -> None:
        adam = row_of(compare(self.records(tmp_path), target=0.75), "adam").to_target
        assert adam is not None
        assert (adam.reached, adam.steps, adam.seconds) == (0, None, None)

    def test_of_a_loss_is_reached_from_above(self, tmp_path: Path) -> None:
        record = make_run(tmp_path, "sgd", 0, [0.9, 0.5, 0.1], metric="val_loss")
        to_target = compare([record], target=0.5).rows[0].to_target
        assert to_target is not None
        assert to_target.steps == 20

    def test_a_diverged_run_has_not_reached_it(self, tmp_path: Path) -> None:
        records = [
            make_run(tmp_path, "sgd", 0, [0.9]),
            make_run(tmp_path, "sgd", 1, [0.9], status="diverged"),
        ]
        to_target = compare(records, target=0.5).rows[0].to_target
        assert to_target is not None
        assert (to_target.reached, to_target.runs) == (1, 2)

    def test_of_the_runs_themselves_counts_where_none_is_asked(self, tmp_path: Path) -> None:
        given = {"metric": "val_accuracy", "value": 0.8}
        records = [
            make_run(tmp_path, "sgd", 0, [0.7, 0.9], target={**given, "reached": True, "step": 20}),
            make_run(tmp_path, "sgd", 1, [0.7, 0.7], target={**given, "reached": False}),
        ]
        comparison = compare(records)
        to_target = comparison.rows[0].to_target
        assert to_target is not None
        assert comparison.target == to_target.target
        assert (to_target.reached, to_target.steps, to_target.gradient_evaluations) == (1, 20, 20)
        assert to_target.seconds == pytest.approx(0.2)

    def test_absent_or_different_targets_are_said(self, tmp_path: Path) -> None:
        plain = make_run(tmp_path, "sgd", 0, [0.9])
        assert any("No run has a target" in note for note in compare([plain]).notes)
        aimed = [
            make_run(
                tmp_path,
                f"adam{value}",
                0,
                [0.9],
                target={"metric": "val_accuracy", "value": value, "reached": False},
            )
            for value in (0.95, 0.97)
        ]
        comparison = compare([plain, *aimed])
        assert comparison.target is None
        assert any("sgd: no target." in note for note in comparison.notes)
        assert any("val_accuracy 0.95, val_accuracy 0.97" in note for note in comparison.notes)

    @pytest.mark.parametrize("target", [97, -0.1, float("nan"), float("inf")])
    def test_that_the_metric_cannot_take_is_refused(self, tmp_path: Path, target: float) -> None:
        with pytest.raises(UsageError):
            compare(self.records(tmp_path), target=target)


def test_an_unknown_metric_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'val_accuracy'"):
        compare([make_run(tmp_path, "sgd", 0, [0.9])], metric="accuracy")


def test_no_runs_is_refused() -> None:
    with pytest.raises(UsageError, match="no runs"):
        compare([])


def test_a_run_without_the_metric_is_named(tmp_path: Path) -> None:
    records = [
        make_run(tmp_path, "sgd", 0, [0.9]),
        make_run(tmp_path, "old", 0, [0.9], metric="val_f1_macro"),
    ]
    comparison = compare(records, metric="val_accuracy")
    assert row_of(comparison, "old").last is None
    assert "There is no val_accuracy in digits/old/seed-0: left out." in comparison.left_out


def test_test_values_are_given_only_where_every_run_has_them(tmp_path: Path) -> None:
    def tested(value: float) -> dict[str, dict[str, float]]:
        return {"last": {"accuracy": value, "loss": 1.0}, "best": {"accuracy": value + 0.01, "loss": 1.0}}

    records = [
        make_run(tmp_path, "sgd", 0, [0.9], test=tested(0.8)),
        make_run(tmp_path, "sgd", 1, [0.9], test=tested(0.82)),
        make_run(tmp_path, "adam", 0, [0.9], test=tested(0.8)),
        make_run(tmp_path, "adam", 1, [0.9]),
    ]
    comparison = compare(records)
    sgd, adam = row_of(comparison, "sgd"), row_of(comparison, "adam")
    assert sgd.test_last is not None
    assert sgd.test_best is not None
    assert sgd.test_last.mean == pytest.approx(0.81)
    assert sgd.test_last.sd == pytest.approx(0.02 / 2**0.5)
    assert sgd.test_best.mean == pytest.approx(0.82)
    assert adam.test_last is None


class TestGroups:
    def test_are_by_the_hash_of_the_spec_and_not_by_folder(self, tmp_path: Path) -> None:
        records = [
            make_run(tmp_path / "a", "sgd", 0, [0.9], spec_hash="one11111"),
            make_run(tmp_path / "b", "sgd", 1, [0.9], spec_hash="one11111"),
            make_run(tmp_path / "c", "sgd", 0, [0.8], spec_hash="two22222"),
        ]
        comparison = compare(records)
        assert comparison.ranking == ("sgd (one111)", "sgd (two222)")
        assert [row.seeds for row in comparison.rows] == [(0, 1), (0,)]

    def test_of_several_experiments_carry_its_name(self, tmp_path: Path) -> None:
        records = [make_run(tmp_path, "sgd", 0, [0.9 - i / 10], experiment=name) for i, name in enumerate("ab")]
        assert compare(records).ranking == ("a/sgd", "b/sgd")

    def test_of_trials_are_apart(self, tmp_path: Path) -> None:
        records = [make_run(tmp_path / str(n), "sgd", 0, [0.9 - n / 10], trial=n) for n in (0, 1)]
        assert compare(records).ranking == ("sgd/trial-0", "sgd/trial-1")

    def test_keep_the_first_of_two_runs_with_one_seed_and_say_so(self, tmp_path: Path) -> None:
        first, second = (make_run(tmp_path / n, "sgd", 0, [v]) for n, v in (("a", 0.9), ("b", 0.1)))
        comparison = compare([first, second])
        assert comparison.rows[0].last is not None
        assert comparison.rows[0].last.mean == 0.9
        assert comparison.left_out[0] == f"{second.folder} repeats seed 0 of {first.folder} and is left out."

    def test_pass_over_a_run_named_twice(self, tmp_path: Path) -> None:
        record = make_run(tmp_path, "sgd", 0, [0.9])
        assert not compare([record, RunRecord.read(record.folder)]).left_out


def test_what_does_not_compare_is_said(tmp_path: Path) -> None:
    records = [
        make_run(tmp_path, kind, seed, [0.9], spec={"data": {"kind": kind}}, device=device)
        for kind, device in (("digits", "cpu"), ("mnist", "cuda:0"))
        for seed in range(3)
    ]
    assert [finding.rule for finding in compare(records).findings] == ["data", "hardware"]
