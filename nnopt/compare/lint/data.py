"""Rules on what runs are judged by: the data, its split and the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.subject import Context, Subject, tables, told_apart, unlike
from nnopt.compare.text import show_value
from nnopt.spec.metric_names import PARTS

SPLIT = ("validation", "test", "split_seed")
OTHER_SPLITS = ("split", "folds")
# What is asked of data of one kind and content: a column of a table, a function that is made small.
ASKED = ("task", "name", "configuration", "target", "targets", "label_column", "problem", "function")
TOKENS = ("tokens", "vocabulary")
TRAINING = ("fraction", "imbalance", "label_noise", "sampling", "augment")


def data(context: Context) -> Iterator[Finding]:
    """Metrics on different data are different quantities."""
    by_name = unlike(
        context,
        data_kinds,
        "data",
        "The runs are judged on different data",
        "Compare runs on the same data; several tasks are summed up where experiments share names of variants.",
    )
    by_content = unlike(
        context,
        lambda subject: [sha[:8] for sha in subject.of_runs("data", "sha256")],
        "data",
        "The runs read data of one name and different content, by the SHA-256",
        "Train all on the same files: see data.root and the environment variable NNOPT_DATA_DIR.",
    )
    asked = _differing(context, ASKED)
    by_question = [
        Finding(
            "data",
            f"The runs answer different questions about the data: {'; '.join(asked)}.",
            "Compare runs on the same question; metrics of others are other quantities.",
        )
    ]
    by_class = unlike(
        context,
        lambda subject: _given_or(subject, "data.classes", "all"),
        "data",
        "The runs are judged on different classes of the data",
        "Compare runs on the same classes (data.classes); metrics on others are other quantities.",
    )
    yield from list(by_name) or list(by_content) or (by_question if asked else by_class)


def data_kinds(subject: Subject) -> list[str]:
    """The name of the subject's data set."""
    kind = subject.key("data.kind")
    return [str(kind)] if kind is not None else [str(name) for name in subject.of_runs("data", "name")]


def split(context: Context) -> Iterator[Finding]:
    """Other validation rows make another measurement, and other training rows another task."""
    if any(len(values) > 1 for values in tables(context, data_kinds)):
        return
    words = []
    for key in (f"data.{name}" for name in SPLIT):
        differ = told_apart(context, lambda subject, key=key: _given(subject, key))  # type: ignore[misc]
        if differ:
            words.append(f"{key} {differ}")
    words += _differing(context, OTHER_SPLITS)
    if words:
        yield Finding(
            "split",
            f"The data is split differently: {'; '.join(words)}.",
            "If the amount of data is the question, this is fine, with the same test and validation rows; "
            "else set these keys to the same in all.",
        )


def training_rows(context: Context) -> Iterator[Finding]:
    """Other training rows, labels or draws make another task of the same test."""
    if any(len(values) > 1 for values in tables(context, data_kinds)):
        return
    words = _differing(context, TRAINING)
    if words:
        yield Finding(
            "training-rows",
            f"The variants learn from different training samples: {'; '.join(words)}.",
            "If that is the question, this is fine: validation and test rows are the same; else set these keys to the "
            "same in all.",
        )


def loss(context: Context) -> Iterator[Finding]:
    """A loss is a quantity of its own kind."""
    if not context.metric.endswith("loss"):
        return
    by_kind, by_weights, by_questions = (
        unlike(
            context,
            read,
            "loss",
            f"{context.metric} is not the same quantity in all",
            "Rank by a metric that does not depend on the loss, as --metric val_accuracy or val_mae.",
        )
        for read in (
            lambda subject: _given(subject, "loss.kind"),
            lambda subject: [f"class_weights {given}" for given in _given_or(subject, "loss.class_weights", "none")],
            lambda subject: [f"weights {given}" for given in _given_or(subject, "loss.weights", "of 1 each")],
        )
    )
    # The loss of one of several questions is the same whatever the others count.
    whole = context.metric.removeprefix("best_") in [f"{part}_loss" for part in PARTS]
    yield from list(by_kind) or list(by_weights) or list(by_questions if whole else ()) or _units(context)


def _units(context: Context) -> Iterator[Finding]:
    """The loss of numbers is in units of how far those of the training rows spread."""
    if not all(map(_asks_for_numbers, context.subjects)):
        return
    words = _differing(context, (*OTHER_SPLITS, "split_seed", "fraction"))
    if words:
        yield Finding(
            "loss",
            f"{context.metric} is in units of the spread of each variant's own training rows, which differ: "
            f"{'; '.join(words)}.",
            "Rank by a metric in the units of the data, as --metric val_mae, or by val_r2.",
        )


def _asks_for_numbers(subject: Subject) -> bool:
    told = [record.summary.get("data") or {} for record in subject.runs]
    return subject.key("loss.kind") in ("mse", "mae", "huber") and any(data.get("classes") == [] for data in told)


def tokens(context: Context) -> Iterator[Finding]:
    """What a model foretells at once is more or less text, and so harder or easier."""
    if "bits_per_character" in context.metric or any(len(values) > 1 for values in tables(context, data_kinds)):
        return
    words = _differing(context, TOKENS)
    if words:
        yield Finding(
            "tokens",
            f"The runs cut the text into different tokens, and {context.metric} counts a token each: "
            f"{'; '.join(words)}.",
            "Rank by --metric val_bits_per_character, which does not depend on them.",
        )


def _differing(context: Context, names: Sequence[str]) -> list[str]:
    """`data.fraction 200 (few), none (all)` for each key of `data` in which runs differ; none where it is not set."""
    words = []
    for key in (f"data.{name}" for name in names):
        differ = told_apart(context, lambda subject, key=key: _given_or(subject, key, "none"))  # type: ignore[misc]
        if differ:
            words.append(f"{key} {differ}")
    return words


def _given_or(subject: Subject, key: str, otherwise: str) -> list[str]:
    """As `_given`, but `otherwise` where the spec is known and does not have the key."""
    return _given(subject, key) or ([otherwise] if subject.spec else [])


def _given(subject: Subject, key: str) -> list[str]:
    value = subject.key(key)
    return [] if value is None else [show_value({"": value}, "")]
