"""Trials of a search and the runs that it led to: what `compare`, `list` and `show` make of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Ended
from search_runs import make_search, rewrite, settings

from nnopt.compare.comparison import Question, answer, compare
from nnopt.compare.tables.latex import to_latex
from nnopt.compare.tables.table import to_csv, to_markdown
from nnopt.errors import UsageError
from nnopt.store.find import read_named_runs
from nnopt.store.record import RunRecord

Look = Callable[..., Ended]


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants of twelve trials and three confirmed runs, an experiment of trials only, and one without any."""
    folder = tmp_path_factory.mktemp("searched")
    make_search(folder)
    make_search(folder, "unconfirmed", trials=3, confirmed=())
    return folder


@pytest.fixture
def look(top: Path, cli: Look) -> Look:
    return lambda *args, **options: cli(*args, NNOPT_RUNS_DIR=str(top), COLUMNS="120", **options)


class TestComparing:
    def test_an_experiment_shows_the_confirmed_runs_alone(self, look: Look) -> None:
        shown = json.loads(look("compare", "digits", "--json").stdout)
        assert sorted(shown["ranking"]) == ["adam", "sgd"]
        assert [row["seeds"] for row in shown["rows"]] == [3, 3]
        assert [row["trial"] for row in shown["rows"]] == [None, None]
        assert shown["baseline"] == "sgd"
        assert shown["left_out"] == []
        (note,) = [note for note in shown["notes"] if "search" in note]
        assert "The search of digits (24 trials, 12 of each of 2 variants)" in note
        assert "digits/sgd/trial-* names trials" in note
        assert note in look("compare", "digits").stdout.replace("\n  ", " ")

    def test_numbers_are_those_without_the_trials(self, top: Path) -> None:
        everything = read_named_runs(["digits"], top).records
        confirmed = [record for record in everything if record.trial is None]
        assert len(confirmed) == 6 < len(everything)
        whole, alone = compare(everything), compare(confirmed)
        assert to_csv(whole) == to_csv(alone)
        assert to_latex(whole) == to_latex(alone)
        assert whole.verdicts == alone.verdicts
        assert whole.findings == alone.findings
        kept = [line for line in to_markdown(whole).splitlines() if "search of digits" not in line]
        assert kept == to_markdown(alone).splitlines()

    def test_trials_that_are_named_are_rows(self, look: Look) -> None:
        shown = json.loads(look("compare", "digits/adam/trial-3", "digits/adam/trial-5", "--json").stdout)
        assert sorted(shown["ranking"]) == ["adam/trial-3", "adam/trial-5"]
        assert shown["baseline"] == "adam/trial-3"
        globbed = json.loads(look("compare", "digits/*/trial-1", "--json").stdout)
        assert sorted(globbed["ranking"]) == ["adam/trial-1", "sgd/trial-1"]

    def test_trials_that_are_named_stand_beside_confirmed_runs(self, look: Look) -> None:
        shown = json.loads(look("compare", "digits", "digits/adam/trial-3", "--json").stdout)
        assert sorted(shown["ranking"]) == ["adam", "adam/trial-3", "sgd"]
        assert any("23 trials" in note for note in shown["notes"])
        assert [row["seeds"] for row in shown["rows"] if row["trial"] is None] == [3, 3]

    def test_seeds_and_trials_of_a_glob_are_told_apart(self, look: Look) -> None:
        shown = json.loads(look("compare", "digits/adam/*", "--json").stdout)
        assert shown["ranking"] == ["adam"]
        seeds = json.loads(look("compare", "digits/adam/seed-*", "--json").stdout)
        assert seeds["ranking"] == ["adam"]
        assert not any("search" in note for note in seeds["notes"])

    def test_where_there_are_only_trials_the_best_of_each_variant_is_a_row(self, look: Look) -> None:
        shown = json.loads(look("compare", "unconfirmed", "--json").stdout)
        assert sorted(shown["ranking"]) == ["adam/trial-1", "sgd/trial-2"]
        assert {row["seeds"] for row in shown["rows"]} == {1}
        (note,) = [note for note in shown["notes"] if "too good" in note]
        assert "Of the search of unconfirmed (6 trials) the best trial of each variant is shown" in note
        every = json.loads(look("compare", "unconfirmed/*/trial-*", "--json").stdout)
        assert len(every["ranking"]) == 6

    def test_winners_are_compared_on_test_data_and_others_as_ever(self, top: Path) -> None:
        records = read_named_runs(["digits"], top).records
        assert compare(records).metric == "test_accuracy"
        assert compare(records, "val_accuracy").metric == "val_accuracy"
        trial = [record for record in records if record.trial == 0]
        assert compare(trial).metric == "val_accuracy"
        *others, last = [record for record in records if record.trial is None]
        stranger = dataclasses.replace(last, summary={**last.summary, "spec_hash": "other"})
        assert compare([*others, stranger]).metric == "val_accuracy"

    def test_a_variant_that_is_not_confirmed_yet_is_named(self, top: Path) -> None:
        named = read_named_runs(["digits"], top)
        so_far = [record for record in named.records if record.trial is not None or record.variant == "sgd"]
        (note,) = [note for note in answer(so_far, Question()).notes if "search" in note]
        assert note.endswith("Of adam there are trials only, so far.")

    def test_a_variant_with_more_trials_is_told(self, top: Path) -> None:
        records = [one for one in read_named_runs(["digits"], top).records if one.trial != 11 or one.variant != "sgd"]
        (note,) = [note for note in compare(records).notes if "search" in note]
        assert "(23 trials: 11 of sgd, 12 of adam)" in note

    def test_a_damaged_trial_costs_no_comparison(self, tmp_path: Path) -> None:
        records = make_search(tmp_path, trials=3)
        (records[0].folder / "metrics.csv").write_text("step,val_accuracy\n10,x\n20,0.5\n")
        comparison = compare(make_again(tmp_path))
        assert len(comparison.rows) == 2
        assert "digits/sgd/trial-0/seed-0 is left out" in comparison.left_out[0]

    def test_a_damaged_record_of_the_search_is_named(self, tmp_path: Path) -> None:
        make_search(tmp_path, trials=2)
        (tmp_path / "digits" / "search.json").write_text("{")
        comparison = compare(make_again(tmp_path))
        assert len(comparison.rows) == 2
        assert "search.json is damaged" in comparison.left_out[0]
        assert comparison.searches == ()


