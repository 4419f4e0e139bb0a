"""From a YAML file and overrides to an ExperimentSpec, with errors that say where."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from nnopt.errors import SpecError
from nnopt.spec.base import show
from nnopt.spec.experiment import HEADER, ExperimentSpec, RunSettings, check_variant_names
from nnopt.spec.merge import given, merge, nested
from nnopt.spec.messages import in_words
from nnopt.spec.nearest import closest, nearest
from nnopt.spec.search.check import check_searches
from nnopt.spec.search.domains import CLASSES, Space
from nnopt.spec.search.fill import absent, fill
from nnopt.spec.search.search import SearchSpec
from nnopt.spec.yaml_reader import Node, Path_, read_file, read_text

NOT_SHARED = {*HEADER, "variants"}
KEYS = (*HEADER, *RunSettings.model_fields, "variants")
DOMAIN_KEYS = {*CLASSES, "points", "when"}


@dataclass(frozen=True)
class Override:
    """One `KEY=VALUE` of the command line."""

    text: str
    path: tuple[str, ...]
    value: Any

    @property
    def place(self) -> str:
        """What stands before an error that this override makes."""
        return f"command line ({self.text})"

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
    # What was laid over the shared keys, in order: of which variant (None: of the whole experiment), at which path,
    # and by which override (None: by the variant's own keys).
    given: list[tuple[str | None, Path_, Override | None]] = field(default_factory=list)

    def line(self, path: Path_) -> str:
        """`file:line` of the deepest part of `path` that the file has."""
        return f"{self.name}:{self.root.line_of(path)[0]}"

    def place(self, variant: str | None, path: Path_) -> tuple[str, Path_]:
        """`file:line` (or the override) that gave the value at `path` of a variant, and the path to print."""
        for whose, start, override in reversed(self.given):
            shared = min(len(path), len(start))
            if path[:shared] == start[:shared] and path and (variant is None or whose in (None, variant)):
                if override is not None:
                    return override.place, path
                assert whose is not None
                return self.line(("variants", whose, *path)), ("variants", whose, *path)
        return self.line(path), path


class Problems:
    """Mistakes found so far, each once, with the variants it concerns."""

    def __init__(self, source: Source, variants: list[str]) -> None:
        self.source = source
        self.variants = variants
        self.found: dict[tuple[str, Path_, str], list[str]] = {}
        self.meant: set[str] = set()  # keys of the file that are there under a misspelt name

    def add_unknown(self, key: str) -> None:
        """Notes a key at the top of the file that is none."""
        self.add(None, (key,), unknown_key(key))
        meant = closest(key, KEYS)
        if meant:
            self.meant.add(meant)

    def add(self, variant: str | None, path: Path_, message: str) -> None:
        """Notes a mistake at `path` of one variant, or (None) of the file as a whole."""
        place, shown = self.source.place(variant, path)
        self.found.setdefault((place, shown, message), []).extend([variant] if variant else [])

    def add_all(
        self, variant: str | None, error: ValidationError, without: str = "", searched: Collection[str] = ()
    ) -> None:
        """Notes every mistake of a validation but those in the key `without`; of searched keys at what is searched."""
        mistakes = error.errors(include_url=False)
        for item in mistakes:
            if without and item["loc"][:1] == (without,):
                continue
            if item["type"] == "too_short" and _within(item["loc"], mistakes):
                continue  # pydantic counts only the entries that are right
            path = (*item["loc"], *item.get("ctx", {}).get("path", ()))
            if item["type"] == "missing" and len(path) == 1 and path[0] in self.meant:
                continue
            key = ".".join(map(str, path))
            if key not in searched:
                self.add(variant, path, in_words(item) + (_meant(key, searched) if item["type"] == "missing" else ""))
            elif item["type"] != "missing":
                self.add(variant, ("search", "space", key), in_words(item))

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


def _space_of(keys: dict[str, Any]) -> tuple[Space, set[str]]:
    """What a variant is searched over (nothing where that cannot be read), and the searched keys it leaves out."""
    search = keys.get("search")
    raw = search.get("space") if isinstance(search, dict) else None
    if not isinstance(raw, dict):
        return {}, set()
    try:
        space = SearchSpec.model_validate(search).space
    except ValidationError:
        return {}, set(raw)
    return space, set(absent(keys, space))


def _within(path: Path_, mistakes: Iterable[ErrorDetails]) -> bool:
    """Whether one of the mistakes lies within `path`."""
    return any(len(item["loc"]) > len(path) and item["loc"][: len(path)] == path for item in mistakes)


def _meant(missing: str, searched: Collection[str]) -> str:
    """The searched key beside a missing one that is most likely meant to be it."""
    within, _, name = missing.rpartition(".")
    beside = {last: key for key in searched for outer, _, last in [key.rpartition(".")] if outer == within}
    near = closest(name, beside)
    return f"; did you mean it by {beside[near]} in search.space?" if near else ""


def unknown_key(key: str) -> str:
    """What is wrong with a key that no spec has at its top."""
    return f"unknown key '{key}'{nearest(key, KEYS)}; the keys are {', '.join(KEYS)}"


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
    for key in raw:
        if key not in KEYS:
            problems.add_unknown(key)
    variants: dict[str, RunSettings] = {}
    for name, keys in merged.items():
        whose = name if "variants" in raw else None
        space, searched = _space_of(keys)
        try:
            variants[name] = fill(keys, space)
        except ValidationError as error:
            problems.add_all(whose, error, searched=searched)
    if len(variants) == len(merged):
        for name, key, message in check_searches(variants):
            problems.add(name if "variants" in raw else None, key, message)
    try:
        # A file whose variants failed is still checked at its head, with what it has of variants.
        return ExperimentSpec.model_validate({**header, "variants": variants if not problems.found else {"_": None}})
    except ValidationError as error:
        problems.add_all(None, error, without="variants" if problems.found else "")
    problems.raise_if_any()
    raise AssertionError("a spec failed without a message")  # pragma: no cover


def _divide(source: Source, raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The keys of the whole experiment, and for each variant its keys merged over the shared ones."""
    header = {key: raw[key] for key in HEADER if key in raw}
    shared = {key: value for key, value in raw.items() if key in KEYS and key not in NOT_SHARED}
    merged = dict.fromkeys(overlays := _variants(source, raw, shared), shared)

    def lay(name: str, over: dict[str, Any], override: Override | None) -> None:
        source.given += [(name, path, override) for path in given(merged[name], over)]
        merged[name] = merge(merged[name], over)

    for name, overlay in overlays.items():
        lay(name, overlay, None)
    for override in source.overrides:
        place, path = override.place, override.path
        if path[0] not in KEYS:
            raise SpecError(f"{place}: {unknown_key(path[0])}")
        if path[0] in HEADER:
            if len(path) > 1 and path[0] != "cluster":
                raise SpecError(f"{place}: {path[0]} has no keys of its own")
            header = merge(header, nested(path, override.value))
            source.given.append((None, path, override))
            continue
        names = list(merged)
        if path[0] == "variants":
            names, path = [_variant_named(place, path, merged)], path[2:]
        if path[:2] == ("search", "space") and len(path) > 2:
            key = ".".join(path[2:-1] if path[-1] in DOMAIN_KEYS else path[2:]) or "KEY"
            raise SpecError(f"{place}: a space is replaced whole: write search.space={{{key}: ...}}")
        for name in names:
            lay(name, nested(path, override.value), override)
    if "variants" not in raw:  # named after the optimizer that overrides leave it with
        merged = {_named_after(keys): keys for keys in merged.values()}
    return header, merged


