from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from compare_runs import make_run
from rich.console import Console

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.spread import Spread
from nnopt.compare.tables.table import to_json, write_csv, write_markdown
from nnopt.compare.tables.terminal import render
from nnopt.compare.text import best_sentence, show_bytes, show_quantity, show_spread


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    records = [
        *(make_run(tmp_path, "adam", seed, [0.5, 0.9 + seed / 100]) for seed in (0, 1, 2)),
        *(make_run(tmp_path, "sgd", seed, [0.5, 0.7]) for seed in (0, 1)),
        make_run(tmp_path, "sgd", 2, [0.5], status="diverged"),
    ]
    return compare(records, target=0.8)


def shown(comparison: Comparison, width: int) -> str:
    file = io.StringIO()
    render(comparison, Console(file=file, width=width))
    return file.getvalue()


def test_the_csv_is_read_by_pandas_in_one_line(comparison: Comparison, tmp_path: Path) -> None:
    write_csv(comparison, tmp_path / "comparison.csv")
    table = pd.read_csv(tmp_path / "comparison.csv").set_index("label")
    assert table.index.to_list() == ["adam", "sgd"]
    assert table["rank"].to_list() == [1, 2]
    assert table["last_mean"].to_list() == pytest.approx([0.91, 0.7])
    assert table["last_sd"].to_list() == pytest.approx([0.01, 0.0])
    assert table["diverged"].to_list() == [0, 1]
    assert table["target_reached"].to_list() == [3, 0]
    assert table.loc["adam", "target_steps"] == 20
    assert pd.isna(table.loc["sgd", "target_steps"])


def test_json_has_the_rows_the_differences_and_the_notes(comparison: Comparison) -> None:
    value = json.loads(to_json(comparison))
    assert value["best"] == "adam"
    assert value["ranking"] == ["adam", "sgd"]
    assert value["target"] == {"metric": "val_accuracy", "value": 0.8}
    assert value["rows"][1]["target_steps"] is None
    assert value["differences"] == {"optimizer.kind": {"adam": "adam", "sgd": "sgd"}}
    assert value["notes"] == list(comparison.notes)


def test_markdown_has_as_many_cells_in_every_line_of_a_table(comparison: Comparison, tmp_path: Path) -> None:
    write_markdown(comparison, tmp_path / "comparison.md")
    text = (tmp_path / "comparison.md").read_text()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3  # variants, verdicts, keys in which the specs differ
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    assert "| 1 of 3 diverged |" in text
    assert best_sentence(comparison) in text
    assert all(f"- {note}" in text for note in comparison.notes)


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_shows_every_number_whole_within_its_width(comparison: Comparison, width: int) -> None:
    text = shown(comparison, width)
    table, sentences = text.split("best: ")
    assert max(map(len, table.splitlines())) <= width
    assert "0.9100 ± 0.0100" in table
    assert "diverged" in table
    assert sentences.startswith("adam, val_accuracy 0.9100 ± 0.0100 (last of 3 seeds)\n")
    marked = {line.split()[2] for line in table.splitlines() if line.startswith("* ")}
    assert marked == {"adam"}


def test_a_narrow_terminal_gets_more_tables_than_a_wide_one(comparison: Comparison) -> None:
    assert shown(comparison, 200).count("variant") < shown(comparison, 80).count("variant")


@pytest.mark.parametrize("width", [44, 60, 80])
def test_a_narrow_terminal_breaks_no_name(comparison: Comparison, width: int) -> None:
    lines = shown(comparison, width).splitlines()
    tables = sum(line.lstrip().startswith("#") for line in lines)
    assert tables
    for label in comparison.ranking:
        assert sum(label in line.split() and line[:4].strip(" *").isdigit() for line in lines) == tables


def test_many_variants_have_their_differences_in_lines(tmp_path: Path) -> None:
    records = [make_run(tmp_path, f"a-long-name-{n}", 0, [n / 20], spec={"lr": n % 2}) for n in range(12)]
    text = shown(compare(records), 80)
    line = next(line for line in text.splitlines() if line.startswith("  lr: "))
    assert line.startswith("  lr: 1 (a-long-name-11, a-long-name-9, ")
    assert "; 0 (a-long-name-10, " in line


def test_a_bracket_in_a_name_is_no_markup(tmp_path: Path) -> None:
    assert "[red]" in shown(compare([make_run(tmp_path, "[red]", 0, [0.5])]), 80)


def test_the_sentence_names_one_seed_a_diverged_run_and_nothing(tmp_path: Path) -> None:
    one = compare([make_run(tmp_path / "a", "sgd", 0, [0.5])])
    assert best_sentence(one) == "best: sgd, val_accuracy 0.5000 (last of 1 seed)"
    runs = [make_run(tmp_path / "b", "sgd", seed, [0.5]) for seed in (0, 1)]
    lost = make_run(tmp_path / "b", "sgd", 2, [0.5], status="diverged")
    some = best_sentence(compare([*runs, lost]))
    assert some == "best: sgd, val_accuracy 0.5000 ± 0.0000 (last of 2 seeds; 1 of 3 diverged)"
    assert best_sentence(compare([lost])) == "best: none, because no run that is done has a val_accuracy"


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (0.98123, 0.00101, "0.9812 ± 0.0010"),
        (0.98123, 0.000012, "0.98123 ± 0.00001"),
        (0.98123, None, "0.9812"),
        (54.321, 2.5, "54.32 ± 2.50"),
        (2900.4, 210.6, "2900 ± 211"),
        (0.0, 0.0, "0.0000 ± 0.0000"),
        (1.234e-5, 2e-7, "1.234e-05 ± 2.0e-07"),
        (3e9, None, "3.000e+09"),
    ],
)
def test_spreads_show_the_digits_that_matter(mean: float, sd: float | None, text: str) -> None:
    assert show_spread(Spread(mean, sd, 3)) == text


def test_quantities_and_memory_are_short() -> None:
    values = (None, 0.0, 3.0, 1.234, 12.34, 1234.5, 0.0012)
    assert [show_quantity(value) for value in values] == ["-", "0", "3", "1.23", "12.3", "1,234", "1.2e-03"]
    sizes = (None, 0, 999, 1_000, 1_500_000, 123_000_000_000)
    assert [show_bytes(size) for size in sizes] == ["-", "0 B", "999 B", "1.0 kB", "1.5 MB", "123 GB"]


def test_comparing_a_hundred_runs_needs_nothing_heavy(tmp_path: Path) -> None:
    for variant in range(20):
        for seed in range(5):
            make_run(tmp_path, f"v{variant}", seed, [0.001 * step + seed / 1000 for step in range(200)])
    program = f"""
import sys
from pathlib import Path
from rich.console import Console
from nnopt.compare.comparison import compare
from nnopt.compare.tables.terminal import render
from nnopt.store.record import RunRecord
folders = sorted(path.parent for path in Path({str(tmp_path)!r}).rglob("summary.json"))
comparison = compare([RunRecord.read(folder) for folder in folders], target=0.1)
render(comparison, Console())
assert len(comparison.rows) == 20, comparison.rows
heavy = {{"torch", "sklearn", "pandas", "matplotlib", "scipy.stats"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
