"""A network as hls4ml's PyTorch front end reads it right: one level, plain layers with names of their own.

What it would misread is left out or put differently, where the function stays the same:

| in the network | for hls4ml |
|---|---|
| a Flatten of the inputs | inputs that are flat: hls4ml 1.3 mixes up the order of such images' pixels |
| dropout, identity | nothing |
| a mean over all pixels (AdaptiveAvgPool2d(1)) | an AvgPool2d as large as the image |
| an int8 layer whose inputs are not rounded | the plain layer with the rounded weights |
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from nnopt.errors import UsageError
from nnopt.structure.quantise.layers import PLAIN, QUANTISED
from nnopt.structure.quantise.layers import within_rows as axes_within

ELSEWHERE = "take other layers, or export to onnx, torch or executorch"
PASSED_BY = (nn.Dropout, nn.Dropout2d, nn.Identity)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.PReLU, nn.Sigmoid, nn.Tanh, nn.Softmax)
AS_THEY_ARE = (nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.Flatten, *ACTIVATIONS)
SUMS = (operator.add, operator.iadd, torch.add)
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)


class _Tracer(fx.Tracer):
    """Looks into everything but torch's own layers and the int8 ones that derive from them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in PLAIN or (m.__module__.startswith("torch.nn") and not isinstance(m, nn.Sequential))


def readable(network: nn.Module, example: Tensor) -> tuple[fx.GraphModule, bool]:
    """`network`, which is not touched, for hls4ml, and whether its inputs are to be flattened first.

    Args:
        network: in evaluation mode, on the CPU.
        example: inputs [n, *input_shape].

    Raises:
        UsageError: a layer that hls4ml does not have, by its name.
    """
    traced = _traced(network)
    ShapeProp(traced).propagate(example)
    made, flat = _Rewriting(traced), False
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            made.take_input(node)
        elif node.op == "output":
            made.graph.output(made.at(node.args[0]))
        elif node.op == "call_module":
            layer = traced.get_submodule(node.target)
            if isinstance(layer, PASSED_BY):
                made.pass_by(node)
            elif isinstance(layer, nn.Flatten) and made.is_input(node.args[0]):
                made.pass_by(node)
                flat = True
            else:
                made.add_layer(node, _layer_for(layer, node))
        else:
            made.add_function(node)
    if flat and not all(_is_flatten(traced, user) for user in next(iter(traced.graph.nodes)).users):
        raise UsageError("--to fpga: the inputs go into a Flatten and elsewhere, which cannot be put for hls4ml")
    return made.result(), flat


def _traced(network: nn.Module) -> fx.GraphModule:
    try:
        return fx.GraphModule(network, _Tracer().trace(network))
    except Exception as error:  # whatever a forward() does with what stands for a tensor
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"--to fpga: what the model does depends on its inputs, which no circuit can ({first}): {ELSEWHERE}"
        ) from error


