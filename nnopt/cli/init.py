"""`nnopt init [EXAMPLE]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnopt.cli.common import check_writable, errors_in_a_line


@errors_in_a_line
def init(
    example: Annotated[str, typer.Argument(metavar="[EXAMPLE]", help="Which example; `--list` names them.")] = "start",
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where; default EXAMPLE.yaml.")
    ] = None,
    names: Annotated[bool, typer.Option("--list", help="List the examples.")] = False,
) -> None:
    """Write a spec to start from. An existing file is never overwritten."""
    from nnopt.errors import UsageError
    from nnopt.examples import example_text, examples
    from nnopt.spec.nearest import nearest
    from nnopt.store.files import refusals

    known = examples()
    if names:
        width = max(map(len, known))
        for name, description in known.items():
            print(f"{name:<{width}}  {description}")
        return
    if example not in known:
        raise UsageError(f"no example is called '{example}'{nearest(example, known)}; there are {', '.join(known)}")
    path = file or Path(f"{example}.yaml")
    check_writable(path)
    if path.exists():
        raise UsageError(f"{path} is there already; give another name with --output")
    with refusals(path), path.open("x", encoding="utf-8") as out:
        out.write(example_text(example))
    print(f"written: {path}\nnext: nnopt check {path}; nnopt train {path}")
