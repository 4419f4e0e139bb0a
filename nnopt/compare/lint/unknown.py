"""The rule on what some runs do not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nnopt.compare.lint.budgets import budgets
from nnopt.compare.lint.data import data_kinds
from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.subject import Context, Subject, verb
from nnopt.compare.lint.tuning import is_tuned

# What other rules hold against each other; tuning is told by every run that has a spec.
FACTS: dict[str, Callable[[Subject], object]] = {
    "budget": budgets,
    "data": data_kinds,
    "precision": lambda subject: subject.key("strategy.precision"),
    "threads": lambda subject: subject.of_runs("threads"),
    "machine": lambda subject: subject.machines,
    "tuning": lambda subject: is_tuned(subject) or bool(subject.spec),
}


def unknown(context: Context) -> Iterator[Finding]:
    """What is not told may differ."""
    facts: list[str] = []
    silent: dict[str, None] = {}
    for name, read in FACTS.items():
        told = [bool(read(subject)) for subject in context.subjects]
        if any(told) and not all(told):
            facts.append(name)
            silent |= {subject.label: None for subject, known in zip(context.subjects, told, strict=True) if not known}
    if facts:
        yield Finding(
            "unknown",
            f"{verb(list(silent), 'does', 'do')} not tell {', '.join(facts)}, which others do.",
            "What differs there is not seen here: find it out before you believe the ranking.",
        )
