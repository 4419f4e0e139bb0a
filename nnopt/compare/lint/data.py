"""Rules on what runs are judged by: the data, its split and the loss."""

from __future__ import annotations

from collections.abc import Iterator

from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.subject import Context, Subject, tables, told_apart, unlike
from nnopt.compare.text import show_value

SPLIT = ("validation", "test", "split_seed")


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
    yield from list(by_name) or by_content


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
    if words:
        yield Finding(
            "split",
            f"The data is split differently: {'; '.join(words)}.",
            "If the amount of data is the question, this is fine, with the same test and validation rows; "
            "else set these keys to the same in all.",
        )


def loss(context: Context) -> Iterator[Finding]:
    """A loss is a quantity of its own kind."""
    if not context.metric.endswith("loss"):
        return
    yield from unlike(
        context,
        lambda subject: _given(subject, "loss.kind"),
        "loss",
        f"{context.metric} is not the same quantity in all",
        "Rank by a metric that does not depend on the loss, as --metric val_accuracy or val_mae.",
    )


def _given(subject: Subject, key: str) -> list[str]:
    value = subject.key(key)
    return [] if value is None else [show_value({"": value}, "")]
