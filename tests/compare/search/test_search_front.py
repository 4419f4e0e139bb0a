"""The front of a search with two objectives: in the summary, in the tables and in the picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from made_searches import confirming, search_file, searched, space, trial_run
from matplotlib.figure import Figure

from nnopt.compare.pictures.search import plot_search
from nnopt.compare.search.reported import metric_of_winners
from nnopt.compare.search.summary import SearchSummary, summarise_search
from nnopt.compare.tables.search import search_json, search_markdown
from nnopt.compare.tables.search_rows import to_csv, trial_rows, variant_rows
from nnopt.store.search_file import SearchFile, Sized, Winner

WIDTH = "model.hidden.0"
AGAINST = {"sampler": {"kind": "tpe"}, "objective": {"against": "parameters"}, "limits": {"parameters": 900}}
# Accuracy and parameters of trials 0, 1, ...: 0 < 2 < 3 are the front, 1 costs more than 2 and is no better.
TRIED = ((0.5, 100), (0.8, 300), (0.8, 200), (0.9, 800))


def file_of(*confirmed: int) -> SearchFile:
    """search.json of four trained trials and one beyond the limit, of which some were trained again."""
    variant = replace(
        searched(5, space(model__hidden__0={"int": [1, 9]})),
        front=tuple(Winner(trial, f"hash-{trial}") for trial in confirmed),
        sized=(Sized(3, {WIDTH: 4}, {"parameters": 800}, False), Sized(4, {WIDTH: 9}, {"parameters": 990}, True)),
    )
    return search_file(search=AGAINST, adam=variant)


def summary_with(*confirmed: int, values: Sequence[float] = (0.7, 0.75, 0.8)) -> SearchSummary:
    records = [
        trial_run("adam", number, {WIDTH: number + 1}, value, parameters=cost)
        for number, (value, cost) in enumerate(TRIED)
    ]
    for trial in confirmed:
        records += confirming(f"adam.{trial}", values, spec_hash=f"hash-{trial}")
    return summarise_search(file_of(*confirmed), records)


def test_members_from_the_cheapest_on_with_their_runs_on_fresh_seeds() -> None:
    (one,) = summary_with(0, 3).variants
    assert [member.trial.number for member in one.front] == [0, 2, 3]
    assert [member.name for member in one.front] == ["adam.0", None, "adam.3"]
    assert [len(member.confirmed) for member in one.front] == [3, 0, 3]
    assert [member.estimates[0].mean for member in one.front] == pytest.approx([0.75, 0.8, 0.75])
    assert one.best is not None
    assert (one.best.number, one.is_confirmed) == (3, True)
    assert one.counts == {"done": 4, "over": 1}
    assert one.trials[4].sizes == {"parameters": 990}


def test_a_member_with_too_few_seeds_is_told_by_its_name() -> None:
    warnings = " ".join(summary_with(0, values=[0.7, 0.8]).warnings)
    assert "adam.0 was trained on 2 of 3 fresh seeds" in warnings
    assert "the best setting of adam" not in warnings


def test_runs_of_members_are_reported_by_test_data() -> None:
    records = [*confirming("adam.0", [0.7], "hash-0"), *confirming("adam.3", [0.7], "hash-3")]
    assert metric_of_winners([file_of(0, 3)], records) == "test_accuracy"
    assert metric_of_winners([file_of(0)], records) is None


def test_a_row_a_member_and_a_row_a_trial() -> None:
    summary = summary_with(0, 3)
    members = pandas.read_csv(io.StringIO(to_csv(variant_rows(summary))))
    assert list(members["best_trial"]) == [0, 2, 3]
    assert list(members["cost"]) == [100, 200, 800]
    assert list(members["on_fresh_seeds"]) == [1, 0, 1]
    assert list(members["confirmed_as"].dropna()) == ["adam.0", "adam.3"]
    assert list(members[WIDTH]) == [1, 3, 4]
    assert set(members["over"]) == {1}
    trials = pandas.read_csv(io.StringIO(to_csv(trial_rows(summary))))
    assert list(trials["parameters"]) == [100, 300, 200, 800, 990]
    assert list(trials["status"]) == [*["done"] * 4, "over"]
    assert len(search_json(summary)["variants"]) == 3


def test_a_search_without_any_value_still_has_its_row() -> None:
    (row,) = variant_rows(summarise_search(file_of(), []))
    assert (row["best_trial"], row["cost"], row["over"]) == (None, None, 1)


def test_the_text_has_the_front_in_the_place_of_winners() -> None:
    text = search_markdown(summary_with(0, 3))
    assert "by val_accuracy, more is better, against parameters" in text
    table = text.partition("The front of val_accuracy against parameters")[2].splitlines()
    assert [line.split("|")[1].strip() for line in table[2:7]] == ["variant", "---", "adam.0", "adam", "adam.3"]
    assert "best trial" not in text
    assert "1 of 5 trials not trained: allowed were parameters at most 900." in text


def test_the_picture_has_trials_the_front_and_fresh_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("nnopt.compare.pictures.search.write_picture", lambda figure, path: drawn.append(figure))
    plot_search(summary_with(0, 3), tmp_path / "search.png")
    front = drawn[0].axes[0]
    assert front.get_title(loc="left") == "val_accuracy against parameters"
    tried, steps, *again = (list(zip(*line.get_data(), strict=True)) for line in front.lines)
    assert tried == [(cost, value) for value, cost in TRIED]
    assert steps == [(100, 0.5), (200, 0.8), (800, 0.9)]
    assert [places for places in again if len(places) == 1] == [
        [(100, pytest.approx(0.75))],
        [(800, pytest.approx(0.75))],
    ]
    assert front.get_xscale() == "log"
