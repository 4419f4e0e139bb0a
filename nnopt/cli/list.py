"""`nnopt list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nnopt.cli.common import AsJson, RunsDir, errors_in_a_line, output, print_json


@errors_in_a_line
def list_runs(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Only these; default all.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only experiments with this tag.")] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """List runs with their status, last metric and disk use."""
    import sys

    from nnopt.errors import RunsFolderError
    from nnopt.store.find import find_runs, read_runs, run_folders
    from nnopt.store.folder import runs_folder

    folder = runs_folder(runs_dir)
    if not folder.is_dir():
        raise RunsFolderError(f"there is no runs folder {folder}: train something first, or give --runs-dir")
    records, problems = read_runs(find_runs(runs, folder) if runs else run_folders(folder))
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    rows = [_row(record, folder) for record in records if tag is None or tag in record.summary.get("tags", [])]
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    from nnopt.compare.text import show_bytes, show_quantity

    table = Table(box=None, pad_edge=False)
    for title, justify in (("run", "left"), ("status", "left"), ("epochs", "right"), ("seconds", "right")):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("last", overflow="fold")
    table.add_column("disk", justify="right", no_wrap=True)
    for row in rows:
        last = "" if row["last"] is None else f"{row['metric']} {row['last']:.4f}"
        epochs = "" if row["epochs"] is None else f"{row['epochs']:g}"
        table.add_row(
            row["run"],
            row["status"],
            epochs,
            show_quantity(row["train_seconds"]),
            last,
            show_bytes(row["disk_bytes"]),
        )
    console = output()
    console.print(table)
    console.print(f"{len(rows)} runs, {show_bytes(sum(row['disk_bytes'] for row in rows))} in {folder}")


def _row(record: Any, runs_dir: Path) -> dict[str, Any]:
    summary = record.summary
    metric = summary.get("select")
    folder = record.folder
    return {
        "run": folder.relative_to(runs_dir).as_posix() if folder.is_relative_to(runs_dir) else str(folder),
        "status": record.status,
        "epochs": summary.get("epochs"),
        "steps": summary.get("steps"),
        "train_seconds": (summary.get("seconds") or {}).get("train"),
        "metric": metric,
        "last": ((summary.get("metrics") or {}).get(metric) or {}).get("last"),
        "tags": summary.get("tags", []),
        "disk_bytes": disk_use(folder),
    }


def disk_use(folder: Path) -> int:
    """Bytes of the files below a folder; a file with two names there counts once."""
    sizes = {}
    for path in folder.rglob("*"):
        if path.is_file():
            stat = path.stat()
            sizes[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(sizes.values())
