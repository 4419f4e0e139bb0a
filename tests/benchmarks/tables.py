"""The results as Markdown: what was measured on what, then a table each."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
from frontend import Answer
from job import Outcome
from pairs import Accuracies, Pairs
from peers import PEERS
from sweep import EPOCHS, GOAL, JOBS, TRIALS, SweepTimes

PACKAGES = ("nnopt", "torch", "numpy", "lightning", "skorch", "scikit-learn", "jax", "optax")
JOB = """\
The job: MNIST, 784-128-10 perceptron with ReLU, cross-entropy, batch 128, fp32, CPU, SGD (0.1) and Adam (0.001).
All train on the same {rows:,} rows, reshuffled every epoch. Only training is timed: taking the batch, forward, backward
and update. The number of a process is its median epoch without the first, divided by the rows. nnopt is
`python -m nnopt train` with its logging, checkpoints and evaluations on (its own `train_seconds`); the peers log and
save nothing. nnopt and a peer run in turns, each in a fresh process with the same number of threads.
"""


def header(pairs: int, epochs: int) -> str:
    """Date, hardware, versions and n."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    lines = [
        f"date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        f"CPU: {_cpu()}, {cores} cores, {memory:.0f} GiB of memory, load when it began {load}",
        f"system: {platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"versions: {', '.join(_versions())}",
        f"training time: n = {pairs} pairs, {epochs} epochs each",
    ]
    return "# Benchmark\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _cpu() -> str:
    """The processor's name, and on Linux its family and model where the name tells little."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    text = path.read_text(encoding="utf-8")
    found = {key: value.strip() for key, value in re.findall(r"^(.*?)\s*:(.*)$", text, re.MULTILINE)}
    name = found.get("model name", platform.machine())
    return f"{name} (family {found['cpu family']}, model {found['model']})" if "cpu family" in found else name


def _versions() -> Iterable[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue


def speed(found: Sequence[Pairs]) -> str:
    """Training time a sample beside each peer."""
    rows = [_speed_row(pairs) for pairs in found]
    title = (
        "optimizer",
        "threads",
        "peer",
        "nnopt",
        "peer's",
        "ratio",
        "lowest",
        "highest",
        "n",
        "goal",
        "met",
        "accuracy",
    )
    accounts = [outcome.accounts for pairs in found for outcome in pairs.ours]
    outside = ", ".join(
        f"{name} {statistics.median(account[name] for account in accounts) * 1e3:.1f} ms" for name in accounts[0]
    )
    return (
        "## Training time a sample, in microseconds\n\n"
        + JOB.format(rows=found[0].rows)
        + "\n"
        + table(title, rows)
        + "\nThe ratio is nnopt's time by the peer's, pair by pair: median, lowest, highest. "
        + "Accuracy is the median on the test rows at the end, nnopt's and the peer's: a check that all do the job. "
        + f"Outside training nnopt spends, an epoch (median): {outside}.\n"
    )


def _speed_row(pairs: Pairs) -> tuple[str, ...]:
    start = (pairs.optimizer, str(pairs.threads), PEERS[pairs.peer].title, f"{pairs.microseconds(pairs.ours):.2f}")
    if not pairs.theirs or pairs.failure:
        return (*start, f"failed: {pairs.failure}", "", "", "", str(len(pairs.theirs)), "", "", "")
    goal, met = _goal(pairs.ratio, pairs.goal, "")
    return (
        *start,
        f"{pairs.microseconds(pairs.theirs):.2f}",
        f"**{pairs.ratio:.2f}**",
        f"{min(pairs.ratios):.2f}",
        f"{max(pairs.ratios):.2f}",
        str(len(pairs.ratios)),
        goal,
        met,
        f"{_accuracy(pairs.ours)}, {_accuracy(pairs.theirs)}",
    )


def _accuracy(outcomes: Sequence[Outcome]) -> str:
    return f"{statistics.median(outcome.test_accuracy for outcome in outcomes):.3f}"


def accuracy(found: Sequence[Accuracies]) -> str:
    """Accuracy of nnopt and of the bare loop."""
    rows = [
        (
            one.optimizer,
            _mean_and_deviation(one.ours),
            _mean_and_deviation(one.theirs),
            f"{one.difference:+.4f}",
            _yes(one.within_spread),
        )
        for one in found
    ]
    title = ("optimizer", "nnopt", "bare loop", "difference", "within the bare loop's deviation")
    return (
        f"## Accuracy on the test rows after {found[0].epochs} epochs, {len(found[0].ours)} seeds\n\n"
        + table(title, rows)
        + "\nMean ± standard deviation over the seeds; same training rows, one thread.\n"
    )


def front_end(found: Sequence[Answer]) -> str:
    """Seconds until a command has answered."""
    rows = [
        (
            answer.command,
            f"{answer.median:.3f} s",
            f"{min(answer.seconds):.3f} s",
            f"{max(answer.seconds):.3f} s",
            str(len(answer.seconds)),
            "" if answer.imports_torch is None else _yes(answer.imports_torch),
            *_goal(answer.median, answer.goal, " s"),
        )
        for answer in found
    ]
    title = ("command", "median", "lowest", "highest", "n", "imports torch", "goal", "met")
    return "## Front end, wall time\n\n" + table(title, rows)


def sweeping(found: SweepTimes) -> str:
    """A sweep beside as many processes."""
    ours = statistics.median(found.sweeps)
    goals = ((found.alone, "one after the other", GOAL), (found.side_by_side, f"{JOBS} at a time", None))
    rows = [(f"nnopt sweep --jobs {JOBS}", f"{ours:.1f} s", *_spread(found.sweeps, 1), "", "", "")]
    for seconds, how, goal in goals:
        whole = TRIALS * statistics.median(seconds)
        ratio = ours / whole
        rows.append(
            (
                f"{TRIALS} nnopt train, {how}",
                f"{whole:.1f} s",
                *_spread(seconds, TRIALS),
                f"**{ratio:.3f}**",
                *_goal(ratio, goal, ""),
            )
        )
    title = ("command", "median", "lowest", "highest", "n", "sweep's share", "goal", "met")
    return (
        f"## {TRIALS} trials of {EPOCHS} epochs on digits, wall time\n\n"
        + table(title, rows)
        + "\nA perceptron 64-64-10, batch 32, one seed a trial; the sweep also trains its winner on five fresh seeds. "
        + f"Of the {TRIALS} processes n were timed, those {JOBS} at a time in pairs, and multiplied.\n"
    )


def _spread(seconds: Sequence[float], times: int) -> tuple[str, str, str]:
    return f"{times * min(seconds):.1f} s", f"{times * max(seconds):.1f} s", str(len(seconds))


def passed_over(lines: Sequence[str]) -> str:
    """What was not measured, and why."""
    return "## Passed over\n\n" + "".join(f"- {line}\n" for line in lines)


def table(title: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [title, ["---"] * len(title), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in cells)


def _goal(value: float, goal: float | None, unit: str) -> tuple[str, str]:
    return ("", "") if goal is None else (f"≤ {goal:g}{unit}", _yes(value <= goal))


def _mean_and_deviation(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
