"""`nnopt parts [KIND [NAME]]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nnopt.cli.common import AsJson, errors_in_a_line, output, print_json

if TYPE_CHECKING:
    from nnopt.spec.base import Spec


@errors_in_a_line
def parts(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="optimizer, model, data, strategy, ...")] = None,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One part of that kind.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print every optimizer, model, ... with its keys, defaults, formula and source."""
    from nnopt.errors import UsageError
    from nnopt.spec.parts import MAPPINGS, UNIONS, find_part, first_line

    if kind in MAPPINGS:
        if name:
            raise UsageError(f"{kind} has keys, not kinds: `nnopt parts {kind}` prints them")
        _show(kind, MAPPINGS[kind], as_json)
        return
    if kind is not None and name is not None:
        _show(f"{kind} {name}", find_part(kind, name), as_json)
        return
    if kind is not None and kind not in UNIONS:
        find_part(kind, "")
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


def _show(title: str, part: type[Spec], as_json: bool) -> None:
    from dataclasses import asdict

    from nnopt.spec.parts import first_line, keys_of

    keys = keys_of(part)
    formula, source = getattr(part, "formula", ""), getattr(part, "source", "")
    if as_json:
        described = {"name": title, "description": first_line(part), "formula": formula, "source": source}
        print_json({**described, "keys": [asdict(key) for key in keys]})
        return
    from rich.table import Table
    from rich.text import Text

    console = output()
    console.print(Text(title, style="bold"), Text(first_line(part)), sep="\n")
    for label, text in (("formula", formula), ("source", source)):
        if text:
            console.print(Text(f"{label}: {text}"), soft_wrap=True)
    if not keys:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("key", "type", "default"):
        table.add_column(heading, overflow="fold")
    table.add_column("what", overflow="fold", ratio=1)
    for key in keys:
        table.add_row(Text(key.name, style="bold"), Text(key.type), Text(key.default), Text(key.description))
    console.print(table)
