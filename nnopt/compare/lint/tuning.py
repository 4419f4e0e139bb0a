"""Rules on how settings were found: trials, searched ranges, and what a search should have found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.subject import Context, Subject, unlike, verb
from nnopt.compare.ranges import end_of_range, wider_range
from nnopt.compare.text import listed

# Where two variants differ in one of these, the optimizer alone does not explain which is better.
OTHER_PARTS = ("data", "model", "loss", "strategy", "budget")


def trials(context: Context) -> Iterator[Finding]:
    """The best of more trials is better by chance alone."""
    counted: dict[tuple[str, str], set[int]] = defaultdict(set)
    for subject in context.subjects:
        if subject.group.trial is not None:
            counted[subject.group.experiment, subject.group.variant].add(subject.group.trial)

    def given(subject: Subject) -> list[int]:
        named = subject.group.experiment, subject.group.variant
        of_search = context.trials_given.get(named) if subject.group.trial is not None else None
        number = subject.key("tuned.trials") or of_search or len(counted[named])
        return [number] if number else []

    yield from unlike(
        context,
        given,
        "trials",
        "The variants were given different numbers of search trials",
        "Search all with the same number: fewer trials find worse settings of an equally good optimizer.",
    )


def untuned(context: Context) -> Iterator[Finding]:
    """An untuned baseline is easily beaten."""
    tuned = [subject.label for subject in context.subjects if is_tuned(subject)]
    others = [subject.label for subject in context.subjects if subject.spec and not is_tuned(subject)]
    if tuned and others:
        yield Finding(
            "untuned",
            f"{verb(others, 'does', 'do')} not say how the settings were found, as {verb(tuned, 'does', 'do')}.",
            "Search all with the same number of trials and write it down as `tuned` (see `nnopt parts tuned`).",
        )


def is_tuned(subject: Subject) -> bool:
    """Whether the subject tells of a search."""
    return bool(subject.key("tuned")) or subject.group.trial is not None


@dataclass(frozen=True)
class Edge:
    """A value at an end of the range it was searched in; `low`, `high` is the wider range to search."""

    label: str
    key: str
    value: float
    end: str
    searched: tuple[float, float]
    low: float
    high: float


def range_edge(context: Context) -> Iterator[Finding]:
    """Beyond the end of a range there may be better values."""
    edges = [edge for subject in context.subjects for edge in _edges(subject)]
    if not edges:
        return
    where = [
        f"{edge.key} {edge.value:g} of {edge.label} at the {edge.end} end of {edge.searched[0]:g} to "
        f"{edge.searched[1]:g}"
        for edge in edges
    ]
    wider = [f"{edge.label}: {edge.key} {edge.low:g} to {edge.high:g}" for edge in edges]
    yield Finding(
        "range-edge",
        f"A tuned value lies at the edge of what was searched: {listed(where)}.",
        f"Search wider ({listed(wider)}): better values may lie beyond.",
    )


def _edges(subject: Subject) -> Iterator[Edge]:
    ranges = subject.key("tuned.ranges")
    for key, (low, high) in ranges.items() if isinstance(ranges, dict) else ():
        value = subject.key(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        end = end_of_range(value, low, high)
        if end is None:
            continue
        wider = wider_range(subject.spec, key, (low, high), end)
        if wider is not None:
            yield Edge(subject.label, key, value, end, (low, high), *wider)


def contained(context: Context) -> Iterator[Finding]:
    """An optimizer that has another within it cannot lose to it where it was searched well.

    Choi et al. 2019, "On Empirical Comparisons of Optimizers for Deep Learning", arXiv:1910.05446. Where each can
    imitate the other's settings, as momentum 0.9 can sgd's plain steps, the winner is just the better searched.
    """
    by_label = {subject.label: subject for subject in context.subjects}
    found = []
    unsearched: dict[str, None] = {}
    for loser, winner in context.losses:
        if loser not in by_label or winner not in by_label:
            continue
        case = _special_case(by_label[loser], by_label[winner])
        if case is not None:
            words, keys = case
            found.append(f"{loser} lost to {winner}, whose steps it can take itself{f' ({words})' if words else ''}")
            unsearched |= dict.fromkeys(f"{loser}: {key}" for key in keys)
    if found:
        more = f"search wider ({listed(list(unsearched))})" if unsearched else "search by more trials"
        yield Finding(
            "contained",
            f"{listed(found)}.",
            f"The loser has settings at least as good: {more} before you rank it lower "
            "(Choi et al. 2019, arXiv:1910.05446).",
        )


def _special_case(loser: Subject, winner: Subject) -> tuple[str, list[str]] | None:
    """With which keys the loser's optimizer imitates the winner's, and which of them were not searched."""
    from nnopt.spec.optimizers.contained import imitation, in_words, with_defaults

    own, other = (subject.key("optimizer") or {} for subject in (loser, winner))
    if own.get("kind") == other.get("kind") or any(loser.key(part) != winner.key(part) for part in OTHER_PARTS):
        return None
    keys = imitation(str(own.get("kind")), other)
    if keys is None or imitation(str(other.get("kind")), own) is not None:
        return None
    ranges, given = loser.key("tuned.ranges") or {}, with_defaults(own)
    changed = {f"optimizer.{name}": value for name, value in keys.items() if value != given.get(name)}
    return in_words(str(own["kind"]), keys), [
        key for key, value in changed.items() if not _lies_in(value, ranges.get(key))
    ]


def _lies_in(value: object, searched: object) -> bool:
    """Whether a range [low, high] holds a value that is a number."""
    if not isinstance(searched, list | tuple) or not isinstance(value, int | float):
        return False
    low, high = searched
    return bool(low <= value <= high)
