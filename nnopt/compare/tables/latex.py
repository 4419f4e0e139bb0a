r"""A comparison as a LaTeX table, with booktabs' rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from nnopt.compare.comparison import Comparison
from nnopt.compare.tables.table import Column, shown_columns
from nnopt.compare.tables.verdicts import verdict_header, verdict_texts
from nnopt.compare.text import ABSENT, best_sentence
from nnopt.store.files import write_whole

NEEDS = "% needs \\usepackage{booktabs}"
# Characters of \footnotesize beside each other in a column of text as article has it.
PAGE = 84
# Lines of tabulars that one page holds with their caption.
PAGE_LINES = 60
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a row's end a bracket would be an option
    "±": r"$\pm$",
    "τ": r"$\tau$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
# A number with an exponent, or a negative one, as the tables show it.
_NUMBER = re.compile(r"(?<![\w.])(-?\d[\d,]*(?:\.\d+)?)(?:e([+-]\d+))?(?![\w.])")


def escape(text: str) -> str:
    """The text with everything that means something to LaTeX made harmless; white space becomes one blank."""
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def to_latex(comparison: Comparison, caption: str | None = None, label: str = "tab:comparison") -> str:
    """A `table` with the columns of the terminal's, the best row in bold.

    Where they do not fit beside each other on a page, there are several `tabular` below each other, each with the
    variants' names; where these are too long for one page, each has a `table` of its own, labelled with -2 and so
    on after `label`. `caption` is LaTeX as it stands; by default the sentence on the best variant. Verdicts follow in a
    table labelled with -verdicts.
    """
    verdicts = [_verdicts(comparison, f"{label}-verdicts")] if comparison.verdicts else []
    above = escape(best_sentence(comparison)) + "." if caption is None else caption
    tabulars = [_tabular(comparison, columns) for columns in _tabulars(comparison)]
    if sum(map(len, tabulars)) <= PAGE_LINES:
        below: list[str] = []
        for tabular in tabulars:
            below += [*([r"  \par\medskip"] if below else []), *tabular]
        return "\n".join([_table(below, above, label), *verdicts])
    tables = [
        _table(tabular, above if place == 1 else f"{above} (continued)", label if place == 1 else f"{label}-{place}")
        for place, tabular in enumerate(tabulars, 1)
    ]
    return "\n".join([*tables, *verdicts])


def _verdicts(comparison: Comparison, label: str) -> str:
    """The rows of the verdicts' table, in as many tabulars as the page's width asks for."""
    header, rows = verdict_header(comparison), verdict_texts(comparison)
    kept = [place for place in range(1, len(header)) if any(row[place] != ABSENT for row in rows)]
    if comparison.baseline is not None:
        kept.remove(header.index("against"))

    def width(places: Sequence[int]) -> int:
        return sum(2 + max(map(len, [*_in_two(header[place]), *(row[place] for row in rows)])) for place in places)

    tabulars: list[list[int]] = []
    for place in kept:
        if tabulars and width([*tabulars[-1], place]) <= PAGE:
            tabulars[-1].append(place)
        else:
            tabulars.append([0, place])
    lines: list[str] = []
    for places in tabulars:
        upper, lower = zip(*(_in_two(header[place]) for place in places), strict=True)
        lines += [
            *([r"  \par\medskip"] if lines else []),
            f"  \\begin{{tabular}}{{@{{}}{'l' * len(places)}@{{}}}}",
            r"    \toprule",
            _line([*map(escape, upper)]),
            _line([*map(escape, lower)]),
            r"    \midrule",
            *(_line(["--" if row[place] == ABSENT else escape(row[place]) for place in places]) for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
        ]
    against = f"Against {comparison.baseline}" if comparison.baseline else "Against the baselines"
    return _table(lines, escape(f"{against}: differences with intervals of 95 %."), label)


def _table(lines: Sequence[str], caption: str, label: str) -> str:
    begin = [
        NEEDS,
        r"\begin{table}",
        r"  \centering\footnotesize\setlength{\tabcolsep}{4pt}",
        f"  \\caption{{{caption}}}",
        f"  \\label{{{label}}}",
    ]
    return "\n".join([*begin, *lines, r"\end{table}"]) + "\n"


def _tabulars(comparison: Comparison) -> list[list[Column]]:
    """The columns of each tabular: whole parts beside each other as far as they fit."""
    parts = {part: list(columns) for part, columns in groupby(shown_columns(comparison), lambda of: of.part)}
    names = parts.pop("name")
    tables: list[list[Column]] = []
    for columns in parts.values():
        if tables and _width(comparison, [*tables[-1], *columns]) <= PAGE:
            tables[-1] += columns
        else:
            tables.append([*names, *columns])
    return tables or [names]


def _width(comparison: Comparison, columns: Sequence[Column]) -> int:
    """In characters, with two between columns."""
    texts = [[*_in_two(column.title), *(column.text(row) for row in comparison.rows)] for column in columns]
    return sum(2 + max(map(len, column)) for column in texts)


def _in_two(title: str) -> tuple[str, str]:
    """A title over two lines, broken at the blank that leaves the shorter ones; the first is empty for one word."""
    words = title.split()
    cuts = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return min(cuts, key=lambda halves: max(map(len, halves)), default=("", title))


def _tabular(comparison: Comparison, columns: Sequence[Column]) -> list[str]:
    several = comparison.across is not None
    upper, lower = zip(*(_in_two(column.title) for column in columns), strict=True)
    lines = [
        f"  \\begin{{tabular}}{{@{{}}{''.join('r' if column.is_number else 'l' for column in columns)}@{{}}}}",
        r"    \toprule",
        *([_line([*map(escape, upper)])] if any(upper) else []),
        _line([*map(escape, lower)]),
        r"    \midrule",
    ]
    task = comparison.rows[0].task
    for row in comparison.rows:
        if row.task != task:
            lines.append(r"    \addlinespace")
            task = row.task
        is_best = row.rank == 1 and row.last is not None if several else row is comparison.best
        texts = [_cell(column, column.text(row)) for column in columns]
        lines.append(_line([_bold(text) for text in texts] if is_best else texts))
    return [*lines, r"    \bottomrule", r"  \end{tabular}"]


def write_latex(comparison: Comparison, path: Path) -> None:
    """Writes `to_latex` to a file.

    Raises:
        DiskError: it cannot be written.
    """
    write_whole(path, to_latex(comparison))


def _line(cells: Sequence[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _bold(text: str) -> str:
    return f"\\textbf{{\\boldmath {text}}}" if "$" in text else f"\\textbf{{{text}}}"


def _cell(column: Column, text: str) -> str:
    if text == ABSENT:
        return "--"
    return _NUMBER.sub(_number, escape(text)) if column.is_number else escape(text)


def _number(found: re.Match[str]) -> str:
    r"""`$1.2 \times 10^{-5}$`, `$-0.5$`; a plain number stays text."""
    digits, exponent = found[1].replace(",", "{,}"), found[2]
    if exponent is None:
        return f"${digits}$" if digits.startswith("-") else found[1]
    return f"${digits} \\times 10^{{{int(exponent)}}}$"
