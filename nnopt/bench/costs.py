"""What an optimizer costs here: time and evaluations a step, and memory a parameter, beside plain sgd.

What is timed is what trains: the optimizer that a spec builds, on the parameters and with the backward pass of a run.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nnopt.bench.kinds import part_of
from nnopt.data.feed import Batch
from nnopt.errors import NnoptError, SpecError, UsageError
from nnopt.optim.objective import Objective, Smooth
from nnopt.plan import RunSpec
from nnopt.search.steps import still_rate
from nnopt.spec.experiment import RunSettings
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.examples import example
from nnopt.train.setup import DataCache, Setup, build
from nnopt.train.state import TrainState
from nnopt.train.step import Pass

REFERENCE = "sgd"
BATCH = 128
# As many weights as the usual perceptron of MNIST; the second is for those that hold a whole matrix of curvature.
SHAPES = {"784-128-2": (784, 128), "16-8-2": (16, 8)}
BLOCK = 10  # steps; rarer work than that is seen in some blocks alone
LONGEST_BLOCK = 0.25  # seconds, after which a block of a slow one ends
ROUNDS = 7


@dataclass(frozen=True)
class Cost:
    """What one optimizer costs on one model.

    Attributes:
        kind: which.
        base: the optimizer that it wraps; empty for one that wraps none.
        model: widths of the perceptron, as "784-128-2".
        parameters: how many it trains.
        seconds: of a step, the median of `blocks` means over up to ten steps.
        low, high: the quartiles of those means.
        own_seconds: what of it goes to other than forward and backward passes for a gradient, median likewise.
        ratio: by how much its step takes longer than one of sgd right before it, median likewise.
        passes: forward and backward passes a step, mean; a product with second derivatives is two.
        state_bytes: what it remembers between steps, bytes a parameter.
        blocks: how many were timed.
    """

    kind: str
    base: str
    model: str
    parameters: int
    seconds: float
    low: float
    high: float
    own_seconds: float
    ratio: float
    passes: float
    state_bytes: float
    blocks: int


@dataclass(frozen=True)
class Unmeasured:
    """An optimizer that could not be timed, and why."""

    kind: str
    reason: str


class _Timed(Objective):
    """A backward pass that notes how long it took."""

    def __init__(self, backward: Pass) -> None:
        self.backward = backward
        self.seconds = 0.0

    def __call__(self) -> Tensor:
        start = time.perf_counter()
        objective = self.backward()
        self.seconds += time.perf_counter() - start
        return objective

    def smooth(self) -> Smooth:
        return self.backward.smooth()

    def generator(self) -> torch.Generator:
        return self.backward.generator()


@dataclass
class _Subject:
    """An optimizer at work, and what its blocks took."""

    kind: str
    model: str
    setup: Setup
    state: TrainState
    batch: Batch
    first: list[Tensor]  # the weights before the first step
    second: float = 0.0  # how long its second step took
    steps: int = 0
    seconds: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def step(self, objective: _Timed) -> None:
        self.setup.backward.begin(self.batch, norm_wanted=False)
        self.state.optimizer.step(objective, still_rate(self.setup.settings))
        self.steps += 1

    def restart(self) -> None:
        """The first weights and an optimizer without memories, after one step that warms up."""
        with torch.no_grad():
            for value, first in zip(self.setup.parameters.values, self.first, strict=True):
                value.copy_(first)
        self.state.optimizer = self.setup.settings.optimizer.build(self.setup.parameters)
        self.step(_Timed(self.setup.backward))

    def block(self) -> tuple[float, float]:
        """Seconds of a step, whole and without the passes for its gradients: means over a block.

        Where the work of a step depends on how far training is, every block is of the first steps.
        """
        if self.setup.settings.optimizer.evaluations_vary:
            self.restart()
        objective, steps, start = _Timed(self.setup.backward), 0, time.perf_counter()
        while steps < BLOCK and time.perf_counter() - start < LONGEST_BLOCK:
            self.step(objective)
            steps += 1
        whole = (time.perf_counter() - start) / steps
        return whole, whole - objective.seconds / steps

    def cost(self) -> Cost:
        low, middle, high = _quartiles(self.seconds)
        count, spec = self.setup.parameters.count, self.setup.settings.optimizer
        return Cost(
            kind=self.kind,
            base="" if spec.inner is spec else spec.inner.kind,
            model=self.model,
            parameters=count,
            seconds=middle,
            low=low,
            high=high,
            own_seconds=statistics.median(self.own),
            ratio=statistics.median(self.ratios),
            passes=self.setup.backward.evaluations / self.steps,
            state_bytes=state_bytes(self.state.optimizer.state_dict()) / count,
            blocks=len(self.seconds),
        )


def measure(
    kinds: Sequence[str], seconds: float, said: Callable[[str], None] = lambda kind: None
) -> list[Cost | Unmeasured]:
    """What each of `kinds` costs, in their order, timed within about `seconds` in all; `said` hears which is built.

    Each is built with what it requires and the defaults, on a perceptron of made-up rows, one thread on the CPU, and
    timed in turns with sgd, so that a machine with other work slows both. Where it refuses the larger perceptron, or a
    step there takes longer than its share of the time, it is the smaller one.

    Raises:
        UsageError: a kind that there is not.
    """
    parts = {kind: part_of(kind) for kind in kinds}
    threads = torch.get_num_threads()
    cache, found = DataCache(), {}
    references: dict[str, _Subject] = {}
    subjects: list[_Subject] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what one would hear of them in a run belongs there
            for kind, part in parts.items():
                said(kind)
                try:
                    subject = _first_that_goes(kind, part, cache, seconds / len(parts) / 4)
                except NnoptError as error:
                    found[kind] = Unmeasured(kind, str(error))
                    continue
                subjects.append(subject)
                if subject.model not in references:
                    keys = example(part_of(REFERENCE), REFERENCE)
                    references[subject.model] = _subject(REFERENCE, subject.model, keys, cache)
            began = time.perf_counter()  # imports and the making of data took what they took
            for number in range(ROUNDS):
                for subject in subjects:
                    if number and time.perf_counter() - began > seconds:
                        break
                    _time(subject, references[subject.model])
    finally:
        torch.set_num_threads(threads)
    costs = {subject.kind: subject.cost() for subject in subjects}
    return [costs[kind] if kind in costs else found[kind] for kind in kinds]


def _time(subject: _Subject, reference: _Subject) -> None:
    whole, own = subject.block()
    subject.seconds.append(whole)
    subject.own.append(own)
    subject.ratios.append(whole / reference.block()[0])


def _first_that_goes(kind: str, part: type[AnyOptimizerSpec], cache: DataCache, seconds: float) -> _Subject:
    """On the first of the models that it takes and on which a step takes no longer."""
    keys = example(part, kind)
    *larger, last = SHAPES
    for model in larger:
        try:
            subject = _subject(kind, model, keys, cache)
            if subject.second < seconds:
                return subject
        except UsageError as error:
            if "pip install" in str(error):
                raise
    return _subject(kind, last, keys, cache)


def _subject(kind: str, model: str, keys: Mapping[str, Any], cache: DataCache) -> _Subject:
    setup, state = build(RunSpec("costs", kind, 0, settings_for(model, keys)), cache, threads=1)
    first = [value.detach().clone() for value in setup.parameters.values]
    subject = _Subject(kind, model, setup, state, setup.feed.take(state.position, BATCH), first)
    subject.step(_Timed(setup.backward))  # it warms up
    start = time.perf_counter()
    subject.step(_Timed(setup.backward))
    subject.second = time.perf_counter() - start
    subject.steps = setup.backward.evaluations = 0
    return subject


def settings_for(model: str, optimizer: Mapping[str, Any]) -> RunSettings:
    """The run that is timed.

    Raises:
        SpecError: the optimizer's keys do not belong to it.
    """
    features, hidden = SHAPES[model]
    rows = {"kind": "logistic", "features": features, "rows": BATCH + 20}
    try:
        return RunSettings.model_validate(
            {
                "data": {"kind": "synthetic", "problem": rows, "validation": 10, "test": 10},
                "model": {"kind": "mlp", "hidden": [hidden]},
                "loss": {"kind": "cross_entropy"},
                "optimizer": dict(optimizer),
                "strategy": {"batch_size": "full"},
                "budget": {"steps": 1000},
                "device": "cpu",
            }
        )
    except ValueError as error:
        raise SpecError(f"optimizer {optimizer['kind']}: {' '.join(str(error).split())}") from None


def state_bytes(state: Any) -> int:
    """The bytes of all tensors within a state, each piece of memory counted once."""
    found = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(state)}
    return sum(found.values())


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
