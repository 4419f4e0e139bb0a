"""What a spec builds: data on the device, model, optimizer and all that trains with them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from nnopt.data.augment.geometry import combine
from nnopt.data.augment.transform import Chain
from nnopt.data.batches import Order
from nnopt.data.dataset import Dataset
from nnopt.data.feed import Augment, Feed
from nnopt.errors import UsageError
from nnopt.losses.loss import Loss
from nnopt.optim.optimizer import Optimizer
from nnopt.optim.parameters import Parameters
from nnopt.plan import RunSpec
from nnopt.randomness import derive
from nnopt.spec.data.base import DataSpec
from nnopt.spec.experiment import RunSettings
from nnopt.spec.identity import resolved
from nnopt.spec.metric_names import metric_columns
from nnopt.spec.strategy import GrowingBatch, StrategySpec
from nnopt.structure.accounts.layers import count_multiply_adds
from nnopt.structure.distill.asked import Memory
from nnopt.train.averaging import Average, ShownByOptimizer, build_average
from nnopt.train.clock import Clock
from nnopt.train.devices import (
    autocast,
    check_graph,
    check_precision,
    choose_threads,
    find_device,
    set_matmul_precision,
)
from nnopt.train.energy import open_meter
from nnopt.train.freezing import freeze
from nnopt.train.grouping import named_apart, named_groups
from nnopt.train.horizon import Horizon
from nnopt.train.initial_model import build_model
from nnopt.train.layout import check_pictures, put_channels_last
from nnopt.train.parallel.kinds import (
    build_together,
    check_parallel,
    check_team,
    device_of_team,
    processes_beside,
    processes_of,
    threads_of_each,
)
from nnopt.train.parallel.team import Team
from nnopt.train.parallel.together import Together
from nnopt.train.recalibration import recalibrate
from nnopt.train.scaling import LossScaler
from nnopt.train.shaping.build import build_shaping
from nnopt.train.shaping.operation import Bench
from nnopt.train.state import TrainState
from nnopt.train.step import Pass
from nnopt.train.stopping import Stopping
from nnopt.train.test_time import TestTime


@dataclass(frozen=True, eq=False)
class Setup:
    """The half of a run that does not change while it trains."""

    settings: RunSettings
    seed: int
    device: torch.device
    threads: int
    data: Dataset
    loss: Loss
    metrics: tuple[str, ...]  # columns of an evaluation without prefix, the loss first
    horizon: Horizon
    feed: Feed
    backward: Pass
    autocast: Callable[[], AbstractContextManager[object]]
    test_time: TestTime | None
    together: Together

    @property
    def forward(self) -> nn.Module:
        """The model as it is now, compiled where asked."""
        return self.backward.network

    @property
    def parameters(self) -> Parameters:
        """Its trainable parameters."""
        return self.backward.parameters

    @property
    def teachers(self) -> list[dict[str, str | int]]:
        """The networks that it learns from, as summary.json tells of them."""
        return [] if self.backward.guide is None else self.backward.guide.teachers


# Keys of data sets that say how training samples are drawn and changed, and nothing of what they are.
DRAWN = ("augment", "sampling")


class DataCache:
    """Data sets on their devices, the latest few kept: runs of one experiment mostly share one.

    And what teachers answered to them, in `asked`. Teachers lie below `teachers_in` where that is not the folder that
    receives the runs.
    """

    KEPT = 2

    def __init__(self, teachers_in: Path | None = None) -> None:
        self.teachers_in = teachers_in
        self._held: dict[str, Dataset] = {}
        self.asked = Memory()

    @staticmethod
    def key(data: DataSpec, device: torch.device) -> str:
        """Names the content of `data` on `device`: how its samples are drawn and changed is no part of that."""
        keys = {name: value for name, value in resolved(data).items() if name not in DRAWN}
        return f"{keys} {data.drawn_for} {device}"

    def get(self, settings: RunSettings, device: torch.device, seed: int) -> Dataset:
        """The data set on `device` of the run with these settings and this seed.

        Raises:
            DataError: it is missing or damaged.
        """
        data = settings.data.for_seed(seed)
        key = self.key(data, device)
        if key not in self._held:
            while len(self._held) >= self.KEPT:
                del self._held[next(iter(self._held))]
            self._held[key] = data.load().to(device)
        return self._held[key]


def build(
    run: RunSpec, cache: DataCache, threads: int | None = None, most_threads: int | None = None
) -> tuple[Setup, TrainState]:
    """Everything that a run trains with, at its very beginning.

    `threads` is the count a resumed run began with; `threads: auto` takes at most `most_threads`. Sets the process's
    thread count, matmul precision and default generators.

    Raises:
        UsageError: data, model, loss, batch, device or precision do not fit together.
    """
    settings = run.settings
    team = Team.here()
    device = find_device(settings.device)
    processes = processes_of(settings.parallel, device)
    device = device_of_team(device, team, processes)
    together = build_together(settings.parallel, team, device)
    clock = Clock(device, meter=open_meter(device))
    check_precision(settings.strategy.precision, device)
    check_graph(settings.strategy.graph, device)
    check_parallel(settings.parallel, device)
    data = cache.get(settings, device, run.seed)
    check_batch(settings, data)
    sampling = settings.data.sampling
    order = sampling.build(data, run.seed, device) if sampling else Order(run.seed, len(data.train), device)
    loss = settings.loss.build_for(data, device)
    metrics = metric_columns(settings.metrics, data.task, len(data.classes), data.questions)
    horizon = Horizon(settings.budget, settings.strategy, len(data.train))
    set_matmul_precision(settings.strategy.precision)
    torch.set_num_threads(1)  # initial weights are the same whatever the count
    model = build_model(settings, data, run.seed)
    check_pictures(settings, data, model)
    check_team(settings, data, model, processes)
    if threads is None:
        work = count_multiply_adds(model, data.train.first(1).cpu()) * horizon.batch_size(0.0)
        threads = _threads_of(settings, work // processes, processes, most_threads)
    torch.set_num_threads(threads)
    model = model.to(device)
    torch.manual_seed(derive(run.seed, "default", *(() if team.is_lead else (team.rank,))))
    model.train()
    freeze(model, settings.model)
    together.place(model, data.train.first(2))
    parameters = parameters_of(settings, model, together)
    settings.optimizer.inner.check_network(model, parameters)
    scaler = LossScaler(device) if settings.strategy.precision == "fp16" else None
    context = autocast(settings.strategy.precision, device)
    optimizer = together.optimizer(settings.optimizer.build(parameters), parameters)
    state = _first_state(settings.strategy, model, optimizer, clock, scaler)
    state.average = average_of(settings, state, parameters, data, context)
    backward = build_pass(
        settings, run.seed, forward_of(settings, model, together), loss, parameters, context, scaler, together
    )
    setup = Setup(
        settings=settings,
        seed=run.seed,
        device=device,
        threads=threads,
        data=data,
        loss=loss,
        metrics=metrics,
        horizon=horizon,
        feed=Feed(data.train, order, run.seed, augmentation(settings, data), (team.rank, team.size)),
        backward=backward,
        autocast=context,
        test_time=_test_time(settings, data, loss, run.seed),
        together=together,
    )
    state.shaping = build_shaping(Bench(settings, run.seed, device, data, backward, state, _refitter(setup, state)))
    if state.shaping is not None:
        backward.after_backward = state.shaping.after_backward
    return setup, state


def _threads_of(settings: RunSettings, work: int, processes: int, most: int | None) -> int:
    """Of each of these processes, with so many multiply-adds a step."""
    most = threads_of_each(most, max(processes, processes_beside(settings.parallel)))
    return choose_threads(settings.strategy.threads, work, most)


def _first_state(
    strategy: StrategySpec,
    model: nn.Module,
    optimizer: Optimizer,
    clock: Clock,
    scaler: LossScaler | None,
) -> TrainState:
    stopping = strategy.early_stopping
    return TrainState(
        model=model,
        optimizer=optimizer,
        device=clock.device,
        clock=clock,
        scaler=scaler,
        plateau=strategy.lr_decay.plateau(),
        stopping=Stopping(stopping) if stopping else None,
    )


def _test_time(settings: RunSettings, data: Dataset, loss: Loss, seed: int) -> TestTime | None:
    """What evaluations see of changed copies: by the changes of training that leave the targets as they are."""
    copies = settings.evaluation.test_time
    if not copies:
        return None
    steps = [spec.build(data) for spec in settings.data.augment if not spec.mixes]
    return TestTime(Chain(combine(steps)), copies, seed, loss)


def augmentation(settings: RunSettings, data: Dataset) -> Augment | None:
    """The random changes of training samples, None where there are none.

    Raises:
        DataError: one of them is not for such data.
    """
    steps = [spec.build(data) for spec in settings.data.augment or ()]
    return Chain(combine(steps)) if steps else None


def parameters_of(settings: RunSettings, model: nn.Module, together: Together) -> Parameters:
    """The model's trainable parameters as the spec's optimizer wants them."""
    if settings.strategy.channels_last:
        put_channels_last(model)
    optimizer = settings.optimizer.inner
    groups = [named.group for named in named_groups(optimizer, model)]
    penalised, apart = settings.loss.penalised(model), named_apart(optimizer, model)
    return together.parameters(optimizer.flat, model, penalised, groups, apart)


def average_of(
    settings: RunSettings,
    state: TrainState,
    parameters: Parameters,
    data: Dataset,
    context: Callable[[], AbstractContextManager[object]],
) -> Average | None:
    """What is evaluated in place of the weights that train; None where that are they themselves."""
    if not settings.optimizer.inner.shows_others:
        return build_average(settings.strategy.average, parameters, state.model, len(data.train))

    def take_statistics(model: nn.Module) -> None:
        recalibrate(model, data.train, settings.evaluation.batch_size, context)

    return ShownByOptimizer(parameters, state.model, lambda: state.optimizer.shown(), take_statistics)


def forward_of(settings: RunSettings, model: nn.Module, together: Together) -> nn.Module:
    """The model as batches go through it, compiled where asked."""
    return together.forward(cast(nn.Module, torch.compile(model)) if settings.strategy.compile else model)


def _refitter(setup: Setup, state: TrainState) -> Callable[[nn.Module], None]:
    """What makes parameters, optimizer and average anew once a model's tensors have changed."""
    settings = setup.settings

    def refit(model: nn.Module) -> None:
        state.model = model
        together = setup.together
        setup.backward.parameters = parameters = parameters_of(settings, model, together)
        setup.backward.model = forward_of(settings, model, together)
        state.optimizer = together.optimizer(settings.optimizer.build(parameters), parameters)
        before = state.average
        state.average = average_of(settings, state, parameters, setup.data, setup.autocast)
        if state.average is not None and before is not None:
            state.average.go_on_from(before)

    return refit


