"""The two factors of a layer's Fisher matrix: second moments of what it is given and of the gradient at its outputs.

    F ≈ A ⊗ G,  A = mean of aaᵀ,  G = N·Σ ggᵀ

over the places at which a layer works: the samples, and of each sample the places of an image or of a text, or the
several calls of a layer that is used more than once. a is what the layer is given at a place (the patch of a
convolution), with a 1 behind it for the bias; g is the gradient, at the layer's output there, of a loss that is the
mean over N independent parts. Martens & Grosse 2015, arXiv:1503.05671; of convolutions Grosse & Martens 2016,
arXiv:1602.01407, section 3, with the mean over places taken into A rather than into G; of other layers that work at
several places the "expand" of Eschenhagen et al. 2023, arXiv:2311.00636.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from nnopt.optim.objective import Smooth
from nnopt.optim.parameters import Parameters

__all__ = ["Layer", "layers_of", "measured"]

# The most numbers that the patches of a convolution take up at once.
AT_ONCE = 2**24


@dataclass(frozen=True)
class Layer:
    """A layer with factors: where its weight and its trained bias are among the parameters."""

    module: nn.Linear | nn.Conv2d
    weight: str
    bias: str | None

    def rows(self, given: Tensor) -> Iterator[Tensor]:
        """What the layer is given at each place, [places, inputs (+ 1)], in parts of bounded size."""
        if isinstance(self.module, nn.Linear):
            yield self._with_bias(given.reshape(-1, given.shape[-1]))
            return
        height, width = self.module.kernel_size
        per_sample = max(1, given[0].numel() * height * width)
        for part in torch.split(given, max(1, AT_ONCE // per_sample)):
            yield self._with_bias(_patches(self.module, part))

    def output_rows(self, gradient: Tensor) -> Tensor:
        """A gradient at the layer's outputs as [places, outputs]."""
        if isinstance(self.module, nn.Linear):
            return gradient.reshape(-1, gradient.shape[-1])
        return gradient.movedim(1, -1).reshape(-1, gradient.shape[1])

    def _with_bias(self, rows: Tensor) -> Tensor:
        return rows if self.bias is None else F.pad(rows, (0, 1), value=1.0)


def layers_of(network: nn.Module, parameters: Parameters) -> list[Layer]:
    """The dense layers and convolutions of `network` whose trained weight belongs to no other layer.

    Left out are convolutions with groups, weights that something computes, and empty ones.
    """
    trained = set(parameters.names)
    owners: dict[int, int] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    found = []
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d) or (isinstance(module, nn.Conv2d) and module.groups > 1):
            continue
        own = {
            key: parameter for key, parameter in module.named_parameters(recurse=False) if owners[id(parameter)] == 1
        }
        prefix = f"{name}." if name else ""
        if "weight" in own and own["weight"].numel() and f"{prefix}weight" in trained:
            has_bias = "bias" in own and f"{prefix}bias" in trained
            found.append(Layer(module, f"{prefix}weight", f"{prefix}bias" if has_bias else None))
    return found


def measured(
    smooth: Smooth, parameters: Parameters, layers: list[Layer], draw: torch.Generator
) -> dict[str, tuple[Tensor, Tensor]]:
    """A and G of the present batch by the name of the weight, against targets drawn by `draw`; one pass is counted.

    Layers that the pass does not go through, or from which nothing leads to the loss, are left out, and all of them
    where the outputs are not finite.
    """
    values = [value.detach().requires_grad_() for value in parameters.values]
    notes = {layer.weight: _Notes() for layer in layers}
    with torch.enable_grad(), _watching(layers, notes):
        outputs = smooth.outputs(values)
        smooth.count(1)
        if not bool(outputs.isfinite().all()):  # nothing can be drawn from them
            return {}
        loss = smooth.drawn_loss(outputs, draw)
    parts = outputs.numel() // max(1, outputs.shape[-1])
    edges = [edge for note in notes.values() for edge in note.edges]
    gradients = iter(torch.autograd.grad(loss, edges, allow_unused=True) if edges else ())
    found = {}
    with torch.no_grad():
        for layer in layers:
            note = notes[layer.weight]
            mine = [next(gradients) for _ in note.edges]
            rows = [layer.output_rows(gradient) for gradient in mine if gradient is not None]
            if rows and note.total is not None:
                outer = torch.stack([row.T @ row for row in rows]).sum(dim=0)
                found[layer.weight] = (note.total / max(1, note.places), outer * parts)
    return found


@dataclass
class _Notes:
    """What is noted of one layer in a pass: Σ aaᵀ, over how many places, and where the gradients will come by."""

    total: Tensor | None = None
    places: int = 0
    edges: list[GradientEdge] = field(default_factory=list)


@contextmanager
def _watching(layers: list[Layer], notes: dict[str, _Notes]) -> Iterator[None]:
    def hook(layer: Layer, given: Tensor, answer: Tensor) -> None:
        note = notes[layer.weight]
        # The edge rather than the tensor, which an activation may overwrite.
        note.edges.append(get_gradient_edge(answer))
        with torch.no_grad():
            for rows in layer.rows(given.detach()):
                product = rows.T @ rows
                note.total = product if note.total is None else note.total + product
                note.places += len(rows)

    def hook_of(layer: Layer) -> Callable[[nn.Module, tuple[Tensor, ...], dict[str, Tensor], Tensor], None]:
        return lambda module, given, named, answer: hook(layer, (*given, *named.values())[0], answer)

    handles = [layer.module.register_forward_hook(hook_of(layer), with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _patches(module: nn.Conv2d, images: Tensor) -> Tensor:
    """What the kernel is laid over at each place, [samples · places, channels · height · width]."""
    (height, width), (down, across) = module.kernel_size, module.dilation
    if isinstance(module.padding, str):
        extra = (down * (height - 1), across * (width - 1)) if module.padding == "same" else (0, 0)
        above, left = extra[0] // 2, extra[1] // 2
        sides = (left, extra[1] - left, above, extra[0] - above)
    else:
        sides = (module.padding[1], module.padding[1], module.padding[0], module.padding[0])
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(images, sides, mode=mode) if any(sides) else images
    columns = F.unfold(padded, module.kernel_size, module.dilation, 0, module.stride)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])