def _variants(source: Source, raw: dict[str, Any], shared: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "variants" not in raw:
        return {_named_after(shared): {}}
    variants = raw["variants"]
    place = f"{source.line(('variants',))}: variants"
    if not isinstance(variants, dict):
        raise SpecError(f"{place}: should be a mapping of names to keys, not {show(variants)}")
    if not variants:
        raise SpecError(f"{place}: names none; leave the key out to train the keys above alone")
    try:
        check_variant_names(variants)
    except ValueError as error:
        raise SpecError(f"{place}: {error}") from None
    overlays = {}
    for name, overlay in variants.items():
        overlays[name] = {} if overlay is None else overlay
        place = f"{source.line(('variants', name))}: variants.{name}"
        if not isinstance(overlays[name], dict):
            raise SpecError(f"{place}: should be a mapping of keys that differ, not {show(overlay)}")
        for key in overlays[name]:
            if key in NOT_SHARED:
                raise SpecError(f"{place}.{key}: belongs to the whole experiment: write it at the top of the file")
    return overlays


def _named_after(keys: dict[str, Any]) -> str:
    """The name of the only variant of a file without `variants`."""
    optimizer = keys.get("optimizer")
    kind = optimizer.get("kind") if isinstance(optimizer, dict) else None
    return str(kind).rpartition(":")[2].rpartition(".")[2] if kind else "run"


def _variant_named(place: str, path: tuple[str, ...], known: dict[str, Any]) -> str:
    if len(path) < 3:
        raise SpecError(f"{place}: should name a key, such as variants.NAME.optimizer.lr=0.01")
    if path[1] not in known:
        raise SpecError(
            f"{place}: no variant is called '{path[1]}'{nearest(path[1], known)}; there are {', '.join(known)}"
        )
    return path[1]
