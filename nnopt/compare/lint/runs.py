"""Rules on the runs themselves: how many, with which seeds, judged by what."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.subject import Context, told_apart, unlike, verb

FEWEST = 3  # seeds below which nothing is said of a difference


def seed_count(context: Context) -> Iterator[Finding]:
    """Fewer than three seeds say nothing of how far chance reaches."""
    single, two = (
        [subject.label for subject in context.subjects if len(subject.runs) == count] for count in (1, FEWEST - 1)
    )
    words = []
    if single:
        everyone = len(single) == len(context.subjects) > 1
        words.append("every variant has one seed" if everyone else verb(single, "has one seed", "have one seed"))
    if two:
        everyone = len(two) == len(context.subjects) > 1
        words.append("every variant has two seeds" if everyone else verb(two, "has two seeds", "have two seeds"))
    if words:
        text = "; ".join(words)
        yield Finding(
            "one-seed",
            f"{text[0].upper() if text.startswith('every') else text[0]}{text[1:]}: an anecdote, not a comparison.",
            "Train at least three seeds (`seeds`, of a search `confirm`); small differences take five or ten.",
        )


def seeds(context: Context) -> Iterator[Finding]:
    """With seeds of their own, variants differ by initial weights and batch order too."""
    for members in context.sets:
        different = {frozenset(record.seed for record in subject.runs) for subject in members}
        nested = sorted(different, key=len)
        if any(not small <= large for small, large in itertools.pairwise(nested)):
            break
    else:
        return
    differ = told_apart(context, lambda subject: [_numbers(sorted(record.seed for record in subject.runs))])
    yield Finding(
        "seeds",
        f"The variants were not run with the same seeds: {differ}.",
        "Give all the same seeds: pairs share initial weights and batch order, and show smaller differences.",
    )


def _numbers(seeds: list[int]) -> str:
    """`0 to 9` for many in a row, else `0 1 5`."""
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return " ".join(map(str, seeds[:5])) + (" ..." if len(seeds) > 5 else "")


def select(context: Context) -> Iterator[Finding]:
    """The best weights are the best by one metric."""
    yield from unlike(
        context,
        lambda subject: subject.of_runs("select"),
        "select",
        "The runs chose their best weights by different metrics",
        "Set evaluation.select to the same column in all, or look at the last weights alone.",
    )
