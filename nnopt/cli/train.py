"""`nnopt train CONFIG [KEY=VALUE...]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnopt.cli.common import AsJson, RunsDir, errors_in_a_line, output


@errors_in_a_line
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file of the experiment.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys laid over every variant, such as optimizer.lr=0.01."),
    ] = None,
    runs_dir: RunsDir = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs side by side, each in its own process.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs and what would become of them.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set old runs aside (never deleted) and begin again.")] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first run that fails or diverges.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train every variant with every seed, then compare them.

    The same command again skips runs that are done and goes on with those that stopped.
    """
    from nnopt.cli.progress import watcher
    from nnopt.plan import Plan
    from nnopt.spec.loading import load
    from nnopt.store.folder import runs_folder

    plan = Plan.of(load(config, tuple(overrides or ())))
    folder = runs_folder(runs_dir)
    if dry_run:
        from nnopt.cli.plan_table import print_plan

        print_plan(plan, folder, fresh, as_json)
        return

    from nnopt.compare.tables.table import to_json
    from nnopt.compare.tables.terminal import render
    from nnopt.scale.processes import train_side_by_side
    from nnopt.train.experiment import BAD, Options, train_plan
    from nnopt.train.report import write_report

    options = Options(folder, fresh, fail_fast)
    with watcher(len(plan.runs), quiet) as watch:
        if plan.experiment.search is not None:
            watch.note(plan.experiment.name, f"variants train as they stand; `nnopt sweep {config}` searches")
        if jobs > 1:
            records = train_side_by_side(plan, options, watch, jobs)
        else:
            records = train_plan(plan, options, watch)
    comparison, written = write_report(plan, records, folder)
    if as_json:
        print(to_json(comparison))
    else:
        console = output()
        render(comparison, console)
        console.print(f"written: {', '.join(str(path) for path in written)}", soft_wrap=True)
    if any(record.status in BAD for record in records):
        raise typer.Exit(1)
