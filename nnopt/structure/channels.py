"""Channels and neurons taken out of a network for good, with all that belongs to them.

What belongs together is found by torch-pruning's graph of dependencies (Fang et al. 2023, arXiv:2301.12900), by one
forward pass: a channel of a convolution goes with its bias, its place in the norm that follows, and its inputs in the
layers that read it; where layers are added to each other, with the same channel of each.

In what is left, nothing changes but for sums over fewer inputs, as if the channel had been 0 where it is read. Only a
layer norm then takes its mean over the channels that are left.
"""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from nnopt.structure.layers import weight_layers
from nnopt.structure.network import is_depthwise, note_sizes, replace

# What passes each channel on as it is: names of torch's backward functions, without number.
PASSES = (
    *("Relu", "LeakyRelu", "Gelu", "Silu", "Sigmoid", "Tanh", "Add", "Mul", "Clone", "T", "Hardtanh", "Squeeze"),
    *("MaxPool2DWithIndices", "AvgPool2D", "AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "Mean", "NativeDropout"),
)
IS_OUTPUT = "the outputs of the model"


@dataclass(frozen=True)
class Slice:
    """What channels are in one layer: `positions[i]` along an axis of its tensors belongs to channel `channels[i]`."""

    layer: str
    axis: int  # 0: outputs, also of norms; 1: inputs
    positions: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can be taken out, each with all its slices; named after the first layer that makes them."""

    name: str
    makers: tuple[str, ...]  # linear and convolution layers whose outputs they are
    count: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class Channels:
    """The channels of a network: what can be taken out, and why other layers' outputs cannot."""

    groups: tuple[ChannelGroup, ...]
    kept: dict[str, str]  # layer -> why its outputs stay

    @property
    def outputs(self) -> set[str]:
        """The layers whose outputs are those of the model."""
        return {name for name, reason in self.kept.items() if reason == IS_OUTPUT}


def find_channels(model: nn.Module, sample: Tensor) -> Channels:
    """All channels of `model` on inputs like `sample` [n, *input_shape], on its device; the model is only read."""
    model = copy.deepcopy(model)
    graph, entrance = _graph(model, sample)
    names = {layer: name for name, layer in model.named_modules()}
    groups: list[ChannelGroup] = []
    kept: dict[str, str] = {}
    seen: set[str] = set()
    for name, layer in weight_layers(model).items():
        if name in seen:
            continue
        if layer not in graph.module2node:
            kept[name] = "not used"
            continue
        items = _items(graph, layer)
        makers = tuple(dict.fromkeys(names[item.layer] for item in items if item.makes and item.layer in names))
        seen.update(makers)
        reason = _reason_to_stay(items, entrance)
        if reason is None:
            slices = tuple(item.slice_of(names) for item in items if item.layer in names)
            groups.append(ChannelGroup(name, makers, _outputs(layer), slices))
        else:
            kept.update(dict.fromkeys(makers, reason))
    return Channels(tuple(groups), kept)


def scores(model: nn.Module, group: ChannelGroup, values: Mapping[str, Tensor]) -> Tensor:
    """Per channel of `group`, [count] in double precision: the sum of `values` over all weights that go with it.

    Args:
        model: the network.
        group: channels of it.
        values: a number for each weight, by the parameter's name in `model` and in its shape.
    """
    total = torch.zeros(group.count, dtype=torch.float64)
    for part in group.slices:
        layer = model.get_submodule(part.layer)
        for name, parameter in layer.named_parameters(recurse=False):
            if part.axis < parameter.dim():
                found = values[f"{part.layer}.{name}" if part.layer else name].detach().cpu().double()
                sums = found.transpose(0, part.axis).flatten(1).sum(1) if found.dim() > 1 else found
                total.index_add_(0, torch.tensor(part.channels), sums[list(part.positions)])
    return total


def take_out(model: nn.Module, taken: Sequence[tuple[ChannelGroup, Sequence[int]]]) -> None:
    """Removes channels from `model`, in place: its layers get new tensors without them.

    Each group must keep a channel.
    """
    gone: dict[tuple[str, int], set[int]] = defaultdict(set)
    for group, channels in taken:
        chosen = set(channels)
        assert len(chosen) < group.count, f"{group.name} would have no channel left"
        for part in group.slices:
            gone[part.layer, part.axis].update(
                position for position, channel in zip(part.positions, part.channels, strict=True) if channel in chosen
            )
    for (name, axis), positions in gone.items():
        if positions:
            _cut_axis(model.get_submodule(name), axis, positions)


def least(scored: Mapping[str, Tensor], count: int) -> dict[str, list[int]]:
    """The `count` channels with the smallest scores over all groups, by group; ties go to the first.

    Of each group at least one stays, whatever its score: where that forbids it there are fewer than `count`.
    """
    order: list[tuple[float, int, str, int]] = []
    for place, (name, values) in enumerate(scored.items()):
        ranked = values.tolist()
        best = max(range(len(ranked)), key=lambda channel: (ranked[channel], channel))
        order += [(score, place, name, channel) for channel, score in enumerate(ranked) if channel != best]
    chosen: dict[str, list[int]] = {name: [] for name in scored}
    for _, _, name, channel in sorted(order)[:count]:
        chosen[name].append(channel)
    return chosen


@dataclass(frozen=True)
class _Item:
    """One member of a group as the graph of dependencies has it."""

    node: Any
    layer: Any  # a module, or what the graph puts in the place of an operation
    makes: bool  # it is cut at its outputs, and has weights
    axis: int
    positions: tuple[int, ...]
    channels: tuple[int | None, ...]

    def slice_of(self, names: Mapping[Any, str]) -> Slice:
        channels = tuple(channel for channel in self.channels if channel is not None)
        return Slice(names[self.layer], self.axis, self.positions, channels)


def _graph(model: nn.Module, sample: Tensor) -> tuple[Any, nn.Module]:
    """The graph of dependencies of `model`, behind a layer that stands for the inputs and is given too."""
    norm = nn.BatchNorm1d if sample.dim() < 4 else nn.BatchNorm2d if sample.dim() == 4 else nn.BatchNorm3d
    entrance = norm(sample.shape[1], device=sample.device)
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        import torch_pruning

        graph = torch_pruning.DependencyGraph().build_dependency(
            nn.Sequential(entrance, model),
            example_inputs=sample,
            forward_fn=lambda network, inputs: network(inputs),
            verbose=False,
        )
    return graph, entrance


def _items(graph: Any, layer: nn.Module) -> list[_Item]:
    """The group of all outputs of `layer`."""
    removal = graph.get_pruner_of_module(layer).prune_out_channels
    found = []
    for item in graph.get_pruning_group(layer, removal, list(range(_outputs(layer)))):
        target = item.dep.target.module
        is_input = graph.is_in_channel_pruning_fn(item.dep.handler)
        is_output = graph.is_out_channel_pruning_fn(item.dep.handler)
        found.append(
            _Item(
                node=item.dep.target,
                layer=target,
                makes=is_output and isinstance(target, nn.Linear | _ConvNd),
                axis=1 if is_input and not is_output else 0,
                positions=tuple(int(index) for index in item.idxs),
                channels=tuple(item.root_idxs),
            )
        )
    return found


def _reason_to_stay(items: Sequence[_Item], entrance: nn.Module) -> str | None:
    """Why the channels of a group cannot be taken out; None where they can."""
    tests: list[tuple[str, Callable[[_Item], bool]]] = [
        (IS_OUTPUT, lambda item: item.axis == 0 and not item.node.outputs),
        ("tied to the inputs", lambda item: item.layer is entrance),
        ("tied by a convolution of several groups", _is_grouped),
        ("tied by something that mixes or pads channels", lambda item: not _is_followed(item)),
    ]
    for reason, is_so in tests:
        if any(is_so(item) for item in items):
            return reason
    return None


def _is_grouped(item: _Item) -> bool:
    layer = item.layer
    return isinstance(layer, _ConvNd) and layer.groups > 1 and not is_depthwise(layer)


def _is_followed(item: _Item) -> bool:
    """Whether it is known what a channel is at this place, and where."""
    layer, kind = item.layer, type(item.layer).__name__
    if any(channel is None for channel in item.channels):
        return False
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups == 1
    if isinstance(layer, nn.LayerNorm):
        return len(layer.normalized_shape) == 1
    if isinstance(layer, nn.Linear | _ConvNd | _BatchNorm):
        size = layer.weight.shape[item.axis] if not isinstance(layer, _BatchNorm) else layer.num_features
        return max(item.positions) < size
    if kind in ("_ConcatOp", "_ReshapeOp"):
        return True
    return kind == "_ElementWiseOp" and layer._grad_fn.rstrip("0123456789").removesuffix("Backward") in PASSES


def _outputs(layer: nn.Module) -> int:
    assert isinstance(layer.weight, Tensor)
    return layer.weight.shape[0]


def _cut_axis(layer: nn.Module, axis: int, positions: set[int]) -> None:
    """Removes positions along an axis of all tensors of `layer` that have it: outputs of all, inputs of weights."""
    tensors = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    for name, tensor in tensors:
        if axis < tensor.dim():
            keep = [position for position in range(tensor.shape[axis]) if position not in positions]
            index = torch.tensor(keep, device=tensor.device)
            replace(layer, name, tensor.detach().index_select(axis, index))
    note_sizes(layer)
