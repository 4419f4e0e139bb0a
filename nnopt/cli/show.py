"""`nnopt show RUN`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from nnopt.cli.common import AsJson, RunsDir, check_writable, errors_in_a_line, output, print_json


@errors_in_a_line
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a unique tail of it.")],
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the run's curves: .png, .svg, .pdf.")
    ] = None,
    spec: Annotated[bool, typer.Option("--spec", help="Also print the resolved spec.")] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Show the network's layers instead, with shapes and what they cost.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show where the time of a step goes instead, as `train --profile` wrote.")
    ] = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Show what a run was and how it went."""
    from nnopt.store.find import find_run, read_run
    from nnopt.store.folder import runs_folder

    check_writable(plot)
    if plot:
        from nnopt.compare.pictures.figure import check_picture_file

        check_picture_file(plot)
    record = read_run(find_run(run, runs_folder(runs_dir)))
    if plot:
        from nnopt.compare.pictures.run import plot_run

        plot_run(record, plot)
    if layers:
        from nnopt.cli.layers_table import print_layers

        print_layers(record, as_json)
        return
    if profile:
        from nnopt.cli.profile_table import print_profile

        print_profile(record, as_json)
        return
    if as_json:
        print_json({**record.summary, "status": record.status, "folder": str(record.folder)})
        return
    console = output()
    console.print(_table(record))
    if spec:
        from nnopt.spec.identity import to_yaml

        file = record.folder / "spec.yaml"  # an imported run has none
        text = file.read_text() if file.is_file() else to_yaml(record.summary.get("spec") or {})
        console.print(text, markup=False, soft_wrap=True)
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
    for name, text in _search_rows(record):
        add(name, text)
    add("tags", ", ".join(summary.get("tags", [])))
    add("notes", summary.get("notes"))
    add("spec hash", summary.get("spec_hash"))
    add(
        "device",
        f"{summary.get('device')}, {summary.get('threads')} threads" if "device" in summary else None,
    )
    if "steps" in summary:
        add("trained", _trained(summary))
        add(
            "seconds",
            ", ".join(f"{name} {value:.2f}" for name, value in summary["seconds"].items() if value and value >= 0.005),
        )
        add("samples/s", _or_nothing(show_quantity, summary.get("samples_per_second")))
        add("peak memory", _or_nothing(show_bytes, summary.get("memory_peak_bytes")))
        for name, text in _transfer_rows(summary):
            add(name, text)
        for teacher in summary.get("teachers") or []:
            add("teacher", _teacher(teacher))
        for name, text in _network_rows(summary):
            add(name, text)
        promised = summary.get("bits_promised")
        if promised is not None:
            add("same bits again", "yes" if promised else f"not promised: {summary['bits_reason']}")
    imported = summary.get("imported")
    if imported:
        clocks = {"given": "the source's own", "wall": "wall time since the first event", "none": "none"}
        add("imported from", f"{imported['path']} ({imported['from']}; seconds: {clocks[imported['clock']]})")
    for column, values in (summary.get("metrics") or {}).items():
        last = "-" if values["last"] is None else f"{values['last']:.6g}"
        best = "-" if values["best"] is None else f"{values['best']:.6g} at step {values['best_step']}"
        add(column, f"last {last}, best {best}")
    for weights in ("last", "best"):
        tests = (summary.get("test") or {}).get(weights)
        if tests:
            shown = ", ".join(
                f"{name} {value:.6g}" for name, value in tests.items() if name != "step" and value is not None
            )
            add(f"test, {weights} weights", shown)
    for text in summary.get("diagnosis") or []:
        add("diagnosis", text)
    target = summary.get("target")
    if target:
        where = f"reached at step {target['step']}, {target['seconds']:.2f} s" if target["reached"] else "not reached"
        add("target", f"{target['metric']} {target['value']:g}: {where}")
    return table


def _search_rows(record: Any) -> list[tuple[str, str]]:
    """Of a trial: its number among how many, and what it sets. Of a run with tuned settings: how they were found."""
    from nnopt.compare.text import show_value
    from nnopt.compare.trials import search_files

    summary = record.summary
    if record.trial is None:
        tuned = (summary.get("spec") or {}).get("tuned")
        return [("tuned", f"by {tuned['trials']} trials")] if tuned and tuned.get("trials") else []
    setting = summary.get("setting") or {}
    files, _ = search_files([record])
    of = [f" (of {file.variants[record.variant].trials})" for file in files.values() if record.variant in file.variants]
    return [
        ("trial", f"{record.trial}{''.join(of)} of {record.variant}, in the search of {record.experiment}"),
        ("setting", ", ".join(f"{key} {show_value(setting, key)}" for key in setting)),
    ]


def _transfer_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The weights that it began with, what of it is frozen, and parameters with rates of their own."""
    from nnopt.spec.parameter_groups import group_in_words

    origin = summary.get("init_from")
    if origin:
        head = f"; the last layer, {origin['new_head']}, new" if "new_head" in origin else ""
        yield "begins with", f"{_teacher(origin)}: {len(origin['taken'])} tensors, {len(origin['left'])} drawn{head}"
    if summary.get("frozen_parameters"):
        yield "frozen", f"{summary['frozen_parameters']:,} parameters"
    for group in summary.get("groups") or []:
        yield "group", group_in_words(group)


def _teacher(record: dict[str, Any]) -> str:
    """Whose answers it learned from, and by which weights they were given."""
    if "run" not in record:
        return f"{record['checkpoint']} (SHA-256 {record['sha256'][:16]})"
    return f"{record['run']}, {record['weights']} weights (step {record['step']:,}, SHA-256 {record['sha256'][:16]})"


def _network_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What the network that came out costs, with what it cost before where its structure was changed."""
    before = summary.get("before") or {}
    for name, key in (
        ("parameters", "parameters"),
        ("not 0", "nonzero_parameters"),
        ("multiply-adds", "multiply_adds"),
        ("bytes on disk", "network_bytes"),
    ):
        value, was = summary.get(key), before.get(key)
        if value is not None and (key != "nonzero_parameters" or value != summary.get("parameters")):
            yield name, f"{value:,}" + (f" (before: {was:,})" if was is not None and was != value else "")
    for name, key, samples in (
        ("latency", "latency_seconds", 1),
        ("batch latency", "batch_latency_seconds", summary.get("inference_batch")),
    ):
        value, was = summary.get(key), before.get(key)
        if value is not None:
            most = summary[key.replace("_seconds", "_p95_seconds")]
            size = "1 sample" if samples == 1 else f"{samples} samples"
            earlier = "" if was is None else f" (before: {1000 * was:.3g} ms)"
            yield name, f"{1000 * value:.3g} ms for {size}, 95 % within {1000 * most:.3g} ms{earlier}"


def _trained(summary: dict[str, Any]) -> str:
    """How far a run came; an imported one does not know all of it."""
    counts = [
        _or_nothing("{:g} epochs".format, summary.get("epochs")),
        f"{summary['steps']:,} steps",
        _or_nothing("{:,} samples".format, summary.get("samples")),
        _or_nothing("{:,} gradient evaluations".format, summary.get("gradient_evaluations")),
    ]
    return ", ".join(filter(None, counts))


def _or_nothing(write: Callable[[Any], str], value: Any) -> str:
    return "" if value is None else write(value)
