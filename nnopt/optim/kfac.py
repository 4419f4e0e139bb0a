"""K-FAC: natural gradient with a Fisher matrix that is a Kronecker product for each layer.

    U = (G + √λ/π I)⁻¹ ∇W (A + π√λ I)⁻¹,  π² = (tr A/dim A)/(tr G/dim G)
    ν = min(1, √(κ/(η² Σ U·∇W)));  v ← μv + νU;  W ← W − ηv

Martens & Grosse 2015, arXiv:1503.05671 (factors, targets drawn from the model, π); Grosse & Martens 2016,
arXiv:1602.01407 (convolutions); ν as in Ba, Grosse & Martens 2017, which keeps the step's predicted change of the
model's distribution below κ. The averages of A and G weigh their k-th measurement 1/k until that falls below 1 − ρ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from nnopt.errors import CheckpointError, UsageError
from nnopt.optim.factors import Layer, layers_of, measured
from nnopt.optim.objective import Objective, objective_of
from nnopt.optim.optimizer import Evaluate, Finite, Optimizer, Rate
from nnopt.optim.parameters import Parameters

__all__ = ["Kfac", "KfacSettings", "damped_inverses", "layers_in"]


@dataclass(frozen=True)
class KfacSettings:
    """The numbers of the rule.

    Attributes:
        damping: λ.
        momentum: μ.
        average: the most that the old averages of A and G weigh, ρ.
        kl_clip: κ; None: steps are not shortened.
        update_every: steps from one measurement of A and G to the next.
        invert_every: steps from one inversion to the next.
        weight_decay: decoupled, of all parameters.
    """

    damping: float
    momentum: float
    average: float
    kl_clip: float | None
    update_every: int
    invert_every: int
    weight_decay: float = 0.0


@dataclass
class _Block:
    """What is remembered of one layer: averages of A and G after so many measurements, and their damped inverses."""

    bias: str | None
    measured: int
    inputs: Tensor
    outputs: Tensor
    inverses: tuple[Tensor, Tensor] | None = None

    def natural(self, weight: str, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The damped natural gradient of weight and bias by name, of gradients by name."""
        assert self.inverses is not None
        inputs, outputs = self.inverses
        shape = gradients[weight].shape
        matrix = gradients[weight].flatten(1)
        if self.bias is None:
            return {weight: (outputs @ matrix @ inputs).view(shape)}
        found = outputs @ torch.cat((matrix, gradients[self.bias][:, None]), dim=1) @ inputs
        return {weight: found[:, :-1].reshape(shape), self.bias: found[:, -1]}


def layers_in(network: nn.Module, parameters: Parameters) -> list[Layer]:
    """The layers whose Fisher matrix K-FAC can write as a product, at least one.

    Raises:
        UsageError: there is none.
    """
    layers = layers_of(network, parameters)
    if not layers:
        raise UsageError(
            "optimizer kfac needs a model with a dense layer (Linear) or a convolution (Conv2d, groups 1) whose "
            "weights are its own, and this one has none: take another optimizer, such as adam"
        )
    return layers


