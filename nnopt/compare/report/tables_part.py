"""The table of results, the keys that differ, and the confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnopt.compare.comparison import Comparison
from nnopt.compare.groups import Group
from nnopt.compare.pictures.figure import MOST_LINES
from nnopt.compare.report.charts import controls, select
from nnopt.compare.report.markup import Markup, element, scrolling, section, sentences, table
from nnopt.compare.tables.table import shown_columns
from nnopt.compare.text import show_value

MOST_SIDE_BY_SIDE = 8  # variants; of more, the values are listed with the variants that have them
MOST_CLASSES = 20  # above, the commonest confusions are listed instead of a matrix
MOST_CONFUSIONS = 20
Counts = NDArray[np.int64]


def results_part(comparison: Comparison) -> Markup:
    """The table that `compare` prints, to sort by any column, and what the numbers do not show."""
    columns = shown_columns(comparison)
    best = next((place for place, row in enumerate(comparison.rows) if row is comparison.best), None)
    made = table(
        f"Every variant, ranked by {comparison.metric}",
        [column.title for column in columns],
        [[column.text(row) for column in columns] for row in comparison.rows],
        [column.is_number for column in columns],
        is_sortable=True,
        marked=best,
    )
    hint = element("p", "A title sorts the table by its column.", class_="hint controls")
    return section("results", "Results", hint, made, sentences(comparison.notes, class_="notes"))


def differences_part(comparison: Comparison) -> Markup:
    """The keys in which the specs differ."""
    if not comparison.differences:
        return section("differences", "What the variants change", element("p", "The specs do not differ in any key."))
    labels = [row.label for row in comparison.rows]
    if len(labels) > MOST_SIDE_BY_SIDE:
        return section("differences", "What the variants change", _by_value(comparison.differences, labels))
    rows = [[key, *(show_value(values, label) for label in labels)] for key, values in comparison.differences.items()]
    made = table("Keys in which the specs differ", ["key", *labels], rows)
    return section("differences", "What the variants change", made)


def _by_value(differing: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> Markup:
    rows = []
    for key, values in differing.items():
        alike: dict[str, list[str]] = {}
        for label in labels:
            alike.setdefault(show_value(values, label), []).append(label)
        rows += [[key, value, ", ".join(of)] for value, of in alike.items()]
    return table("Keys in which the specs differ", ["key", "value", "variants"], rows, [False, False, False])


def confusion_part(comparison: Comparison) -> Markup:
    """How often each class was taken for each other on test data, summed over the seeds of a variant."""
    shown = [(group, counts) for group in comparison.groups if (counts := _confusion(group)) is not None][:MOST_LINES]
    if not shown:
        return Markup()
    blocks = [
        element("div", _matrix(group, counts), class_="matrix", id=f"matrix-{place}")
        for place, (group, counts) in enumerate(shown)
    ]
    options = {f"matrix-{place}": group.label for place, (group, _) in enumerate(shown)}
    choice = controls(select("confusion-variant", "Variant", options), label="Confusion matrices")
    without = len(comparison.groups) - len(shown)
    said = [f"{without} of {len(comparison.groups)} variants are not shown."] if without else []
    return section("confusion", "Confusion on test data", choice, *blocks, sentences(said))


def _confusion(group: Group) -> Counts | None:
    """[true class, class predicted], summed over the runs that are done; None unless all have one of equal size."""
    found = [(record.summary.get("test") or {}).get("confusion") for record in group.results]
    matrices = [np.array(rows, np.int64) for rows in found if rows]
    if not matrices or len(matrices) < len(found) or len({matrix.shape for matrix in matrices}) > 1:
        return None
    return np.asarray(np.sum(matrices, axis=0), np.int64)


def _matrix(group: Group, counts: Counts) -> Markup:
    names = _class_names(group, len(counts))
    seeds = "1 seed" if len(group.results) == 1 else f"{len(group.results)} seeds"
    hits, total = int(np.trace(counts)), int(counts.sum())
    caption = f"{group.label}: {hits:,} of {total:,} right over {seeds}"
    if len(counts) > MOST_CLASSES:
        return _commonest(counts, names, f"{caption}; the commonest confusions")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    worst = float(np.max(shares - np.diag(np.diag(shares)))) or 1.0
    head = [
        element("th", "true class", scope="col"),
        *(element("th", name, scope="col", class_="number") for name in names),
    ]
    rows = [
        element(
            "tr",
            element("th", names[true], scope="row"),
            *(
                _cell(int(counts[true, said]), shares[true, said] / (1 if true == said else worst), true == said)
                for said in range(len(counts))
            ),
        )
        for true in range(len(counts))
    ]
    title = f"{caption}; a row is a true class, a column what it was taken for"
    made = element(
        "table",
        element("caption", element("span", title)),
        element("thead", element("tr", *head)),
        element("tbody", *rows),
        class_="confusion",
    )
    return scrolling(made, title)


def _cell(count: int, share: float, is_hit: bool) -> Markup:
    """A count on a shade, the deeper the greater the `share`: of hits in their class, of errors in the commonest."""
    kind = "hit" if is_hit else "miss" if count else "nought"
    return element("td", str(count), class_=f"number {kind}", style=f"--part:{round(100 * share)}%" if count else None)


def _commonest(counts: Counts, names: Sequence[str], caption: str) -> Markup:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(wrong, axis=None, kind="stable")[::-1][:MOST_CONFUSIONS]
    pairs = [divmod(int(place), len(counts)) for place in order if wrong.flat[place]]
    rows = [
        [names[true], names[said], str(wrong[true, said]), f"{100 * wrong[true, said] / counts[true].sum():.1f} %"]
        for true, said in pairs
    ]
    return table(caption, ["true class", "taken for", "times", "of the class"], rows, [False, False, True, True])


def _class_names(group: Group, count: int) -> list[str]:
    names = (group.results[0].summary.get("data") or {}).get("classes") or []
    return [str(name) for name in names] if len(names) == count else [str(number) for number in range(count)]
