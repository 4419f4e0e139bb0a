"""Where the time of a step goes, as tables: `nnopt train --profile`, `nnopt show RUN --profile`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nnopt.cli.common import output, print_json
from nnopt.store.profile_file import PROFILE, TRACE, read_profile
from nnopt.store.record import RunRecord

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from nnopt.compare.tables.columns import TextColumn

BAR_WIDTH, MOST_OPERATORS = 20, 8
WIDEST_OPERATOR = 60
ABSENT = "-"
Profile = dict[str, Any]


def profiles_of(records: Sequence[RunRecord]) -> dict[str, Profile]:
    """The profiles in the folders of runs by their names, where there are any."""
    return {record.name: read_profile(record.folder) for record in records if (record.folder / PROFILE).is_file()}


def print_profiles(records: Sequence[RunRecord]) -> None:
    """Prints the profile of one run whole, those of several as a row each."""
    found = profiles_of(records)
    profiled = [record for record in records if record.name in found]
    if len(profiled) == 1:
        _print_one(profiled[0], found[profiled[0].name], output())
    elif profiled:
        from nnopt.compare.tables.columns import render_columns

        console = output()
        console.print("[bold]where the time of a step goes[/] (nnopt show RUN --profile tells more)")
        render_columns(_rows(found), console)


def print_profile(record: RunRecord, as_json: bool) -> None:
    """Prints the profile of a run.

    Raises:
        RunsFolderError: it has none.
    """
    profile = read_profile(record.folder)
    if as_json:
        print_json({**profile, "folder": str(record.folder)})
    else:
        _print_one(record, profile, output())


def _print_one(record: RunRecord, profile: Profile, console: Console) -> None:
    clock = "the device's clock" if profile["clock"] == "device" else "the clock of the process"
    steps, step, processes = profile["steps"]["timed"], profile["step_ms"], profile["processes"]
    console.print(
        f"[bold]{profile['findings'][0]}[/]: {steps} steps of {record.name} from step {profile['from_step']}, by "
        f"{clock}, {_ms(step['mean'])} ms a step, {profile['samples_per_second']:,.0f} samples/s",
        soft_wrap=True,
    )
    console.print(
        f"batch {profile['batch_size']}, {profile['precision']}{', compiled' if profile['compiled'] else ''}, on "
        f"{profile['device']} with {profile['threads']} thread{'' if profile['threads'] == 1 else 's'}"
        f"{'' if processes == 1 else f' in the first of {processes} processes'}",
        soft_wrap=True,
    )
    console.print()
    console.print(_stages(profile))
    console.print()
    console.print(_operators(profile))
    for text in profile["findings"][1:]:
        console.print(f"- {text}", soft_wrap=True, markup=False)
    console.print(f"trace for ui.perfetto.dev: {record.folder / TRACE}", soft_wrap=True, markup=False)


def _stages(profile: Profile) -> Table:
    table = _table("stage", "mean ms", "median", "95 %", "calls", "share")
    on_device = profile["clock"] == "device"
    if on_device:
        table.add_column("Python ms", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in profile["stages"]:
        if not row["calls"]:
            continue
        name = row["stage"] if row["part_of"] is None else f"[dim]  {row['stage']}[/]"
        numbers = [_ms(row[f"{kind}_ms"]) for kind in ("mean", "median", "p95")]
        bar = "█" * round(BAR_WIDTH * row["share"]) if row["part_of"] is None else ""
        host = [_ms(row["host_ms"])] if on_device else []
        table.add_row(name, *numbers, f"{row['calls']:.3g}", _share(row["share"]), *host, bar)
    step = profile["step_ms"]
    whole = [_ms(step[kind]) for kind in ("mean", "median", "p95")]
    host = [_ms(sum(row["host_ms"] for row in profile["stages"] if row["part_of"] is None))] if on_device else []
    table.add_section()
    table.add_row("step", *whole, "1", "100 %", *host, "")
    return table


def _operators(profile: Profile) -> Table:
    on_device = any(row["device_self_ms"] is not None for row in profile["operators"])
    kinds = ("device", "cpu") if on_device else ("cpu",)
    names = {"device": "device", "cpu": "CPU"}
    titles = (title for kind in kinds for title in (f"{names[kind]} self ms", "share"))
    table = _table("operator (while the profiler looks on)", "calls", *titles)
    for row in profile["operators"][:MOST_OPERATORS]:
        numbers = (text for kind in kinds for text in (_ms(row[f"{kind}_self_ms"]), _share(row[f"{kind}_share"])))
        table.add_row(row["operator"][:WIDEST_OPERATOR], f"{row['calls']:.3g}", *numbers)
    return table


def _table(first: str, *others: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for title in others:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _rows(found: dict[str, Profile]) -> list[TextColumn]:
    from nnopt.compare.tables.columns import TextColumn

    def column(title: str, texts: Iterator[str]) -> TextColumn:
        return TextColumn(title, tuple(texts))

    profiles = list(found.values())
    shares = [{row["stage"]: row["share"] for row in profile["stages"]} for profile in profiles]
    stages = [row["stage"] for row in profiles[0]["stages"] if row["part_of"] is None]
    return [
        column("run", (name.partition("/")[2] for name in found)),
        column("ms a step", (_ms(profile["step_ms"]["mean"]) for profile in profiles)),
        *(column(name, (_share(one[name]) for one in shares)) for name in stages if any(one[name] for one in shares)),
    ]


def _ms(value: float | None) -> str:
    """Three digits of milliseconds, as a plain number."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %" if value >= 0.001 or not value else "< 0.1 %"
