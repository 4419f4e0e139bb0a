"""`nnopt doctor`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nnopt.cli.common import AsJson, RunsDir, errors_in_a_line, output, print_json


@errors_in_a_line
def doctor(
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
    seconds: Annotated[bool, typer.Option("--time", help="Also time a matrix product on each device.")] = False,
) -> None:
    """Check this installation: versions, devices, data at hand, the runs folder."""
    from nnopt.store.folder import runs_folder
    from nnopt.train.checkup import checkup

    found = checkup(runs_folder(runs_dir), timed=seconds)
    if as_json:
        print_json([line.__dict__ for line in found])
    else:
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for line in found:
            table.add_row(_mark(line), line.name, escape(line.text))
        output().print(table)
    if any(line.state == "bad" for line in found):
        raise typer.Exit(1)


def _mark(line: Any) -> str:
    return {"good": "[green]ok", "absent": "[dim]--", "bad": "[red]no"}[line.state]