@final
class Kfac(Optimizer):
    """K-FAC for the layers that `layers_of` names; all other parameters take v ← μv + g at the same rate.

    Needs SeparateParameters.
    """

    def __init__(self, parameters: Parameters, settings: KfacSettings) -> None:
        self.parameters = parameters
        self.settings = settings
        self._updates = 0
        self._velocity = [torch.zeros_like(value, requires_grad=False) for value in parameters.values]
        self._blocks: dict[str, _Block] = {}  # by the name of the weight

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`, except that it takes no `finite`.

        Raises:
            UsageError: `finite` is given, `evaluate` is no Objective, the model has no layer with factors, or the
                loss is none whose targets can be drawn.
        """
        if finite is not None:
            raise UsageError("optimizer kfac measures curvature and cannot use fp16: take bf16 or fp32")
        objective = objective_of(evaluate, "kfac")
        objective()
        if self._updates % self.settings.update_every == 0:
            self._measure(objective)
        with torch.no_grad():
            self._invert(self._updates % self.settings.invert_every == 0)
            self._update(float(lr))
        self._updates += 1

    def _measure(self, objective: Objective) -> None:
        smooth = objective.smooth()
        layers = layers_in(smooth.network, self.parameters)
        found = measured(smooth, self.parameters, layers, objective.generator())
        for layer in layers:
            pair = found.get(layer.weight)
            if pair is not None and all(bool(one.sum().isfinite()) for one in pair):
                self._average(layer, *pair)

    def _average(self, layer: Layer, inputs: Tensor, outputs: Tensor) -> None:
        block = self._blocks.get(layer.weight)
        if block is None:
            self._blocks[layer.weight] = _Block(layer.bias, 1, inputs, outputs)
            return
        block.measured += 1
        weight = max(1 - self.settings.average, 1 / block.measured)
        block.inputs.lerp_(inputs, weight)
        block.outputs.lerp_(outputs, weight)

    def _invert(self, is_due: bool) -> None:
        for block in self._blocks.values():
            if is_due or block.inverses is None:
                block.inverses = damped_inverses(block.inputs, block.outputs, self.settings.damping)

    def _update(self, lr: float) -> None:
        parameters, gradients = self.parameters, dict(self.parameters.named(self.parameters.gradients))
        rates = [lr * rate for rate in parameters.rates]
        natural: dict[str, Tensor] = {}
        for name, block in self._blocks.items():
            natural |= block.natural(name, gradients)
        scale = self._scale(natural, gradients, dict(zip(parameters.names, rates, strict=True)))
        places = zip(parameters.names, parameters.values, self._velocity, rates, parameters.weight_decays, strict=True)
        for name, value, velocity, rate, own in places:
            weight_decay = self.settings.weight_decay if own is None else own
            if weight_decay:
                value.mul_(1 - rate * weight_decay)
            velocity.mul_(self.settings.momentum)
            if name in natural:
                velocity.add_(natural[name], alpha=scale)
            else:
                velocity.add_(gradients[name])
            value.add_(velocity, alpha=-rate)

    def _scale(
        self, natural: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rates: Mapping[str, float]
    ) -> float:
        """ν, of the natural gradients by name."""
        limit = self.settings.kl_clip
        if limit is None or not natural:
            return 1.0
        parts = [(part * gradients[name]).sum() * rates[name] ** 2 for name, part in natural.items()]
        change = float(torch.stack(parts).sum())
        return math.sqrt(limit / change) if change > limit else 1.0

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`."""
        blocks = {
            name: {
                "bias": block.bias or "",
                "measured": block.measured,
                "inputs": block.inputs,
                "outputs": block.outputs,
                "inverses": list(block.inverses or ()),
            }
            for name, block in self._blocks.items()
        }
        return {"updates": self._updates, "velocity": list(self._velocity), "blocks": blocks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        saved, blocks = state.get("velocity", []), state.get("blocks", {})
        values = dict(self.parameters.named())
        if [one.shape for one in saved] != [one.shape for one in self._velocity] or not all(
            _suits(name, block, values) for name, block in blocks.items()
        ):
            raise CheckpointError("the optimizer's state is not one of kfac on this model")
        for velocity, one in zip(self._velocity, saved, strict=True):
            velocity.copy_(one)
        self._updates = state["updates"]
        self._blocks = {name: self._loaded(block) for name, block in blocks.items()}

    def _loaded(self, saved: Mapping[str, Any]) -> _Block:
        device = self._velocity[0].device
        inputs, outputs, *inverses = (
            one.to(device, copy=True) for one in (saved["inputs"], saved["outputs"], *saved["inverses"])
        )
        pair = (inverses[0], inverses[1]) if inverses else None
        return _Block(saved["bias"] or None, saved["measured"], inputs, outputs, pair)


def _suits(name: str, saved: Mapping[str, Any], values: Mapping[str, Tensor]) -> bool:
    """Whether a saved block belongs to the parameter of this name."""
    if name not in values or values[name].dim() < 2 or (saved["bias"] and saved["bias"] not in values):
        return False
    outputs, inputs = values[name].flatten(1).shape
    inputs += bool(saved["bias"])
    sizes = [tuple(one.shape) for one in (saved["inputs"], saved["outputs"], *saved["inverses"])]
    expected = [(inputs, inputs), (outputs, outputs)]
    return sizes in (expected, expected * 2)


def damped_inverses(inputs: Tensor, outputs: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """(A + π√λ I)⁻¹ and (G + √λ/π I)⁻¹; π is 1 where one of the two is 0.

    A damping that rounding drowns, so that the matrix has no Cholesky factor, is raised tenfold until it has one.
    """
    traces = float(inputs.diagonal().mean()), float(outputs.diagonal().mean())
    balance = math.sqrt(traces[0] / traces[1]) if min(traces) > 0 else 1.0
    root = math.sqrt(damping)
    return _inverse(inputs, root * balance), _inverse(outputs, root / balance)


def _inverse(matrix: Tensor, damping: float) -> Tensor:
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    factor, failed = torch.linalg.cholesky_ex(matrix + damping * identity)
    while bool(failed):
        damping *= 10
        factor, failed = torch.linalg.cholesky_ex(matrix + damping * identity)
    return torch.cholesky_inverse(factor)
