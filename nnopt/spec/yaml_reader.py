"""YAML with its traps closed: what is read is what is written, and every value knows its line.

Built on PyYAML's event stream (SafeLoader's scanner), which does not recurse and builds no objects. Differences
from PyYAML: `1e-3` is a number, `010` is ten, `1:30`, `on`, `yes`, `no` and dates stay text; a key written twice,
a tag (`!!python/...`), NaN and infinity are errors; nesting, aliases and size are bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nnopt.errors import SpecError

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_NODES = 20_000  # with every alias counted at the size of what it repeats
MAX_DIGITS = 250  # fewer than a float's range has, so that any whole number is a number

INTEGER = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
NUMBER = re.compile(r"[-+]?([0-9]+(_[0-9]+)*(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
NO_NUMBER = re.compile(r"[-+]?\.?(nan|inf|infinity)", re.IGNORECASE)
CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

Path_ = tuple[str | int, ...]


@dataclass
class Node:
    """A value of the document with the line (from 1) it stands on; `size` and `depth` count with aliases expanded."""

    value: Any  # a scalar, a list[Node], or a dict[str, Node]
    line: int
    size: int = 1
    depth: int = 0  # of mappings and lists in one another
    key_lines: dict[str, int] = field(default_factory=dict)

    def plain(self) -> Any:
        """The value as plain dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def line_of(self, path: Path_) -> tuple[int, int]:
        """Line of the deepest part of `path` that the document has, and how many steps of the path that is."""
        node, line = self, self.line
        for depth, step in enumerate(path):
            if isinstance(node.value, dict) and step in node.value:
                line = node.key_lines[str(step)]
                node = node.value[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.line
            else:
                return line, depth
        return line, len(path)


@dataclass
class _Open:
    """A mapping or list whose end has not been read yet."""

    node: Node
    anchor: str | None
    key: str | None = None
    key_line: int = 0


def read_file(path: Path) -> Node:
    """The one document of a YAML file, which must be a mapping.

    Raises:
        SpecError: the file is missing, unreadable, empty, not YAML, too large, or holds something else.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError(f"{path}: there is no such file") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise SpecError(f"{path}: larger than {MAX_BYTES:,} bytes: this is no spec")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start})") from None
    node = read_text(text, str(path))
    if node is None or node.value is None:
        raise SpecError(f"{path}: the file is empty; `nnopt init` writes one to start from")
    if not isinstance(node.value, dict):
        what = "a list" if isinstance(node.value, list) else f"the single value {node.value!r}"
        raise SpecError(f"{path}:{node.line}: a spec is a mapping of keys such as `name: ...`, but this is {what}")
    return node


def read_text(text: str, name: str) -> Node | None:
    """The one document in `text`, or None where there is none; `name` stands before the line in errors."""
    try:
        return _Builder(name).build(text)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem = " ".join(str(error.problem or error.context).split())
        hint = " (indent with spaces)" if "\\t" in problem else ""
        raise SpecError(f"{name}:{line}: not YAML: {problem}{hint}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError(f"{name}:{line}: not YAML: the character #x{error.character:04x} is no text") from None
    except OverflowError:  # PyYAML's own, of "\\UFFFFFFFF"
        raise SpecError(f"{name}: not YAML: an escape names no character") from None


class _Builder:
    """Turns the events of one document into Nodes with an explicit stack."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node | None] = {}  # None while the anchored value is still open
        self.root: Node | None = None

    def build(self, text: str) -> Node | None:
        documents = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.fail(line, "a second document begins here; a spec is one document")
            elif isinstance(event, yaml.AliasEvent):
                self.add(self.aliased(str(event.anchor), line), line)
            elif isinstance(event, yaml.ScalarEvent):
                self.refuse_tag(event, line)
                node = Node(self.scalar(event, line), line)
                self.remember(event.anchor, node)
                self.add(node, line)
            elif isinstance(event, yaml.CollectionStartEvent):
                self.refuse_tag(event, line)
                self.refuse_depth(len(self.stack) + 1, line)
                self.remember(event.anchor, None)
                value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                self.stack.append(_Open(Node(value, line, depth=1), event.anchor))
            elif isinstance(event, yaml.CollectionEndEvent):
                closed = self.stack.pop()
                self.remember(closed.anchor, closed.node)
                self.add(closed.node, closed.node.line)
        return self.root

    def fail(self, line: int, problem: str) -> None:
        raise SpecError(f"{self.name}:{line}: {problem}")

    def refuse_tag(self, event: Any, line: int) -> None:
        if event.tag is not None and event.tag != "!":
            tag = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
            self.fail(line, f"the tag {tag} builds nothing here: write a plain value")

    def refuse_depth(self, depth: int, line: int) -> None:
        if depth > MAX_DEPTH:
            self.fail(line, f"nested more than {MAX_DEPTH} deep")

    def remember(self, anchor: str | None, node: Node | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node

    def aliased(self, anchor: str, line: int) -> Node:
        if anchor not in self.anchors:
            self.fail(line, f"the alias *{anchor} comes before its anchor &{anchor}")
        node = self.anchors[anchor]
        if node is None:
            self.fail(line, f"the alias *{anchor} contains itself")
        assert node is not None
        return node

    def scalar(self, event: Any, line: int) -> Any:
        text: str = event.value
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            self.fail(line, "half a character (a lone surrogate) in a text")
        if event.style is not None or (self.stack and self.expects_key()):
            return text  # quoted, or a key: keys stay text
        if text in CONSTANTS:
            return CONSTANTS[text]
        if NUMBER.fullmatch(text) or HEXADECIMAL.fullmatch(text):
            if len(text) > MAX_DIGITS:
                self.fail(line, f"a number of more than {MAX_DIGITS} digits")
            if not NUMBER.fullmatch(text):
                return int(text, 16)
            if INTEGER.fullmatch(text):
                return int(text)
            number = float(text.replace("_", ""))
            if number in (float("inf"), float("-inf")):
                self.fail(line, f"{text} is too large for a number")
            return number
        if NO_NUMBER.fullmatch(text):
            self.fail(line, f"{text} is no value; leave the key out, or write a finite number")
        return text

    def expects_key(self) -> bool:
        top = self.stack[-1]
        return isinstance(top.node.value, dict) and top.key is None

    def add(self, node: Node, line: int) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif top.key is None:
            self.begin_key(top, node, line)
            return
        else:
            top.node.value[top.key] = node
            top.node.key_lines[top.key] = top.key_line
            top.key = None
        top.node.size += node.size
        top.node.depth = max(top.node.depth, node.depth + 1)
        self.refuse_depth(len(self.stack) + node.depth, line)
        if top.node.size > MAX_NODES:
            self.fail(line, f"more than {MAX_NODES:,} values once aliases are written out")

    def begin_key(self, top: _Open, node: Node, line: int) -> None:
        if not isinstance(node.value, str):
            self.fail(line, "a key should be a plain name")
        key = str(node.value)
        if key == "<<":
            self.fail(line, "merge keys (<<) are not read; variants are merged over the keys above them")
        if key in top.node.value:
            self.fail(line, f"the key '{key}' is written twice (first on line {top.node.key_lines[key]})")
        top.key, top.key_line = key, line
