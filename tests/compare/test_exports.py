"""Files for papers and programs: LaTeX, every curve, and pictures as PNG, SVG and PDF."""

from __future__ import annotations

import importlib.util
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from compare_runs import make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.groups import Group, group_runs
from nnopt.compare.pictures.convergence import plot_comparison
from nnopt.compare.pictures.figure import check_picture_file, new_figure, write_picture
from nnopt.compare.pictures.rates import plot_rates
from nnopt.compare.pictures.run import plot_run
from nnopt.compare.pictures.tasks import plot_profiles
from nnopt.compare.tables.curves import KEYS, check_curves_file, long_table, write_curves
from nnopt.compare.tables.latex import escape, to_latex, write_latex
from nnopt.compare.tasks.across import AcrossTasks
from nnopt.errors import DiskError, UsageError

NASTY = "a_b%c&d#e$f{g}h~i^j\\k|l<m>n"


def table_of(top: Path, *names: str) -> Comparison:
    """Variants with losses from 1e-5 to 1e9, negative ones among them, and a diverged run."""
    levels = (1e-5, -3.0, 1e9, 0.25)
    records = [
        make_run(
            top,
            name.replace("/", "-"),
            seed,
            [level * (1 + seed / 10), level * (1 + seed / 20)],
            metric="val_loss",
            status="diverged" if place == 3 and seed == 0 else "done",
        )
        for place, (name, level) in enumerate(zip(names, levels, strict=False))
        for seed in range(3)
    ]
    return compare(records, target=0.5)


def unescaped(text: str, letter: str) -> list[str]:
    """The places where a letter stands without a backslash before it."""
    return re.findall(rf"(?<!\\){re.escape(letter)}", text)


