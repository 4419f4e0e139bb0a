"""The command line: one file a command, each of which parses, calls and prints."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from nnopt.cli.bench import bench
from nnopt.cli.check import check
from nnopt.cli.common import Debug
from nnopt.cli.compare import compare
from nnopt.cli.doctor import doctor
from nnopt.cli.evaluate import evaluate
from nnopt.cli.export import export
from nnopt.cli.import_runs import import_runs
from nnopt.cli.init import init
from nnopt.cli.list import list_runs
from nnopt.cli.new import new
from nnopt.cli.parts import parts
from nnopt.cli.predict import predict
from nnopt.cli.sample import sample
from nnopt.cli.schema import schema
from nnopt.cli.show import show
from nnopt.cli.sweep import sweep
from nnopt.cli.train import train
from nnopt.cli.tune import tune
from nnopt.loading import leave_all_at_the_end
from nnopt.version import __version__

app = typer.Typer(
    name="nnopt",
    help="Train every alternative over paired seeds, and say what is better, by how much and how sure.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"nnopt {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the command."""
    Debug.on = debug


app.command("init")(init)
app.command("new")(new)
app.command("check")(check)
app.command("train")(train)
app.add_typer(tune, name="tune")
app.command("sweep")(sweep)
app.command("bench")(bench)
app.command("compare")(compare)
app.command("list")(list_runs)
app.command("show")(show)
app.command("eval")(evaluate)
app.command("predict")(predict)
app.command("sample")(sample)
app.command("export")(export)
app.command("import")(import_runs)
app.command("parts")(parts)
app.command("schema")(schema)
app.command("doctor")(doctor)


def run() -> None:
    """What the `nnopt` script calls."""
    # Parts of one's own beside the spec, as `python -m nnopt` would find them; last, so that nothing is hidden by them.
    sys.path.append(os.getcwd())
    leave_all_at_the_end()
    app()
