"""The files that a comparison can be written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from nnopt.compare.comparison import Comparison
from nnopt.compare.gates import GateResult
from nnopt.compare.tables.table import write_csv, write_markdown
from nnopt.errors import UsageError


@dataclass(frozen=True)
class Files:
    """Where to write what; None is not written. What a file needs is imported when it is written."""

    html: Path | None = None
    csv: Path | None = None
    markdown: Path | None = None
    latex: Path | None = None
    curves: Path | None = None
    plot: Path | None = None
    plot_cost: Path | None = None
    plot_tasks: Path | None = None
    plot_path: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """Those that are asked for, in the order of the fields."""
        return [path for field in fields(self) if (path := getattr(self, field.name)) is not None]

    def check(self) -> None:
        """Refuses what could not be written, before any work.

        Raises:
            UsageError: one path twice, a suffix of no known kind, or a package that is missing.
        """
        twice = next((path for path in self.paths if self.paths.count(path) > 1), None)
        if twice is not None:
            raise UsageError(f"{twice} is asked for twice: give each file a name of its own")
        pictures = [
            picture for picture in (self.plot, self.plot_cost, self.plot_tasks, self.plot_path) if picture is not None
        ]
        if pictures:
            from nnopt.compare.pictures.figure import check_picture_file

            for picture in pictures:
                check_picture_file(picture)
        if self.curves is not None:
            from nnopt.compare.tables.curves import check_curves_file

            check_curves_file(self.curves)

    def write(self, comparison: Comparison, gates: Sequence[GateResult] = ()) -> None:
        """Writes them.

        Raises:
            UsageError: profiles of a comparison that is of one task.
            DiskError: one cannot be written.
        """
        if self.plot_tasks is not None and not (comparison.across and comparison.across.profiles):
            raise UsageError(
                "--plot-tasks draws times to target over several experiments with the same variants on different "
                "tasks, and here is no such time: give every experiment a target, or name more of them"
            )
        if self.plot_path is not None:
            from nnopt.compare.pictures.paths import plot_paths

            plot_paths(comparison, self.plot_path)
        if self.html is not None:
            from nnopt.compare.report.page import write_html

            write_html(comparison, self.html, gates)
        if self.csv is not None:
            write_csv(comparison, self.csv)
        if self.markdown is not None:
            write_markdown(comparison, self.markdown, gates)
        if self.latex is not None:
            from nnopt.compare.tables.latex import write_latex

            write_latex(comparison, self.latex)
        if self.curves is not None:
            from nnopt.compare.tables.curves import write_curves

            write_curves(comparison.groups, self.curves)
        self._draw(comparison)

    def _draw(self, comparison: Comparison) -> None:
        if self.plot is not None:
            from nnopt.compare.pictures.convergence import plot_comparison

            plot_comparison(comparison, self.plot)
        if self.plot_cost is not None:
            from nnopt.compare.pictures.cost import plot_costs

            plot_costs(comparison, self.plot_cost)
        if self.plot_tasks is not None and comparison.across is not None:
            from nnopt.compare.pictures.tasks import plot_profiles

            plot_profiles(comparison.across, self.plot_tasks)
