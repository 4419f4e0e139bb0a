"""`nnopt parts [KIND [NAME]]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nnopt.cli.common import AsJson, errors_in_a_line, output, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from nnopt.spec.base import Spec


@errors_in_a_line
def parts(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="optimizer, model, data, strategy, ...")] = None,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One part of that kind.")] = None,
    side_by_side: Annotated[
        bool, typer.Option("--compare", help="Of optimizers: time and memory of all on one model, measured here.")
    ] = False,
    checks: Annotated[
        bool, typer.Option("--check", help="Of an optimizer: try what every optimizer is to be able to do.")
    ] = False,
    measured: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Of an optimizer: time its steps here (half a second).")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Print every optimizer, model, ... with its keys, defaults, formula and source."""
    from nnopt.errors import UsageError
    from nnopt.spec.parts import MAPPINGS, UNIONS, find_part

    if side_by_side or checks:
        _measure(kind, name, side_by_side, checks, as_json)
    elif kind in MAPPINGS:
        if name:
            raise UsageError(f"{kind} has keys, not kinds: `nnopt parts {kind}` prints them")
        _show(kind, None, MAPPINGS[kind], False, as_json)
    elif kind is not None and name is not None:
        _show(kind, name, find_part(kind, name), measured and kind == "optimizer", as_json)
    else:
        if kind is not None and kind not in UNIONS:
            find_part(kind, "")
        _list(kind, as_json)


def _measure(kind: str | None, name: str | None, side_by_side: bool, checks: bool, as_json: bool) -> None:
    """`--compare` and `--check`."""
    from nnopt.cli.parts_check import check_optimizer
    from nnopt.cli.parts_costs import compare_optimizers
    from nnopt.errors import UsageError
    from nnopt.spec.parts import find_part

    if side_by_side and checks:
        raise UsageError("--compare is of all optimizers, --check of one: take one of the two")
    if side_by_side and (kind != "optimizer" or name is not None):
        raise UsageError("--compare sets all optimizers side by side: nnopt parts optimizer --compare")
    if checks and (kind != "optimizer" or name is None):
        raise UsageError("--check tries one optimizer: nnopt parts optimizer NAME --check")
    if name is None:
        compare_optimizers(as_json)
    else:
        find_part("optimizer", name)
        check_optimizer(name, as_json)


def _list(kind: str | None, as_json: bool) -> None:
    """All parts, or those of one kind."""
    from nnopt.spec.parts import MAPPINGS, UNIONS, first_line

    unions = {kind: UNIONS[kind]} if kind else UNIONS
    if as_json:
        print_json(
            {union: {part: first_line(spec) for part, spec in kinds.named().items()} for union, kinds in unions.items()}
        )
        return
    from rich.table import Table
    from rich.text import Text

    console = output()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for union, kinds in unions.items():
        table.add_row(f"[bold]{union}", "")
        for part, spec in kinds.named().items():
            table.add_row(f"  {part}", Text(first_line(spec)))
    if kind is None:
        table.add_row("[bold]mappings", "")
        for name_of, mapping in MAPPINGS.items():
            table.add_row(f"  {name_of}", Text(first_line(mapping)))
    console.print(table)
    console.print("`nnopt parts KIND NAME` prints the keys of one.", highlight=False)
    if kind in (None, "optimizer"):
        console.print("`nnopt parts optimizer --compare` measures the time and memory of each.", highlight=False)


def _show(kind: str, name: str | None, part: type[Spec], measured: bool, as_json: bool) -> None:
    """One part; of an optimizer also what it costs and how to begin with it."""
    from dataclasses import asdict

    from nnopt.cli.parts_costs import cost_lines, cost_of, line_to_begin_with
    from nnopt.spec.parts import first_line, keys_of

    title = kind if name is None else f"{kind} {name}"
    facts = {"formula": getattr(part, "formula", ""), "source": getattr(part, "source", "")}
    if kind == "optimizer" and name is not None:
        facts |= {"year": getattr(part, "year", None), "begin with": line_to_begin_with(name)}
    cost = cost_of(name) if measured and name is not None else None
    if as_json:
        said = {key.replace(" ", "_"): value for key, value in facts.items()}
        costs = {} if cost is None else {"cost": asdict(cost)}
        keys = [asdict(key) for key in keys_of(part)]
        print_json({"name": title, "description": first_line(part), **said, **costs, "keys": keys})
        return
    from rich.text import Text

    console = output()
    console.print(Text(title, style="bold"), Text(first_line(part)), sep="\n")
    for label, text in (*facts.items(), *(() if cost is None else cost_lines(cost))):
        if text:
            console.print(Text(f"{label}: {text}"), soft_wrap=True)
    if part.model_fields.keys() - {"kind"}:
        _print_keys(console, part)


def _print_keys(console: Console, part: type[Spec]) -> None:
    from rich.table import Table
    from rich.text import Text

    from nnopt.spec.parts import keys_of

    table = Table(box=None, pad_edge=False)
    for heading in ("key", "type", "default"):
        table.add_column(heading, overflow="fold")
    table.add_column("what", overflow="fold", ratio=1)
    for key in keys_of(part):
        table.add_row(Text(key.name, style="bold"), Text(key.type), Text(key.default), Text(key.description))
    console.print(table)
