"""Names of metrics: which there are, what columns they give, and whether more or less is better.

| name | task | what |
|---|---|---|
| `loss` | all | mean of the loss over the samples, without L1 and L2 terms |
| `accuracy`, `top<k>_accuracy` | classification, language | share whose class comes first, or among the first k |
| `precision_*`, `recall_*`, `f1_*` | classification, multilabel | macro, micro, weighted, per_class or class_<i> |
| `roc_auc`, `average_precision` | classification, multilabel | how well the scores rank; the mean over the classes |
| `calibration_error`, `brier` | classification | how far probabilities lie from what happens |
| `accuracy`, `subset_accuracy` | multilabel | share of right labels, and of samples with all labels right |
| `mse`, `mae`, `r2`, `mape` | regression | in the units of the data; mape is a share of the target |
| `perplexity`, `bits_per_character` | language | exp of the mean -log p of a token, and its bits for a character |
| `<question>_<metric>` | multitask | what suits that question; `usual` is what is usual for each |
| `distance` | function | from the nearest minimum |

nnopt.metrics says how each is defined.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nnopt.data.task import Question, Task
from nnopt.errors import UsageError
from nnopt.spec.nearest import nearest

# Those that were read, or what each asks for by its name.
Questions = Sequence[Question] | Mapping[str, Task]

PARTS = ("val", "test", "train")
RATES = ("precision", "recall", "f1")
AVERAGES = ("macro", "micro", "weighted", "per_class")
USUAL = "usual"  # what is usual of each of several questions

# Numbers of a whole run, in its summary.json.
COUNTED = ("parameters", "nonzero_parameters", "network_bytes", "multiply_adds")
OF_THE_NETWORK = (
    *COUNTED,
    *("latency_seconds", "latency_p95_seconds", "batch_latency_seconds", "batch_latency_p95_seconds"),
    "inference_samples_per_second",
)
# What came of processes that update at once: also columns of metrics.csv, where a run has several.
TRAFFIC = ("updates_per_second", "staleness_mean", "staleness_max", "drift")
OF_THE_RUN = (
    *("train_seconds", "penalised_seconds", "samples_per_second", "memory_peak_bytes", "energy_joules"),
    *(*TRAFFIC, *OF_THE_NETWORK),
)

_TOP = re.compile(r"top([1-9]\d{0,5})_accuracy")
_RATE = re.compile(rf"({'|'.join(RATES)})_(?:({'|'.join(AVERAGES)})|class_(0|[1-9]\d{{0,5}}))")
_HIGHER = rf"{_TOP.pattern}|{_RATE.pattern}|accuracy|r2|roc_auc|average_precision"
_BETTER_WHEN_HIGHER = re.compile(rf"(?:.*_)?(?:{_HIGHER})|.*_per_second")


@dataclass(frozen=True)
class Metric:
    """A metric that a spec asked for.

    `measure` is what is computed: its own name, or top_accuracy, precision, recall, f1. `average` is macro, micro,
    weighted, per_class or class for rates, else empty. `number` is the k of top-k accuracy and the index of a single
    class. Its values lie in [lowest, highest]; it suits `tasks`, all where that is empty. `question` is the question
    that it measures, where there are several. `of_probabilities` is whether it needs a loss that gives such.
    """

    name: str
    higher_is_better: bool
    tasks: tuple[Task, ...]
    measure: str
    average: str = ""
    number: int = 0
    lowest: float = 0.0
    highest: float = 1.0
    question: str = ""
    of_probabilities: bool = False

    @property
    def is_usual(self) -> bool:
        """Whether it is among the usual ones of one of several questions."""
        return bool(self.question) and self.measure in _USUAL_OF_QUESTIONS

    def columns(self, classes: int) -> tuple[str, ...]:
        """The columns that this metric fills, without a prefix: one, or one a class."""
        if self.average == "per_class":
            of = f"{self.question}_" if self.question else ""
            return tuple(f"{of}{self.measure}_class_{index}" for index in range(classes))
        return (self.name,)


_CLASSES: tuple[Task, ...] = ("classification",)
_LABELS: tuple[Task, ...] = ("classification", "multilabel")
_NUMBERS: tuple[Task, ...] = ("regression",)
_TEXT: tuple[Task, ...] = ("language",)
_PLAIN = {
    metric.name: metric
    for metric in (
        Metric("loss", False, (), "loss", highest=math.inf),
        Metric("accuracy", True, ("classification", "multilabel", "language"), "accuracy"),
        Metric("subset_accuracy", True, ("multilabel",), "subset_accuracy"),
        Metric("roc_auc", True, _LABELS, "roc_auc"),
        Metric("average_precision", True, _LABELS, "average_precision"),
        Metric("calibration_error", False, _CLASSES, "calibration_error", of_probabilities=True),
        Metric("brier", False, _CLASSES, "brier", highest=2.0, of_probabilities=True),
        Metric("mse", False, _NUMBERS, "mse", highest=math.inf),
        Metric("mae", False, _NUMBERS, "mae", highest=math.inf),
        Metric("r2", True, _NUMBERS, "r2", lowest=-math.inf),
        Metric("mape", False, _NUMBERS, "mape", highest=math.inf),
        Metric("perplexity", False, _TEXT, "perplexity", lowest=1.0, highest=math.inf),
        Metric("bits_per_character", False, _TEXT, "bits_per_character", highest=math.inf),
        Metric("distance", False, ("function",), "distance", highest=math.inf),
        Metric(USUAL, False, ("multitask",), USUAL),
    )
}
_USUAL: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "multilabel": ("accuracy", "f1_macro"),
    "regression": ("mse", "mae", "r2"),
    "language": ("perplexity", "bits_per_character", "accuracy"),
    "multitask": (USUAL,),
    "function": ("distance",),
}
_USUAL_OF_QUESTIONS = ("loss", *_USUAL["classification"], *_USUAL["regression"])


def known_metrics(task: Task) -> tuple[str, ...]:
    """The names that a message lists for `task`; top5_accuracy stands for every k."""
    plain = [name for name, metric in _PLAIN.items() if not metric.tasks or task in metric.tasks]
    rates = [f"{rate}_{average}" for rate in RATES for average in AVERAGES] if task in _LABELS else []
    return (*plain, *(["top5_accuracy"] if task in ("classification", "language") else []), *rates)


def default_metrics(task: Task) -> tuple[str, ...]:
    """What is measured, besides the loss, where the spec names no metrics."""
    return _USUAL[task]


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
    metric = _recognised(column) or next(filter(None, map(_recognised, _endings(column))), None)
    return metric is not None and (metric.lowest, metric.highest) == (0.0, 1.0)


def parse_metric(name: str, task: Task, classes: int | None = None, questions: Questions = ()) -> Metric:
    """The metric that `name` (without val_ or test_) stands for.

    `classes` is the number of classes, or None where the data is not read yet: then only the name is checked.
    `questions` are those of several questions, or what each asks for by its name; empty where that is not known yet.

    Raises:
        UsageError: no such metric, one for another task, or one that asks for more classes than there are.
    """
    if task == "multitask" and name not in ("loss", USUAL):
        return _of_a_question(name, questions)
    metric = _recognised(name)
    if metric is None:
        raise UsageError(f"no metric is called '{name}'{nearest(name, known_metrics(task))}; {_known(task)}")
    if metric.tasks and task not in metric.tasks:
        suits = " and ".join(metric.tasks)
        raise UsageError(f"metric '{name}' is for {suits}, and this data is for {task}; {_known(task)}")
    what = "tokens" if task == "language" else "labels" if task == "multilabel" else "classes"
    if classes is not None and metric.measure == "top_accuracy" and metric.number >= classes:
        raise UsageError(f"metric '{name}' is always 1: the data has {classes} {what}; take a smaller k")
    if classes is not None and metric.average == "class" and metric.number >= classes:
        raise UsageError(f"metric '{name}': the data has {what} 0 to {classes - 1}")
    return metric


def parse_column(column: str, task: Task, classes: int | None = None, questions: Questions = ()) -> tuple[str, Metric]:
    """The part of the data (val, test or train) and the metric of a column such as `val_accuracy`.

    Raises:
        UsageError: a column without such a prefix, of no known metric, or of a name that fills many columns.
    """
    part, _, name = column.partition("_")
    if part not in PARTS:
        known = [f"val_{name}" for name in known_metrics(task)]
        raise UsageError(f"no column is called '{column}'{nearest(column, known)}; it begins with val_")
    metric = parse_metric(name, task, classes, questions)
    if metric.average == "per_class":
        raise UsageError(
            f"'{column}' is one column a class: name one, as {part}_{name.replace('per_class', 'class_0')}"
        )
    if metric.measure == USUAL:
        raise UsageError(f"'{column}' is many columns: name one, as {part}_<question>_accuracy")
    return part, metric


def metric_columns(
    names: Sequence[str], task: Task, classes: int, questions: Sequence[Question] = ()
) -> tuple[str, ...]:
    """The columns of an evaluation, without prefix: loss first, then those of `names`, none twice.

    Raises:
        UsageError: as parse_metric.
    """
    counts = {question.name: len(question.classes) for question in questions}
    columns = ["loss"]
    for name in names:
        if name == USUAL and task == "multitask":
            columns += [f"{one.name}_{each}" for one in questions for each in ("loss", *_USUAL[one.task])]
            continue
        metric = parse_metric(name, task, classes, questions)
        columns += metric.columns(counts.get(metric.question, classes))
    return tuple(dict.fromkeys(columns))


def _of_a_question(name: str, questions: Questions) -> Metric:
    if not questions:  # user's code that tells none before it is read
        found = next(((name.removesuffix(f"_{end}"), end) for end in _endings(name) if _recognised(end)), None)
        if found is None:
            raise UsageError(f"no metric is called '{name}'; it is <question>_<metric>, as digit_accuracy")
        metric = _recognised(found[1])
        assert metric is not None
        return replace(metric, name=name, question=found[0])
    known = _described(questions)
    # The longest first: one question's name may begin with that of another.
    for question, task, classes in sorted(known, key=lambda one: -len(one[0])):
        if not name.startswith(f"{question}_"):
            continue
        try:
            metric = parse_metric(name.removeprefix(f"{question}_"), task, classes)
        except UsageError as error:
            raise UsageError(f"question {question}: {error}") from None
        return replace(metric, name=name, question=question)
    names = [question for question, _, _ in known]
    likely = [f"{question}_{metric}" for question, task, _ in known for metric in known_metrics(task)]
    raise UsageError(
        f"no metric is called '{name}'{nearest(name, [*likely, 'loss', USUAL])}; there are loss, {USUAL} and "
        f"<question>_<metric>, the questions being {', '.join(names)}"
    )


def _described(questions: Questions) -> list[tuple[str, Task, int | None]]:
    """The name of each question, what it asks for and how many classes it has, None where that is not known."""
    if isinstance(questions, Mapping):
        return [(name, task, None) for name, task in questions.items()]
    return [(question.name, question.task, len(question.classes)) for question in questions]


def _endings(name: str) -> list[str]:
    """What follows each underscore of a name, the longest first."""
    return [name[place + 1 :] for place, letter in enumerate(name) if letter == "_"]


def _recognised(name: str) -> Metric | None:
    if top := _TOP.fullmatch(name):
        return Metric(name, True, ("classification", "language"), "top_accuracy", number=int(top[1]))
    if rate := _RATE.fullmatch(name):
        average, number = rate[2] or "class", int(rate[3] or 0)
        return Metric(name, True, _LABELS, rate[1], average, number)
    return _PLAIN.get(name)


def _known(task: Task) -> str:
    plain = [name for name, metric in _PLAIN.items() if not metric.tasks or task in metric.tasks]
    if task in ("classification", "language"):
        plain.append("top<k>_accuracy")
    if task in _LABELS:
        plain += [f"{rate}_*" for rate in RATES]
        return f"known: {', '.join(plain)} with {', '.join(AVERAGES)} or class_<i>"
    return f"known: {', '.join(plain)}"
