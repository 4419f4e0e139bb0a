from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas
import pytest
import scipy.stats
from command_line import Ended
from compare_runs import in_memory, make_run

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.verdict import Verdict
from nnopt.errors import UsageError
from nnopt.store.record import RunRecord

SGD = (0.950, 0.955, 0.948, 0.953, 0.951)
ADAM = (0.968, 0.969, 0.967, 0.971, 0.966)


def runs(variant: str, values: Sequence[float], **keys: object) -> list[RunRecord]:
    return [in_memory(variant, seed, [0.5, value], **keys) for seed, value in enumerate(values)]  # type: ignore[arg-type]


def only(comparison: Comparison) -> Verdict:
    (verdict,) = comparison.verdicts
    return verdict


def test_paired_seeds_are_compared_by_the_paired_t_test() -> None:
    verdict = only(compare(runs("sgd", SGD) + runs("adam", ADAM)))
    expected = scipy.stats.ttest_rel(ADAM, SGD)
    low, high = expected.confidence_interval()
    found = verdict.difference
    assert (verdict.label, verdict.baseline, verdict.answer) == ("adam", "sgd", "better")
    assert found.paired
    assert found.interval is not None
    assert (found.estimate, found.p) == pytest.approx((np.mean(ADAM) - np.mean(SGD), expected.pvalue))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    points = f"{100 * low:.2f} to {100 * high:.2f}"
    assert verdict.sentence == (
        f"adam is better than sgd in val_accuracy: +1.68 points ({points}, n = 5 pairs, p < 0.0001)"
    )


def test_other_seeds_are_compared_by_welchs() -> None:
    shifted = [in_memory("adam", 10 + seed, [0.5, value]) for seed, value in enumerate(ADAM[:4])]
    verdict = only(compare(runs("sgd", SGD) + shifted))
    expected = scipy.stats.ttest_ind(ADAM[:4], SGD, equal_var=False)
    assert (verdict.difference.method, verdict.difference.n) == ("Welch t", (4, 5))
    assert verdict.difference.p == pytest.approx(expected.pvalue)
    assert "n = 4 and 5" in verdict.sentence


def test_less_of_a_loss_is_better() -> None:
    records = runs("sgd", SGD, metric="val_loss") + runs("adam", ADAM, metric="val_loss")
    assert only(compare(records)).answer == "worse"
    assert only(compare(records, baseline="adam")).answer == "better"


@pytest.mark.parametrize("seeds", [1, 2])
def test_below_three_seeds_it_is_an_anecdote(seeds: int) -> None:
    verdict = only(compare(runs("sgd", SGD[:seeds]) + runs("adam", ADAM[:seeds])))
    assert (verdict.answer, verdict.p, verdict.difference.interval) == ("anecdote", None, None)
    assert verdict.sentence.startswith("anecdote: adam against sgd on ")
    assert verdict.sentence.endswith("train at least 3 seeds of each")


def test_an_open_answer_says_how_many_seeds_would_settle_it() -> None:
    near = [value + shift for value, shift in zip(SGD, (0.004, -0.001, 0.003, 0.002, -0.0015), strict=True)]
    verdict = only(compare(runs("sgd", SGD) + runs("adam", near)))
    assert verdict.answer == "open"
    assert verdict.seeds_needed is not None
    more = verdict.seeds_needed - 5
    assert f"about {more} more seeds of each ({verdict.seeds_needed} in all)" in verdict.sentence


def test_a_vanishing_difference_is_settled_by_no_number_of_seeds() -> None:
    near = [value + shift for value, shift in zip(SGD, (0.01, -0.01, 0.01, -0.01, 0.00001), strict=True)]
    verdict = only(compare(runs("sgd", SGD) + runs("adam", near)))
    assert verdict.seeds_needed is None
    assert "not even 1,000 seeds" in verdict.sentence


def test_p_values_are_corrected_by_holms_method_over_all_variants() -> None:
    random = np.random.default_rng(3)
    others = {name: (np.array(SGD) + shift + random.normal(size=5) * 0.004).tolist() for name, shift in
              (("a", 0.01), ("b", 0.006), ("c", 0.002))}  # fmt: skip
    records = runs("sgd", SGD) + [record for name, values in others.items() for record in runs(name, values)]
    found = {verdict.label: verdict for verdict in compare(records).verdicts}
    raw = {name: scipy.stats.ttest_rel(values, SGD).pvalue for name, values in others.items()}
    ordered = sorted(raw, key=lambda name: raw[name])
    running = 0.0
    for place, name in enumerate(ordered):
        running = max(running, min(1.0, (3 - place) * raw[name]))
        assert found[name].p == pytest.approx(running)
        assert found[name].comparisons == 3
        assert "after Holm over 3" in found[name].sentence


