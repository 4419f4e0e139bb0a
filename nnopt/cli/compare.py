"""`nnopt compare RUN RUN...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnopt.cli.common import AsJson, RunsDir, check_writable, errors_in_a_line, output


@errors_in_a_line
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Run folders, experiments, variants, globs, or unique tails of them."),
    ],
    metric: Annotated[str | None, typer.Option("--metric", help="Column of metrics.csv to rank by.")] = None,
    target: Annotated[float | None, typer.Option("--target", help="Value of the metric to time.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table as CSV.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write it as Markdown.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Write the curves as PNG.")] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Compare runs, grouped over seeds."""
    import sys

    from nnopt.compare.comparison import compare as compare_records
    from nnopt.compare.render import render
    from nnopt.compare.table import to_json, write_csv, write_markdown
    from nnopt.errors import RunsFolderError
    from nnopt.store.find import find_runs, read_runs
    from nnopt.store.place import runs_folder

    check_writable(csv, markdown, plot)
    records, problems = read_runs(find_runs(runs, runs_folder(runs_dir)))
    for problem in problems:
        print(problem, file=sys.stderr)
    if not records:
        raise RunsFolderError("none of these runs can be read")
    comparison = compare_records(records, metric, target)
    if csv:
        write_csv(comparison, csv)
    if markdown:
        write_markdown(comparison, markdown)
    if plot:
        from nnopt.compare.plots import plot_comparison

        plot_comparison(comparison, plot)
    if as_json:
        print(to_json(comparison))
        return
    console = output()
    render(comparison, console)
    written = [str(path) for path in (csv, markdown, plot) if path]
    if written:
        console.print(f"written: {', '.join(written)}", soft_wrap=True)
