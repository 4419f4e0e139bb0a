"""An objective as training gives it to optimizers, over a model and a batch of one's own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nnopt.losses.loss import Loss
from nnopt.optim.functional import answers, random_state
from nnopt.optim.objective import Objective, Smooth
from nnopt.optim.parameters import Parameters


class PlainObjective(Objective):
    """The mean of `loss` over one batch; `passes` counts as training does."""

    def __init__(
        self,
        model: nn.Module,
        parameters: Parameters,
        inputs: Tensor,
        targets: Tensor,
        loss: Loss | Callable[[Tensor, Tensor], Tensor],
        l2: float = 0.0,
    ) -> None:
        self.model = model
        self.parameters = parameters
        self.inputs = inputs
        self.targets = targets
        self.loss = loss
        self.l2 = l2
        self.passes = 0

    def __call__(self) -> Tensor:
        self.passes += 1
        self.parameters.zero_gradients()
        with torch.enable_grad():
            objective = self.loss(self.model(self.inputs), self.targets)
            objective.backward()
        self.parameters.add_penalty_gradient(0.0, self.l2)
        return objective.detach() + self.parameters.penalty(0.0, self.l2)

    def smooth(self) -> Smooth:
        def drawn(outputs: Tensor, generator: torch.Generator) -> Tensor:
            assert isinstance(self.loss, Loss)
            return self.loss(outputs, self.loss.drawn(outputs.detach(), generator))

        return Smooth(
            outputs=answers(self.model, self.parameters, self.inputs, random_state(self.inputs.device)),
            loss=lambda outputs: self.loss(outputs, self.targets),
            penalty=lambda values: self.parameters.penalty(0.0, self.l2, values),
            drawn_loss=drawn,
            network=self.model,
            inputs=self.inputs,
            count=self.count,
        )

    def count(self, passes: int) -> None:
        self.passes += passes

    def generator(self) -> torch.Generator:
        return torch.Generator(self.inputs.device).manual_seed(self.passes)
