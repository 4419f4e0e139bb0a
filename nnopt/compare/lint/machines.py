"""Rules on what computed the runs: arithmetic, threads, hardware, versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nnopt.compare.groups import Group
from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.subject import Context, Subject, told_apart, unlike

OWN_CLOCK = "training alone"
CLOCKS = {"wall": "wall time since the first event", "given": "as the source says", "none": "none"}
PACKAGES = ("nnopt", "python", "torch")
# What a measure's name has in it that depends on the machine and on what else it does.
TIMED = ("seconds", "_per_second", "energy")
# Words in the names of what is measured of a network's answers, and in those of answers to a batch.
ANSWERS = ("latency", "inference")
BATCHES = ("batch_latency", "inference")


def precision(context: Context) -> Iterator[Finding]:
    """Fewer digits are faster, and may train worse."""
    yield from unlike(
        context,
        lambda subject: filter(None, [subject.key("strategy.precision")]),
        "precision",
        "The runs compute in different precision",
        "If precision is the question, this is fine; else set strategy.precision to the same in all.",
    )


def threads(context: Context) -> Iterator[Finding]:
    """More threads make other seconds."""
    yield from unlike(
        context,
        lambda subject: subject.of_runs("threads"),
        "threads",
        "The runs used different numbers of CPU threads",
        "If threads are the question, this is fine; else set strategy.threads to one number: "
        "until then their seconds do not compare.",
    )


def hardware(context: Context) -> Iterator[Finding]:
    """Seconds on one machine say nothing of seconds on another."""
    differ = told_apart(context, lambda subject: subject.device_kinds)
    differ = differ or told_apart(context, lambda subject: [hardware_of(machine) for machine in subject.machines])
    if differ:
        yield Finding(
            "hardware",
            f"The runs were made on different hardware: {differ}.",
            "If hardware is the question, this is fine; else compare by steps, samples or gradient evaluations, "
            "or train all on one machine.",
        )


def clocks(context: Context) -> Iterator[Finding]:
    """Training seconds are those of training steps alone; other tools' may hold evaluations and pauses."""
    if any(subject.of_runs("imported", "clock") for subject in context.subjects):
        yield from unlike(
            context,
            lambda subject: [CLOCKS[str(c)] for c in subject.of_runs("imported", "clock")] or [OWN_CLOCK],
            "clocks",
            "The runs' seconds are not counted alike",
            "Compare by steps, samples or gradient evaluations.",
        )


def versions(context: Context) -> Iterator[Finding]:
    """Defaults, kernels and speed change from version to version."""
    words = []
    for package in PACKAGES:
        differ = told_apart(context, lambda subject, package=package: _versions(subject, package))  # type: ignore[misc]
        if differ:
            words.append(f"{package} {differ}")
    if words:
        yield Finding(
            "versions",
            f"The runs were made with different versions: {'; '.join(words)}.",
            "If versions are the question, this is fine; else train all with the same (`nnopt train --fresh`).",
        )


def _versions(subject: Subject, package: str) -> list[str]:
    return [str(machine[package]) for machine in subject.machines if machine.get(package)]


def hardware_of(machine: dict[str, Any]) -> str:
    """The processor; for an accelerator its name and the processor beside it."""
    processor, device = (str(machine.get(key) or "unknown") for key in ("processor", "device_name"))
    return processor if device == processor else f"{device} beside {processor}"


def time_across_machines(groups: Sequence[Group], metric: str) -> Finding | None:
    """What is wrong with ranking by `metric`, a time, a rate or an energy, where the machines differ; else None.

    So with other numbers of threads, and other batches, for the times of a network's answers. Runs that do not tell
    their machine are taken to be of the same.
    """
    if not any(word in metric for word in TIMED):
        return None
    context = Context.of(groups, metric, None, ())
    differ = told_apart(context, lambda subject: subject.device_kinds)
    differ = differ or told_apart(context, _computers)
    if differ is None and "energy" in metric:
        differ = told_apart(context, lambda subject: subject.of_runs("energy_source"))
    if differ is None:
        return _answers_unlike(context)
    return Finding(
        "time-across-machines",
        f"{metric} would be ranked across different machines: {differ}.",
        "Train all on one machine, or rank by steps, samples or gradient evaluations; --force ranks all the same.",
    )


def _answers_unlike(context: Context) -> Finding | None:
    """What is wrong with ranking by the time of answers that were given with other threads, or to other batches."""
    compared = (
        (ANSWERS, "threads", "threads", "strategy.threads"),
        (BATCHES, "inference_batch", "samples a batch", "strategy.batch_size"),
    )
    for words, key, unit, setting in compared:
        if not any(word in context.metric for word in words):
            continue
        differ = told_apart(context, lambda subject, key=key: subject.of_runs(key))  # type: ignore[misc]
        if differ is not None:
            return Finding(
                "answers-unlike",
                f"{context.metric} would be ranked across different numbers of {unit}: {differ}.",
                f"Set {setting} to the same in all; --force ranks all the same.",
            )
    return None


def _computers(subject: Subject) -> list[str]:
    return [f"{hardware_of(machine)}, {machine['cores']} cores" for machine in subject.machines if machine.get("cores")]
