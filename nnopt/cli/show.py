"""`nnopt show RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nnopt.cli.common import AsJson, RunsDir, check_writable, errors_in_a_line, output, print_json


@errors_in_a_line
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a unique tail of it.")],
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the run's curves as PNG.")] = None,
    spec: Annotated[bool, typer.Option("--spec", help="Also print the resolved spec.")] = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Show what a run was and how it went."""
    from nnopt.store.find import find_run, read_run
    from nnopt.store.place import runs_folder

    check_writable(plot)
    record = read_run(find_run(run, runs_folder(runs_dir)))
    if plot:
        from nnopt.compare.run_plot import plot_run

        plot_run(record, plot)
    if as_json:
        print_json({**record.summary, "status": record.status, "folder": str(record.folder)})
        return
    console = output()
    console.print(_table(record))
    if spec:
        console.print((record.folder / "spec.yaml").read_text(), markup=False, soft_wrap=True)
    if plot:
        console.print(f"written: {plot}", soft_wrap=True)


def _table(record: Any) -> Any:
    from rich.table import Table

    from nnopt.compare.text import show_bytes, show_quantity

    summary = record.summary
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")

    def add(name: str, value: object) -> None:
        if value not in (None, "", []):
            table.add_row(name, str(value))

    reason = summary.get("reason")
    add("run", record.folder)
    add("status", f"{record.status}{f' ({reason})' if reason else ''}")
    add("tags", ", ".join(summary.get("tags", [])))
    add("notes", summary.get("notes"))
    add("spec hash", summary.get("spec_hash"))
    add(
        "device",
        f"{summary.get('device')}, {summary.get('threads')} threads" if "device" in summary else None,
    )
    if "steps" in summary:
        add(
            "trained",
            f"{summary['epochs']:g} epochs, {summary['steps']:,} steps, {summary['samples']:,} samples, "
            f"{summary['gradient_evaluations']:,} gradient evaluations",
        )
        add(
            "seconds",
            ", ".join(f"{name} {value:.2f}" for name, value in summary["seconds"].items() if value >= 0.005),
        )
        add("samples/s", show_quantity(summary["samples_per_second"]))
        add("peak memory", show_bytes(summary["memory_peak_bytes"]))
        add("parameters", f"{summary['parameters']:,}")
        promised = summary["bits_promised"]
        add("same bits again", "yes" if promised else f"not promised: {summary['bits_reason']}")
    for column, values in (summary.get("metrics") or {}).items():
        last = "-" if values["last"] is None else f"{values['last']:.6g}"
        add(column, f"last {last}, best {values['best']:.6g} at step {values['best_step']}")
    for weights in ("last", "best"):
        tests = (summary.get("test") or {}).get(weights)
        if tests:
            shown = ", ".join(
                f"{name} {value:.6g}" for name, value in tests.items() if name != "step" and value is not None
            )
            add(f"test, {weights} weights", shown)
    target = summary.get("target")
    if target:
        where = f"reached at step {target['step']}, {target['seconds']:.2f} s" if target["reached"] else "not reached"
        add("target", f"{target['metric']} {target['value']:g}: {where}")
    return table
