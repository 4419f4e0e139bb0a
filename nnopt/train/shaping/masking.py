"""Pruning of single weights: which are 0, and that they stay so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from nnopt.errors import UsageError
from nnopt.randomness import derive
from nnopt.spec.structure.prune import PruneSpec
from nnopt.structure.layers import layers_within
from nnopt.structure.prune.criteria import Evidence, mean_gradient
from nnopt.structure.prune.masks import bits_kept, extend, removable, set_to_zero
from nnopt.train.shaping.operation import Bench
from nnopt.train.shaping.removal import Removal


class Masking(Removal):
    """Weights of linear and convolution layers that are 0 for good.

    Masked gradients alone would not do: moments, weight decay and orthogonalised updates move weights without one. So
    the weights are set to 0 after each update as well.
    """

    def __init__(self, spec: PruneSpec, bench: Bench) -> None:
        super().__init__(spec, bench)
        self.criterion = spec.build()
        self.begun = False
        self.over = False
        self._lay({}, {})
        if not self._reached():
            raise UsageError("structure.prune.layers: no weight of the layers it reaches is trained")
        if spec.n_of_m is not None and not removable([mask.shape for mask in self._reached().values()], spec.n_of_m):
            raise UsageError(
                f"structure.prune.granularity: {spec.granularity} removes nothing, as no layer it reaches has more "
                f"than {spec.n_of_m[0]} weights an output"
            )

    def _lay(self, removed: Mapping[str, Tensor], moved: Mapping[str, Tensor]) -> None:
        """Lays masks and movement out as the parameters are now, and takes over what there is by name."""
        self.parameters = self.bench.parameters
        values = self.parameters.values
        self.removed = [torch.zeros(value.shape, dtype=torch.bool, device=value.device) for value in values]
        _copy(removed, dict(self.parameters.named(self.removed)))
        self.kept = bits_kept(self.removed, values)
        self.moved: list[Tensor] | None = None
        self.pending: list[Tensor] | None = None
        if self.criterion.follows and not self.over:
            self.moved = [torch.zeros_like(value) for value in values]
            _copy(moved, dict(self.parameters.named(self.moved)))

    def _follow(self) -> None:
        """Notices parameters that were made anew by another change of the network."""
        if self.parameters is not self.bench.parameters:
            self._lay(self._named(self.removed), self._named(self.moved))

    def _named(self, tensors: list[Tensor] | None) -> dict[str, Tensor]:
        return {} if tensors is None else dict(self.parameters.named(tensors))

    def _reached(self) -> dict[str, Tensor]:
        """The masks of the weights that it reaches, by their names; of a tensor that layers share once."""
        names = {id(parameter): name for name, parameter in self.bench.model.named_parameters()}
        masks = self._named(self.removed)
        found = {}
        for layer in layers_within(self.bench.model, self.chosen).values():
            name = names.get(id(layer.weight), "")
            if name in masks:
                found[name] = masks[name]
        return found

    def change(self, index: int) -> str:
        """As the base class says."""
        self._follow()
        amount = self.amounts[index]
        if amount is None:
            assert self.rewinding is not None
            self.rewinding.keep()
            return ""
        masks = self._reached()
        scores = self._scores(list(masks), index)
        extend(list(masks.values()), scores, amount, self.spec.scope == "layer", self.spec.n_of_m)
        self.begun = True
        gone, total = (sum(int(count(mask)) for mask in masks.values()) for count in (torch.count_nonzero, torch.numel))
        said = f"prune: {gone:,} of {total:,} weights are 0 ({100 * gone / total:.4g} %)"
        if self.rewinding is not None:
            said += f"; {self.rewinding.back()}"
            self._forget_movement()
        elif self.bench.settings.optimizer.searches:
            # What a line search remembers of the curvature would hold the jump to 0 for a step of its own.
            self.bench.state.optimizer = self.bench.settings.optimizer.build(self.parameters)
        self.kept = bits_kept(self.removed, self.parameters.values)
        self._remove()
        if index == len(self.shares) - 1:
            self.over, self.moved, self.pending = True, None, None
        return said

    def _scores(self, names: list[str], index: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(derive(self.bench.seed, "prune", index))
        weights = self._named(self.parameters.values)

        def gradient(samples: int) -> list[Tensor]:
            part = self.bench.data.train
            rows = torch.randperm(len(part), generator=generator)[:samples].to(part.device)
            loss = self.bench.backward.loss_function
            found = mean_gradient(self.bench.model, loss, *part.gather(rows))
            return [found[name] for name in names]

        def movement() -> list[Tensor]:
            moved = self._named(self.moved)
            return [moved[name] for name in names]

        return self.criterion.scores([weights[name] for name in names], Evidence(generator, gradient, movement))

    def _forget_movement(self) -> None:
        """Weights that went back have not moved."""
        for moved in self.moved or ():
            moved.zero_()

    def _remove(self) -> None:
        """Weights, their average and the optimizer's memory of them become 0.

        Moments would fade away to numbers too small to be normal, with which a CPU computes several times slower.
        """
        state, values = self.bench.state, self.parameters.values
        set_to_zero(values, self.kept)
        if state.average is not None:
            set_to_zero(state.average.values[: len(values)], self.kept)  # buffers come after them
        if self.bench.settings.optimizer.inner.flat:
            # Moments of groups of one size are not told apart: theirs fade away.
            sizes = [value.shape for value in values]
            bits = {size: kept for size, kept in zip(sizes, self.kept, strict=True) if sizes.count(size) == 1}
            for moment in _tensors_within(state.optimizer.state_dict()):
                if moment.shape in bits and moment.dtype == values[0].dtype:
                    set_to_zero([moment], [bits[moment.shape]])

    def after_backward(self) -> None:
        """As the base class says."""
        self._follow()
        if self.moved is not None and self.bench.backward.loss is None:  # a line search's first evaluation only
            self.pending = self._movement()
        if self.begun:
            set_to_zero(self.parameters.gradients, self.kept)

    @torch.no_grad()
    def _movement(self) -> list[Tensor]:
        values, gradients = self.parameters.values, self.parameters.gradients
        products = [value * gradient for value, gradient in zip(values, gradients, strict=True)]
        scaler = self.bench.state.scaler
        if scaler is None:
            return products
        return [torch.where(scaler.finite(), product, torch.zeros_like(product)) for product in products]

    @torch.no_grad()
    def after_update(self) -> None:
        """As the base class says."""
        if self.moved is not None and self.pending is not None:
            for moved, product in zip(self.moved, self.pending, strict=True):
                moved.sub_(product)
            self.pending = None
        if self.begun:
            set_to_zero(self.parameters.values, self.kept)

    def state_dict(self) -> dict[str, Any]:
        """Masks by the names of the weights, and what the coming removals depend on."""
        return {
            "removed": self._reached() if self.begun else {},
            "begun": self.begun,
            "over": self.over,
            "moved": self._named(self.moved),
            "rewinding": None if self.rewinding is None else self.rewinding.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the base class says."""
        self.begun, self.over = bool(state["begun"]), bool(state["over"])
        self._lay(state["removed"], state["moved"])
        if self.rewinding is not None:
            self.rewinding.load_state_dict(state["rewinding"])


def _tensors_within(state: Any) -> Iterator[Tensor]:
    """All tensors of an optimizer's state, which are the live ones."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for part in state.values():
            yield from _tensors_within(part)
    elif isinstance(state, list | tuple):
        for part in state:
            yield from _tensors_within(part)


@torch.no_grad()
def _copy(sources: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
    """Copies what has the same name and shape."""
    for name, target in targets.items():
        if name in sources and sources[name].shape == target.shape:
            target.copy_(sources[name])
