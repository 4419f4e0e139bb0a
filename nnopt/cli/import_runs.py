"""`nnopt import SOURCE`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nnopt.cli.common import AsJson, RunsDir, errors_in_a_line, output, print_json


@errors_in_a_line
def import_runs(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of TensorBoard event files, MLflow store (file or address), CSV file or folder of such.",
        ),
    ],
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", metavar="NAME", help="Name of the experiment; of several in MLflow: which one."),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option("--variant", metavar="NAME", help="Name of the variant; may have hyperparameters: '{opt}-{lr}'."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="THEIRS=OURS", help="Column to take under another name; may be repeated."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="COLUMN", help="Column (its new name) to rank the runs by.")
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="auto, tensorboard, mlflow or csv.")] = "auto",
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Import runs of TensorBoard, MLflow or CSV files, to compare them.

    The same source again updates what has changed.
    """
    import sys

    from nnopt.importing.imports import Wish
    from nnopt.importing.imports import import_runs as import_source
    from nnopt.store.folder import runs_folder

    wish = Wish(experiment, variant, metric, tuple(rename or ()), kind)
    imported, notes = import_source(source, runs_folder(runs_dir), wish)
    for note in notes:
        print(note, file=sys.stderr)
    if as_json:
        print_json([{**one.__dict__, "folder": str(one.folder)} for one in imported])
        return
    console = output()
    console.print(_table(imported))
    columns = {theirs: ours for one in imported for theirs, ours in one.columns.items()}
    if columns:
        renamed = ", ".join(f"{theirs} is {ours}" for theirs, ours in columns.items())
        console.print(f"columns: {renamed}", markup=False, soft_wrap=True)
    names = dict.fromkeys(one.folder.parent.parent.name for one in imported)
    console.print(f"compare them: nnopt compare {' '.join(names)}", markup=False, soft_wrap=True)


def _table(imported: Any) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title, justify in (("run", "left"), ("", "left"), ("status", "left"), ("rows", "right"), ("from", "left")):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for one in imported:
        table.add_row(Text(str(one.folder)), one.state, one.status, f"{one.rows:,}", Text(one.run))
    return table
