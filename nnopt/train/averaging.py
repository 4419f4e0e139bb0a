"""Averages of the weights, on which a run is evaluated."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nnopt.optim.parameters import Parameters
from nnopt.spec.averages import AverageSpec, Ema, Swa
from nnopt.train.horizon import Period


class Average(ABC):
    """A second set of weights and floating-point buffers that follows the trained one."""

    def __init__(self, parameters: Parameters, model: nn.Module) -> None:
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self.followed: list[Tensor] = [*parameters.values, *buffers]
        self.values = [tensor.detach().clone() for tensor in self.followed]

    @abstractmethod
    def update(self, before: float, step: int, samples: int, seconds: float) -> None:
        """Takes in the weights after an update that began at share `before` of the budget."""

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether there is an average yet; until then a run is evaluated on its own weights."""

    def begin_anew(self) -> None:
        """Forgets what it took in: the weights went back."""
        _copy(self.followed, self.values)

    def go_on_from(self, before: Average) -> None:
        """Takes the place of the average of a network whose tensors had other shapes."""

    def adopt(self) -> None:
        """The weights become what the average is."""
        _copy(self.values, self.followed)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the average while the block lasts."""
        if not self.ready:
            yield
            return
        own = [tensor.detach().clone() for tensor in self.followed]
        _copy(self.values, self.followed)
        try:
            yield
        finally:
            _copy(own, self.followed)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        _copy(state["values"], self.values)


class ExponentialAverage(Average):
    """a ← βa + (1−β)θ after every update."""

    def __init__(self, spec: Ema, parameters: Parameters, model: nn.Module) -> None:
        super().__init__(parameters, model)
        self.weight = 1.0 - spec.decay

    def update(self, before: float, step: int, samples: int, seconds: float) -> None:
        """As the base class says."""
        with torch.no_grad():
            for mean, value in zip(self.values, self.followed, strict=True):
                mean.lerp_(value, self.weight)

    @property
    def ready(self) -> bool:
        """From the first update on (before it the average equals the weights)."""
        return True


class StochasticAverage(Average):
    """Plain mean of the weights at the multiples of a period, once a share of the budget is used."""

    def __init__(self, spec: Swa, parameters: Parameters, model: nn.Module, samples: int) -> None:
        super().__init__(parameters, model)
        self.start = spec.start
        self.period = Period(spec.every, samples)
        self.count = 0
        self.periods = 0

    def update(self, before: float, step: int, samples: int, seconds: float) -> None:
        """As the base class says."""
        periods = self.period.passed(step, samples, seconds)
        due, self.periods = periods > self.periods, periods
        if before < self.start or not due:
            return
        self.count += 1
        with torch.no_grad():
            for mean, value in zip(self.values, self.followed, strict=True):
                mean.lerp_(value, 1.0 / self.count)

    def begin_anew(self) -> None:
        """As the base class says; the periods stay counted."""
        super().begin_anew()
        self.count = 0

    def go_on_from(self, before: Average) -> None:
        """As the base class says; the periods stay counted."""
        if isinstance(before, StochasticAverage):
            self.periods = before.periods

    @property
    def ready(self) -> bool:
        """Once a first set of weights is in the mean."""
        return self.count > 0

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return super().state_dict() | {"count": self.count, "periods": self.periods}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        super().load_state_dict(state)
        self.count, self.periods = int(state["count"]), int(state["periods"])


class ShownByOptimizer(Average):
    """What the optimizer wants to be evaluated in place of the weights that train (Schedule-Free's average).

    It follows from the weights and the optimizer's state, so that nothing moves on from update to update; batch norm
    is recalibrated to it. The weights that train are put back bit for bit.
    """

    def __init__(
        self,
        parameters: Parameters,
        model: nn.Module,
        shown: Callable[[], list[Tensor] | None],
        recalibrate: Callable[[nn.Module], None],
    ) -> None:
        super().__init__(parameters, model)
        self.parameters = parameters
        self.model = model
        self.shown = shown
        self.recalibrate = recalibrate

    def update(self, before: float, step: int, samples: int, seconds: float) -> None:
        """Nothing moves on."""

    @property
    def ready(self) -> bool:
        """From the start on."""
        return True

    def adopt(self) -> None:
        """As the base class says."""
        self._put()

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """As the base class says."""
        touched = [*self.parameters.values, *self.model.buffers()]
        own = [tensor.detach().clone() for tensor in touched]
        self._put()
        try:
            yield
        finally:
            _copy(own, touched)

    def _put(self) -> None:
        shown = self.shown()
        if shown is not None:
            _copy(shown, self.parameters.values)
            self.recalibrate(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes that the optimizer's state does not hold."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to take back."""


def build_average(spec: AverageSpec | None, parameters: Parameters, model: nn.Module, samples: int) -> Average | None:
    """The average that a spec asks for; `samples` is the size of an epoch."""
    if isinstance(spec, Ema):
        return ExponentialAverage(spec, parameters, model)
    if isinstance(spec, Swa):
        return StochasticAverage(spec, parameters, model, samples)
    return None


def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    with torch.no_grad():
        for source, target in zip(sources, targets, strict=True):
            target.copy_(source)
