"""`nnopt compare RUN RUN...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnopt.cli.common import AsJson, RunsDir, check_writable, errors_in_a_line, output

File = Path | None


@errors_in_a_line
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, experiments, variants, globs, or unique tails of them; the first is the baseline. "
            "Trials of a search only where they are named: adam/trial-3.",
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="Column of metrics.csv, best_<column>, test_<metric>, train_seconds, ..."),
    ] = None,
    target: Annotated[float | None, typer.Option("--target", help="Value of the metric to time.")] = None,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Place the moment of reaching it between two evaluations.")
    ] = False,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Variant (or experiment) to compare with; else the first.")
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option("--gate", metavar="GATE", help="Such as 'val_accuracy >= -0.2pp'; exit 3 where one is broken."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="An undecided gate is not met either.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Rank times of different machines all the same.")] = False,
    html: Annotated[File, typer.Option("--html", metavar="FILE", help="Write the report: one page, offline.")] = None,
    csv: Annotated[File, typer.Option("--csv", metavar="FILE", help="Write the table as CSV.")] = None,
    markdown: Annotated[File, typer.Option("--markdown", metavar="FILE", help="Write it as Markdown.")] = None,
    latex: Annotated[File, typer.Option("--latex", metavar="FILE", help="Write it as LaTeX (booktabs).")] = None,
    curves: Annotated[File, typer.Option("--curves", metavar="FILE", help="Write every curve: .parquet, .csv.")] = None,
    plot: Annotated[File, typer.Option("--plot", metavar="FILE", help="Draw the curves: .png, .svg, .pdf.")] = None,
    plot_cost: Annotated[
        File, typer.Option("--plot-cost", metavar="FILE", help="Draw quality against what it costs.")
    ] = None,
    plot_tasks: Annotated[
        File, typer.Option("--plot-tasks", metavar="FILE", help="Draw performance profiles over several experiments.")
    ] = None,
    plot_path: Annotated[
        File,
        typer.Option("--plot-path", metavar="FILE", help="Draw the ways of runs over the function they make small."),
    ] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Compare runs, grouped over seeds: what is better, by how much and how sure."""
    import gc

    from nnopt.compare.comparison import Question, answer
    from nnopt.compare.gates import check_gates, parse_gate, require
    from nnopt.compare.outputs import Files
    from nnopt.compare.tables.table import to_json
    from nnopt.compare.tables.terminal import render
    from nnopt.store.find import read_named_runs
    from nnopt.store.folder import runs_folder

    gc.disable()  # all that is read is kept to the end: looking for garbage in it costs a fifth of the time
    gates = [parse_gate(text) for text in gate or ()]
    files = Files(html, csv, markdown, latex, curves, plot, plot_cost, plot_tasks, plot_path)
    check_writable(*files.paths)
    files.check()
    named = read_named_runs(runs, runs_folder(runs_dir))
    question = Question(metric, target, baseline, interpolate, force)
    comparison = answer(named.records, question, named.problems, named.trials)
    results = check_gates(comparison, gates, force)
    files.write(comparison, results)
    if as_json:
        print(to_json(comparison, results))
    else:
        console = output()
        render(comparison, console, results)
        if files.paths:
            console.print(f"written: {', '.join(map(str, files.paths))}", soft_wrap=True)
    require(results, strict)