def _is_flatten(traced: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(traced.get_submodule(str(node.target)), nn.Flatten)


class _Rewriting:
    """The new graph while it grows."""

    def __init__(self, old: fx.GraphModule) -> None:
        self.old = old
        self.graph = fx.Graph()
        self.layers = nn.Module()
        self._now: dict[fx.Node, fx.Node] = {}
        self._counts: dict[str, int] = {}

    def at(self, node: Any) -> fx.Node:
        """What stands in the new graph for a node of the old one."""
        if not isinstance(node, fx.Node):
            raise UsageError(f"--to fpga: the network gives {type(node).__name__} and not one tensor: {ELSEWHERE}")
        return self._now[node]

    def is_input(self, node: Any) -> bool:
        """Whether a node of the old graph gives what the network is given."""
        return self.at(node).op == "placeholder"

    def take_input(self, node: fx.Node) -> None:
        """The inputs, under a name that C++ does not use."""
        self._now[node] = self.graph.placeholder("inputs")

    def pass_by(self, node: fx.Node) -> None:
        """A layer that does nothing."""
        self._now[node] = self.at(node.args[0])

    def add_layer(self, node: fx.Node, layer: nn.Module) -> None:
        """A layer, under the name of its kind and a number."""
        kind = type(layer).__name__.lower()
        self._counts[kind] = self._counts.get(kind, 0) + 1
        name = f"{kind}_{self._counts[kind]}"
        self.layers.add_module(name, layer)
        self._now[node] = self.graph.call_module(name, (self.at(node.args[0]),))

    def add_function(self, node: fx.Node) -> None:
        """Sums of two tensors, two tensors side by side, and torch.flatten."""
        target: Any = node.target
        tensors = [argument for argument in node.args if isinstance(argument, fx.Node)]
        if target in SUMS and len(tensors) == 2 and len(node.args) == 2:
            self._now[node] = self.graph.call_function(torch.add, tuple(self.at(one) for one in tensors))
        elif target is torch.flatten and node.args[1:] == (1,):
            self.add_layer(node, nn.Flatten())
        elif target is torch.cat and isinstance(node.args[0], list | tuple) and _lays_vectors_side_by_side(node):
            both = [self.at(one) for one in node.args[0]]
            self._now[node] = self.graph.call_function(torch.cat, (both,), {"dim": 1})
        else:
            name = getattr(target, "__name__", str(target))
            raise UsageError(f"--to fpga: the model calls {name} (at {node.name}), which hls4ml cannot: {ELSEWHERE}")

    def result(self) -> fx.GraphModule:
        """The new network, in evaluation mode."""
        self.graph.lint()
        return fx.GraphModule(self.layers, self.graph).eval()


def _lays_vectors_side_by_side(node: fx.Node) -> bool:
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    two: Any = node.args[0]
    return bool(dim == 1) and len(two) == 2 and len(node.meta["tensor_meta"].shape) == 2


def _layer_for(layer: nn.Module, node: fx.Node) -> nn.Module:
    """The layer that stands for `layer`.

    Raises:
        UsageError: there is none.
    """
    kind = type(layer).__name__
    where = f"layer {node.target!r} is a {kind}"
    if type(layer) in QUANTISED.values():
        return _layer_for(_unrounded(layer, where), node)
    if type(layer) in (nn.Conv1d, nn.Conv2d):
        return _convolution(layer, where)
    if isinstance(layer, POOLS):
        padding, dilation = (getattr(layer, name, default) for name, default in (("padding", 0), ("dilation", 1)))
        if _any(padding, lambda size: size != 0) or _any(dilation, lambda size: size != 1) or layer.ceil_mode:
            raise UsageError(f"--to fpga: {where} that pads its images, which hls4ml does otherwise: {ELSEWHERE}")
        return copy.deepcopy(layer)
    if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
        before: Any = node.args[0]
        return nn.AvgPool2d(tuple(before.meta["tensor_meta"].shape[2:]))
    if type(layer) in AS_THEY_ARE:
        return copy.deepcopy(layer)
    raise UsageError(f"--to fpga: {where}, which hls4ml's PyTorch front end does not have: {ELSEWHERE}")


def _convolution(layer: Any, where: str) -> nn.Module:
    if layer.groups != 1:
        raise UsageError(f"--to fpga: {where} of {layer.groups} groups, and hls4ml has those of one: {ELSEWHERE}")
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str) or _any(layer.dilation, lambda size: size != 1):
        raise UsageError(f"--to fpga: {where} with a padding or dilation that hls4ml does not have: {ELSEWHERE}")
    return copy.deepcopy(layer)  # type: ignore[no-any-return]


def _unrounded(layer: Any, where: str) -> nn.Module:
    """A layer of plain numbers that computes what an int8 one does."""
    if layer.dynamic:
        raise UsageError(
            f"--to fpga: {where} that rounds its inputs by their largest value, sample by sample, which hls4ml cannot: "
            "quantise the weights alone (weight_only), or export to onnx or torch"
        )
    plain = copy.deepcopy(layer)
    axes = (-1, *(1 for _ in axes_within(plain.weight)))
    plain.weight = nn.Parameter(layer.weight.float() * layer.weight_scale.reshape(axes), requires_grad=False)
    plain.__class__ = PLAIN[type(layer)]
    del plain.weight_scale
    return plain  # type: ignore[no-any-return]


def _any(sizes: Any, holds: Callable[[Any], bool]) -> bool:
    return any(holds(size) for size in (sizes if isinstance(sizes, tuple) else (sizes,)))
