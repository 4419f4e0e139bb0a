"""Pruning of channels and neurons: they are taken out, and the network becomes smaller."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from nnopt.errors import UsageError
from nnopt.randomness import derive
from nnopt.spec.structure.prune import Gradient, Magnitude, PruneSpec, RandomPrune
from nnopt.structure.channels import ChannelGroup, Channels, find_channels, least, scores, take_out
from nnopt.structure.layers import layers_within
from nnopt.structure.network import load_weights
from nnopt.structure.prune.criteria import mean_gradient
from nnopt.train.shaping.operation import Bench
from nnopt.train.shaping.removal import Removal

SHOWN = 6  # layers in a message

Taken = list[tuple[ChannelGroup, list[int]]]  # groups with the channels of each that go


class ChannelRemoval(Removal):
    """Channels of convolutions and neurons of linear layers, taken out with all that belongs to them.

    The amount is a share of the channels that there were at first, of all layers that it reaches and that have some
    to spare. The optimizer and the average begin anew after each removal, as their tensors have other shapes.
    """

    reshapes = True
    recompiles = True

    def __init__(self, spec: PruneSpec, bench: Bench) -> None:
        if not isinstance(spec, Magnitude | Gradient | RandomPrune):
            raise UsageError(
                f"structure.prune: {spec.kind} ranks single weights, not channels: take granularity weights or n:m"
            )
        super().__init__(spec, bench)
        self.removed: dict[str, int] = {}  # channels that are gone, by group
        self._check(self._channels())

    def _channels(self) -> Channels:
        return find_channels(self.bench.model, self.bench.data.train.first(2))

    def _reached(self, channels: Channels) -> list[ChannelGroup]:
        """The groups all of whose layers it may change at their outputs."""
        chosen = layers_within(self.bench.model, self.chosen)
        return [group for group in channels.groups if chosen.keys() >= set(group.makers)]

    def _check(self, channels: Channels) -> None:
        """Raises UsageError where it is asked for the outputs of the model, or reaches nothing that can go."""
        for pattern in self.spec.layers:
            found = [name for name in self.chosen if fnmatchcase(name, pattern)]
            if found and channels.outputs.issuperset(found):
                raise UsageError(
                    f"structure.prune.layers: {pattern!r} is the last layer, whose outputs are those of the model "
                    "(the classes): none of them can be taken out; name layers before it"
                )
        if not self._reached(channels):
            raise UsageError(f"structure.prune: no channels can be taken out of {self._why(channels)}")

    def _why(self, channels: Channels) -> str:
        """The layers whose outputs stay though they are reached, with the reasons."""
        reasons = dict(channels.kept)
        chosen = layers_within(self.bench.model, self.chosen)
        for group in channels.groups:
            if left := [maker for maker in group.makers if maker not in chosen]:
                reasons.update(dict.fromkeys(group.makers, f"tied to those of {left[0]!r}, which it leaves"))
        stay: dict[str, list[str]] = {}
        for name in chosen:
            if name in reasons:
                stay.setdefault(reasons[name], []).append(repr(name))
        return "; ".join(f"{_some(names)} ({reason})" for reason, names in stay.items())

    def change(self, index: int) -> str:
        """As the base class says."""
        amount = self.amounts[index]
        if amount is None:
            assert self.rewinding is not None
            self.rewinding.keep()
            return ""
        channels = self._channels()
        groups = self._reached(channels)
        before = {group.name: group.count for group in groups}
        taken = self._choose(groups, amount, index)
        self._take(taken)
        for group, going in taken:
            self.removed[group.name] = self.removed.get(group.name, 0) + len(going)
        left = {group.name: group.count - len(going) for group, going in taken}
        gone, total = sum(self.removed.values()), sum(self.removed.values()) + sum(left.values())
        changes = [f"{name!r} {count} to {left[name]}" for name, count in before.items() if left[name] < count]
        said = f"prune: {gone:,} of {total:,} channels are gone ({100 * gone / total:.4g} %)"
        if changes:
            said += f"; now {_some(changes)}"
        if self.rewinding is not None:
            said += f"; {self.rewinding.back()}"
        elif index == len(self.shares) - 1 and (why := self._why(channels)):
            said += f"; untouched: {why}"
        return said

    def _choose(
        self, groups: Sequence[ChannelGroup], amount: float, index: int
    ) -> list[tuple[ChannelGroup, list[int]]]:
        """The channels to go now, so that `amount` is gone of what there was at first."""
        scored = self._scores(groups, index)
        gone = {group.name: self.removed.get(group.name, 0) for group in groups}
        if self.spec.scope == "layer":
            chosen: dict[str, list[int]] = {}
            for group in groups:
                wanted = round(amount * (group.count + gone[group.name])) - gone[group.name]
                chosen |= least({group.name: scored[group.name]}, max(wanted, 0))
        else:
            behind = sum(self.removed.values())
            wanted = round(amount * (sum(group.count for group in groups) + behind)) - behind
            chosen = least(scored, max(wanted, 0))
        return [(group, chosen[group.name]) for group in groups]

    def _scores(self, groups: Sequence[ChannelGroup], index: int) -> dict[str, Tensor]:
        """How much each channel matters, by group.

        Magnitudes are of a layer's own size: over all layers they are compared as multiples of their group's mean.
        """
        generator = torch.Generator().manual_seed(derive(self.bench.seed, "prune", index))
        if isinstance(self.spec, RandomPrune):
            return {group.name: torch.rand(group.count, generator=generator) for group in groups}
        model = self.bench.model
        weights = {name: parameter.detach().cpu().double() for name, parameter in model.named_parameters()}
        if isinstance(self.spec, Gradient):
            part = self.bench.data.train
            rows = torch.randperm(len(part), generator=generator)[: self.spec.samples].to(part.device)
            loss = self.bench.backward.loss_function
            slopes = mean_gradient(model, loss, *part.gather(rows))
            products = {name: weight * slopes[name].cpu() for name, weight in weights.items()}
            return {group.name: scores(model, group, products).abs() for group in groups}
        squares = {name: weight.square() for name, weight in weights.items()}
        norms = {group.name: scores(model, group, squares).sqrt() for group in groups}
        return {name: norm / norm.mean().clamp(min=torch.finfo(norm.dtype).tiny) for name, norm in norms.items()}

    def _take(self, taken: Taken) -> None:
        if not any(gone for _, gone in taken):
            return
        model = self.bench.model
        if self.rewinding is not None and self.rewinding.early is not None:
            early = copy.deepcopy(model)
            load_weights(early, self.rewinding.early)
            take_out(early, taken)
            self.rewinding.early = {name: tensor.detach() for name, tensor in early.state_dict().items()}
        take_out(model, taken)
        self.bench.refit(model)

    def state_dict(self) -> dict[str, Any]:
        """How many channels are gone; which, is seen by the network."""
        return {
            "removed": dict(self.removed),
            "rewinding": None if self.rewinding is None else self.rewinding.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the base class says."""
        self.removed = {name: int(count) for name, count in state["removed"].items()}
        if self.rewinding is not None:
            self.rewinding.load_state_dict(state["rewinding"])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
