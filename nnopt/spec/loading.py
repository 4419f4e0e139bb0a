"""From a YAML file and overrides to an ExperimentSpec, with errors that say where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nnopt.errors import SpecError
from nnopt.spec.base import nearest, show
from nnopt.spec.experiment import HEADER, ExperimentSpec, RunSettings, check_variant_names
from nnopt.spec.merge import merge, nested
from nnopt.spec.messages import in_words
from nnopt.spec.yaml_reader import Node, Path_, read_file, read_text

NOT_SHARED = {*HEADER, "variants"}


@dataclass(frozen=True)
class Override:
    """One `KEY=VALUE` of the command line."""

    text: str
    path: tuple[str, ...]
    value: Any

    @classmethod
    def parse(cls, text: str) -> Override:
        """Reads `a.b=value`, the value as YAML.

        Raises:
            SpecError: no `=`, an empty key, or a value that is not YAML.
        """
        key, equals, value = text.partition("=")
        path = tuple(key.strip().split("."))
        if not equals or not all(path):
            raise SpecError(f"command line: '{text}' should be KEY=VALUE, such as optimizer.lr=0.01")
        try:
            node = read_text(value, "")
        except SpecError as error:
            problem = str(error).removeprefix(":1: ")
            raise SpecError(f"command line ({text}): {problem}") from None
        return cls(text, path, None if node is None else node.plain())


@dataclass
class Source:
    """The file and the overrides that a spec came from: what tells an error's place."""

    name: str
    root: Node
    overrides: list[Override] = field(default_factory=list)

    def place(self, variant: str | None, path: Path_) -> tuple[str, Path_]:
        """`file:line` (or the override) that gave the value at `path` of a variant, and the path to print."""
        for override in reversed(self.overrides):
            given = override.path
            if given[:1] == ("variants",) and variant is not None and given[1:2] == (variant,):
                given = given[2:]
            if path[: len(given)] == given:
                return f"command line ({override.text})", path
        line, depth = self.root.line_of(path)
        if variant is not None:
            own = ("variants", variant, *path)
            own_line, own_depth = self.root.line_of(own)
            if own_depth > 2 and own_depth - 2 >= depth:
                return f"{self.name}:{own_line}", own
        return f"{self.name}:{line}", path


class Problems:
    """Mistakes found so far, each once, with the variants it concerns."""

    def __init__(self, source: Source, variants: list[str]) -> None:
        self.source = source
        self.variants = variants
        self.found: dict[tuple[str, Path_, str], list[str]] = {}

    def add(self, variant: str | None, path: Path_, message: str) -> None:
        """Notes a mistake at `path` of one variant, or (None) of the file as a whole."""
        place, shown = self.source.place(variant, path)
        self.found.setdefault((place, shown, message), []).extend([variant] if variant else [])

    def add_all(self, variant: str | None, error: ValidationError) -> None:
        """Notes every mistake of a validation."""
        for item in error.errors(include_url=False):
            path = (*item["loc"], *item.get("ctx", {}).get("path", ()))
            self.add(variant, path, in_words(item))

    def raise_if_any(self) -> None:
        """Raises SpecError with a line for each mistake."""
        lines = []
        for (place, path, message), variants in self.found.items():
            dotted = ".".join(str(step) for step in path)
            some = len(variants) < len(self.variants) and len(self.variants) > 1 and path[:1] != ("variants",)
            whose = f" (variant {', '.join(variants)})" if variants and some else ""
            lines.append(f"{place}: {dotted + ': ' if dotted else ''}{message}{whose}")
        if lines:
            raise SpecError(lines)


def load(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> ExperimentSpec:
    """The experiment that a YAML file describes, with `KEY=VALUE` overrides laid over every variant.

    Raises:
        SpecError: the file, a key or a value is wrong; its lines say where, what is allowed and what to do.
    """
    root = read_file(Path(path))
    source = Source(str(path), root, [Override.parse(text) for text in overrides])
    raw = root.plain()
    header, merged = _divide(source, raw)
    problems = Problems(source, list(merged))
    variants: dict[str, RunSettings] = {}
    for name, keys in merged.items():
        try:
            variants[name] = RunSettings.model_validate(keys)
        except ValidationError as error:
            problems.add_all(name if "variants" in raw else None, error)
    try:
        # A file whose variants failed is still checked at its head, with what it has of variants.
        return ExperimentSpec.model_validate({**header, "variants": variants if not problems.found else {"_": None}})
    except ValidationError as error:
        own = [item for item in error.errors(include_url=False) if item["loc"][:1] != ("variants",)]
        for item in own:
            problems.add(None, tuple(item["loc"]), in_words(item))
        if not own and not problems.found:
            problems.add_all(None, error)
    problems.raise_if_any()
    raise AssertionError("a spec failed without a message")  # pragma: no cover


def _divide(source: Source, raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The keys of the whole experiment, and for each variant its keys merged over the shared ones."""
    header = {key: raw[key] for key in HEADER if key in raw}
    shared = {key: value for key, value in raw.items() if key not in NOT_SHARED}
    merged = {name: merge(shared, overlay) for name, overlay in _variants(source, raw, shared).items()}
    for override in source.overrides:
        place = f"command line ({override.text})"
        path = override.path
        if path[0] in HEADER:
            if len(path) > 1:
                raise SpecError(f"{place}: {path[0]} has no keys of its own")
            header[path[0]] = override.value
            continue
        names = list(merged)
        if path[0] == "variants":
            names, path = [_variant_named(place, path, merged)], path[2:]
        for name in names:
            merged[name] = merge(merged[name], nested(path, override.value))
    return header, merged


def _variants(source: Source, raw: dict[str, Any], shared: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "variants" not in raw:
        optimizer = shared.get("optimizer")
        kind = optimizer.get("kind") if isinstance(optimizer, dict) else None
        name = str(kind).rpartition(":")[2].rpartition(".")[2] if kind else "run"
        return {name: {}}
    given = raw["variants"]
    line = source.root.key_lines["variants"]
    if not isinstance(given, dict):
        raise SpecError(f"{source.name}:{line}: variants: should be a mapping of names to keys, not {show(given)}")
    if not given:
        raise SpecError(f"{source.name}:{line}: variants: names none; leave the key out to train the keys above alone")
    try:
        check_variant_names(given)
    except ValueError as error:
        raise SpecError(f"{source.name}:{line}: variants: {error}") from None
    overlays = {}
    for name, overlay in given.items():
        overlays[name] = {} if overlay is None else overlay
        place = f"{source.name}:{source.root.line_of(('variants', name))[0]}: variants.{name}"
        if not isinstance(overlays[name], dict):
            raise SpecError(f"{place}: should be a mapping of keys that differ, not {show(overlay)}")
        for key in overlays[name]:
            if key in NOT_SHARED:
                raise SpecError(f"{place}.{key}: belongs to the whole experiment: write it at the top of the file")
    return overlays


def _variant_named(place: str, path: tuple[str, ...], known: dict[str, Any]) -> str:
    if len(path) < 3:
        raise SpecError(f"{place}: should name a key, such as variants.NAME.optimizer.lr=0.01")
    if path[1] not in known:
        raise SpecError(
            f"{place}: no variant is called '{path[1]}'{nearest(path[1], known)}; there are {', '.join(known)}"
        )
    return path[1]
