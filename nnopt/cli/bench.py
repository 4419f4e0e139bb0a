"""`nnopt bench [DIR]`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnopt.cli.common import AsJson, RunsDir, errors_in_a_line, output, print_error, print_json
from nnopt.errors import UsageError
from nnopt.loading import while_loading

if TYPE_CHECKING:
    from nnopt.bench.scoreboard.board import Board
    from nnopt.bench.scoreboard.carry_out import BenchOptions
    from nnopt.bench.scoreboard.estimate import Estimate

MINUTE = 60.0


@errors_in_a_line
def bench(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="A folder with scoreboard.yaml, workloads/ and optimizers/.")
    ] = Path("configs/scoreboard"),
    runs_dir: RunsDir = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Runs at a time, each in its own process; no more than cores.")
    ] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="PATTERN", help="A workload, an optimizer, or WORKLOAD/OPTIMIZER; again for more."
        ),
    ] = None,
    targets: Annotated[
        bool, typer.Option("--targets", help="Fix the targets from tuned baselines, and compare nothing.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Set what was done aside (never deleted) and begin again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is left and about how long it takes.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tune every optimizer alike on every workload, and rank them by their times to fixed targets.

    The same command again goes on where it stopped: runs that are done are kept.
    """
    with while_loading():
        from nnopt.bench.scoreboard.board import read_board
        from nnopt.store.folder import runs_folder
        from nnopt.surroundings import cores

    if jobs > cores():
        raise UsageError(f"--jobs {jobs}: here are {cores()} cores, and runs that share one take longer; take fewer")

    board = read_board(folder, tuple(only or ()))
    if fresh and not _has_whole_workloads(board):
        raise UsageError("--fresh sets whole workloads aside: name workloads with --only, not optimizers")
    with while_loading():
        from nnopt.bench.scoreboard.carry_out import BenchOptions

    options = BenchOptions(runs_folder(runs_dir), jobs, fresh)
    if targets:
        _fix(board, options, dry_run, quiet, as_json)
    else:
        _compare(board, options, dry_run, quiet, as_json)


def _has_whole_workloads(board: Board) -> bool:
    return all(len(board.entries(one)) == len(board.optimizers) for one in board.chosen_workloads)


def _fix(board: Board, options: BenchOptions, dry_run: bool, quiet: bool, as_json: bool) -> None:
    from nnopt.bench.scoreboard.carry_out import fix_targets, open_targets
    from nnopt.bench.scoreboard.estimate import estimate_targets
    from nnopt.bench.scoreboard.targets import TARGETS
    from nnopt.cli.progress import watcher

    estimate = estimate_targets(
        board, open_targets(board, options.fresh), options.runs_dir, options.jobs, not options.fresh
    )
    _tell(estimate, dry_run and as_json)
    if dry_run:
        return
    with watcher(0, quiet, "trials") as watch:
        found = fix_targets(board, options, watch, watch.more)
    if as_json:
        print_json({name: one.model_dump(mode="json") for name, one in found.items()})
        return
    for name, one in sorted(found.items()):
        low, high = one.quartiles
        print(f"{name}: {one.metric} {one.value:g} ({low:g} to {high:g}), by {one.baseline} in {one.seconds:g} s")
    print(f"written: {board.folder / TARGETS}")


def _compare(board: Board, options: BenchOptions, dry_run: bool, quiet: bool, as_json: bool) -> None:
    from nnopt.bench.scoreboard.carry_out import carry_out_board, plan_board
    from nnopt.bench.scoreboard.estimate import estimate_board
    from nnopt.bench.scoreboard.standing import standing_of
    from nnopt.bench.scoreboard.targets import targets_of
    from nnopt.bench.scoreboard.write import board_json, render_board, write_board
    from nnopt.cli.progress import watcher

    targets = targets_of(board)
    planned = plan_board(board, targets, options)
    estimate = estimate_board(board, planned.experiments, options.runs_dir, options.jobs, not options.fresh)
    _tell(estimate, dry_run and as_json)
    if dry_run:
        return
    with watcher(0, quiet, "trials") as watch:
        carry_out_board(planned, options, watch, watch.more)
    standing = standing_of(board, planned, targets, options.runs_dir)
    written = write_board(standing, options.runs_dir / board.spec.name)
    if as_json:
        print_json(board_json(standing))
    else:
        console = output()
        render_board(standing, console)
        console.print(f"written: {', '.join(str(path) for path in written)}", soft_wrap=True)
    if standing.has_open:
        print_error("some runs did not come to their end: run the same command again to go on")
        raise typer.Exit(1)


def _tell(estimate: Estimate, as_json: bool) -> None:
    """Says what is left, on stderr where results follow on stdout as JSON or tables."""
    import sys

    if as_json:
        print_json({**asdict(estimate), "most": estimate.most, "about": estimate.about})
        return
    for one in estimate.workloads:
        print(f"{one.workload}: {one.trials} trials and {one.runs} runs left, {one.done} done", file=sys.stderr)
    print(
        f"{estimate.trials} trials and {estimate.runs} runs left: about {_duration(estimate.about)}, at most "
        f"{_duration(estimate.most)}, with --jobs {estimate.jobs}",
        file=sys.stderr,
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < MINUTE else f"{seconds / MINUTE:.0f} min"
