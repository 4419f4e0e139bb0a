"""`nnopt train CONFIG [KEY=VALUE...]`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnopt.cli.common import (
    AsJson,
    MaxRestarts,
    On,
    RunsDir,
    errors_in_a_line,
    output,
    print_json,
    speaks_for_all,
)
from nnopt.loading import while_loading

if TYPE_CHECKING:
    from nnopt.compare.comparison import Comparison
    from nnopt.store.record import RunRecord


@errors_in_a_line
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file of the experiment.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys laid over every variant, such as optimizer.lr=0.01."),
    ] = None,
    runs_dir: RunsDir = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Runs at a time, each in its own process (1; --on: what fits).")
    ] = None,
    on: On = None,
    max_restarts: MaxRestarts = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs and what would become of them.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set old runs aside (never deleted) and begin again.")] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first run that fails or diverges.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also write where the time of a step goes, and a trace; numbers stay.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train every variant with every seed, then compare them.

    The same command again skips runs that are done and goes on with those that stopped.
    """
    with while_loading():
        from nnopt.cli.progress import watcher
        from nnopt.plan import Plan
        from nnopt.scale.on import begin, restarts
        from nnopt.spec.loading import load
        from nnopt.store.folder import runs_folder
        from nnopt.store.place import place

    plan = Plan.of(load(config, tuple(overrides or ())))
    folder = runs_folder(runs_dir)
    if dry_run:
        from nnopt.cli.plan_table import print_plan

        print_plan(plan, folder, fresh, as_json)
        return
    if left := [run for run in plan.runs if fresh or profile or not place(run, folder).is_finished]:
        begin(on, jobs, max_restarts, left)
    with while_loading():
        from nnopt.scale.processes import train_runs
        from nnopt.train.experiment import BAD, Options
        from nnopt.train.report import write_report

    options = Options(folder, fresh, fail_fast, profile=profile, max_restarts=restarts(on, max_restarts))
    with watcher(len(plan.runs), quiet or not speaks_for_all()) as watch:
        if plan.experiment.search is not None:
            watch.note(plan.experiment.name, f"variants train as they stand; `nnopt sweep {config}` searches")
        records = train_runs(plan, options, watch, jobs, on)
    has_bad = any(record.status in BAD for record in records)
    if not speaks_for_all():
        raise typer.Exit(1 if has_bad else 0)
    comparison, written = write_report(plan, records, folder)
    if as_json:
        _print_json(comparison, records if profile else ())
    else:
        _print(comparison, written, records if profile else ())
    if has_bad:
        raise typer.Exit(1)


def _print(comparison: Comparison, written: Sequence[Path], profiled: Sequence[RunRecord]) -> None:
    from nnopt.cli.profile_table import print_profiles
    from nnopt.compare.tables.terminal import render

    console = output()
    render(comparison, console)
    console.print(f"written: {', '.join(str(path) for path in written)}", soft_wrap=True)
    if profiled:
        print_profiles(profiled)


def _print_json(comparison: Comparison, profiled: Sequence[RunRecord]) -> None:
    """The comparison as JSON, with the profiles of its runs by name where they were profiled."""
    from nnopt.cli.profile_table import profiles_of
    from nnopt.compare.tables.table import to_json

    found = json.loads(to_json(comparison))
    if profiled:
        found["profiles"] = profiles_of(profiled)
    print_json(found)
