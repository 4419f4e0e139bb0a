"""`nnopt export RUN --to TARGET`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnopt.cli.common import AsJson, RunsDir, errors_in_a_line, output, print_json
from nnopt.cli.evaluate import Weights

if TYPE_CHECKING:
    from rich.table import Table

FPGA, FLOAT = "Of --to fpga", "Of --to onnx, torch and executorch"


class Io(StrEnum):
    """How samples enter the chip."""

    parallel = "parallel"
    stream = "stream"


@errors_in_a_line
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a unique tail of it.")],
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help="onnx, torch, executorch or fpga.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The folder to make (else RUN/exports/TARGET, numbered)."),
    ] = None,
    weights: Annotated[Weights, typer.Option("--weights", help="Which weights.")] = Weights.best,
    raw: Annotated[
        bool, typer.Option("--raw-inputs", help="Put the normalisation of the data into the export.")
    ] = False,
    samples: Annotated[
        int | None, typer.Option("--samples", metavar="N", min=1, help="Compare on the first N test samples, not all.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", min=0, rich_help_panel=FLOAT, help="Share of the largest output (1e-4)."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision", metavar="FIXED", rich_help_panel=FPGA, help="fixed<bits, before the point> (<16,6>)."
        ),
    ] = None,
    reuse: Annotated[
        int | None,
        typer.Option("--reuse", metavar="N", min=1, rich_help_panel=FPGA, help="Uses of a multiplier a sample (1)."),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", rich_help_panel=FPGA, help="Vitis (usual), Vivado, Catapult or Quartus."),
    ] = None,
    io: Annotated[
        Io | None, typer.Option("--io", rich_help_panel=FPGA, help="A sample at once, or as a stream of pixels.")
    ] = None,
    part: Annotated[
        str | None, typer.Option("--part", metavar="CHIP", rich_help_panel=FPGA, help="The chip (else the backend's).")
    ] = None,
    clock: Annotated[
        float | None, typer.Option("--clock", metavar="NS", min=0.1, rich_help_panel=FPGA, help="Clock period (5).")
    ] = None,
    least: Annotated[
        float | None,
        typer.Option(
            "--least-agreement", min=0, max=1, rich_help_panel=FPGA, help="Share of equal answers, or R² (0.99)."
        ),
    ] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Take a trained network out to another runtime or a chip, and check it there on the test data."""
    from nnopt.export.export import build_target
    from nnopt.export.export import export as export_run
    from nnopt.store.find import find_run
    from nnopt.store.folder import runs_folder

    options = {
        "tolerance": tolerance,
        "precision": precision,
        "reuse": reuse,
        "backend": backend,
        "io": None if io is None else io.value,
        "part": part,
        "clock": clock,
        "least": least,
    }
    target = build_target(to, options)
    folder = find_run(run, runs_folder(runs_dir))
    made = export_run(folder, target, weights.value, raw, out, samples)
    if as_json:
        print_json({"folder": str(made.place), **made.record})
    else:
        _print(made.place, made.record)


def _print(place: Path, record: dict[str, Any]) -> None:
    console = output()
    where = place / record["file"] if record["file"] else place
    console.print(
        f"{record['run']}: {record['weights']} weights (step {record['step']}) as {record['target']}: {where}",
        soft_wrap=True,
        markup=False,
    )
    comparison = record["comparison"]
    console.print(f"{comparison['samples']:,} test samples", highlight=False)
    console.print(_metrics(record))
    for line in _sentences(record):
        console.print(line, soft_wrap=True, markup=False)
    if layers := record["details"].get("layers"):
        console.print(_layers(layers, record["details"]["total"]))
        console.print(f"not here: {record['details']['needs_synthesis']}", soft_wrap=True, markup=False)


def _metrics(record: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    metrics = record["comparison"]["metrics"]
    for name in ("torch", record["target"] if record["target"] != "torch" else "exported"):
        table.add_column(name, justify="right")
    for name, value in metrics["torch"].items():
        table.add_row(name, *("-" if one is None else f"{one:.6g}" for one in (value, metrics["export"][name])))
    return table


def _sentences(record: dict[str, Any]) -> list[str]:
    comparison, asked = record["comparison"], record["asked"]
    numbers = not record["output"]["classes"] and not record["output"]["questions"]
    agreement = f"R² against torch: {comparison['agreement']:.6g}"
    if not numbers:
        agreement = f"equal answers: {comparison['agreement']:.2%}"
    if "least_agreement" in asked:
        agreement += f" (at least {asked['least_agreement']:g} asked)"
    allowed = f", allowed is {asked['tolerance']:g} of the largest output" if "tolerance" in asked else ""
    reach = f"outputs reach {comparison['largest_output']:.3g}{allowed}"
    found = [agreement, f"largest difference of two outputs: {comparison['largest_difference']:.3g} ({reach})"]
    normalisation = record["input"]["normalisation"]
    if normalisation is not None:
        where = "is part of it" if normalisation["in_the_export"] else "is up to you"
        found.append(
            f"inputs {record['input']['shape']} {record['input']['dtype']}: the normalisation {where} (export.json)"
        )
    return found


def _layers(layers: list[dict[str, Any]], total: dict[str, Any]) -> Table:
    from rich.table import Table

    title = "the design as hls4ml counts it, before any synthesis"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in (
        "layer",
        "weights",
        "zeros",
        "precision",
        "results",
        "strategy",
        "reuse",
        "multipliers",
        "DSPs",
        "BRAMs",
    ):
        table.add_column(name, justify="left" if name in ("layer", "precision", "results", "strategy") else "right")
    keys = ("zeros", "weight_precision", "result_precision", "strategy", "reuse")
    for layer in layers:
        counts = (f"{layer[key]:,}" for key in ("multipliers", "dsps", "brams"))
        table.add_row(layer["layer"], f"{layer['weights']:,}", *(str(layer[key]) for key in keys), *counts)
    table.add_row(
        "all",
        f"{total['weights']:,}",
        *("" for _ in keys),
        *(f"{total[key]:,}" for key in ("multipliers", "dsps", "brams")),
    )
    return table
