"""What commands share: options, consoles, and errors turned into one line and an exit code."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from nnopt.errors import NnoptError, UsageError
from nnopt.surroundings import is_started_by_torchrun

if TYPE_CHECKING:
    from rich.console import Console

Parameters = ParamSpec("Parameters")

RunsDir = Annotated[
    Path | None,
    typer.Option("--runs-dir", metavar="DIR", help="Folder that holds runs (else NNOPT_RUNS_DIR, else ./runs)."),
]
On = Annotated[
    str | None,
    typer.Option("--on", metavar="WHERE", help="Train elsewhere: ray (or ray:auto, ray:host:port), slurm."),
]
MaxRestarts = Annotated[
    int | None,
    typer.Option(
        "--max-restarts",
        min=0,
        help="How often a run whose process is lost is taken up from its checkpoint (0; 3 with --on).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Debug:
    """Whether tracebacks are shown: set by `nnopt --debug`."""

    on = False


def errors_in_a_line(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Turns what a user can act on into one line on stderr and the exit code that belongs to it."""

    @functools.wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except NnoptError as error:
            if Debug.on:
                raise
            print_error(str(error))
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            _print_nowhere()
            raise typer.Exit(0) from None
        except KeyboardInterrupt:  # before training listens for it itself
            print_error("interrupted")
            raise typer.Exit(130) from None
        except typer.Exit:
            raise
        except Exception as error:
            if Debug.on:
                raise
            first = (str(error).strip() or "no message").split("\n")[0]
            print_error(f"{type(error).__name__}: {first} (this is a fault in nnopt; `nnopt --debug ...` shows where)")
            raise typer.Exit(1) from None

    return run


def print_error(text: str) -> None:
    """Writes `error: ...` to stderr, unwrapped, so that a line stays a line."""
    who = "" if speaks_for_all() else f" (process {os.environ['RANK']})"
    print(f"error{who}: {text}", file=sys.stderr)


def speaks_for_all() -> bool:
    """Whether results are this process's to print: of those that torchrun started, the first's."""
    return not is_started_by_torchrun() or os.environ["RANK"] == "0"


def output() -> Console:
    """The console of results: stdout, as wide as the terminal (or COLUMNS), 120 columns where there is none."""
    from rich.console import Console

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if known else 120, soft_wrap=False, highlight=False)
    console.on_broken_pipe = _print_nowhere  # type: ignore[method-assign]
    return console


def _print_nowhere() -> None:
    """The reader of a pipe had enough, which is no failure: rich would exit with 1, and that means a bad run here."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_writable(*files: Path | None) -> None:
    """Raises UsageError before any work is done where one of `files` could not be written afterwards."""
    for file in files:
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            what = "is a folder" if file.is_dir() else f"lies in {file.parent}, which is not there"
            raise UsageError(f"cannot write {file}: it {what}")


def print_json(value: Any) -> None:
    """Prints `value` as JSON."""
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
