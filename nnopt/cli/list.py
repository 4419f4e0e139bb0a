"""`nnopt list`."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnopt.cli.common import AsJson, RunsDir, errors_in_a_line, output, print_json

if TYPE_CHECKING:
    from nnopt.store.record import RunRecord


@errors_in_a_line
def list_runs(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Only these; default all.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only experiments with this tag.")] = None,
    trials: Annotated[bool, typer.Option("--trials", help="A line for each trial of a search.")] = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """List runs with their status, last metric and disk use; a search is a line for each variant.

    Trials that are named, as adam/trial-*, have lines of their own.
    """
    import sys

    from nnopt.errors import RunsFolderError
    from nnopt.store.find import read_named_runs, read_runs, run_folders
    from nnopt.store.folder import runs_folder

    folder = runs_folder(runs_dir)
    if not folder.is_dir():
        raise RunsFolderError(f"there is no runs folder {folder}: train something first, or give --runs-dir")
    named: frozenset[Path] = frozenset()
    if runs:
        records, problems, named = read_named_runs(runs, folder)
    else:
        records, problems = read_runs(run_folders(folder))
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    records = [record for record in records if tag is None or tag in record.summary.get("tags", [])]
    if as_json:
        print_json([_row(record, folder) for record in records])
        return
    shown: dict[Any, list[RunRecord]] = {}  # runs of one line
    for record in records:
        of_search = record.trial is not None and not trials and record.folder not in named
        shown.setdefault((record.folder.parents[1], "trials") if of_search else record.folder, []).append(record)
    lines = [
        _searched(members, folder) if isinstance(line, tuple) else _row(members[0], folder)
        for line, members in shown.items()
    ]
    _print(lines, len(records), folder)


def _print(rows: Sequence[dict[str, Any]], runs: int, folder: Path) -> None:
    """The table, and how much there is in all."""
    from rich.table import Table

    from nnopt.compare.spread import Spread
    from nnopt.compare.text import show_bytes, show_quantity, show_spread

    table = Table(box=None, pad_edge=False)
    for title, justify in (("run", "left"), ("status", "left"), ("epochs", "right"), ("seconds", "right")):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("last", overflow="fold")
    table.add_column("disk", justify="right", no_wrap=True)
    for row in rows:
        last = "" if row["last"] is None else f"{row['metric']} {show_spread(Spread.of([row['last']]))}"
        epochs = "" if row["epochs"] is None else f"{row['epochs']:g}"
        table.add_row(
            row["run"],
            row["status"],
            epochs,
            show_quantity(row["train_seconds"]),
            f"{last}{row.get('remark', '')}",
            show_bytes(row["disk_bytes"]),
        )
    console = output()
    console.print(table)
    console.print(f"{runs} runs, {show_bytes(sum(row['disk_bytes'] for row in rows))} in {folder}")


def _searched(trials: Sequence[RunRecord], runs_dir: Path) -> dict[str, Any]:
    """The line of a searched variant: what became of its trials, and the best of them."""
    variant = trials[0].folder.parents[1]
    statuses = Counter(_statuses_of_trials(trials))
    best = _best(trials)
    return {
        "run": f"{variant.relative_to(runs_dir) if variant.is_relative_to(runs_dir) else variant}/trial-*",
        "status": ", ".join(f"{count} {status}" for status, count in statuses.most_common()),
        "epochs": None,
        "train_seconds": sum((record.summary.get("seconds") or {}).get("train") or 0.0 for record in trials),
        "metric": best and best[0],
        "last": best and best[1],
        "remark": f" (trial {best[2]}, the best)" if best else "",
        "disk_bytes": sum(disk_use(record.folder) for record in trials),
    }


def _statuses_of_trials(records: Sequence[RunRecord]) -> Iterable[str]:
    """One status a trial: that of a run which is not done, where there is one."""
    trials: dict[int | None, str] = {}
    for record in records:
        if trials.get(record.trial, "done") == "done":
            trials[record.trial] = record.status
    return trials.values()


def _best(trials: Sequence[RunRecord]) -> tuple[str, float, int] | None:
    """Objective, value and number of the best trial of a variant; None where none is done, or no file tells."""
    from nnopt.compare.search.summary import best_trial
    from nnopt.compare.search.trials import trials_of
    from nnopt.compare.trials import search_files
    from nnopt.errors import NnoptError

    files, _ = search_files(trials)
    for file in files.values():
        with contextlib.suppress(NnoptError):  # what cannot be read is for `compare` to tell
            best = best_trial(trials_of(trials, file).get(trials[0].variant, ()), file.higher_is_better)
            if best is not None and best.value is not None:
                return file.metric, best.value, best.number
    return None


def _row(record: RunRecord, runs_dir: Path) -> dict[str, Any]:
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
        "trial": record.trial,
        "setting": summary.get("setting"),
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
