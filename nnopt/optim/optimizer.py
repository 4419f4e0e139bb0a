"""What an optimizer is: something that steps, given a way to evaluate the objective and its gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from nnopt.errors import CheckpointError, UsageError
from nnopt.optim.parameters import Parameters
from nnopt.optim.scaled import Scaled
from nnopt.optim.settling import memory_of, settle

__all__ = [
    "ClosureOptimizer",
    "Evaluate",
    "Finite",
    "Optimizer",
    "Rate",
    "Rule",
    "RuleOptimizer",
    "State",
    "TorchOptimizer",
]

# One counted forward and backward pass at the present values: the gradients then lie in
# `parameters.gradients`; gives the objective, 0-dim and detached.
Evaluate = Callable[[], Tensor]
# Whether the gradients of the last evaluation are all finite, as a 0-dim bool on their device.
Finite = Callable[[], Tensor]
# A learning rate: a number, or 0-dim on the values' device where nothing may wait for the host to write it.
Rate = float | Tensor
# A rule's own memory, by name; a list is as long as that of the values, or has one 0-dim member (a counter).
State = dict[str, list[Tensor]]


class Optimizer(ABC):
    """Changes the values of `Parameters` in place."""

    @abstractmethod
    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """One update with the learning rate `lr`, which may be a 0-dim tensor on the values' device after `settle`.

        `evaluate` is called once, or as often as a line search needs. `finite` is given where a loss scaler
        may have made the gradients overflow, and is called after `evaluate`: where it is false, neither
        values nor state change.
        """

    @property
    def inner(self) -> Optimizer:
        """What lies on the parameters: itself, or of one that wraps another the other."""
        return self

    def settle(self) -> list[Tensor]:
        """Brings its whole memory into being on the values' device, to stay there: the tensors.

        A step that is recorded once and replayed finds all of it at the same addresses, and reads no number on the
        host. What the tensors hold is what the next step expects.

        Raises:
            UsageError: its steps look at numbers on the host.
        """
        raise UsageError(f"the steps of {type(self).__name__} look at numbers on the host, so none can be recorded")

    def shown(self) -> list[Tensor] | None:
        """What is to be evaluated and kept in place of the values, laid out as they are; None: the values."""
        return None

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on besides values and gradients.

        Only tensors, numbers, strings, lists and mappings, so that `torch.load(weights_only=True)` reads it.
        The tensors are the live ones: save or copy them before the next step.
        """

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave.

        Raises:
            CheckpointError: the state of another optimizer or another model.
        """


class Rule(ABC):
    """A textbook rule θ ← θ − ηd: a frozen set of hyperparameters that turns gradients into a direction d."""

    @abstractmethod
    def init(self, values: Sequence[Tensor]) -> State:
        """The state before the first step."""

    @abstractmethod
    def direction(self, gradients: list[Tensor], state: State) -> tuple[list[Tensor], State]:
        """The direction d, shaped as `gradients`, and the state after this step.

        Pure in effect, given that the caller lets go of the old state: the memory of `state` may be reused
        for the new one, and d may share memory with either argument, so the caller only reads it. The
        gradients are never changed.
        """

    def step_at_once(self, values: list[Tensor], gradients: list[Tensor], state: State, lr: Rate) -> bool:
        """The whole step θ ← θ − ηd in one kernel, values and state in place, where there is such a kernel.

        Returns False, and does nothing, where there is none; `direction` is used then.
        """
        return False


@final
class RuleOptimizer(Optimizer):
    """A rule at work on parameters, with decoupled weight decay λ: θ ← (1 − ηλ)θ − ηd.

    The decay reaches all parameters (Loshchilov & Hutter 2019, arXiv:1711.05101); in a group η is multiplied by its
    rate, and λ may be its own.
    """

    def __init__(self, rule: Rule, parameters: Parameters, weight_decay: float = 0.0) -> None:
        self.rule = rule
        self.parameters = parameters
        self.weight_decay = weight_decay
        with torch.no_grad():
            self._state = rule.init(parameters.values)

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`; nothing waits for the device, also with `finite`."""
        evaluate()
        with torch.no_grad():
            if finite is None:
                self._update(lr)
            else:
                _where(finite(), [*self.parameters.values, *_members(self._state)], lambda: self._update(lr))

    def settle(self) -> list[Tensor]:
        """As `Optimizer.settle`."""
        return _members(self._state)

    def _update(self, lr: Rate) -> None:
        values, gradients, rates = self.parameters.values, self.parameters.gradients, self.parameters.rates
        for value, rate, own in zip(values, rates, self.parameters.weight_decays, strict=True):
            weight_decay = self.weight_decay if own is None else own
            if weight_decay:
                value.mul_(1 - lr * rate * weight_decay)
        if self.parameters.is_even and self.rule.step_at_once(values, gradients, self._state, lr):
            return
        directions, state = self.rule.direction(gradients, self._state)
        for value, direction, rate in zip(values, directions, rates, strict=True):
            if isinstance(lr, Tensor):
                value.addcmul_(direction, lr * -rate)  # the same bits as by `alpha`, which takes numbers alone
            else:
                value.add_(direction, alpha=-lr * rate)
        if state is not self._state:
            _copy(_members(state), _members(self._state))

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`: the rule's state."""
        return {name: list(tensors) for name, tensors in self._state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        expected = {name: [tensor.shape for tensor in tensors] for name, tensors in self._state.items()}
        found = {name: [tensor.shape for tensor in tensors] for name, tensors in state.items()}
        if found != expected:
            raise CheckpointError(
                f"the optimizer's state is of another optimizer or model: "
                f"it holds {_words(found)}, and {_words(expected)} belong here"
            )
        with torch.no_grad():
            for name, tensors in self._state.items():
                for tensor, saved in zip(tensors, state[name], strict=True):
                    tensor.copy_(saved)


def _members(state: State) -> list[Tensor]:
    return [tensor for name in state for tensor in state[name]]


def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        if source is not target:
            target.copy_(source)


def _where(finite: Tensor, tensors: list[Tensor], update: Callable[[], None]) -> None:
    """Updates, and takes it back unless `finite`, on copies' account: reading that on the host would wait for it."""
    old = [tensor.clone() for tensor in tensors]
    update()
    for new, before in zip(tensors, old, strict=True):
        new.copy_(torch.where(finite, new, before))


def _words(shapes: dict[str, list[torch.Size]]) -> str:
    return ", ".join(f"{name} {[list(shape) for shape in sizes]}" for name, sizes in shapes.items()) or "nothing"


@final
class TorchOptimizer(Optimizer):
    """Optimizers with torch.optim's interface that need one evaluation a step.

    Several may share the parameters among them; the learning rate of each is `lr` times its `scales`, and in a
    param_group that has a "rate" times that.
    """

    def __init__(self, *optimizers: torch.optim.Optimizer, scales: Sequence[float] | None = None) -> None:
        self.optimizers = optimizers
        self.scales = [1.0] * len(optimizers) if scales is None else list(scales)
        self._settled: list[Tensor] = []  # values and memory, once they stay where they are

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`; with `finite` it waits for the device, unless it is settled."""
        evaluate()
        if finite is not None and self._settled:
            with torch.no_grad():
                _where(finite(), self._settled, lambda: self._update(lr))
        elif finite is None or bool(finite()):
            self._update(lr)

    def _update(self, lr: Rate) -> None:
        for optimizer, scale in zip(self.optimizers, self.scales, strict=True):
            _set_lr(optimizer, lr * scale)
            optimizer.step()

    def settle(self) -> list[Tensor]:
        """As `Optimizer.settle`.

        Raises:
            UsageError: an optimizer has no form that counts its steps on the device (torch's `capturable`).
        """
        for optimizer in self.optimizers:
            settle(optimizer)
        memory = [tensor for optimizer in self.optimizers for tensor in memory_of(optimizer)]
        groups = (group for optimizer in self.optimizers for group in optimizer.param_groups)
        self._settled = [*(value for group in groups for value in group["params"]), *memory]
        return memory

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        _load(self.optimizers, state)


@final
class ClosureOptimizer(Optimizer):
    """An optimizer with torch.optim's interface that evaluates several times within a step, as L-BFGS.

    With `scaled` it works on the values of that, and the parameters follow.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, scaled: Scaled | None = None) -> None:
        self.optimizer = optimizer
        self.scaled = scaled

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`, except that it takes no `finite`.

        Raises:
            UsageError: `finite` is given: a scaled loss would mislead the line search.
        """
        if finite is not None:
            raise UsageError("an optimizer that evaluates several times a step cannot use fp16: take bf16 or fp32")
        _set_lr(self.optimizer, lr)
        with torch.enable_grad():
            if self.scaled is None:
                self.optimizer.step(lambda: float(evaluate()))
            else:
                self._step_scaled(self.scaled, evaluate)

    def _step_scaled(self, scaled: Scaled, evaluate: Evaluate) -> None:
        def closure() -> float:
            scaled.put()
            objective = float(evaluate())
            scaled.take_gradient()
            return objective

        scaled.take()
        self.optimizer.step(closure)
        scaled.put()

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`."""
        return {"optimizers": [self.optimizer.state_dict()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        _load((self.optimizer,), state)


def _set_lr(optimizer: torch.optim.Optimizer, lr: Rate) -> None:
    for group in optimizer.param_groups:
        rate = lr * group.get("rate", 1.0)
        if not isinstance(group["lr"], Tensor):
            group["lr"] = rate
        elif isinstance(rate, Tensor):
            group["lr"].copy_(rate)
        else:
            group["lr"].fill_(rate)


def _load(optimizers: Sequence[torch.optim.Optimizer], state: dict[str, Any]) -> None:
    saved = state.get("optimizers", [])
    if len(saved) != len(optimizers):
        raise CheckpointError(f"the state of {len(saved)} optimizers does not suit {len(optimizers)}")
    for optimizer, part in zip(optimizers, saved, strict=True):
        try:
            optimizer.load_state_dict(part)
        except (ValueError, KeyError) as error:
            raise CheckpointError(f"the optimizer's state is of another optimizer or model: {error}") from error
