"""`nnopt tune lr CONFIG` and `nnopt tune batch-size CONFIG`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnopt.cli.common import AsJson, RunsDir, errors_in_a_line, output, print_error, print_json
from nnopt.errors import Interrupted
from nnopt.loading import while_loading

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnopt.compare.tables.columns import TextColumn

tune = typer.Typer(
    help="Short tests before a search: a learning rate to begin with, a batch that fits and keeps the device busy.",
    no_args_is_help=True,
)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file of the experiment.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Keys laid over every variant, such as strategy.batch_size=64."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@tune.command("lr")
@errors_in_a_line
def tune_lr(
    config: Config,
    overrides: Overrides = None,
    low: Annotated[float, typer.Option("--low", help="The lowest rate, at the first update.")] = 1e-6,
    high: Annotated[float, typer.Option("--high", help="The highest rate, at the last update.")] = 100.0,
    steps: Annotated[int, typer.Option("--steps", help="Updates of each test.")] = 200,
    runs_dir: RunsDir = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find a learning rate to begin with, by a range test of each variant and seed.

    The rate grows with every update until the loss blows up (Smith 2017, arXiv:1506.01186).
    """
    with while_loading():
        from nnopt.plan import Plan
        from nnopt.search.tune import lr
        from nnopt.search.tune.range_test import Range
        from nnopt.search.tune.suggestion import sentences
        from nnopt.spec.loading import load
        from nnopt.store.folder import runs_folder

    rates = Range(low, high, steps)
    plan = Plan.of(load(config, tuple(overrides or ())))
    folder = runs_folder(runs_dir) / plan.experiment.name
    with _watched(quiet, steps) as (stop, tick):
        found = lr.tune_lr(plan, rates, stop, tick, folder.parent)
    written = lr.write_lr_files(found, folder)
    if as_json:
        print_json(lr.lr_json(found))
        return
    seeds = ", ".join(map(str, plan.experiment.seeds))
    title = f"learning-rate range test: {steps} updates from {low:g} to {high:g}, seeds {seeds}"
    _print([(title, lr.lr_columns(found))], sentences(found), lr.spec_lines(found), written)


@tune.command("batch-size")
@errors_in_a_line
def tune_batch_size(
    config: Config,
    overrides: Overrides = None,
    low: Annotated[int, typer.Option("--low", min=1, help="The smallest batch to time.")] = 8,
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="How often each size is timed.")] = 5,
    runs_dir: RunsDir = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find the largest batch that fits, and the smallest that is nearly as fast as any.

    The batch doubles until memory or the training data end. Only training is timed, on an idle machine best.
    """
    with while_loading():
        from nnopt.plan import Plan
        from nnopt.search.tune import batches
        from nnopt.spec.loading import load
        from nnopt.store.folder import runs_folder

    plan = Plan.of(load(config, tuple(overrides or ())))
    folder = runs_folder(runs_dir) / plan.experiment.name
    with _watched(quiet) as (stop, tick):
        found = batches.tune_batch_size(plan, stop, low, repeats, tick, folder.parent)
    written = batches.write_batch_files(found, folder)
    if as_json:
        print_json(batches.batch_json(found))
        return
    _print(batches.batch_tables(found), batches.batch_sentences(found), [], written)


@contextmanager
def _watched(quiet: bool, total: int | None = None) -> Iterator[tuple[Any, Callable[[str], None]]]:
    """A stop request, and what is told of the work: on a terminal a line shows it, with its count of `total`."""
    from rich.console import Console

    from nnopt.train.signals import stop_requests

    console = Console(stderr=True)
    counts: dict[str, int] = {}
    try:
        with stop_requests() as stop, console.status("") as status:
            if quiet or not console.is_terminal:
                status.stop()

            def tick(name: str) -> None:
                counts[name] = counts.get(name, 0) + 1
                status.update(name if total is None else f"{name}: {counts[name]} of {total}")

            yield stop, tick
    except Interrupted as error:
        print_error("interrupted: nothing was written, and the same command begins again")
        raise typer.Exit(error.exit_code) from None


def _print(
    tables: list[tuple[str, list[TextColumn]]], sentences: list[str], lines: list[str], written: list[Path]
) -> None:
    """Titled tables, what they mean, lines to copy, and where it is kept."""
    from rich.text import Text

    from nnopt.compare.tables.columns import render_columns

    console = output()
    for title, columns in tables:
        console.print(Text(title), style="bold", soft_wrap=True)
        console.print()
        render_columns(columns, console)
    for sentence in sentences:
        console.print(Text(f"- {sentence}"), soft_wrap=True)
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"written: {', '.join(map(str, written))}"), soft_wrap=True)