def test_runs_of_the_same_bits_do_not_differ() -> None:
    records = runs("old", SGD, experiment="before") + runs("old", SGD, experiment="after")
    verdict = only(compare(records))
    assert (verdict.answer, verdict.difference.interval and verdict.difference.interval.high) == ("same", 0.0)
    assert verdict.sentence == "after/old and before/old are the same bits in all 5 pairs of runs"
    timed = only(compare(records, target=0.9))
    assert timed.time_sentence is None
    steps = timed.times["steps"]
    assert (steps.ratio, steps.interval and steps.interval.low, steps.p) == (1.0, 1.0, 1.0)
    assert timed.times["seconds"].method != "same bits"  # they were measured twice


def test_equal_last_values_of_different_curves_are_not_the_same_bits() -> None:
    one = [in_memory("a", seed, [0.1, value]) for seed, value in enumerate(SGD)]
    two = [in_memory("b", seed, [0.2, value]) for seed, value in enumerate(SGD)]
    verdict = only(compare(one + two))
    assert verdict.answer == "open"
    assert verdict.difference.interval is not None
    assert verdict.difference.interval.low < 0 < verdict.difference.interval.high


def test_equal_steps_of_a_coarse_metric_are_no_proof() -> None:
    """Accuracy on 360 images: three seeds that each get one image more have no spread, and prove nothing."""
    one = [in_memory("a", seed, [0.1, 350 / 360]) for seed in range(3)]
    two = [in_memory("b", seed, [0.2, 351 / 360]) for seed in range(3)]
    assert only(compare(one + two)).answer == "open"


@pytest.mark.parametrize(
    ("shifts", "shown"),
    [
        ((1e-17, 0.01, -0.01, 0.02, -0.02), "+0.0 points"),
        ((-1e-17, 0.01, -0.01, 0.02, -0.02), "+0.0 points"),
        ((-0.004, 0.01, -0.01, 0.02, -0.02), "-0.1 points"),
        ((0.00012, 0.00011, 0.00013, 0.00012, 0.00012), "+0.0120 points"),
    ],
)
def test_a_difference_is_shown_with_the_digits_that_its_interval_has(shifts: Sequence[float], shown: str) -> None:
    near = [value + shift for value, shift in zip(SGD, shifts, strict=True)]
    assert f": {shown} (" in only(compare(runs("sgd", SGD) + runs("adam", near))).sentence


class TestDiverged:
    def test_ranks_worst_in_every_statistic_and_is_counted(self) -> None:
        bad = [*runs("sgd", SGD[:2]), *(in_memory("sgd", seed, [0.1], status="diverged") for seed in (2, 3, 4))]
        verdict = only(compare(bad + runs("adam", ADAM)))
        found = verdict.difference
        assert (found.method, found.lost, verdict.answer) == ("ranks", (0, 3), "better")
        assert found.superiority == 1.0
        assert found.p == pytest.approx(2 / 252)
        assert "3 of 5 runs of sgd diverged and rank worst" in verdict.sentence

    def test_where_every_run_diverged_no_number_is_made_up(self) -> None:
        lost = [in_memory("sgd", seed, [0.1], status="diverged") for seed in range(5)]
        verdict = only(compare(lost + runs("adam", ADAM)))
        assert verdict.sentence == (
            "adam is better than sgd in val_accuracy (n = 5, p = 0.0079); 5 of 5 runs of sgd diverged and rank worst"
        )

    def test_one_diverged_run_never_makes_a_variant_better(self) -> None:
        whole = only(compare(runs("sgd", SGD) + runs("adam", ADAM)))
        adam = [*runs("adam", ADAM[:4]), in_memory("adam", 4, [0.1], status="diverged")]
        lost = only(compare(runs("sgd", SGD) + adam))
        assert whole.difference.superiority is not None
        assert lost.difference.superiority is not None
        assert lost.difference.superiority < whole.difference.superiority


