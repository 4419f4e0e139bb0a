"""The trainable parameters of a model, as the list of tensors that optimizers work on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nnopt.errors import UsageError

__all__ = ["FlatParameters", "Group", "Parameters", "SeparateParameters", "total_norm"]


@dataclass(frozen=True)
class Group:
    """Parameters that an optimizer treats in a way of their own.

    Attributes:
        names: theirs in the model.
        rate: what the learning rate is multiplied by.
        weight_decay: None: the optimizer's own.
    """

    names: frozenset[str] = frozenset()
    rate: float = 1.0
    weight_decay: float | None = None


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
        names: the parameters' names in the model, those in `first` before the others; with groups, those in no group
            so, then those of each group so.
        values: what an optimizer changes in place.
        gradients: one for each of `values`, of its shape. They are filled by backward passes, which add to
            them, and live as long as this object: nothing may set a parameter's `.grad` to None.
        count: number of scalars.
        penalised: how many of these scalars are of parameters in `first`; L1 and L2 terms reach only them.
        rates: for each of `values` what the learning rate is multiplied by.
        weight_decays: for each of `values` its weight decay, None: the optimizer's own.
        apart: names of those that `OptimizerSpec.apart` names.
    """

    names: list[str]
    values: list[Tensor]
    gradients: list[Tensor]
    count: int
    penalised: int
    rates: list[float]
    weight_decays: list[float | None]
    apart: frozenset[str]
    _penalised_values: list[Tensor]
    _penalised_gradients: list[Tensor]

    @abstractmethod
    def named(self, values: Sequence[Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """Every parameter's name with its tensor, a view that shares memory.

        With `values`, tensors laid out as `self.values` are (an average, a moment), their parts by name.
        """

    @abstractmethod
    def lie_in(self, memory: Sequence[Tensor], model: nn.Module) -> None:
        """The values, and with them the parameters of `model`, are what `memory` holds from now on.

        It has a tensor for each of `values`, of its shape, which others may change as well. All tensors stay the same
        objects, so that an optimizer that was built before works on that memory.
        """

    @property
    def is_even(self) -> bool:
        """Whether all parameters have the optimizer's own rate and weight decay."""
        return all(rate == 1.0 for rate in self.rates) and all(one is None for one in self.weight_decays)

    def for_torch(self, wanted: Callable[[Tensor], bool] = lambda value: True) -> list[Any]:
        """The values that are `wanted`, as an optimizer of torch.optim takes them: in param_groups where they differ.

        Such a group says in "rate" what the learning rate is multiplied by; TorchOptimizer heeds that.
        """
        if self.is_even:
            return [value for value in self.values if wanted(value)]
        groups: dict[tuple[float, float | None], list[Tensor]] = {}
        for value, rate, decay in zip(self.values, self.rates, self.weight_decays, strict=True):
            if wanted(value):
                groups.setdefault((rate, decay), []).append(value)
        return [
            {"params": values, "rate": rate} | ({} if decay is None else {"weight_decay": decay})
            for (rate, decay), values in groups.items()
        ]

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

    def penalty(self, l1: float, l2: float, values: Sequence[Tensor] | None = None) -> Tensor:
        """λ₁‖w‖₁ + λ₂/2·‖w‖² over the penalised parameters w, 0-dim.

        With `values`, tensors laid out as `self.values` are, it is taken at them and can be differentiated.
        """
        parts = [value.detach() for value in self._penalised_values] if values is None else self.penalised_of(values)
        total = self.values[0].new_zeros(())
        for value in parts:
            total = total + l1 * value.abs().sum() + l2 / 2 * value.square().sum()
        return total

    @abstractmethod
    def penalised_of(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The penalised parameters, of tensors laid out as `self.values` are."""

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
    kernels whatever the number of layers; with groups one for each of them, and one for the rest. The flat tensor's
    `.grad` is the flat gradient: optimizers of torch.optim that look at entries one by one can work on it as on a
    parameter.

    Move the model to its device first; afterwards `load_state_dict` is safe, `to()` is not.

    Raises:
        UsageError: no trainable parameter, or not all of one dtype on one device.
    """

    def __init__(
        self, model: nn.Module, first: Collection[str] = (), groups: Sequence[Group] = (), apart: Collection[str] = ()
    ) -> None:
        found = _trainable(model, first, groups)
        self.apart = frozenset(apart)
        chosen = [item for _, items in found for item in items]
        kinds = {(parameter.dtype, parameter.device) for _, parameter in chosen}
        if len(kinds) > 1:
            words = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise UsageError(f"the model's parameters should be of one type on one device, not {words}")

        self.names = [name for name, _ in chosen]
        self.values, self.gradients = [], []
        self._forms: list[list[_Form]] = []
        self._penalised_values, self._penalised_gradients = [], []
        for _, items in found:
            self._lay(items, first)
        self.rates = [group.rate for group, _ in found]
        self.weight_decays = [group.weight_decay for group, _ in found]
        self.count = sum(value.numel() for value in self.values)
        self.penalised = sum(value.numel() for value in self._penalised_values)

    def _lay(self, items: Sequence[tuple[str, nn.Parameter]], first: Collection[str]) -> None:
        """Adds one flat tensor, of which these parameters become views."""
        forms = [_Form.of(parameter) for _, parameter in items]
        flat = torch.cat([form.row(parameter.detach()) for form, (_, parameter) in zip(forms, items, strict=True)])
        gradient = torch.zeros_like(flat)
        flat.grad = gradient
        for (_, parameter), value, slope in zip(items, _views(flat, forms), _views(gradient, forms), strict=True):
            parameter.data = value
            parameter.grad = slope
        penalised = sum(parameter.numel() for name, parameter in items if name in first)
        self.values.append(flat)
        self.gradients.append(gradient)
        self._forms.append(forms)
        self._penalised_values.append(flat[:penalised])
        self._penalised_gradients.append(gradient[:penalised])

    def penalised_of(self, values: Sequence[Tensor]) -> list[Tensor]:
        """As `Parameters.penalised_of`."""
        return [value[: len(part)] for value, part in zip(values, self._penalised_values, strict=True)]

    def named(self, values: Sequence[Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """As `Parameters.named`."""
        tensors = self.values if values is None else values
        parts = (part for flat, forms in zip(tensors, self._forms, strict=True) for part in _views(flat, forms))
        return zip(self.names, parts, strict=True)

    def lie_in(self, memory: Sequence[Tensor], model: nn.Module) -> None:
        """As `Parameters.lie_in`."""
        for value, place in zip(self.values, memory, strict=True):
            value.data = place
        for name, part in self.named():
            model.get_parameter(name).data = part
        old = self._penalised_values
        self._penalised_values = [value[: len(part)] for value, part in zip(self.values, old, strict=True)]


class SeparateParameters(Parameters):
    """The model's parameters as they are, one tensor each, for optimizers that look at shapes.

    Raises:
        UsageError: no trainable parameter.
    """

    def __init__(
        self, model: nn.Module, first: Collection[str] = (), groups: Sequence[Group] = (), apart: Collection[str] = ()
    ) -> None:
        found = _trainable(model, first, groups)
        self.apart = frozenset(apart)
        self.names = [name for _, items in found for name, _ in items]
        self.values = [parameter for _, items in found for _, parameter in items]
        self.rates = [group.rate for group, items in found for _ in items]
        self.weight_decays = [group.weight_decay for group, items in found for _ in items]
        self.gradients = [torch.zeros_like(parameter) for parameter in self.values]
        for value, gradient in zip(self.values, self.gradients, strict=True):
            value.grad = gradient
        self.count = sum(value.numel() for value in self.values)

        self._penalised = [place for place, name in enumerate(self.names) if name in first]
        self._penalised_values = self.penalised_of(self.values)
        self._penalised_gradients = self.penalised_of(self.gradients)
        self.penalised = sum(value.numel() for value in self._penalised_values)

    def penalised_of(self, values: Sequence[Tensor]) -> list[Tensor]:
        """As `Parameters.penalised_of`."""
        return [values[place] for place in self._penalised]

    def named(self, values: Sequence[Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """As `Parameters.named`."""
        return zip(self.names, [value.detach() for value in self.values] if values is None else values, strict=True)

    def lie_in(self, memory: Sequence[Tensor], model: nn.Module) -> None:
        """As `Parameters.lie_in`."""
        for value, place in zip(self.values, memory, strict=True):
            value.data = place


@dataclass(frozen=True)
class _Form:
    """How a parameter lies in a flat tensor: by its shape, or a convolution's with the channels last."""

    shape: torch.Size
    is_channels_last: bool

    @classmethod
    def of(cls, parameter: Tensor) -> _Form:
        last = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
        return cls(parameter.shape, last and not parameter.is_contiguous())

    def row(self, values: Tensor) -> Tensor:
        """[numbers], in the order in which they lie in memory."""
        return (values.permute(0, 2, 3, 1) if self.is_channels_last else values).reshape(-1)

    def view(self, row: Tensor) -> Tensor:
        """The parameter that such a row is."""
        if not self.is_channels_last:
            return row.view(self.shape)
        outputs, inputs, height, width = self.shape
        return row.view(outputs, height, width, inputs).permute(0, 3, 1, 2)


def _views(flat: Tensor, forms: Sequence[_Form]) -> list[Tensor]:
    parts = flat.split_with_sizes([math.prod(form.shape) for form in forms])
    return [form.view(part) for part, form in zip(parts, forms, strict=True)]


def _trainable(
    model: nn.Module, first: Collection[str], groups: Sequence[Group]
) -> list[tuple[Group, list[tuple[str, nn.Parameter]]]]:
    """The trainable parameters, those in no group before those of each; within a group those in `first` lead.

    A parameter that several groups name belongs to the first of them; a group without any is left out.
    """
    found = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not found:
        raise UsageError("the model has no trainable parameter, so there is nothing to optimize")
    found.sort(key=lambda item: item[0] not in first)
    rest = Group()
    owners = {name: next((group for group in groups if name in group.names), rest) for name, _ in found}
    parted = [(group, [item for item in found if owners[item[0]] is group]) for group in (rest, *groups)]
    return [(group, items) for group, items in parted if items]
