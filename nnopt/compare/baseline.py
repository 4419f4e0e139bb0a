"""Which group each variant is held against."""

from __future__ import annotations

from collections.abc import Sequence

from nnopt.compare.groups import Group
from nnopt.errors import UsageError
from nnopt.spec.nearest import nearest


def baselines(groups: Sequence[Group], asked: str | None, across_tasks: bool) -> dict[str, Group]:
    """Label -> the group it is compared with; baselines themselves, and what has none, are absent.

    `asked` is a label, a variant or an experiment; without it the first group counts. Over several tasks each
    variant is held against the baseline's variant in its own task. Where the baseline is an experiment of several
    variants (before against after), each variant is held against the one of its name there.

    Raises:
        UsageError: nothing is called `asked`, or several groups are.
    """
    first = _find(groups, asked)
    if across_tasks:
        variant = first[0].variant
        of_task = {group.experiment: group for group in reversed(groups) if group.variant == variant}
        return {
            group.label: of_task[group.experiment]
            for group in groups
            if group.experiment in of_task and of_task[group.experiment] is not group
        }
    if len(first) > 1:
        named = {group.variant: group for group in reversed(first)}
        return {group.label: named[group.variant] for group in groups if group not in first and group.variant in named}
    return {group.label: first[0] for group in groups if group is not first[0]}


def _find(groups: Sequence[Group], asked: str | None) -> list[Group]:
    """The baseline: one group, or those of an experiment that others repeat."""
    if asked is None:
        before = [group for group in groups if group.experiment == groups[0].experiment]
        after = {group.variant for group in groups if group.experiment != groups[0].experiment}
        repeated = {group.variant for group in before} & after
        return before if len(repeated) > 1 or (repeated and len(before) > 1) else [groups[0]]
    for found in (
        [group for group in groups if group.label == asked],
        [group for group in groups if f"{group.experiment}/{group.variant}" == asked],
        [group for group in groups if group.variant == asked],
        [group for group in groups if group.experiment == asked],
    ):
        if found:
            return found
    known = dict.fromkeys(name for group in groups for name in (group.label, group.variant, group.experiment))
    raise UsageError(
        f"no variant compared here is called '{asked}'{nearest(asked, known)}; there are {', '.join(known)}"
    )