class TestWhatIsLeftOut:
    """Never a wrong number in silence."""

    def test_a_run_still_going(self) -> None:
        adam = [*runs("adam", ADAM[:4]), in_memory("adam", 4, [0.1], status="running")]
        comparison = compare(runs("sgd", SGD) + adam)
        assert only(comparison).difference.n == (4, 4)
        assert comparison.left_out == ("adam: seed 4 is still running (1 of 5 left out of all numbers).",)
        row = next(row for row in comparison.rows if row.label == "adam")
        assert row.last is not None
        assert row.last.n == 4

    def test_a_failed_run_says_why(self) -> None:
        adam = [*runs("adam", ADAM[:4]), in_memory("adam", 4, [], status="failed", reason="out of memory")]
        comparison = compare(runs("sgd", SGD) + adam)
        assert comparison.left_out == ("adam: seed 4 failed: out of memory (1 of 5 left out of all numbers).",)

    def test_an_empty_group_has_no_verdict(self) -> None:
        adam = [in_memory("adam", seed, [], status="interrupted") for seed in range(3)]
        comparison = compare(runs("sgd", SGD) + adam)
        verdict = only(comparison)
        assert verdict.answer == "none"
        assert verdict.sentence == "no verdict on adam against sgd: no run of adam has ended with a val_accuracy"

    def test_a_metric_that_only_some_runs_have(self) -> None:
        adam = [*runs("adam", ADAM[:4]), in_memory("adam", 4, [0.9, 0.9], metric="val_loss")]
        comparison = compare(runs("sgd", SGD) + adam)
        assert "There is no val_accuracy in digits/adam/seed-4: left out." in comparison.left_out
        assert only(comparison).difference.n == (4, 4)

    def test_a_damaged_row_costs_its_run(self, tmp_path: Path) -> None:
        records = [make_run(tmp_path, "sgd", seed, [0.5, value]) for seed, value in enumerate(SGD)]
        records += [make_run(tmp_path, "adam", seed, [0.5, value]) for seed, value in enumerate(ADAM)]
        path = records[-1].folder / "metrics.csv"
        header, first, last = path.read_text().splitlines()
        path.write_text("\n".join([header, first.replace("0.5", "0.5x"), last, ""]))
        comparison = compare(records)
        (sentence,) = comparison.left_out
        assert "digits/adam/seed-4 is left out" in sentence
        assert "line 2 holds what is no number" in sentence
        assert only(comparison).difference.n == (4, 4)

    def test_a_half_written_last_row_of_a_run_that_is_done(self, tmp_path: Path) -> None:
        """Dropping the row would count an earlier value as the last one."""
        records = [make_run(tmp_path, "sgd", seed, [0.5, value], steps=20) for seed, value in enumerate(SGD)]
        path = records[-1].folder / "metrics.csv"
        path.write_text(path.read_text()[:-8])
        comparison = compare(records)
        (sentence,) = comparison.left_out
        assert "its metrics.csv ends at step 10, and the run at step 20" in sentence
        assert comparison.rows[0].seeds == (0, 1, 2, 3)

    def test_two_runs_of_one_seed(self, tmp_path: Path) -> None:
        first = make_run(tmp_path / "a", "sgd", 0, [0.5, 0.6])
        again = make_run(tmp_path / "b", "sgd", 0, [0.5, 0.9])
        comparison = compare([first, again])
        assert f"{again.folder} repeats seed 0 of {first.folder} and is left out." in comparison.left_out
        assert comparison.rows[0].last is not None
        assert comparison.rows[0].last.mean == 0.6

    def test_nothing_but_damaged_runs(self, tmp_path: Path) -> None:
        record = make_run(tmp_path, "sgd", 0, [0.5, 0.6])
        (record.folder / "metrics.csv").write_text("step,val_accuracy\n10,0.5\nx\n20,0.6\n")
        with pytest.raises(UsageError, match="there are no runs to compare; digits/sgd/seed-0 is left out"):
            compare([record])

    def test_folders_that_are_not_runs(self, runs: Path, cli: Callable[..., Ended]) -> None:
        (runs / "empty").mkdir(parents=True)
        ended = cli("compare", "empty", code=2)
        assert "empty holds no run" in ended.stderr

    def test_a_summary_that_cannot_be_read(self, runs: Path, cli: Callable[..., Ended]) -> None:
        for seed in range(3):
            make_run(runs, "sgd", seed, [0.5, 0.6])
        (runs / "digits" / "sgd" / "seed-1" / "summary.json").write_text("{")
        ended = cli("compare", "digits", "--json")
        found = json.loads(ended.stdout)
        assert [row["seeds"] for row in found["rows"]] == [2]
        assert "seed-1/summary.json is damaged" in found["left_out"][0]


class TestBaseline:
    def four(self) -> list[RunRecord]:
        return [
            *runs("sgd", SGD, experiment="before"),
            *runs("adam", ADAM, experiment="before"),
            *runs("sgd", SGD, experiment="after"),
            *runs("adam", SGD, experiment="after"),
        ]

    def test_is_the_first_unless_said(self) -> None:
        records = runs("sgd", SGD) + runs("adam", ADAM) + runs("other", SGD)
        assert compare(records).baseline == "sgd"
        assert [verdict.label for verdict in compare(records, baseline="adam").verdicts] == ["sgd", "other"]

    def test_an_experiment_is_held_against_one_of_the_same_variants_name_by_name(self) -> None:
        found = {verdict.label: verdict for verdict in compare(self.four()).verdicts}
        assert {label: verdict.baseline for label, verdict in found.items()} == {
            "after/sgd": "before/sgd",
            "after/adam": "before/adam",
        }
        assert (found["after/sgd"].answer, found["after/adam"].answer) == ("same", "worse")

    def test_can_be_an_experiment(self) -> None:
        found = compare(self.four(), baseline="after").verdicts
        assert {verdict.label: verdict.baseline for verdict in found} == {
            "before/sgd": "after/sgd",
            "before/adam": "after/adam",
        }

    def test_that_is_not_there_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(UsageError, match="is called 'sdg'; did you mean 'sgd'"):
            compare(self.four(), baseline="sdg")


