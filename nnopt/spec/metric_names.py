"""Names of metrics: which there are, what columns they give, and whether more or less is better.

| name | task | what |
|---|---|---|
| `loss` | both | mean of the loss over the samples, without L1 and L2 terms |
| `accuracy`, `top<k>_accuracy` | classification | share whose class comes first, or among the first k |
| `precision_*`, `recall_*`, `f1_*` | classification | * is macro, micro, weighted, per_class, or class_<i> |
| `mse`, `mae`, `r2` | regression | in the units of the data |
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nnopt.errors import UsageError
from nnopt.spec.nearest import nearest

Task = Literal["classification", "regression"]

PARTS = ("val", "test", "train")
RATES = ("precision", "recall", "f1")
AVERAGES = ("macro", "micro", "weighted", "per_class")

# Numbers of a whole run, in its summary.json.
COUNTED = ("parameters", "nonzero_parameters", "network_bytes", "multiply_adds")
OF_THE_NETWORK = (
    *COUNTED,
    *("latency_seconds", "latency_p95_seconds", "batch_latency_seconds", "batch_latency_p95_seconds"),
    "inference_samples_per_second",
)
OF_THE_RUN = ("train_seconds", "samples_per_second", "memory_peak_bytes", "energy_joules", *OF_THE_NETWORK)

_TOP = re.compile(r"top([1-9]\d{0,5})_accuracy")
_RATE = re.compile(rf"({'|'.join(RATES)})_(?:({'|'.join(AVERAGES)})|class_(0|[1-9]\d{{0,5}}))")
_BETTER_WHEN_HIGHER = re.compile(rf"(?:.*_)?(?:{_TOP.pattern}|{_RATE.pattern}|accuracy|r2)|.*_per_second")


@dataclass(frozen=True)
class Metric:
    """A metric that a spec asked for.

    `measure` is what is computed: loss, accuracy, top_accuracy, precision, recall, f1, mse, mae or r2.
    `average` is macro, micro, weighted, per_class or class for rates, else empty. `number` is the k of
    top-k accuracy and the index of a single class. Its values lie in [lowest, highest]; `task` is None where
    the metric suits both tasks.
    """

    name: str
    higher_is_better: bool
    task: Task | None
    measure: str
    average: str = ""
    number: int = 0
    lowest: float = 0.0
    highest: float = 1.0

    def columns(self, classes: int) -> tuple[str, ...]:
        """The columns that this metric fills, without a prefix: one, or one a class."""
        if self.average == "per_class":
            return tuple(f"{self.measure}_class_{index}" for index in range(classes))
        return (self.name,)


_PLAIN = {
    metric.name: metric
    for metric in (
        Metric("loss", False, None, "loss", highest=math.inf),
        Metric("accuracy", True, "classification", "accuracy"),
        Metric("mse", False, "regression", "mse", highest=math.inf),
        Metric("mae", False, "regression", "mae", highest=math.inf),
        Metric("r2", True, "regression", "r2", lowest=-math.inf),
    )
}


def known_metrics(task: Task) -> tuple[str, ...]:
    """The names that a message lists for `task`; top5_accuracy stands for every k."""
    if task == "regression":
        return ("loss", "mse", "mae", "r2")
    rates = (f"{rate}_{average}" for rate in RATES for average in AVERAGES)
    return ("loss", "accuracy", "top5_accuracy", *rates)


def default_metrics(task: Task) -> tuple[str, ...]:
    """What is measured, besides the loss, where the spec names no metrics."""
    return ("mse", "mae", "r2") if task == "regression" else ("accuracy",)


def higher_is_better(column: str) -> bool:
    """Whether more is better in a column of metrics.csv or summary.json, with or without a prefix.

    Accuracies, precision, recall, F1, R² and rates (`_per_second`) are better when higher; everything else
    (losses, errors, the generalisation gap, times, counts, memory) is better when lower.
    """
    return _BETTER_WHEN_HIGHER.fullmatch(column) is not None


def is_share(column: str) -> bool:
    """Whether a column's values lie between 0 and 1, so that differences are told in percentage points."""
    for prefix in (f"{part}_" for part in PARTS):
        column = column.removeprefix(prefix)
    metric = _recognised(column)
    return metric is not None and (metric.lowest, metric.highest) == (0.0, 1.0)


def parse_metric(name: str, task: Task, classes: int | None = None) -> Metric:
    """The metric that `name` (without val_ or test_) stands for.

    `classes` is the number of classes, or None where the data is not read yet: then only the name is checked.

    Raises:
        UsageError: no such metric, one for the other task, or one that asks for more classes than there are.
    """
    metric = _recognised(name)
    if metric is None:
        raise UsageError(f"no metric is called '{name}'{nearest(name, known_metrics(task))}; {_known(task)}")
    if metric.task not in (None, task):
        raise UsageError(f"metric '{name}' is for {metric.task}, and this data is for {task}; {_known(task)}")
    if classes is not None and metric.measure == "top_accuracy" and metric.number >= classes:
        raise UsageError(f"metric '{name}' is always 1: the data has {classes} classes; take a smaller k")
    if classes is not None and metric.average == "class" and metric.number >= classes:
        raise UsageError(f"metric '{name}': the data has classes 0 to {classes - 1}")
    return metric


def parse_column(column: str, task: Task, classes: int | None = None) -> tuple[str, Metric]:
    """The part of the data (val, test or train) and the metric of a column such as `val_accuracy`.

    Raises:
        UsageError: a column without such a prefix, of no known metric, or of a name that fills many columns.
    """
    part, _, name = column.partition("_")
    if part not in PARTS:
        known = [f"val_{name}" for name in known_metrics(task)]
        raise UsageError(f"no column is called '{column}'{nearest(column, known)}; it begins with val_")
    metric = parse_metric(name, task, classes)
    if metric.average == "per_class":
        raise UsageError(f"'{column}' is one column a class: name one, as {part}_{metric.measure}_class_0")
    return part, metric


def metric_columns(names: Sequence[str], task: Task, classes: int) -> tuple[str, ...]:
    """The columns of an evaluation, without prefix: loss first, then those of `names`, none twice.

    Raises:
        UsageError: as parse_metric.
    """
    metrics = (parse_metric(name, task, classes) for name in ("loss", *names))
    return tuple(dict.fromkeys(column for metric in metrics for column in metric.columns(classes)))


def _recognised(name: str) -> Metric | None:
    if top := _TOP.fullmatch(name):
        return Metric(name, True, "classification", "top_accuracy", number=int(top[1]))
    if rate := _RATE.fullmatch(name):
        average, number = rate[2] or "class", int(rate[3] or 0)
        return Metric(name, True, "classification", rate[1], average, number)
    return _PLAIN.get(name)


def _known(task: Task) -> str:
    if task == "regression":
        return f"known: {', '.join(known_metrics(task))}"
    rates = ", ".join(f"{rate}_*" for rate in RATES)
    return f"known: loss, accuracy, top<k>_accuracy, {rates} with {', '.join(AVERAGES)} or class_<i>"
