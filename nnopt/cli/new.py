"""`nnopt new optimizer NAME`."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from nnopt.cli.common import errors_in_a_line
from nnopt.errors import UsageError

KINDS = ("optimizer",)


@errors_in_a_line
def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What: optimizer.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the package, such as my_rule.")],
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder that it is made in; default here.")
    ] = Path(),
) -> None:
    """Write a package with an optimizer of one's own that runs as it stands: its rule, tests, and a comparison."""
    from nnopt.examples import template
    from nnopt.spec.nearest import nearest
    from nnopt.store.files import refusals

    if kind not in KINDS:
        raise UsageError(f"`nnopt new` writes no '{kind}'{nearest(kind, KINDS)}; it writes {', '.join(KINDS)}")
    check_form(name)
    files = template(f"new_{kind}")
    words = {"my_rule": name, "MyRule": class_name(name)}
    if not folder.is_dir():
        raise UsageError(f"--output {folder} is no folder that is there: make it first")
    package = folder / name
    if package.exists():
        raise UsageError(f"{package} is there already; take another name, or another folder with --output")
    check_free(name, "".join(files.values()))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to the folder {folder}: no permission; give another with --output")
    try:
        package.mkdir()
    except OSError as error:
        raise UsageError(f"cannot make the folder {package}: {error.strerror}; give another with --output") from None
    with refusals(package):
        for file, text in files.items():
            (package / file).write_text(_with(words, text), encoding="utf-8")
    path = f"{name}.rules:{words['MyRule']}"
    print(f"written: {package} ({', '.join(files)})")
    print(f"in a spec: optimizer: {{kind: {path}, lr: 0.001}}, for commands given in {folder.absolute()}")
    print(f"next: nnopt parts optimizer {path} --check; pytest {name}; nnopt train {name}/compare.yaml")


def class_name(name: str) -> str:
    """`my_rule` as `MyRule`."""
    return "".join(part.capitalize() for part in name.split("_"))


def check_form(name: str) -> None:
    """Raises UsageError where a package cannot have the name."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        better = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
        better = better if re.match("[a-z]", better) else f"my_{better or 'rule'}"
        raise UsageError(
            f"'{name}' cannot be the name of a Python package here: take lower-case letters, digits and single "
            f"underscores, a letter first, such as {better}"
        )
    if keyword.iskeyword(name):
        raise UsageError(f"'{name}' is a word of Python itself: take another name, such as my_{name}")


def check_free(name: str, texts: str) -> None:
    """Raises UsageError where the package would not be found, or would hide what the files with `texts` need."""
    from nnopt.spec.optimizers.union import OPTIMIZERS

    if name in OPTIMIZERS.named():
        raise UsageError(f"optimizer {name} is nnopt's own already: take another name, such as my_{name}")
    lines: list[str] = re.findall(r"^from (?!my_rule)\S+ import (.+)$", texts, re.MULTILINE)
    if class_name(name) in {word for line in lines for word in line.split(", ")}:
        raise UsageError(f"the class would be called {class_name(name)}, as one that it needs: take my_{name}")
    found = importlib.util.find_spec(name)
    if found is not None and found.origin is not None:
        raise UsageError(
            f"Python has a module called '{name}' already, which would be found in its place: take another name, "
            f"such as my_{name}"
        )


def _with(words: dict[str, str], text: str) -> str:
    """The text with every word of the template replaced, those within longer names too."""
    return re.sub("|".join(words), lambda found: words[found[0]], text)
