"""What trials are judged by, and when: the objective's column, and the evaluations that pruning can cut at."""

from __future__ import annotations

import math

from nnopt.errors import UsageError
from nnopt.spec.experiment import TRAINING_COLUMNS, RunSettings
from nnopt.spec.metric_names import (
    OF_THE_RUN,
    PARTS,
    USUAL,
    Metric,
    higher_is_better,
    known_metrics,
    parse_column,
)
from nnopt.spec.nearest import nearest

BEST = "best_"
MANY = 1e15  # more evaluations than any run has


def objective_of(settings: RunSettings) -> tuple[str, bool]:
    """The name of the number that trials of these settings are judged by, and whether more is better."""
    wish = settings.search.objective if settings.search else None
    metric = wish.metric if wish and wish.metric else settings.select
    if wish and wish.direction:
        return metric, wish.direction == "maximise"
    return metric, higher_is_better(metric.removeprefix(BEST))


def check_objective(settings: RunSettings) -> None:
    """Refuses a metric that no trial has.

    Raises:
        UsageError: a metric of test data, of no data, or one that is not measured.
    """
    metric, _ = objective_of(settings)
    task, column = settings.data.asks, metric.removeprefix(BEST)
    if metric in OF_THE_RUN or column in TRAINING_COLUMNS:
        return
    if column.startswith("test_"):
        advice = f"val_{column.removeprefix('test_').removeprefix(BEST)}"
        raise UsageError(f"'{metric}' is measured on test data, which trials never read: take {advice}")
    if column.partition("_")[0] not in PARTS:
        known = [*(f"val_{name}" for name in known_metrics(task)), *TRAINING_COLUMNS, *OF_THE_RUN]
        raise UsageError(
            f"no metric is called '{metric}'{nearest(column, known)}; there are val_<metric>, "
            f"{', '.join(TRAINING_COLUMNS)}, best_<column>, {', '.join(OF_THE_RUN)}"
        )
    part, parsed = parse_column(column, task, questions=settings.data.questions)
    if part != "val":
        raise UsageError(f"'{metric}' is measured at no evaluation: take val_{parsed.name}, or train_loss")
    if not _is_measured(parsed, settings.metrics):
        raise UsageError(f"{column} is not measured: name {parsed.name} in evaluation.metrics")


def _is_measured(wanted: Metric, asked: tuple[str, ...]) -> bool:
    name = wanted.name
    every = name.replace(f"class_{wanted.number}", "per_class") if wanted.average == "class" else name
    return name == "loss" or name in asked or every in asked or (wanted.is_usual and USUAL in asked)


def is_column(metric: str) -> bool:
    """Whether every evaluation gives a value of the objective, so that a trial can be cut short by it."""
    return metric not in OF_THE_RUN


def is_of_the_loss(metric: str) -> bool:
    """Whether the objective is the value of the loss, which means something else for each loss."""
    return metric.removeprefix(BEST) in (*TRAINING_COLUMNS, "val_loss")


def evaluations(settings: RunSettings) -> int | None:
    """Rows of metrics.csv of a run that uses its whole budget; None where the spec alone does not tell.

    It tells where the budget and `evaluation.every` have one unit; the last row stands at the end of the budget.
    """
    budget, every = settings.budget, settings.evaluation.every
    lengths = [(budget.epochs, every.epochs), (budget.steps, every.steps), (budget.seconds, every.seconds)]
    for whole, part in lengths:
        if whole is not None and part is not None:
            return math.ceil(min(float(whole) / float(part), MANY) - 1e-9) + int(settings.evaluation.at_start)
    return None
