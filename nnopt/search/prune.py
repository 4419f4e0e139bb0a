"""When a trial is cut short: judged at its evaluations by the trials that it may know, and by nothing else.

The rules are those of Optuna's SuccessiveHalvingPruner and MedianPruner, which cannot be asked here: they keep what
they saw in the attributes of running trials, so their answers depend on which worker came first, and each worker
would have to import them.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnopt.compare.search.trial import Status
from nnopt.errors import UsageError
from nnopt.scale.supply import Cut
from nnopt.spec.metric_names import higher_is_better as meant_to_rise
from nnopt.spec.search.pruners import Median, PrunerSpec, SuccessiveHalving

Curve = Sequence[float]


@dataclass(frozen=True)
class KnownCurves:
    """What a finished trial showed: for each seed that it got to, `curve_of` its metrics.csv."""

    number: int
    status: Status
    values: Mapping[int, Curve]


def curve_of(metric: str, columns: Mapping[str, Sequence[float | None]]) -> list[float]:
    """The objective after evaluations 1, 2, ...: nan for an empty cell.

    The evaluation of a model that is not trained yet (step 0) is none of them. `best_<column>` is the best so far.

    Raises:
        UsageError: there is no such column.
    """
    if not columns:
        return []  # not evaluated yet
    column = metric if metric in columns else metric.removeprefix("best_")
    if column not in columns:
        raise UsageError(f"trials cannot be pruned by {metric}: there is no such column in {', '.join(columns)}")
    cells = zip(columns["step"], columns[column], strict=True)
    values = [math.nan if value is None else value for step, value in cells if step]
    return values if column == metric else _best_so_far(values, meant_to_rise(column))


def make_cut(prune: PrunerSpec, metric: str, higher_is_better: bool, known: Sequence[KnownCurves]) -> Cut:
    """The rule for one trial. Trials that failed count for nothing.

    Raises:
        UsageError: nnopt does not know how the pruner works.
    """
    sign = -1.0 if higher_is_better else 1.0
    match prune:
        case SuccessiveHalving():
            rungs = _rungs(prune, sign, [one for one in known if one.status != "failed"])
            return HalvingCut(metric, sign, prune.first, prune.reduction, rungs)
        case Median():
            medians = _medians(prune, sign, [one for one in known if one.status == "done"])
            return MedianCut(metric, sign, prune.warmup, medians)
    raise UsageError(
        f"the pruner {type(prune).__name__} is no subclass of one of nnopt's: `nnopt parts pruner` lists them"
    )


@dataclass(frozen=True)
class HalvingCut:
    """Goes on as long as the trial is among the best 1/r at each rung: after f, f r, f r², ... evaluations.

    The first r - 1 trials at a rung go on if they are the best there. `rungs`: by seed and evaluations the losses of
    known trials, rising.
    """

    metric: str
    sign: float  # times a value is a loss
    first: int
    reduction: int
    rungs: Mapping[int, Mapping[int, Sequence[float]]]

    def __call__(self, seed: int, columns: Mapping[str, Sequence[float | None]]) -> str | None:
        """As Cut says."""
        values = curve_of(self.metric, columns)
        evaluations = self.first
        while evaluations <= len(values):
            loss = self.sign * values[evaluations - 1]
            if math.isnan(loss):
                return _not_a_number(self.metric, evaluations)
            rivals = self.rungs.get(seed, {}).get(evaluations, ())
            kept = max((len(rivals) + 1) // self.reduction, 1)
            if bisect.bisect_left(rivals, loss) >= kept:
                who = "the best" if kept == 1 else f"the best {kept}"
                verb = "has" if kept == 1 else "have"
                return _said(
                    self.metric,
                    evaluations,
                    f"{values[evaluations - 1]:.4g}, {who} of {len(rivals) + 1} trials there {verb} "
                    f"{self.sign * rivals[kept - 1]:.4g}{'' if kept == 1 else ' or better'}",
                )
            evaluations *= self.reduction
        return None


@dataclass(frozen=True)
class MedianCut:
    """Goes on as long as the best value so far is no worse than the median of done trials at the same evaluation.

    `medians`: by seed, for evaluations 1, 2, ... the median loss of known trials and how many they are; none for a
    seed with fewer trials than the rule begins at.
    """

    metric: str
    sign: float  # times a value is a loss
    warmup: int
    medians: Mapping[int, Sequence[tuple[float, int]]]

    def __call__(self, seed: int, columns: Mapping[str, Sequence[float | None]]) -> str | None:
        """As Cut says."""
        medians = self.medians.get(seed, ())
        losses = _best_so_far([self.sign * value for value in curve_of(self.metric, columns)], rising=False)
        # zip ends where known trials do: there is nothing to be judged by beyond
        for evaluations, (loss, (median, trials)) in enumerate(zip(losses, medians, strict=False), 1):
            if evaluations <= self.warmup:
                continue
            if math.isnan(loss):
                return _not_a_number(self.metric, evaluations)
            if loss > median:
                return _said(
                    self.metric,
                    evaluations,
                    f"{self.sign * loss:.4g} at best, the median of {trials} trials there is {self.sign * median:.4g}",
                )
        return None


def _rungs(prune: SuccessiveHalving, sign: float, known: Sequence[KnownCurves]) -> dict[int, dict[int, list[float]]]:
    """By seed and evaluations the losses of the trials that came so far, rising."""
    rungs: dict[int, dict[int, list[float]]] = {}
    for trial in known:
        for seed, values in trial.values.items():
            evaluations = prune.first
            while evaluations <= len(values):
                loss = sign * values[evaluations - 1]
                if math.isnan(loss):
                    break
                bisect.insort(rungs.setdefault(seed, {}).setdefault(evaluations, []), loss)
                evaluations *= prune.reduction
    return rungs


def _medians(prune: Median, sign: float, known: Sequence[KnownCurves]) -> dict[int, list[tuple[float, int]]]:
    """By seed, for each evaluation that a known trial came to, the median loss and how many trials have one."""
    found: dict[int, list[tuple[float, int]]] = {}
    for seed in sorted({seed for trial in known for seed in trial.values}):
        curves = [trial.values[seed] for trial in known if seed in trial.values]
        if len(curves) < prune.startup_trials:
            continue
        found[seed] = []
        for place in range(max(map(len, curves))):
            losses = [sign * curve[place] for curve in curves if place < len(curve) and not math.isnan(curve[place])]
            found[seed].append((statistics.median(losses), len(losses)) if losses else (math.inf, 0))
    return found


def _best_so_far(values: Curve, rising: bool) -> list[float]:
    """The highest (lowest) value up to each place; nan before the first number."""
    best, found = math.nan, []
    for value in values:
        if not math.isnan(value) and not (best >= value if rising else best <= value):
            best = value
        found.append(best)
    return found


def _said(metric: str, evaluations: int, why: str) -> str:
    return f"pruned after {evaluations} evaluation{'s' * (evaluations > 1)}: {metric} {why}"


def _not_a_number(metric: str, evaluations: int) -> str:
    return _said(metric, evaluations, "is not a number")
