"""The layers of a run's network as a table: `nnopt show RUN --layers`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nnopt.cli.common import output, print_json
from nnopt.store.network_file import read_network
from nnopt.store.record import RunRecord

if TYPE_CHECKING:
    from rich.table import Table

    from nnopt.compare.tables.columns import TextColumn

ABSENT = "-"
Account = dict[str, Any]


def print_layers(record: RunRecord, as_json: bool) -> None:
    """Prints each layer that has parameters or changes the shape, and sums, before and after where they differ.

    Raises:
        RunsFolderError: the run has no such table.
    """
    from nnopt.compare.tables.columns import render_columns

    network = read_network(record.folder, record.status)
    if as_json:
        print_json({**network, "run": record.name, "folder": str(record.folder)})
        return
    console = output()
    render_columns(_layers(network["after"], network["before"]), console)
    console.print(_sums(network["after"], network["before"]))
    threads = f"{network['threads']} thread{'' if network['threads'] == 1 else 's'}"
    console.print(f"on {network['device']} with {threads}, {network['precision']}", soft_wrap=True)


def _layers(after: Account, before: Account | None) -> list[TextColumn]:
    from nnopt.compare.tables.columns import TextColumn

    earlier = {layer["name"]: layer for layer in before["layers"]} if before else {}
    shown = [layer for layer in after["layers"] if layer["parameters"] or layer["input_shape"] != layer["output_shape"]]
    columns: dict[str, list[str]] = {
        "layer": [layer["name"] or "(the whole)" for layer in shown],
        "kind": [layer["kind"] for layer in shown],
        "input": [_shape(layer["input_shape"]) for layer in shown],
        "output": [_shape(layer["output_shape"]) for layer in shown],
        "parameters": [_count(layer["parameters"]) for layer in shown],
        "are 0": [_zeros(layer) for layer in shown],
        "bits": [_count(layer["bits"]) for layer in shown],
        "multiply-\nadds": [_count(layer["multiply_adds"]) for layer in shown],
    }
    if before:
        was = [earlier.get(layer["name"], {}) for layer in shown]
        columns["parameters\nbefore"] = [_count(layer.get("parameters")) for layer in was]
        columns["multiply-adds\nbefore"] = [_count(layer.get("multiply_adds")) for layer in was]
    return [TextColumn(title, tuple(texts)) for title, texts in columns.items()]


def _sums(after: Account, before: Account | None) -> Table:
    from rich.table import Table

    table = Table("", box=None, pad_edge=False, show_header=before is not None)
    for title in ["before", "after", "after / before"] if before else ["after"]:
        table.add_column(title, justify="right", no_wrap=True)
    for (name, now), (_, was) in zip(_named(after), _named(before or after), strict=True):
        if now is None:
            continue
        shown = [_show(name, now)]
        if before:
            shown = [_show(name, was), *shown, f"x {now / was:.3g}" if was else ABSENT]
        table.add_row(name, *shown)
    return table


def _named(account: Account) -> Iterator[tuple[str, float | None]]:
    """What is summed up over the layers, or of the network whole."""
    yield "parameters", account["parameters"]
    yield "parameters that are not 0", account["nonzero_parameters"]
    yield "multiply-adds", account["multiply_adds"]
    yield "multiply-adds with weights that are not 0", account["multiply_adds_nonzero"]
    yield "bytes on disk", account["network_bytes"]
    batch = account["inference_batch"]
    for size, key in (("1 sample", ""), (f"{batch} samples", "batch_")):
        yield f"ms for {size}, median", _milliseconds(account[f"{key}latency_seconds"])
        yield f"ms for {size}, 95th percentile", _milliseconds(account[f"{key}latency_p95_seconds"])
    yield f"samples/s, {batch} at a time", account["inference_samples_per_second"]


def _show(name: str, value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:.3g}" if name.startswith("ms ") else f"{value:,.0f}"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def _shape(shape: list[int] | None) -> str:
    return ABSENT if shape is None else "x".join(map(str, shape)) or "1"


def _count(count: int | None) -> str:
    return ABSENT if count is None else f"{count:,}"


def _zeros(layer: Account) -> str:
    """The share of its parameters that are 0, in per cent; nothing is rounded to 0 or to all."""
    count, nonzero = layer["parameters"], layer["nonzero_parameters"]
    if not count:
        return ABSENT
    if nonzero in (0, count):
        return "0 %" if nonzero else "100 %"
    return f"{min(max(100 * (1 - nonzero / count), 0.01), 99.99):.3g} %"
