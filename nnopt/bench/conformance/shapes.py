"""A small network with parameters of every shape, for checks of what an optimizer makes of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnopt.losses.classes import CrossEntropy
from nnopt.randomness import derive

LOSS = CrossEntropy()


class Shapes(nn.Module):
    """A convolution, two dense layers and a number that all answers are multiplied by; inputs [n, 1, 4, 4].

    Args:
        turned: the same layers, registered from the last to the first.
        idle: besides them a matrix and a number that have no part in the answers.
        empty: besides them a matrix without entries.
    """

    def __init__(self, turned: bool = False, idle: bool = False, empty: bool = False) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {
            "convolution": nn.Conv2d(1, 2, 3),
            "hidden": nn.Linear(8, 4),
            "answers": nn.Linear(4, 3),
        }
        for name in reversed(layers) if turned else layers:
            self.add_module(name, layers[name])
        generator = torch.Generator().manual_seed(derive(0, "shapes"))
        with torch.no_grad():
            for _, parameter in sorted(self.named_parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        self.scale = nn.Parameter(torch.tensor(1.5))
        if idle:
            self.idle = nn.Parameter(torch.linspace(-1, 1, 6).view(3, 2))
            self.idle_number = nn.Parameter(torch.tensor(0.5))
        if empty:
            self.empty = nn.Parameter(torch.empty(0, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores of three classes, [n, 3]."""
        hidden = torch.tanh(self.get_submodule("convolution")(inputs)).flatten(1)
        answers: Tensor = self.get_submodule("answers")(torch.tanh(self.get_submodule("hidden")(hidden)))
        return answers * self.scale


def rows(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """24 samples of three classes: [24, 1, 4, 4] and [24]."""
    generator = torch.Generator().manual_seed(derive(0, "rows"))
    inputs = torch.randn(24, 1, 4, 4, generator=generator)
    return inputs.to(dtype), inputs.flatten(1)[:, :3].argmax(1)
