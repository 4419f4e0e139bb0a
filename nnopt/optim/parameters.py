"""The trainable parameters of a model, as the list of tensors that optimizers work on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor, nn

from nnopt.errors import UsageError

__all__ = ["FlatParameters", "Parameters", "SeparateParameters", "total_norm"]


def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The 2-norm of all entries of all tensors together, 0-dim, on their device."""
    norms: list[Tensor] = [torch.linalg.vector_norm(tensor) for tensor in tensors]
    if len(norms) == 1:
        return norms[0]
    together: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return together


class Parameters(ABC):
    """Values and gradients of the trainable parameters; a shared (tied) parameter counts once.

    Attributes:
        names: the parameters' names in the model, those in `first` before the others.
        values: what an optimizer changes in place.
        gradients: one for each of `values`, of its shape. They are filled by backward passes, which add to
            them, and live as long as this object: nothing may set a parameter's `.grad` to None.
        count: number of scalars.
        penalised: how many of these scalars are of parameters in `first`; L1 and L2 terms reach only them.
    """

    names: list[str]
    values: list[Tensor]
    gradients: list[Tensor]
    count: int
    penalised: int
    _penalised_values: list[Tensor]
    _penalised_gradients: list[Tensor]

    @abstractmethod
    def named(self, values: Sequence[Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """Every parameter's name with its tensor, a view that shares memory.

        With `values`, tensors laid out as `self.values` are (an average, a moment), their parts by name.
        """

    def zero_gradients(self) -> None:
        """Sets all gradients to 0, in place."""
        for gradient in self.gradients:
            gradient.zero_()

    def gradient_norm(self) -> Tensor:
        """The 2-norm of the whole gradient, 0-dim; nothing waits for the device."""
        return total_norm(self.gradients)

    def clip_norm(self, limit: float) -> Tensor:
        """Scales the gradient down to the 2-norm `limit` where it is longer; gives its norm before, 0-dim."""
        norm = self.gradient_norm()
        scale = (limit / norm).clamp_(max=1.0)
        for gradient in self.gradients:
            gradient.mul_(scale)
        return norm

    def clip_value(self, limit: float) -> None:
        """Moves every entry of the gradient into [-limit, limit]."""
        for gradient in self.gradients:
            gradient.clamp_(-limit, limit)

    @torch.no_grad()
    def penalty(self, l1: float, l2: float) -> Tensor:
        """λ₁‖w‖₁ + λ₂/2·‖w‖² over the penalised parameters w, 0-dim."""
        total = self.values[0].new_zeros(())
        for value in self._penalised_values:
            total += l1 * value.abs().sum() + l2 / 2 * value.square().sum()
        return total

    @torch.no_grad()
    def add_penalty_gradient(self, l1: float, l2: float) -> None:
        """Adds the gradient of `penalty`, λ₁·sign(w) + λ₂w, to the gradients of the penalised parameters."""
        for value, gradient in zip(self._penalised_values, self._penalised_gradients, strict=True):
            if l2:
                gradient.add_(value, alpha=l2)
            if l1:
                gradient.add_(value.sign(), alpha=l1)


class FlatParameters(Parameters):
    """All parameters in one flat tensor, of which the model's parameters become views; the gradient likewise.

    `values` and `gradients` have one member, of shape [count], so that a norm or an update is a handful of
    kernels whatever the number of layers. The flat tensor's `.grad` is the flat gradient: optimizers of
    torch.optim that look at entries one by one can work on it as on a parameter.

    Move the model to its device first; afterwards `load_state_dict` is safe, `to()` is not.

    Raises:
        UsageError: no trainable parameter, or not all of one dtype on one device.
    """

    def __init__(self, model: nn.Module, first: Collection[str] = ()) -> None:
        chosen = _trainable(model, first)
        kinds = {(parameter.dtype, parameter.device) for _, parameter in chosen}
        if len(kinds) > 1:
            found = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise UsageError(f"the model's parameters should be of one type on one device, not {found}")

        flat = torch.cat([parameter.detach().reshape(-1) for _, parameter in chosen])
        gradient = torch.zeros_like(flat)
        flat.grad = gradient
        self.names = [name for name, _ in chosen]
        self.values, self.gradients = [flat], [gradient]
        self.count = flat.numel()
        self._shapes = [parameter.shape for _, parameter in chosen]
        for (_, parameter), value, slope in zip(chosen, self._views(flat), self._views(gradient), strict=True):
            parameter.data = value
            parameter.grad = slope

        self.penalised = sum(parameter.numel() for name, parameter in chosen if name in first)
        self._penalised_values = [flat[: self.penalised]]
        self._penalised_gradients = [gradient[: self.penalised]]

    def _views(self, flat: Tensor) -> list[Tensor]:
        parts = flat.split_with_sizes([math.prod(shape) for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def named(self, values: Sequence[Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """As `Parameters.named`."""
        (flat,) = self.values if values is None else values
        return zip(self.names, self._views(flat), strict=True)


class SeparateParameters(Parameters):
    """The model's parameters as they are, one tensor each, for optimizers that look at shapes.

    Raises:
        UsageError: no trainable parameter.
    """

    def __init__(self, model: nn.Module, first: Collection[str] = ()) -> None:
        chosen = _trainable(model, first)
        self.names = [name for name, _ in chosen]
        self.values = [parameter for _, parameter in chosen]
        self.gradients = [torch.zeros_like(parameter) for _, parameter in chosen]
        for value, gradient in zip(self.values, self.gradients, strict=True):
            value.grad = gradient
        self.count = sum(value.numel() for value in self.values)

        leading = sum(name in first for name in self.names)
        self._penalised_values = self.values[:leading]
        self._penalised_gradients = self.gradients[:leading]
        self.penalised = sum(value.numel() for value in self._penalised_values)

    def named(self, values: Sequence[Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """As `Parameters.named`."""
        tensors = self.values if values is None else values
        return zip(self.names, (tensor.detach() for tensor in tensors), strict=True)


def _trainable(model: nn.Module, first: Collection[str]) -> list[tuple[str, nn.Parameter]]:
    """The trainable parameters in the model's order, except that those named in `first` lead."""
    found = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not found:
        raise UsageError("the model has no trainable parameter, so there is nothing to optimize")
    return sorted(found, key=lambda item: item[0] not in first)
