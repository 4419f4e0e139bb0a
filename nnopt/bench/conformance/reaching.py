"""Whether an optimizer reaches a problem's target at one of the rates of a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from nnopt.bench.conformance.outcome import Outcome
from nnopt.bench.conformance.problems import PASSES, SECOND_ORDER, Problem
from nnopt.bench.conformance.trial import Trial, in_words, keys_of, refusal, spec_of
from nnopt.errors import UsageError
from nnopt.spec.optimizers.base import AnyOptimizerSpec

# All that is tried besides the rate that a class begins with; those in the middle first.
RATES = (0.01, 0.03, 0.003, 0.1, 0.001, 0.3, 1.0, 3e-4, 3.0, 1e-4, 10.0)
LOOKS = 60  # how often the value is looked at
HELD = 3  # looks in succession at which the target has to be reached: passing by is luck


Status = Literal["passed", "failed", "declared"]


@dataclass(frozen=True)
class Reached:
    """How far one rate came.

    Attributes:
        lr: that rate.
        value: at the last look.
        updates: how many were made; those until the target where it was reached.
        is_there: whether it was.
    """

    lr: float
    value: float
    updates: int
    is_there: bool


def reach(problem: Problem, kind: str, known: float | None = None, precision: str = "fp32") -> Outcome:
    """Tries rates until one reaches the target; `known` is tried first."""
    name = problem.name if precision == "fp32" else precision
    keys = keys_of(kind)
    spec = spec_of(keys)
    reason = spec.cannot.get(name)
    refused = refusal(keys, problem.loss, precision)
    if refused is not None:
        return Outcome(name, "declared", refused, keys)
    best: Reached | None = None
    try:
        for lr in _rates(spec, known):
            found = _try(problem, spec.at_rate(lr), precision)
            if best is None or found.is_there or not best.value <= found.value:
                best = found
            if found.is_there:
                break
    except Exception as error:  # whatever an optimizer of someone's own raises
        if reason is not None and isinstance(error, UsageError):
            return Outcome(name, "declared", reason, keys)
        return Outcome(name, "failed", f"it raises {in_words(error)}", keys)
    assert best is not None
    status, detail = _judged(problem, spec, best, reason)
    return Outcome(name, status, detail, spec.at_rate(best.lr).model_dump())


def rate_of(outcome: Outcome) -> float | None:
    """The rate with which a problem was solved; None where it was not, or where there is none."""
    spec = spec_of(outcome.settings)
    return spec.peak_lr if outcome.status == "passed" and spec.lr_key is not None else None


def _judged(problem: Problem, spec: AnyOptimizerSpec, best: Reached, reason: str | None) -> tuple[Status, str]:
    rate = "" if spec.lr_key is None else f" at rate {best.lr:g}"
    seen = f"{problem.says.format(best.value)} after {best.updates} updates{rate}"
    if best.is_there and reason is not None:
        return "failed", f"its class says it cannot ({reason}), but: {seen}"
    if best.is_there:
        return "passed", seen
    if reason is not None:
        return "declared", f"{reason} ({seen})"
    target = f"{problem.says.format(problem.target)} or better at {HELD} looks in succession"
    return "failed", f"{seen}; wanted at one of the rates: {target}"


def _rates(spec: AnyOptimizerSpec, known: float | None) -> Iterator[float]:
    if spec.lr_key is None:
        yield spec.peak_lr
        return
    first = spec.peak_lr if known is None else known
    yield from dict.fromkeys((first, *RATES))


def _try(problem: Problem, spec: AnyOptimizerSpec, precision: str) -> Reached:
    """Raises UsageError where the optimizer does not take the problem."""
    trial = Trial.begin(spec, problem.model(), problem.loss_function, precision)
    second_order = spec.inner.is_second_order
    updates = problem.updates // SECOND_ORDER if second_order else problem.updates
    every = max(1, updates // LOOKS)
    whole = spec.inner.needs_full_batch or second_order
    start = value = problem.value(trial)
    held = made = 0
    for inputs, targets in islice(problem.batches(whole), updates):
        trial.update(inputs, targets)
        made += 1
        spent = made == updates or (not second_order and trial.backward.evaluations >= PASSES * updates)
        if made % every == 0 or spent:
            value = problem.value(trial)
            if not trial.is_finite() or math.isnan(value):
                return Reached(spec.peak_lr, math.inf, made, False)
            held = held + 1 if value <= problem.target else 0
            hopeless = 2 * made >= updates and value > start / 2
            if held == HELD or spent or hopeless:
                break
    return Reached(spec.peak_lr, value, made, held == HELD)
