"""What a search found, as files beside its variants."""

from __future__ import annotations

from pathlib import Path

from nnopt.compare.search.summary import SearchSummary
from nnopt.compare.tables import search_rows as tables
from nnopt.compare.tables.search import search_markdown
from nnopt.store.files import write_whole

PICTURE = "search.png"


def write_search_files(summary: SearchSummary, folder: Path) -> list[Path]:
    """Writes trials.csv, search.csv, sensitivity.csv, importance.csv, expected_best.csv, search.md and search.png.

    Returns the paths.

    Raises:
        DiskError: one cannot be written.
    """
    from nnopt.compare.pictures.search import plot_search

    rows = {
        "trials": tables.trial_rows(summary),
        "search": tables.variant_rows(summary),
        "sensitivity": tables.sensitivity_rows(summary),
        "importance": tables.importance_rows(summary),
        "expected_best": tables.expected_rows(summary),
    }
    texts = {f"{name}.csv": tables.to_csv(of, tables.HEADERS.get(name, ())) for name, of in rows.items()}
    texts["search.md"] = search_markdown(summary)
    for name, text in texts.items():
        write_whole(folder / name, text)
    plot_search(summary, folder / PICTURE)
    return [folder / name for name in (*texts, PICTURE)]
