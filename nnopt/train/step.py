"""One forward and backward pass over a batch, as optimizers call it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nnopt.data.feed import Batch
from nnopt.losses.loss import Loss
from nnopt.optim.functional import RandomState, answers, random_state
from nnopt.optim.objective import Objective, Smooth
from nnopt.optim.parameters import Parameters
from nnopt.randomness import derive
from nnopt.stages import stage
from nnopt.train.parallel.together import Together
from nnopt.train.scaling import LossScaler


class Guide(Protocol):
    """Something besides the targets that a network learns from."""

    teachers: list[dict[str, str | int]]  # who they are: as in summary.json

    def watching(self, network: nn.Module) -> AbstractContextManager[None]:
        """What the forward pass of `network` is to run in."""
        ...

    def __call__(self, loss: Tensor, outputs: Tensor, inputs: Tensor, rows: Tensor | None) -> Tensor:
        """What is minimised on a batch, 0-dim.

        Args:
            loss: the loss of the outputs against the targets, 0-dim.
            outputs: [n, k], of the network.
            inputs: [n, *input_shape], which gave them.
            rows: [n], the batch's places in the training data; None for all of it in order.
        """
        ...


@dataclass
class Pass(Objective):
    """Computes the objective of the present batch and its gradient, and counts how often.

    After a call the gradients lie in `parameters`, unscaled, with the
    L1 and L2 terms' added, and clipped; `loss` is that of the first call since `begin`, without L1 and L2 terms: of a
    batch that several processes share, this one's part of the sum that is the batch's loss.
    """

    model: nn.Module
    loss_function: Loss
    parameters: Parameters
    autocast: Callable[[], AbstractContextManager[object]]
    l1: float
    l2: float
    clip_norm: float | None
    clip_value: float | None
    accumulate: int
    scaler: LossScaler | None
    objective_needed: bool  # whether the optimizer looks at the objective's value
    curvature_needed: bool  # whether it asks for the objective as a function
    seed: int
    together: Together

    guide: Guide | None = None
    after_backward: Callable[[], None] | None = None  # sees the gradients before they are measured and clipped

    batch: Batch | None = None
    evaluations: int = 0
    loss: Tensor | None = None
    gradient_norm: Tensor | None = None
    norm_wanted: bool = False
    drawn_from: RandomState | None = None  # where the default generators were before the last pass

    @property
    def network(self) -> nn.Module:
        """What answers in a forward pass, without what brings gradients together."""
        return self.model.module if isinstance(self.model, DistributedDataParallel) else self.model

    def begin(self, batch: Batch, norm_wanted: bool) -> None:
        """Chooses the batch of the next update, and whether the gradient's norm is to be noted."""
        self.batch, self.norm_wanted = batch, norm_wanted
        self.loss = self.gradient_norm = None

    def __call__(self) -> Tensor:
        """The objective, 0-dim; gradients lie in `parameters` afterwards."""
        assert self.batch is not None
        self.evaluations += 1
        if self.curvature_needed:
            self.drawn_from = random_state(self.batch.inputs.device)
        self.parameters.zero_gradients()
        loss = self._whole(self.batch) if self.accumulate == 1 else self._in_parts(self.batch)
        if self.scaler is not None:
            self.scaler.unscale(self.parameters.gradients)
        objective = self.together.team.total(loss.clone()) if self.objective_needed else loss
        if self.l1 or self.l2:
            self.parameters.add_penalty_gradient(self.l1, self.l2)
            if self.objective_needed:
                objective = objective + self.parameters.penalty(self.l1, self.l2)
        if self.after_backward is not None:
            self.after_backward()
        if self.loss is None:
            self.loss = loss
            if self.norm_wanted:
                self.gradient_norm = self.parameters.gradient_norm()
        if self.clip_norm is not None:
            self.parameters.clip_norm(self.clip_norm)
        if self.clip_value is not None:
            self.parameters.clip_value(self.clip_value)
        return objective

    def smooth(self) -> Smooth:
        """The objective of the present batch as a function, with what dropout drew in the last pass."""
        batch, network = self.batch, getattr(self.network, "_orig_mod", self.network)  # torch.compile wraps it
        assert batch is not None
        state = random_state(batch.inputs.device) if self.drawn_from is None else self.drawn_from

        def drawn_loss(outputs: Tensor, generator: torch.Generator) -> Tensor:
            return self.loss_function(outputs, self.loss_function.drawn(outputs.detach(), generator))

        return Smooth(
            outputs=answers(network, self.parameters, batch.inputs, state),
            loss=lambda outputs: self.loss_function(outputs, batch.targets),
            penalty=lambda values: self.parameters.penalty(self.l1, self.l2, values),
            drawn_loss=drawn_loss,
            network=network,
            inputs=batch.inputs,
            count=self.count,
        )

    def count(self, passes: int) -> None:
        """Counts passes that were made beside this."""
        self.evaluations += passes

    def generator(self) -> torch.Generator:
        """As `Objective.generator`: what is drawn follows from the seed and the passes before, and from no state."""
        seed = derive(self.seed, "curvature", self.evaluations)
        return torch.Generator(self.parameters.values[0].device).manual_seed(seed)

    def _whole(self, batch: Batch) -> Tensor:
        return self._backward(batch, batch.inputs, batch.targets, 1.0, batch.rows)

    def _in_parts(self, batch: Batch) -> Tensor:
        """The batch in parts of nearly equal size, each weighted by its share: the mean over the batch."""
        count, device = len(batch), batch.inputs.device
        rows = torch.arange(count, device=device) if batch.rows is None else batch.rows
        total = torch.zeros((), device=device)
        parts = [tensor.tensor_split(min(self.accumulate, count)) for tensor in (batch.inputs, batch.targets, rows)]
        for number, (inputs, targets, part) in enumerate(zip(*parts, strict=True), 1):
            with self.together.silently(self.model, is_last=number == len(parts[0])):
                total += self._backward(batch, inputs, targets, len(part) / count, part)
        return total

    def _backward(self, batch: Batch, inputs: Tensor, targets: Tensor, weight: float, rows: Tensor | None) -> Tensor:
        share = len(batch) / batch.samples  # of the processes that have parts of one batch; by itself 1
        with stage("forward"):
            watching = nullcontext() if self.guide is None else self.guide.watching(self.network)
            with self.autocast(), watching:
                outputs = self.model(inputs)
            loss = self.loss_function(outputs, targets)
            objective = loss if self.guide is None else self.guide(loss, outputs, inputs, rows)
            if (scale := weight * self.together.weight(batch)) != 1.0:
                objective = objective * scale
            if weight * share != 1.0:
                loss = loss * (weight * share)
            scaled = objective if self.scaler is None else objective * self.scaler.scale
        with stage("backward"):
            scaled.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
