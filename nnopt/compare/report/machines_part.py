"""On what the runs were made: one column a distinct environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.report.markup import Markup, element, section, sentences, table
from nnopt.compare.text import ABSENT, listed
from nnopt.store.record import RunRecord

ENVIRONMENT = "environment.json"
MOST_SHOWN = 8
HASH_DIGITS = 12


def machines_part(comparison: Comparison) -> Markup:
    """Versions, processor, device, threads, git commit, data; runs with the same share a column."""
    members = [(group.label, record) for group in comparison.groups for record in group.records]
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for label, record in members:
        found.setdefault(tuple(_described(record).items()), []).append(label)
    shown = list(found.items())[:MOST_SHOWN]
    keys = dict.fromkeys(key for described, _ in shown for key, _ in described)
    values = [dict(described) for described, _ in shown]
    counts = [f"{len(labels)} of {len(members)}" for _, labels in shown]
    names = [listed(list(dict.fromkeys(labels))) for _, labels in shown]
    rows = [["runs", *counts], ["variants", *names]]
    rows += [[key, *(value.get(key, ABSENT) for value in values)] for key in keys]
    titles = [
        "what",
        *(f"environment {number}" if len(shown) > 1 else "all runs" for number in range(1, len(shown) + 1)),
    ]
    made = table("Where the runs were made", titles, rows, [False] * len(titles))
    rest = len(found) - len(shown)
    said = [f"{rest} more environments are not shown."] if rest else []
    return section(
        "environment", "Environment", made if keys else element("p", "Nothing is recorded."), sentences(said)
    )


def _described(record: RunRecord) -> dict[str, str]:
    """What is known of the machine and the programs, from environment.json or else the summary."""
    written = _environment(record)
    machine = record.summary.get("machine") or {}
    known: dict[str, Any] = {
        "nnopt": written.get("nnopt") or machine.get("nnopt"),
        "Python": written.get("python") or machine.get("python"),
        **{str(name): version for name, version in _mapping(written.get("packages")).items()},
    }
    known["torch"] = known.get("torch") or machine.get("torch")
    git = _mapping(written.get("git"))
    if git.get("commit"):
        changed = " with changes that were not committed" if git.get("diff") else ""
        known["git commit"] = f"{str(git['commit'])[:HASH_DIGITS]}{changed}"
    data = _mapping(record.summary.get("data"))
    imported = _mapping(record.summary.get("imported"))
    known |= {
        "processor": written.get("processor") or machine.get("processor"),
        "cores": written.get("cores") or machine.get("cores"),
        "device": written.get("device") or record.summary.get("device"),
        "device name": written.get("device_name") or machine.get("device_name"),
        "threads": written.get("threads") or record.summary.get("threads"),
        "system": written.get("system"),
        "data": data.get("name"),
        "data SHA-256": str(data["sha256"])[:HASH_DIGITS] if data.get("sha256") else None,
        "imported from": imported.get("from"),
    }
    return {key: str(value) for key, value in known.items() if value not in (None, "")}


def _environment(record: RunRecord) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads((record.folder / ENVIRONMENT).read_bytes()))
    except (OSError, ValueError):
        return {}  # imported runs have none; one that is damaged tells nothing


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