def build_pass(
    settings: RunSettings,
    seed: int,
    forward: nn.Module,
    loss: Loss,
    parameters: Parameters,
    context: Callable[[], AbstractContextManager[object]],
    scaler: LossScaler | None,
    together: Together,
) -> Pass:
    """The forward and backward pass that the optimizer calls."""
    return Pass(
        model=forward,
        loss_function=loss,
        parameters=parameters,
        autocast=context,
        l1=settings.loss.l1,
        l2=settings.loss.l2,
        clip_norm=settings.strategy.clip_norm,
        clip_value=settings.strategy.clip_value,
        accumulate=settings.strategy.accumulate,
        scaler=scaler,
        objective_needed=settings.optimizer.evaluations_vary,
        curvature_needed=settings.optimizer.needs_curvature,
        seed=seed,
        together=together,
    )


def check_batch(settings: RunSettings, data: Dataset) -> None:
    """Raises UsageError where a batch is larger than the training data, or has fewer samples than parts."""
    size, samples = settings.strategy.batch_size, len(data.train)
    largest = size.size(1.0) if isinstance(size, GrowingBatch) else samples if size == "full" else int(size)
    if largest > samples:
        raise UsageError(
            f"strategy.batch_size: {largest} is more than the {samples} training samples of {data.name}: "
            "take a smaller one, or full"
        )
    if settings.strategy.accumulate > largest:
        raise UsageError(f"strategy.accumulate: {settings.strategy.accumulate} parts of {largest} samples are empty")
