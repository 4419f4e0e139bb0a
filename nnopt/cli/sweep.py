"""`nnopt sweep CONFIG [KEY=VALUE...]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnopt.cli.common import AsJson, MaxRestarts, On, RunsDir, errors_in_a_line, output, print_json
from nnopt.errors import UsageError
from nnopt.loading import while_loading

if TYPE_CHECKING:
    from nnopt.search.sweep import Swept


@errors_in_a_line
def sweep(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file, which has a key `search`.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys laid over every variant, such as search.trials=50."),
    ] = None,
    runs_dir: RunsDir = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Trials at a time, each in its own process (1; --on: what fits)."),
    ] = None,
    on: On = None,
    max_restarts: MaxRestarts = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Search beyond the edges at which the best values lie.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the trials and about how long they take.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Set the old search aside (never deleted) and begin again.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Search settings for every variant with the same number of trials, then train the best on fresh seeds.

    The same command again goes on where it stopped: trials that are done are kept.
    """
    with while_loading():
        from nnopt.scale.on import begin
        from nnopt.spec.loading import load
        from nnopt.store.folder import runs_folder

    experiment = load(config, tuple(overrides or ()))
    if not dry_run:
        begin(on, jobs, max_restarts)

    with while_loading():
        from nnopt.cli.progress import watcher
        from nnopt.search.sweep import SweepOptions
        from nnopt.search.sweep import sweep as carry_out

    options = SweepOptions(runs_folder(runs_dir), jobs, fresh, extend, on, max_restarts)
    if dry_run:
        from nnopt.cli.sweep_table import print_sweep_plan
        from nnopt.search.dry_run import plan_sweep

        if extend:
            raise UsageError("--dry-run shows what the file asks for; --extend depends on what its trials find")
        print_sweep_plan(plan_sweep(experiment, options), as_json)
        return
    with watcher(0, quiet, "trials") as watch:
        swept = carry_out(experiment, options, watch, watch.more)
    if as_json:
        _print_json(swept)
    else:
        _print(swept)
    if swept.has_failures:
        raise typer.Exit(1)


def _print(swept: Swept) -> None:
    from nnopt.compare.tables.search import render_search
    from nnopt.compare.tables.terminal import render

    console = output()
    render_search(swept.summary, console)
    if swept.comparison is not None:
        console.print()
        render(swept.comparison, console)
    console.print(f"written: {', '.join(str(path) for path in swept.written)}", soft_wrap=True)


def _print_json(swept: Swept) -> None:
    import json

    from nnopt.compare.tables.search import search_json
    from nnopt.compare.tables.table import to_json

    comparison = None if swept.comparison is None else json.loads(to_json(swept.comparison))
    print_json({"search": search_json(swept.summary), "comparison": comparison})
