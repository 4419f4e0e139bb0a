"""All rules of fairness, each a function from what is compared to what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from nnopt.compare.groups import Group
from nnopt.compare.lint.budgets import budget, mid_decay, target_decay
from nnopt.compare.lint.data import data, loss, split, tokens, training_rows
from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.machines import clocks, hardware, precision, threads, versions
from nnopt.compare.lint.runs import seed_count, seeds, select
from nnopt.compare.lint.subject import Context
from nnopt.compare.lint.tuning import contained, range_edge, trials, untuned
from nnopt.compare.lint.unknown import unknown
from nnopt.compare.target import Target

# In the order of their weight.
RULES: tuple[Callable[[Context], Iterable[Finding]], ...] = (
    seed_count,
    data,
    split,
    training_rows,
    loss,
    tokens,
    budget,
    mid_decay,
    target_decay,
    trials,
    untuned,
    range_edge,
    contained,
    seeds,
    select,
    precision,
    threads,
    hardware,
    clocks,
    versions,
    unknown,
)


def lint(
    groups: Sequence[Group],
    metric: str,
    target: Target | None,
    losses: Collection[tuple[str, str]],
    trials_given: Mapping[tuple[str, str], int] | None = None,
) -> list[Finding]:
    """What makes a comparison of `groups` by `metric` unfair, one finding a rule, the heaviest first.

    `target` is that whose times are compared, None where there is none. `losses` are (loser's label, winner's
    label) that verdicts decided. `trials_given` is (experiment, variant) -> trials of its search, where that is known
    of trials among the groups. Groups of several tasks are held against those of their own task. Only runs that
    are done or diverged count; what runs from elsewhere do not tell is taken to be fair, and said once.
    """
    context = Context.of(groups, metric, target, losses, trials_given)
    return [finding for rule in RULES for finding in rule(context)]
