"""Specs to start from, each a file of this folder whose first line describes it; and packages, each a folder."""

from __future__ import annotations

from importlib.resources import files


def examples() -> dict[str, str]:
    """Names of the examples with their descriptions."""
    found = sorted(entry.name for entry in files(__name__).iterdir() if entry.name.endswith(".yaml"))
    return {
        name.removesuffix(".yaml"): example_text(name.removesuffix(".yaml")).split("\n")[0].lstrip("# ")
        for name in found
    }


def example_text(name: str) -> str:
    """The text of one example."""
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def template(name: str) -> dict[str, str]:
    """The files of a package to start from, name -> text; in this folder each ends in `.txt`."""
    found = sorted(entry.name for entry in files(__name__).joinpath(name).iterdir() if entry.name.endswith(".txt"))
    return {
        entry.removesuffix(".txt"): files(__name__).joinpath(name, entry).read_text(encoding="utf-8") for entry in found
    }