class TestMeasures:
    def test_test_data_and_whole_runs_can_be_compared(self) -> None:
        records = [
            in_memory(
                variant,
                seed,
                [0.5, 0.9, 0.8],
                test={"last": {"accuracy": value}, "best": {"accuracy": value + 0.01}},
                memory_peak_bytes=100 + seed,
            )
            for variant, values in (("sgd", SGD), ("adam", ADAM))
            for seed, value in enumerate(values)
        ]
        row = compare(records, metric="test_accuracy").rows[0]
        assert row.last is not None
        assert row.last.mean == pytest.approx(np.mean(ADAM))
        for name, value in (("test_best_accuracy", np.mean(ADAM) + 0.01), ("best_val_accuracy", 0.9)):
            last = compare(records, metric=name).rows[0].last
            assert last is not None
            assert last.mean == pytest.approx(value)
        memory = compare(records, metric="memory_peak_bytes")
        assert not memory.higher_is_better
        assert memory.rows[0].last is not None
        assert memory.rows[0].last.mean == 102

    def test_what_no_run_has_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(UsageError, match="did you mean 'val_accuracy'"):
            compare(runs("sgd", SGD), metric="val_acc")
        with pytest.raises(UsageError, match="no run has a column ''"):
            compare(runs("sgd", SGD), metric="")


def test_times_of_different_machines_are_not_ranked_unless_forced() -> None:
    machine = {"host": "a", "processor": "one", "device_name": "one", "cores": 2}
    records = [
        in_memory(variant, seed, [0.5, 0.6], machine={**machine, "processor": name, "device_name": name}, device="cpu")
        for variant, name in (("sgd", "one"), ("adam", "two"))
        for seed in range(3)
    ]
    with pytest.raises(UsageError, match="--force"):
        compare(records, metric="train_seconds")
    assert compare(records, metric="train_seconds", force=True).findings[0].rule == "time-across-machines"
    unforced, forced = (compare(records, target=0.55, force=force) for force in (False, True))
    assert "seconds" not in unforced.verdicts[0].times
    assert "seconds" in forced.verdicts[0].times
    assert any("not ranked; --force" in note for note in unforced.notes)


class TestCommandLine:
    @pytest.fixture
    def made(self, runs: Path) -> Path:
        for variant, values in (("sgd", SGD), ("adam", ADAM)):
            for seed, value in enumerate(values):
                make_run(runs, variant, seed, [0.5, value], order=int(variant == "adam"))
        return runs

    def test_the_order_of_the_file_decides_the_first(self, made: Path, cli: Callable[..., Ended]) -> None:
        assert "against sgd:" in cli("compare", "digits").stdout
        assert "against adam:" in cli("compare", "adam", "sgd").stdout

    @pytest.mark.parametrize("columns", ["44", "60", "80", "120", "200"])
    def test_tables_fit_the_window(self, made: Path, cli: Callable[..., Ended], columns: str) -> None:
        shown = cli("compare", "digits", "--target", "0.9", COLUMNS=columns).stdout
        table = [line for line in shown.splitlines() if line.startswith(("sgd ", "adam ", "─"))]
        assert table
        assert max(map(len, table)) <= int(columns)

    def test_what_is_in_the_table_is_in_the_csv(self, made: Path, cli: Callable[..., Ended], tmp_path: Path) -> None:
        cli("compare", "digits", "--target", "0.96", "--csv", tmp_path / "t.csv")
        table = pandas.read_csv(tmp_path / "t.csv").set_index("variant")
        expected = scipy.stats.ttest_rel(ADAM, SGD)
        assert table.loc["adam", "p"] == pytest.approx(expected.pvalue)
        assert table.loc["adam", "answer"] == "better"
        assert table.loc["adam", "beats"] == 1.0
        assert table.loc["adam", "target_reached"] == 5
        assert pandas.isna(table.loc["sgd", "answer"])

    def test_markdown_has_verdicts_too(self, made: Path, cli: Callable[..., Ended], tmp_path: Path) -> None:
        cli("compare", "digits", "--markdown", tmp_path / "t.md")
        text = (tmp_path / "t.md").read_text()
        assert "- adam is better than sgd in val_accuracy: " in text
        assert "| adam | sgd | +1.68 points |" in text
