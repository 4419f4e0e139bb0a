"""What a search found, as tables and files: the numbers are those of the summary."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from made_searches import LR, confirming, search_file, searched, space, trial_run
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.console import Console

from nnopt.compare.pictures.figure import COLOURS
from nnopt.compare.pictures.search import plot_search
from nnopt.compare.search.files import write_search_files
from nnopt.compare.search.summary import Estimate, SearchSummary, summarise_search
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.tables.search import render_search, search_json, search_markdown, show_estimate
from nnopt.errors import DiskError

BATCH = "strategy.batch_size"
TABLES = ("trials", "search", "sensitivity", "importance", "expected_best")


def made(sampler: str = "random", **changes: Any) -> SearchSummary:
    """Two variants of twelve trials: adam by two keys with a diverged trial, sgd by its rate alone, its best at 1."""
    random = np.random.default_rng(0)
    two = space(optimizer__lr={"log": [1e-4, 1]}, strategy__batch_size={"choice": [16, 32, [64]]})
    records = []
    for number in range(12):
        rate, batch = float(10 ** random.uniform(-4, 0)), [16, 32, [64]][number % 3]
        value = 0.9 - 0.1 * (math.log10(rate) + 2) ** 2
        lost = {"status": "diverged"} if rate > 0.5 else {}
        records.append(trial_run("adam", number, {LR: rate, BATCH: batch}, value, **lost))
        records.append(trial_run("sgd", number, {LR: 10 ** ((number - 11) / 4)}, 0.5 + 0.04 * number))
    done = [one for one in records if one.variant == "adam" and one.status == "done"]
    best = max(done, key=lambda one: one.curve()["val_accuracy"][-1] or 0.0)
    records += confirming("adam", [0.88, 0.89, 0.9])
    file = search_file(
        search={"sampler": {"kind": sampler}},
        adam=searched(12, two, winner=best.trial),
        sgd=searched(12, order=1),
        **changes,
    )
    return summarise_search(file, records)


def printed(summary: SearchSummary, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO(), legacy_windows=False)
    render_search(summary, console)
    return console.export_text()


@pytest.fixture(scope="module")
def summary() -> SearchSummary:
    return made()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, summary: SearchSummary) -> Path:
    path = tmp_path_factory.mktemp("files")
    written = write_search_files(summary, path)
    assert sorted(written) == sorted(path.iterdir())
    return path


def test_a_row_a_trial_with_its_keys(folder: Path, summary: SearchSummary) -> None:
    frame = pandas.read_csv(folder / "trials.csv")
    assert list(frame.columns) == ["variant", "trial", "again", "status", "val_accuracy", "train_seconds", LR, BATCH]
    assert len(frame) == 24
    for row in frame.itertuples(index=False):
        (of,) = [one for one in summary.variants if one.variant == row.variant]
        trial = of.trials[row.trial]
        assert row.status == trial.status
        assert row[4] == trial.value or (math.isnan(row[4]) and trial.value is None)
        assert row[6] == trial.setting[LR]
        read = None if isinstance(row[7], float) and math.isnan(row[7]) else json.loads(str(row[7]))
        assert read == trial.setting.get(BATCH)


def test_a_row_a_variant_with_best_edges_and_fresh_seeds(folder: Path, summary: SearchSummary) -> None:
    frame = pandas.read_csv(folder / "search.csv").set_index("variant")
    adam, sgd = summary.variants
    assert list(frame.index) == ["adam", "sgd"]
    assert frame.loc["sgd", "edges"] == LR
    assert pandas.isna(frame.loc["adam", "edges"])
    assert list(frame["on_fresh_seeds"]) == [1, 0]
    assert frame.loc["adam", "test_accuracy_mean"] == pytest.approx(0.88)
    assert frame.loc["adam", "val_accuracy_n"] == 3
    assert frame.loc["sgd", "val_accuracy_n"] == 1
    assert pandas.isna(frame.loc["sgd", "val_accuracy_low"])
    assert frame.loc["adam", "diverged"] == adam.diverged.count > 0
    assert sgd.best is not None
    assert frame.loc["sgd", "best_value"] == sgd.best.value
    assert frame.loc["sgd", LR] == sgd.best.setting[LR]
    assert frame.loc["sgd", "lr_high_is_open"] == 1


def test_the_curves_read_back(folder: Path, summary: SearchSummary) -> None:
    rates, best = (pandas.read_csv(folder / f"{name}.csv") for name in ("sensitivity", "expected_best"))
    for one in summary.variants:
        assert one.sensitivity is not None
        assert one.expected_best is not None
        some = rates[rates["variant"] == one.variant]
        assert list(some["rate"]) == [point.rate for point in one.sensitivity.points]
        assert list(some[some["on_curve"] == 1]["trial"]) == [point.trial for point in one.sensitivity.curve]
        some = best[best["variant"] == one.variant]
        assert tuple(some["trials"]) == one.expected_best.trials
        assert tuple(some["expected"]) == one.expected_best.expected
        assert tuple(some["low"]) == one.expected_best.low
        assert tuple(some["seconds"]) == one.expected_best.seconds


def test_importance_is_told_of_the_variant_with_two_keys(folder: Path, summary: SearchSummary) -> None:
    frame = pandas.read_csv(folder / "importance.csv")
    assert list(frame["variant"]) == ["adam", "adam"]
    assert list(frame["key"]) == [one.key for one in summary.variants[0].importance.keys]


def test_markdown_has_whole_tables_and_the_warnings(folder: Path, summary: SearchSummary) -> None:
    text = (folder / "search.md").read_text()
    assert text == search_markdown(summary)
    assert text.startswith(
        "# Search of digits: 12 trials of each of 2 variants (random), by val_accuracy, more is better"
    )
    assert all(f"- **{warning}**" in text for warning in summary.warnings)
    assert summary.warnings
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1
        assert len(lines) == 2 + len(summary.variants)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_terminal_of_any_width_shows_every_number(summary: SearchSummary, width: int) -> None:
    text = printed(summary, width)
    adam, sgd = summary.variants
    assert sgd.best is not None
    assert f"{sgd.best.value:.4f}" in text
    assert "warning: the best optimizer.lr of sgd, 1" in text
    assert "`--extend` searches 1 to 10 too" in text.replace("\n", " ")
    assert show_estimate(adam.estimates[1]) in text.replace("\n", " ") or width == 40
    tables = [line for line in text.splitlines() if line.startswith(("adam ", "sgd ", "variant ", "─"))]
    assert tables
    assert all(len(line.rstrip()) <= width for line in tables)


def test_json_is_json_and_has_every_table(summary: SearchSummary) -> None:
    value = json.loads(json.dumps(search_json(summary), allow_nan=False))
    assert set(TABLES) - {"search"} < set(value)
    assert [row["variant"] for row in value["variants"]] == ["adam", "sgd"]
    assert value["warnings"] == list(summary.warnings)


def test_a_search_of_which_nothing_ran_is_written_with_headers(tmp_path: Path) -> None:
    nothing = summarise_search(search_file(adam=searched(3)), [])
    write_search_files(nothing, tmp_path)
    for name in TABLES:
        frame = pandas.read_csv(tmp_path / f"{name}.csv")
        assert len(frame) == (name == "search")
        assert "variant" in frame
    assert "0 of 3" in printed(nothing, 100)


def test_a_search_of_which_all_diverged_is_written(tmp_path: Path) -> None:
    lost = [trial_run("adam", n, {LR: 0.1 * (n + 1)}, 0.1, status="diverged") for n in range(3)]
    summary = summarise_search(search_file(adam=searched(3)), lost)
    write_search_files(summary, tmp_path)
    assert "3 diverged" in printed(summary, 100)
    assert "100 % (29 to 100)" in printed(summary, 100)


def test_without_a_folder_it_is_an_error_in_words(tmp_path: Path, summary: SearchSummary) -> None:
    with pytest.raises(DiskError):
        write_search_files(summary, tmp_path / "nothing")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Estimate("a", 0.97412, Interval(0.9702, 0.978), 5), "0.9741 (0.9702 to 0.9780, n = 5)"),
        (Estimate("a", 0.5, None, 1), "0.5000 (n = 1)"),
        (Estimate("a", 1234.5, Interval(1200.0, 1269.0), 3, 1), "1234 (1200 to 1269, n = 3, 1 diverged)"),
        (Estimate("a", 0.5, Interval(0.5, 0.5), 2), "0.5000 (0.5000 to 0.5000, n = 2)"),
    ],
)
def test_estimates_have_the_digits_of_their_intervals(found: Estimate, text: str) -> None:
    assert show_estimate(found) == text


def test_the_picture_has_every_variant(folder: Path, summary: SearchSummary) -> None:
    pixels = np.asarray(imread(folder / "search.png"))[..., :3]
    assert pixels.shape[1] == 1200
    for colour in COLOURS[: len(summary.variants)]:
        assert (np.abs(pixels - to_rgb(colour)).max(axis=-1) < 0.01).any()


def test_the_picture_says_what_its_marks_are(tmp_path: Path) -> None:
    plot_search(made("tpe"), tmp_path / "search.svg")
    text = (tmp_path / "search.svg").read_text()
    for label in ("sgd", "within 1 % of the best", "diverged", "best so far", "training seconds", LR):
        assert f">{label}</text>" in text


def test_the_picture_shows_what_is_near_the_best(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Half of the trials are far off, and so is what few trials are expected to find."""
    drawn: list[Figure] = []
    monkeypatch.setattr("nnopt.compare.pictures.search.write_picture", lambda figure, path: drawn.append(figure))
    file = search_file(metric="val_loss", higher_is_better=False, adam=searched(40))
    values = [9.0] * 20 + [0.1 + 0.001 * n for n in range(20)]
    rates = [10 ** (-4 + n / 10) for n in range(40)]
    records = [
        trial_run("adam", n, {LR: rate}, value, metric="val_loss")
        for n, (rate, value) in enumerate(zip(rates, values, strict=True))
    ]
    plot_search(summarise_search(file, records), tmp_path / "search.png")
    _, *expected = drawn[0].axes
    assert len(expected) == 2
    for axes in expected:
        low, high = axes.get_ylim()
        assert low < 0.1 < high < 1


def test_losses_are_drawn_by_factors_and_searches_without_a_rate_too(tmp_path: Path) -> None:
    batches = space(strategy__batch_size={"choice": [16, 32]})
    file = search_file(metric="val_loss", higher_is_better=False, adam=searched(3, batches))
    records = [trial_run("adam", n, {BATCH: 16}, value, metric="val_loss") for n, value in enumerate([9.0, 0.1, 1e5])]
    plot_search(summarise_search(file, records), tmp_path / "search.svg")
    text = (tmp_path / "search.svg").read_text()
    assert "val_loss against" not in text
    assert "best so far" not in text
    assert "expected best val_loss" in text
