"""What an experiment leaves beside its variants: the comparison as CSV, Markdown and picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.pictures.convergence import plot_comparison
from nnopt.compare.pictures.paths import function_of, plot_paths
from nnopt.compare.tables.table import write_csv, write_markdown
from nnopt.plan import Plan
from nnopt.store.record import RunRecord

TABLE, TEXT, PICTURE = "comparison.csv", "comparison.md", "convergence.png"
PATHS = "trajectories.png"


def write_report(
    plan: Plan, records: Sequence[RunRecord], runs_dir: Path, metric: str | None = None
) -> tuple[Comparison, list[Path]]:
    """Compares the runs of a plan and writes the comparison beside its variants; says which files."""
    comparison = compare(records, metric)
    folder = runs_dir / plan.experiment.name
    write_csv(comparison, folder / TABLE)
    write_markdown(comparison, folder / TEXT)
    plot_comparison(comparison, folder / PICTURE)
    written = [folder / TABLE, folder / TEXT, folder / PICTURE]
    if function_of(comparison.groups) is not None:
        plot_paths(comparison, folder / PATHS)
        written.append(folder / PATHS)
    return comparison, written
