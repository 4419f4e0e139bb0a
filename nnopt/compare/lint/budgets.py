"""Rules on how long runs train, and on learning rates that follow the length of the budget."""

from __future__ import annotations

from collections.abc import Iterator

from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.subject import Context, Subject, shown, tables, told_apart, verb
from nnopt.compare.series import finite
from nnopt.compare.text import listed
from nnopt.store.record import RunRecord


def budget(context: Context) -> Iterator[Finding]:
    """Whoever trains longer ends better."""
    differ = told_apart(context, budgets)
    if differ:
        yield Finding(
            "budget",
            f"The variants were given different budgets: {differ}.",
            "If the length is the question, this is fine; else give all the same, or compare times to a target.",
        )


def budgets(subject: Subject) -> list[str]:
    """`20 epochs`."""
    given = subject.key("budget") or {}
    return [f"{amount:g} {unit}" for unit, amount in given.items() if amount is not None]


def mid_decay(context: Context) -> Iterator[Finding]:
    """A rate that falls until the end of the budget gives its best values there and not before."""
    clauses = []
    stopped = {
        subject.label: sum(_ended_early(record, subject) for record in subject.group.results)
        for subject in context.subjects
        if follows_budget(subject)
    }
    early = [f"{label} ({count})" for label, count in stopped.items() if count]
    if early:
        clauses.append(f"runs of {listed(early)} ended before their budget, in the middle of the rate's decay")
    for members, values in zip(context.sets, tables(context, budgets), strict=True):
        falling = [subject.label for subject in members if follows_budget(subject)]
        if len(values) > 1 and falling:
            clauses.append(
                f"the rates of {verb(falling, 'falls', 'fall')} over budgets of unequal length: {shown(values)}"
                if len(falling) > 1
                else f"the rate of {falling[0]} falls over a budget that others do not have: {shown(values)}"
            )
            break
    if clauses:
        text = "; ".join(clauses)
        yield Finding(
            "mid-decay",
            f"{text[0].upper()}{text[1:]}.",
            "Compare ends of equal budgets without early stopping, or take a rate that does not follow the budget "
            "(lr_decay constant or plateau).",
        )


def target_decay(context: Context) -> Iterator[Finding]:
    """The moment a target is reached depends on how fast the rate falls, and so on the budget."""
    if context.target is None:
        return
    for members in context.sets:
        falling = {subject.label: follows_budget(subject) for subject in members}
        labels = [label for label, what in falling.items() if what]
        if len(members) < 2 or not labels:
            continue
        kinds = ", ".join(dict.fromkeys(what for what in falling.values() if what))
        yield Finding(
            "target-decay",
            f"Times to {context.target.metric} {context.target.value:g} hold for this budget alone: "
            f"the rate of {verb(labels, 'follows', 'follow')} it ({kinds}).",
            "With another budget the times would differ: give all the same, or take lr_decay constant or plateau.",
        )
        return


def follows_budget(subject: Subject) -> str | None:
    """What makes the learning rate depend on the budget's length: the kind of decay, `warm-up`, or None."""
    decay = subject.key("strategy.lr_decay") or {}
    kind = decay.get("kind")
    if kind is None:
        return None
    if kind != "constant" and _kind_follows_budget(str(kind), subject):
        return str(kind)
    return "warm-up" if decay.get("warmup") else None


def _kind_follows_budget(kind: str, subject: Subject) -> bool:
    """Of a plug-in the summary tells: a run that no longer one can go on from follows the budget by something."""
    from nnopt.spec.lr_decay import LR_DECAYS, LrDecaySpec

    part = LR_DECAYS.named().get(kind)
    if part is not None and issubclass(part, LrDecaySpec):
        return part.follows_budget
    told = [record.summary.get("hash_without_budget", "") for record in subject.runs]
    return None in told


def _ended_early(record: RunRecord, subject: Subject) -> bool:
    """Whether a run that is done has not used up its budget."""
    summary = record.summary
    told = {**summary, "seconds": (summary.get("seconds") or {}).get("train")}
    for unit, amount in (subject.key("budget") or {}).items():
        used = finite(told.get(unit))
        if amount is not None and used is not None and used < amount * (1 - 1e-9):
            return True
    return False
