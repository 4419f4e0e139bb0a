"""What a rule of fairness looks at: groups of runs with what their summaries tell of how they were made."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nnopt.compare.groups import Group
from nnopt.compare.lint.finding import Finding
from nnopt.compare.target import Target
from nnopt.compare.tasks.across import is_across_tasks
from nnopt.compare.text import listed
from nnopt.store.record import RunRecord

ENVIRONMENT = "environment.json"


@dataclass(frozen=True)
class Subject:
    """One group of runs; what it does not tell (as runs from elsewhere do not) is empty or None."""

    group: Group

    @property
    def label(self) -> str:
        """The group's name."""
        return self.group.label

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        """The runs that count: those that are done or diverged."""
        return (*self.group.results, *self.group.lost)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The resolved spec of its first run that has one."""
        specs = (record.summary.get("spec") for record in self.group.records)
        return next((spec for spec in specs if spec), {})

    def key(self, dotted: str) -> Any:
        """A value of the spec, list members by their place; None where it has none."""
        value: Any = self.spec
        for name in dotted.split("."):
            if isinstance(value, list):
                value = value[int(name)] if name.isdecimal() and int(name) < len(value) else None
            else:
                value = value.get(name) if isinstance(value, dict) else None
        return value

    def of_runs(self, *keys: str) -> list[Any]:
        """The different values that the runs' summaries have under nested keys, those that have none left out."""
        found: dict[Any, None] = {}
        for record in self.runs:
            value: Any = record.summary
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, str | int | float):
                found[value] = None
        return list(found)

    @cached_property
    def machines(self) -> list[dict[str, Any]]:
        """The different machines that its runs were made on, with the kind of device under `device`.

        Of runs whose summary is from before machines were noted there, one is asked for its environment.json.
        """
        found: list[dict[str, Any]] = []
        asked = False
        for record in self.runs:
            machine = record.summary.get("machine")
            if not machine and not asked:
                machine, asked = _environment(record), True
            if not machine:
                continue
            told = {**machine, "device": _kind(record.summary.get("device"))}
            if told not in found:
                found.append(told)
        return found

    @cached_property
    def device_kinds(self) -> list[str]:
        """cpu, cuda, ...: what its runs were trained on."""
        return list(dict.fromkeys(_kind(device) for device in self.of_runs("device")))


def _kind(device: object) -> str:
    """`cuda` for cuda:1."""
    return str(device or "").partition(":")[0]


def _environment(record: RunRecord) -> dict[str, Any] | None:
    """What environment.json says of the machine, under the names of the summary; None where there is no such file."""
    try:
        told = json.loads((record.folder / ENVIRONMENT).read_bytes())
        kept = {key: told.get(key) for key in ("host", "processor", "cores", "nnopt", "python", "device_name")}
        return {**kept, "torch": (told.get("packages") or {}).get("torch")}
    except (OSError, ValueError, AttributeError):
        return None


@dataclass(frozen=True)
class Context:
    """What is compared: `sets` are the subjects that are held against one another, those of one task.

    `metric` is what they are ranked by, `losses` are (loser's label, winner's label) as verdicts decided,
    `trials_given` is (experiment, variant) -> trials of its search, where a file tells.
    """

    sets: tuple[tuple[Subject, ...], ...]
    metric: str
    target: Target | None
    losses: tuple[tuple[str, str], ...]
    trials_given: Mapping[tuple[str, str], int]

    @classmethod
    def of(
        cls,
        groups: Sequence[Group],
        metric: str,
        target: Target | None,
        losses: Collection[tuple[str, str]],
        trials_given: Mapping[tuple[str, str], int] | None = None,
    ) -> Context:
        """Groups without a run that counts are left out."""
        subjects = [subject for subject in map(Subject, groups) if subject.runs]
        tasks: dict[str, list[Subject]] = {}
        across = is_across_tasks(groups)
        for subject in subjects:
            tasks.setdefault(subject.group.experiment if across else "", []).append(subject)
        return cls(tuple(map(tuple, tasks.values())), metric, target, tuple(losses), trials_given or {})

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """All of them."""
        return tuple(subject for members in self.sets for subject in members)


Read = Callable[[Subject], Iterable[Any]]


def told_apart(context: Context, read: Read) -> str | None:
    """Which value whose runs have, where they differ: `fp32 (sgd, adam), bf16 (muon)`; None where they do not.

    `read` gives the values of a subject, none where it does not tell.
    """
    said = [shown(values) for values in tables(context, read) if len(values) > 1]
    return "; ".join(said[:2]) + ("; and so in other tasks" if len(said) > 2 else "") if said else None


def unlike(context: Context, read: Read, rule: str, text: str, advice: str) -> Iterator[Finding]:
    """The finding `text: who has what.` of a rule, where subjects differ in what `read` gives of them."""
    differ = told_apart(context, read)
    if differ:
        yield Finding(rule, f"{text}: {differ}.", advice)


def tables(context: Context, read: Read) -> Iterator[dict[Any, list[str]]]:
    """For each task value -> labels."""
    for members in context.sets:
        values: dict[Any, list[str]] = {}
        for subject in members:
            for value in read(subject):
                values.setdefault(value, []).append(subject.label)
        yield values


def shown(values: Mapping[Any, Sequence[str]]) -> str:
    """`fp32 (sgd, adam), bf16 (muon)`: each value with its labels."""
    return listed([f"{value} ({listed(labels)})" for value, labels in values.items()])


def verb(names: Sequence[str], one: str, many: str) -> str:
    """`sgd has`, `sgd, adam have`: the names with the form that suits their number."""
    return f"{listed(names)} {one if len(names) == 1 else many}"