def check_structure(text: str) -> None:
    """Balanced environments and braces, as many cells in every row as columns, nothing that LaTeX trips over."""
    open_ones: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert open_ones == []
    assert len(unescaped(text, "{")) == len(unescaped(text, "}"))
    assert len(unescaped(text, "$")) % 2 == 0
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert not any(unescaped(line, letter) for line in body for letter in "%#~")
    for tabular in re.findall(r"\\begin\{tabular\}\{(.*?@\{\})\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        columns = len(re.sub(r"@\{\}", "", tabular[0]))
        rows = [line for line in tabular[1].splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 2
        assert {len(unescaped(row, "&")) + 1 for row in rows} == {columns}
        assert [line.strip() for line in tabular[1].splitlines() if line.strip().endswith("rule")] == [
            r"\toprule",
            r"\midrule",
            r"\bottomrule",
        ]
    for line in body:
        outside = re.sub(r"\$[^$]*\$", "", line.replace(r"\$", "").replace(r"\&", "").replace(r"\_", ""))
        assert "_" not in outside
        assert "^" not in outside


def test_a_table_is_whole_whatever_the_names(tmp_path: Path) -> None:
    comparison = table_of(tmp_path, NASTY, "größe-1e-5", "[x]", "lost")
    text = to_latex(comparison)
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table}\n")
    check_structure(text)
    assert escape(NASTY) in text
    assert r"$2.100 \times 10^{-5}$" in text or r"$1.050 \times 10^{-5}$" in text
    assert r"$\pm$" in text
    assert "±" not in text
    assert "1 of 3 diverged" in text


def test_the_best_row_is_bold_and_no_other(tmp_path: Path) -> None:
    comparison = table_of(tmp_path, "sgd", "adam", "slow")
    assert comparison.best is not None
    bold = [line for line in to_latex(comparison).splitlines() if "textbf" in line]
    assert bold
    assert all(f"\\textbf{{{comparison.best.label}}}" in line for line in bold)
    assert r"\textbf{\boldmath $-3.1500$ $\pm$ 0.1500}" in bold[0]


def test_caption_and_label_are_the_callers(tmp_path: Path) -> None:
    comparison = table_of(tmp_path, "sgd", "adam")
    assert "\\caption{Losses on \\emph{digits}.}\n  \\label{tab:digits}" in to_latex(
        comparison, r"Losses on \emph{digits}.", "tab:digits"
    )
    assert r"\caption{best: adam, val\_loss $" in to_latex(
        comparison
    ) or r"\caption{best: adam, val\_loss -" in to_latex(comparison)


def test_long_tables_have_a_float_each(tmp_path: Path) -> None:
    records = [make_run(tmp_path, f"variant-{place:02}", 0, [0.1, place / 40]) for place in range(30)]
    text = to_latex(compare(records, target=0.2))
    check_structure(text)
    assert text.count(r"\begin{table}") == text.count(r"\begin{tabular}") > 1
    assert r"\label{tab:comparison-2}" in text


def test_it_is_written_to_a_file(tmp_path: Path) -> None:
    comparison = table_of(tmp_path, "sgd")
    write_latex(comparison, tmp_path / "table.tex")
    assert (tmp_path / "table.tex").read_text() == to_latex(comparison)


@settings(derandomize=True, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=30))
def test_escaped_text_holds_nothing_active(text: str) -> None:
    plain = escape(text)
    assert not any(unescaped(plain.replace(r"\textbackslash{}", ""), letter) for letter in "%#&_~^")
    assert "\n" not in plain
    known = {"&", "%", "#", "_", "{", "}", "$", "pm", "tau"}
    words = {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"}
    for command in re.findall(r"\\([a-zA-Z]+|.)", plain):
        assert command in known | words


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_takes_it(tmp_path: Path) -> None:
    table = to_latex(table_of(tmp_path, NASTY, "größe-1e-5", "[x]", "lost"))
    page = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{table}\\end{{document}}\n"
    (tmp_path / "page.tex").write_text(page)
    done = subprocess.run(
        ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def curves_of(top: Path) -> list[Group]:
    """Runs of unequal columns and lengths, with empty cells and values that are not finite."""
    records = [
        make_run(top, "sgd", 0, [0.1, 1 / 3, 0.123456789012345678], columns={"lr": [1e-300, 0.1, None]}),
        make_run(top, "sgd", 1, ["nan", "inf"], status="diverged"),
        make_run(top, "adam", 0, [0.5], columns={"seed": [7]}, trial=2, status="running"),
        make_run(top, "none", 0, []),
    ]
    return group_runs(records)[0]


READERS: dict[str, Callable[[Path], pandas.DataFrame]] = {
    ".csv": pandas.read_csv,
    ".parquet": pandas.read_parquet,
}


@pytest.mark.parametrize("suffix", READERS)
def test_every_curve_reads_back_equal(tmp_path: Path, suffix: str) -> None:
    groups = curves_of(tmp_path)
    path = tmp_path / f"curves{suffix}"
    write_curves(groups, path)
    frame = READERS[suffix](path)
    assert list(frame.columns[: len(KEYS)]) == list(KEYS)
    assert len(frame) == 6
    assert str(frame["step"].dtype) == str(frame["seed"].dtype) == "int64"
    for group in groups:
        for record in group.records:
            rows = frame[(frame["variant"] == record.variant) & (frame["seed"] == record.seed)]
            assert set(rows["status"]) <= {record.status}
            for name, values in record.curve().items():
                found = list(rows["metrics_seed" if name == "seed" else name])
                for value, read in zip(values, found, strict=True):
                    expected = math.nan if value is None else value
                    assert read == expected or (math.isnan(read) and math.isnan(expected))
    (adam,) = frame[frame["variant"] == "adam"].to_dict("records")
    assert (adam["trial"], adam["seed"], adam["metrics_seed"]) == (2, 0, 7)
    assert pandas.isna(adam["lr"])
    assert frame[frame["variant"] == "sgd"]["trial"].isna().all()


def test_parquet_keeps_empty_apart_from_not_a_number(tmp_path: Path) -> None:
    import pyarrow.parquet

    write_curves(curves_of(tmp_path), tmp_path / "curves.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "curves.parquet")
    assert table["lr"].to_pylist() == [1e-300, 0.1, None, None, None, None]
    assert math.isnan(table["val_accuracy"].to_pylist()[3])


def test_runs_without_a_row_give_an_empty_table(tmp_path: Path) -> None:
    groups, _ = group_runs([make_run(tmp_path, "sgd", 0, [])])
    assert set(KEYS) <= set(long_table(groups))
    for suffix, read in READERS.items():
        write_curves(groups, tmp_path / f"curves{suffix}")
        assert len(read(tmp_path / f"curves{suffix}")) == 0


def test_another_suffix_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a file of curves ends in \.parquet or \.csv"):
        write_curves([], tmp_path / "curves.xlsx")


def test_missing_pyarrow_is_a_line_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyarrow" else find(name, *rest)
    )
    with pytest.raises(UsageError, match=r"pip install 'nnopt\[parquet\]'"):
        check_curves_file(tmp_path / "curves.parquet")
    check_curves_file(tmp_path / "curves.csv")


def test_the_csv_needs_neither_pandas_nor_pyarrow(tmp_path: Path) -> None:
    make_run(tmp_path, "sgd", 0, [0.5])
    code = f"""
import sys
from pathlib import Path
from nnopt.compare.tables.curves import write_curves
from nnopt.compare.groups import group_runs
from nnopt.store.record import RunRecord
groups, _ = group_runs([RunRecord.read(Path({str(tmp_path / "digits/sgd/seed-0")!r}))])
write_curves(groups, Path({str(tmp_path / "curves.csv")!r}))
print(*(name for name in ("pandas", "pyarrow", "torch", "matplotlib") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert (tmp_path / "curves.csv").read_text().startswith("experiment,variant,trial,spec_hash,seed,status,step,")


MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", [*MAGIC, ".PNG", ".Svg"])
def test_pictures_are_written_by_their_suffix_and_twice_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    plot_rates({"sgd_1": [0.1, 0.2]}, path)
    first = path.read_bytes()
    assert first.startswith(MAGIC[suffix.lower()])
    plot_rates({"sgd_1": [0.1, 0.2]}, path)
    assert path.read_bytes() == first


def test_every_picture_can_be_an_svg(tmp_path: Path) -> None:
    record = make_run(tmp_path, "sgd", 0, [0.1, 0.5])
    plot_comparison(compare([record]), tmp_path / "curves.svg")
    plot_run(record, tmp_path / "run.svg")
    assert all((tmp_path / name).read_bytes().startswith(b"<?xml") for name in ("curves.svg", "run.svg"))


def test_text_in_an_svg_stays_text_and_nothing_is_dated(tmp_path: Path) -> None:
    plot_comparison(compare([make_run(tmp_path, "sgd_1", 0, [0.1, 0.5])]), tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text()
    assert ">sgd_1</text>" in text
    assert ">val_accuracy</text>" in text
    assert "<dc:date>" not in text


def test_a_pdf_keeps_its_fonts_and_has_no_date(tmp_path: Path) -> None:
    plot_comparison(compare([make_run(tmp_path, "sgd", 0, [0.1, 0.5])]), tmp_path / "curves.pdf")
    picture = (tmp_path / "curves.pdf").read_bytes()
    assert b"/CreationDate" not in picture
    assert b"/Type3" not in picture
    assert b"/Subtype /CIDFontType2" in picture or b"/FontFile2" in picture


@pytest.mark.parametrize("name", ["curves.jpg", "curves", "curves.tex"])
def test_other_pictures_are_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in \.png, \.svg, \.pdf"):
        check_picture_file(tmp_path / name)
    with pytest.raises(UsageError):
        write_picture(new_figure(1, 1), tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_folder_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        write_picture(new_figure(1, 1), tmp_path / "nothing" / "picture.svg")


def profiles(axis: str | None = "steps", **more: tuple[tuple[float, float], ...]) -> AcrossTasks:
    names = tuple(more)
    return AcrossTasks(
        tasks=("a", "b"),
        variants=names,
        baseline="sgd",
        axis=axis,
        profiles=dict(more),
        speedups=(),
        score="val_accuracy",
        iqm={},
        ranks={name: (float(place), None) for place, name in enumerate(names, 1)},
        friedman_p=None,
        notes=(),
        times={},
        metrics=("val_accuracy", "val_accuracy"),
    )


@pytest.mark.parametrize("last", [1.0, 1.5, 40.0, 1e6])
def test_profiles_are_drawn_whatever_the_factors(tmp_path: Path, last: float) -> None:
    path = tmp_path / "profiles.svg"
    plot_profiles(profiles(sgd=((1.0, 0.5), (last + 1e-9, 1.0)), adam=((1.0, 1.0),)), path)
    text = path.read_text()
    assert ">sgd</text>" in text
    assert "Share of 2 tasks" in text


def test_without_a_target_there_is_no_profile_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--target VALUE"):
        plot_profiles(profiles(axis=None), tmp_path / "profiles.png")
