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
    is_one_of_several,
    output,
    speaks_for_all,
)
from nnopt.collecting import while_loading

if TYPE_CHECKING:
    from nnopt.plan import Plan
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
    elsewhere = on is not None or (jobs or 1) > 1 or max_restarts or _trains_in_several_processes(plan)
    if elsewhere and (fresh or not all(place(run, folder).is_finished for run in plan.runs)):
        begin(on, jobs)

    with while_loading():
        from nnopt.compare.tables.table import to_json
        from nnopt.compare.tables.terminal import render
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
        print(_with_profiles(to_json(comparison), records) if profile else to_json(comparison))
    else:
        console = output()
        render(comparison, console)
        console.print(f"written: {', '.join(str(path) for path in written)}", soft_wrap=True)
        if profile:
            from nnopt.cli.profile_table import print_profiles

            print_profiles(records)
    if has_bad:
        raise typer.Exit(1)


def _trains_in_several_processes(plan: Plan) -> bool:
    """Whether a run asks for more processes than this one, where torchrun has not started them already."""
    kinds = [settings.parallel for settings in plan.experiment.variants.values() if settings.parallel is not None]
    return not is_one_of_several() and any(kind.in_step and kind.asked != 1 for kind in kinds)


def _with_profiles(comparison: str, records: Sequence[RunRecord]) -> str:
    """The comparison as JSON, with the profiles of its runs by name."""
    from nnopt.cli.profile_table import profiles_of

    return json.dumps({**json.loads(comparison), "profiles": profiles_of(records)}, indent=1, ensure_ascii=False)
