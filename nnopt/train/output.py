"""What a run writes while it trains: rows of metrics.csv and steps.csv, run.log."""

from __future__ import annotations

import datetime
import math
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from nnopt.errors import DivergedError
from nnopt.spec.metric_names import TRAFFIC
from nnopt.store.files import Cell, Table, refusals
from nnopt.store.record import LAYERS, METRICS, STEPS, STRUCTURE
from nnopt.train.parallel.team import Team
from nnopt.train.state import Means, Progress, Row

LOG = "run.log"
ALONE = Team()
STEP_COLUMNS = ("step", "loss", "lr", "grad_norm")

LAYER_COLUMNS = (
    *("step", "layer", "gradient_norm", "gradient_rms", "weight_norm"),
    *("activation_mean", "activation_std", "dead_units", "saturated"),
)

LoggedStep = tuple[int, float, float, float | None]


def metric_table_columns(metrics: Sequence[str], is_parallel: bool = False) -> tuple[str, ...]:
    """Columns of metrics.csv for an evaluation's metrics (the loss first), and of what several processes came to."""
    return (
        *("step", "epoch", "samples", "train_seconds", "lr", "train_loss"),
        *(f"val_{name}" for name in metrics),
        *(
            "generalisation_gap",
            "grad_norm",
            "gradient_evaluations",
            "samples_per_second",
            "memory_peak_bytes",
        ),
        *(TRAFFIC if is_parallel else ()),
    )


def change_table_columns(metrics: Sequence[str]) -> tuple[str, ...]:
    """Columns of structure.csv: what a change made of the network, and of an evaluation's metrics."""
    judged = (f"val_{name}_{when}" for name in metrics for when in ("before", "after"))
    return ("step", "epoch", "change", "parameters", "nonzero_parameters", *judged)


class Tables:
    """metrics.csv, steps.csv, where wanted layers.csv, and where the network changes structure.csv of one run."""

    def __init__(
        self,
        folder: Path,
        metrics: Sequence[str],
        is_shaped: bool = False,
        has_layers: bool = False,
        is_parallel: bool = False,
    ) -> None:
        self.layers = Table(folder / LAYERS, LAYER_COLUMNS) if has_layers else None
        self.changes = Table(folder / STRUCTURE, change_table_columns(metrics)) if is_shaped else None
        self.metrics = Table(folder / METRICS, metric_table_columns(metrics, is_parallel))
        self.steps = Table(folder / STEPS, STEP_COLUMNS)

    def begin(self, last_step: int | None, changes: int = 0) -> None:
        """Starts new tables (None), or cuts what was written after the checkpoint at `last_step`.

        `changes` are those of the network that the checkpoint has seen: another can follow at the same step.
        """
        self.metrics.begin(last_step)
        self.steps.begin(last_step)
        if self.changes is not None:
            self.changes.begin(last_step, changes)
        if self.layers is not None:
            self.layers.begin(last_step)

    def add_row(self, row: Row) -> None:
        """Writes one evaluation."""
        self.metrics.append([[row.get(column) for column in self.metrics.columns]])

    def take_back(self, step: int) -> None:
        """Cuts the evaluation at `step`: another one takes its place."""
        self.metrics.begin(step - 1)
        if self.layers is not None:
            self.layers.begin(step - 1)

    def add_change(self, row: Mapping[str, Cell]) -> None:
        """Writes one change of the network."""
        assert self.changes is not None
        self.changes.append([[row.get(column) for column in self.changes.columns]])

    def sync(self) -> None:
        """Returns when the evaluations so far are safe from a power cut: before a checkpoint says that they are."""
        self.metrics.sync()
        if self.changes is not None:
            self.changes.sync()


def logs(step: int, every: int) -> bool:
    """Whether the update that leads to `step` has a row in steps.csv, which shows one in `every`, and the first."""
    return step % every == 0 or step == 1


class StepRecorder:
    """Holds losses and gradient norms on the device until someone waits for it anyway.

    `flush` brings them to the host, adds them to the means in the order of the steps, and writes the logged ones.
    """

    CAPACITY = 1024

    def __init__(self, tables: Tables, every: int, follow: Callable[[list[LoggedStep]], None] | None = None) -> None:
        self.table = tables.steps
        self.follow = follow  # hears of what was written
        self.every = every
        self.losses: list[Tensor] = []
        self.rates: list[float] = []
        self.norms: list[Tensor] = []
        self.chunks: list[Tensor] = []  # losses stacked on the device, so that many steps hold few tensors

    def __len__(self) -> int:
        return len(self.rates)

    def logs(self, step: int) -> bool:
        """Whether the update that leads to `step` has a row in steps.csv."""
        return logs(step, self.every)

    def add(self, loss: Tensor, lr: float, norm: Tensor | None) -> None:
        """Notes one update; nothing waits for the device."""
        self.losses.append(loss)
        self.rates.append(lr)
        if norm is not None:
            self.norms.append(norm)
        if len(self.losses) >= self.CAPACITY:
            self._stack()

    def flush(self, last_step: int, means: Means, progress: Progress, team: Team = ALONE) -> None:
        """Reads what was noted, the last of it at `last_step`; the losses are the sums over a team.

        Raises:
            DivergedError: a loss is not finite; the rows before it are written.
        """
        if not self.rates:
            return
        self._stack()
        losses = team.total(torch.cat(self.chunks)).tolist()
        norms = iter(torch.stack(self.norms).tolist() if self.norms else [])
        first = last_step - len(losses) + 1
        rows: list[tuple[int, float, float, float]] = []
        diverged: int | None = None
        for step, (loss, lr) in enumerate(zip(losses, self.rates, strict=True), first):
            if not math.isfinite(loss):
                diverged = step
                break
            progress.last_loss = loss
            progress.note_largest("the loss", loss)
            means.loss_sum += loss
            means.losses += 1
            if self.logs(step):
                norm = next(norms)
                rows.append((step, loss, lr, norm))
                if math.isfinite(norm):  # an overflow under loss scaling is no gradient
                    means.norm_sum += norm
                    means.norms += 1
                    progress.note_largest("the gradient's norm", norm)
        self.losses, self.rates, self.norms, self.chunks = [], [], [], []
        if rows:
            logged = [(step, loss, lr, norm if math.isfinite(norm) else None) for step, loss, lr, norm in rows]
            self.table.append(logged)
            if self.follow is not None:
                self.follow(logged)
        if diverged is not None:
            raise DivergedError(diverged, progress.last_loss)

    def _stack(self) -> None:
        if self.losses:
            self.chunks.append(torch.stack(self.losses))
            self.losses = []


class RunLog:
    """run.log: messages, warnings, and the traceback of a failure, a line with its time each."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def write(self, text: str) -> None:
        """Appends a message."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with refusals(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{stamp} {line}\n" for line in text.rstrip().split("\n")))

    def read(self) -> str:
        """What it holds."""
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""

    def write_traceback(self, error: BaseException) -> None:
        """Appends where and why a run failed."""
        self.write("".join(traceback.format_exception(error)))

    @contextmanager
    def warnings(self) -> Iterator[None]:
        """Warnings of libraries go here while the block lasts, each once; errors out of warnings stay errors."""
        with warnings.catch_warnings():
            seen: set[str] = set()

            def note(message: Warning | str, category: type[Warning], *_rest: object, **_named: object) -> None:
                text = f"warning: {category.__name__}: {message}"
                if text not in seen:
                    seen.add(text)
                    self.write(text)

            warnings.showwarning = note
            yield
