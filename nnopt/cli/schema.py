"""`nnopt schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnopt.cli.common import check_writable, errors_in_a_line, print_json


@errors_in_a_line
def schema(
    file: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a file.")] = None,
) -> None:
    """Print the JSON Schema of spec files, for editors that complete and check YAML."""
    from nnopt.spec.json_schema import json_schema

    check_writable(file)
    if file is None:
        print_json(json_schema())
        return
    from nnopt.store.files import write_json

    write_json(file, json_schema())
    print(f"written: {file}; in VS Code: # yaml-language-server: $schema={file}")
