"""A network's answers as a function of its trained parameters, to be differentiated as often as wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase

from nnopt.optim.parameters import Parameters

__all__ = ["answers", "random_state"]

# States of the default generators: of the CPU, and of the accelerator where there is one.
RandomState = tuple[Tensor, Tensor | None]


def random_state(device: torch.device) -> RandomState:
    """Where the default generators are now: a pass that begins there draws what the next one would."""
    library = None if device.type == "cpu" else torch.get_device_module(device)
    return torch.get_rng_state(), None if library is None else library.get_rng_state(device)


def answers(
    network: nn.Module, parameters: Parameters, inputs: Tensor, state: RandomState
) -> Callable[[Sequence[Tensor]], Tensor]:
    """The network's outputs for `inputs`, [n, ...], at values laid out as `parameters.values`.

    Every call draws random numbers (dropout) from `state` on and leaves the default generators where they were. Layers
    that keep averages of their batches (batch norm) use the batch's own and note nothing, so that no call changes the
    network. It is computed in the type of the values, whatever autocast says, by kernels that can be differentiated
    twice.
    """
    recurrent = any(isinstance(one, nn.RNNBase) for one in network.modules())
    keeping = [one for one in network.modules() if isinstance(one, _NormBase) and one.track_running_stats]

    def outputs(values: Sequence[Tensor]) -> Tensor:
        device = inputs.device
        with (
            torch.autocast(device.type, enabled=False),
            _drawing_from(state, device),
            _noting_nothing(keeping),
            _twice_differentiable(recurrent),
        ):
            given: Tensor = functional_call(network, dict(parameters.named(values)), (inputs,))
        return given

    return outputs


@contextmanager
def _drawing_from(state: RandomState, device: torch.device) -> Iterator[None]:
    here, there = state
    library = None if there is None else torch.get_device_module(device)
    with torch.random.fork_rng([] if library is None else [device], device_type=device.type):
        torch.set_rng_state(here)
        if library is not None:
            library.set_rng_state(there, device)
        yield


@contextmanager
def _twice_differentiable(recurrent: bool) -> Iterator[None]:
    """Without the fused kernels that have no second derivative: of attention, and of recurrent layers."""
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn) if recurrent else ()
    before = [library.enabled for library in libraries]
    for library in libraries:
        library.enabled = False
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for library, enabled in zip(libraries, before, strict=True):
            library.enabled = enabled


@contextmanager
def _noting_nothing(layers: Sequence[_NormBase]) -> Iterator[None]:
    training = [layer for layer in layers if layer.training]
    for layer in training:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in training:
            layer.track_running_stats = True
