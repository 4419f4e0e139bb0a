"""How the gradients and activations of a network do, layer by layer, and when that is worth a word.

| word | when |
|---|---|
| gradients vanish | the first layer's gradient is less than 1/10,000 of the last's (rms over their weights) |
| gradients explode | the gradient's norm or the loss grew to more than 1,000 times that of the first update |
| units die | more than half of a layer's units stay at an end of their relu, sigmoid or tanh for all samples |

In a healthy network of any depth the gradients of two layers differ by a factor of some tens (Glorot and Bengio 2010;
He et al. 2015, arXiv:1502.01852), while every sigmoid takes a factor of 4 or more; a gradient that grows by orders
while the network learns is what Pascanu et al. 2013, arXiv:1211.5063, call exploding. Units whose incoming weights
are all 0 were removed, and have not died.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnopt.structure.layers import weight_layers

SAMPLES = 128  # that activations are measured on
VANISHED, EXPLODED, DEAD = 1e-4, 1e3, 0.5

# The outermost hundredth of the range of activations with two ends.
INNER: dict[type[nn.Module], tuple[float, float]] = {nn.Sigmoid: (0.005, 0.995), nn.Tanh: (-0.99, 0.99)}
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, *INNER)


@dataclass(frozen=True)
class LayerState:
    """One linear or convolution layer at a moment; None for what it does not have.

    Attributes:
        layer: its name in the model.
        gradient_norm: 2-norm of its weight's gradient.
        gradient_rms: the same, divided by the root of the number of weights.
        weight_norm: 2-norm of its weight.
        activation_mean: of what its activation gives; of its own outputs where none follows it.
        activation_std: of the same.
        dead_units: share of its units or channels that are 0 after a relu, or in the outermost hundredth of the
            range of a sigmoid or tanh, for all samples.
        saturated: share of single values in the outermost hundredth of the range of a sigmoid or tanh.
    """

    layer: str
    gradient_norm: float | None
    gradient_rms: float | None
    weight_norm: float | None
    activation_mean: float | None
    activation_std: float | None
    dead_units: float | None
    saturated: float | None


@torch.no_grad()
def examine(
    model: nn.Module, inputs: Tensor, context: Callable[[], AbstractContextManager[object]]
) -> list[LayerState]:
    """The layers of `model`, with the gradients that lie in it and as they answer `inputs` [n, *input_shape].

    Gradients that are all 0 have not been computed since the network last changed: they are None. The model is in
    training mode afterwards. Waits for the device once.
    """
    layers = weight_layers(model)
    answers = _answers(model, layers, inputs, context)
    rows = [[*_norms(layer), *_describe(layer, *answers.get(name, (None, None)))] for name, layer in layers.items()]
    measured = [value for row in rows for value in row if value is not None]
    numbers = iter(torch.stack(measured).tolist() if measured else [])
    table = [[_finite(None if value is None else next(numbers)) for value in row] for row in rows]
    are_new = any(row[0] for row in table)
    states = []
    for (name, layer), (gradient, weight, mean, variance, dead, saturated) in zip(layers.items(), table, strict=True):
        norm = gradient if are_new else None
        rms = None if norm is None else norm / math.sqrt(_weight(layer).numel())
        std = None if variance is None else math.sqrt(variance)
        states.append(LayerState(name, norm, rms, weight, mean, std, dead, saturated))
    return states


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def vanishing(states: Sequence[LayerState]) -> str | None:
    """What to say where the gradient does not come down to the first layer; one without weights is no layer."""
    there = [state for state in states if state.weight_norm]
    known = [(state.layer, state.gradient_rms) for state in there if state.gradient_rms is not None]
    if len(known) < 2:
        return None
    (first, at_first), (last, at_last) = known[0], known[-1]
    if at_first >= VANISHED * at_last:
        return None
    return (
        f"gradients vanish: rms {at_first:.1e} at layer {first}, {at_last:.1e} at layer {last}; "
        "relu, a norm, another init or residual connections carry them further"
    )


def dying(model: nn.Module, states: Sequence[LayerState]) -> str | None:
    """What to say where most units of a layer answer nothing; of the layer that is hit worst."""
    worst = max(states, key=lambda state: state.dead_units or 0.0, default=None)
    if worst is None or not worst.dead_units or worst.dead_units <= DEAD:
        return None
    weight = _weight(weight_layers(model)[worst.layer])
    removed = float((weight.detach().flatten(1) == 0).all(dim=1).float().mean())
    if removed == 1 or (worst.dead_units - removed) / (1 - removed) <= DEAD:
        return None
    return (
        f"units die: {100 * worst.dead_units:.0f} % of those of layer {worst.layer} give the same for every sample; "
        "a smaller learning rate, a norm or another activation keeps them alive"
    )


def exploding(what: str, first: float, largest: float) -> str | None:
    """What to say where a number ("the gradient's norm") grew by orders since the first update."""
    if not 0 < EXPLODED * first < largest:
        return None
    return (
        f"gradients explode: {what} grew from {first:.2g} to {largest:.2g}; "
        "a smaller learning rate, warmup or clip_norm holds them"
    )


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _norms(layer: nn.Module) -> tuple[Tensor | None, Tensor]:
    """2-norms of the weight's gradient, where it has one, and of the weight, 0-dim."""
    weight = _weight(layer)
    gradient = weight.grad if isinstance(weight, nn.Parameter) else None
    return None if gradient is None else torch.linalg.vector_norm(gradient), torch.linalg.vector_norm(weight)


def _answers(
    model: nn.Module,
    layers: dict[str, nn.Module],
    inputs: Tensor,
    context: Callable[[], AbstractContextManager[object]],
) -> dict[str, tuple[nn.Module, Tensor]]:
    """What each layer called gives to the next: the outputs of the activation after it, or its own, with the module."""
    names = {layer: name for name, layer in layers.items()}
    found: dict[str, tuple[nn.Module, Tensor]] = {}
    latest = ""

    def see(module: nn.Module, _inputs: object, outputs: object) -> None:
        nonlocal latest
        latest = names.get(module, latest)
        if latest in layers and isinstance(outputs, Tensor):
            found[latest] = module, outputs

    seen = [module for module in model.modules() if module in names or isinstance(module, ACTIVATIONS)]
    hooks = [module.register_forward_hook(see) for module in seen]
    model.eval()
    try:
        with context():
            model(inputs)
    finally:
        model.train()
        for hook in hooks:
            hook.remove()
    return found


def _describe(layer: nn.Module, module: nn.Module | None, outputs: Tensor | None) -> list[Tensor | None]:
    """Mean, variance, dead units and saturated values of outputs [n, ...] of `module`, which come of `layer`.

    Units are the last axis of a linear layer's outputs, and the second, channels, of a convolution's.
    """
    if module is None or outputs is None:
        return [None] * 4
    outputs = outputs.float()
    variance, mean = torch.var_mean(outputs, correction=0)
    unit = outputs.dim() - 1 if isinstance(layer, nn.Linear) else 1
    others = [axis for axis in range(outputs.dim()) if axis != unit]
    dead = saturated = None
    if isinstance(module, nn.ReLU):
        dead = (outputs.amax(others) <= 0).float().mean()
    elif type(module) in INNER:
        low, high = INNER[type(module)]
        flat = ((outputs < low) | (outputs > high)).float()
        dead, saturated = flat.amin(others).mean(), flat.mean()
    return [mean, variance, dead, saturated]
