"""`nnopt parts optimizer NAME --check`."""

from __future__ import annotations

import sys
from collections import Counter

import typer

from nnopt.cli.common import output, print_json


def check_optimizer(name: str, as_json: bool) -> None:
    """Prints how an optimizer fared in each check; exit code 1 where it failed in one.

    Raises:
        UsageError: it cannot be built.
    """
    from dataclasses import asdict

    from nnopt.bench.conformance import run

    outcomes = run(name, progress=_say)
    _say("")
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    else:
        from rich.table import Table
        from rich.text import Text

        console = output()
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold", ratio=1)
        for outcome in outcomes:
            style = {"passed": "green", "failed": "red"}.get(outcome.status, "yellow")
            table.add_row(Text(outcome.check), Text(outcome.status, style=style), Text(outcome.detail))
        console.print(table)
        counts = Counter(outcome.status for outcome in outcomes)
        console.print(Text(f"{name}: {', '.join(f'{count} {status}' for status, count in counts.items())}"))
    if failed:
        raise typer.Exit(1)


def _say(check: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{check:<60}\r", end="", file=sys.stderr, flush=True)