def make_again(top: Path) -> list[RunRecord]:
    return read_named_runs(["digits"], top).records


class TestFairness:
    def test_tuned_by_the_search_is_not_untuned(self, top: Path) -> None:
        rules = {finding.rule for finding in compare(make_again(top)).findings}
        assert not rules & {"untuned", "trials"}

    def test_trials_count_as_many_as_were_searched(self, top: Path) -> None:
        named = read_named_runs(["digits/adam/trial-1", "digits/sgd/trial-1", "digits/sgd/trial-2"], top)
        findings = answer(named.records, Question(), named_trials=named.trials).findings
        assert "trials" not in {finding.rule for finding in findings}

    def test_fewer_trials_of_one_variant_are_found(self, tmp_path: Path) -> None:
        for record in make_search(tmp_path, trials=4):
            if record.variant == "adam" and record.trial is None:
                spec = record.summary["spec"]
                rewrite(record, spec={**spec, "tuned": {**spec["tuned"], "trials": 2}})
        finding = next(one for one in compare(make_again(tmp_path)).findings if one.rule == "trials")
        assert "2 (adam), 4 (sgd)" in finding.text


class TestSearches:
    def test_belong_to_whole_experiments_and_variants(self, top: Path) -> None:
        def searched(*names: str) -> list[list[str]]:
            named = read_named_runs(names, top)
            found = answer(named.records, Question(), named.problems, named.trials)
            return [list(one.file.variants) for one in found.searched]

        assert searched("digits") == [["sgd", "adam"]]
        assert searched("digits/adam") == [["adam"]]
        assert searched("digits/adam/seed-*") == []
        assert searched("digits/adam/trial-3", "digits/adam/trial-4") == []
        assert searched("digits", "digits/adam/trial-3") == [["sgd", "adam"]]
        assert searched("digits", "unconfirmed") == [["sgd", "adam"], ["sgd", "adam"]]

    def test_are_summed_up_from_all_their_runs(self, top: Path) -> None:
        (search,) = compare(make_again(top)).searches
        assert [len(one.trials) for one in search.variants] == [12, 12]


class TestListing:
    def test_a_search_is_a_line_a_variant(self, look: Look) -> None:
        lines = look("list").stdout.splitlines()
        assert len(lines) == 1 + 2 * (3 + 1) + 2 + 1
        line = next(line for line in lines if line.startswith("digits/adam/trial-*"))
        lost = sum(setting["optimizer.lr"] > 0.3 for setting in settings(12))
        assert f"{12 - lost} done, {lost} diverged" in line
        assert "the best)" in line
        assert lines[-1].startswith("36 runs, ")

    def test_the_best_trial_is_that_of_the_objective(self, look: Look, top: Path) -> None:
        records = [one for one in make_again(top) if one.variant == "adam" and one.trial is not None]
        done = [one for one in records if one.status == "done"]
        best = max(done, key=lambda one: one.curve()["val_accuracy"][-1] or 0.0)
        line = next(line for line in look("list", "digits/adam").stdout.splitlines() if "trial-*" in line)
        assert f"(trial {best.trial}, the best)" in line

    def test_trials_have_lines_where_they_are_asked_for(self, look: Look) -> None:
        assert len(look("list", "--trials", "digits").stdout.splitlines()) == 1 + 2 * (3 + 12) + 1
        named = look("list", "digits/adam/trial-*").stdout
        assert len(named.splitlines()) == 1 + 12 + 1
        assert "digits/adam/trial-7/seed-0" in named

    def test_json_has_every_run(self, look: Look) -> None:
        runs = json.loads(look("list", "--json", "digits").stdout)
        assert len(runs) == 2 * (3 + 12)
        trial = next(run for run in runs if run["run"] == "digits/adam/trial-2/seed-0")
        assert (trial["trial"], trial["setting"]) == (2, settings(12)[2])

    def test_without_a_record_of_the_search_trials_are_counted(self, tmp_path: Path, cli: Look) -> None:
        make_search(tmp_path, trials=2)
        (tmp_path / "digits" / "search.json").unlink()
        printed = cli("list", NNOPT_RUNS_DIR=str(tmp_path)).stdout
        assert "digits/adam/trial-*" in printed
        assert "the best" not in printed


class TestShowing:
    def test_a_trial_says_what_it_set(self, look: Look) -> None:
        printed = look("show", "digits/adam/trial-2").stdout
        assert "2 (of 12) of adam, in the search of digits" in " ".join(printed.split())
        rate = settings(12)[2]["optimizer.lr"]
        assert f"optimizer.lr {rate:g}" in printed

    def test_a_tuned_run_says_by_how_many_trials(self, look: Look) -> None:
        assert "by 12 trials" in look("show", "digits/adam/seed-1").stdout


def test_nothing_but_damaged_runs_is_refused(tmp_path: Path) -> None:
    records = make_search(tmp_path, trials=1, confirmed=())
    for record in records:
        (record.folder / "metrics.csv").write_text("step\nx\n1\n")
    with pytest.raises(UsageError, match="there are no runs to compare"):
        compare(make_again(tmp_path))
