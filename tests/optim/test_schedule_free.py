"""Schedule-Free against its formula as written and against its authors' package, step by step."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnopt.errors import CheckpointError
from nnopt.optim.optimizer import Optimizer
from nnopt.optim.parameters import FlatParameters, Group, Parameters
from nnopt.optim.schedule_free import ScheduleFree, Square, schedule_free_slowly
from nnopt.spec.optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeSgd

STEPS = 12
SIZE = 15
# Constant, as it is meant, rising from 0 as a warm-up, and falling, which nobody should but anybody may.
RATES: dict[str, list[float]] = {
    "constant": [0.1] * STEPS,
    "warm-up": [0.1 * min(1, step / 4) for step in range(STEPS)],
    "falling": [0.1 * (1 - step / STEPS) for step in range(STEPS)],
}
SQUARES = {"sgd": None, "adamw": Square(0.95, 1e-6)}


def parameters_in_64_bits(groups: tuple[Group, ...] = ()) -> Parameters:
    torch.manual_seed(0)
    return FlatParameters(nn.Linear(4, 3).double(), groups=groups)


def gradients(parameters: Parameters) -> list[list[Tensor]]:
    random = torch.Generator().manual_seed(1)
    return [
        [torch.randn(one.shape, generator=random, dtype=one.dtype) for one in parameters.values] for _ in range(STEPS)
    ]


def giving(parameters: Parameters, wanted: list[Tensor]) -> Callable[[], Tensor]:
    def evaluate() -> Tensor:
        for gradient, one in zip(parameters.gradients, wanted, strict=True):
            gradient.copy_(one)
        return torch.zeros(())

    return evaluate


@pytest.mark.parametrize("rates", [name for name in RATES if name != "warm-up"])
@pytest.mark.parametrize("name", SQUARES)
def test_it_is_its_twin_at_every_step(name: str, rates: str) -> None:
    parameters = parameters_in_64_bits()
    (value,) = parameters.values
    given = gradients(parameters)
    twin = schedule_free_slowly(value.clone(), [one for (one,) in given], RATES[rates], 0.8, SQUARES[name])
    optimizer = ScheduleFree(parameters, 0.8, SQUARES[name])
    for wanted, lr, (y, x) in zip(given, RATES[rates], twin, strict=True):
        optimizer.step(giving(parameters, wanted), lr)
        torch.testing.assert_close(value, y)
        (shown,) = optimizer.shown()
        torch.testing.assert_close(shown, x)


@pytest.mark.skipif(not importlib.util.find_spec("schedulefree"), reason="schedulefree is not installed")
@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", SQUARES)
def test_it_is_its_authors_package_at_every_step(name: str, weight_decay: float, rates: str) -> None:
    import schedulefree

    parameters = parameters_in_64_bits((Group(frozenset({"bias"}), rate=0.5),))
    spec: dict[str, Any] = {"lr": 0.1, "weight_decay": weight_decay}
    theirs_of = [value.clone().requires_grad_() for value in parameters.values]
    optimizer: Optimizer
    if name == "sgd":
        optimizer = ScheduleFreeSgd(kind="schedule_free_sgd", **spec).build(parameters)
        theirs = schedulefree.SGDScheduleFree(theirs_of, lr=0.1, momentum=0.9, weight_decay=weight_decay)
    else:
        optimizer = ScheduleFreeAdamW(kind="schedule_free_adamw", **spec).build(parameters)
        theirs = schedulefree.AdamWScheduleFree(theirs_of, lr=0.1, weight_decay=weight_decay)
    first, rest = theirs.param_groups[0], dict(theirs.param_groups[0])
    theirs.param_groups = [first | {"params": [theirs_of[0]]}, rest | {"params": [theirs_of[1]]}]
    for wanted, lr in zip(gradients(parameters), RATES[rates], strict=True):
        optimizer.step(giving(parameters, wanted), lr)
        theirs.train()
        for group, rate in zip(theirs.param_groups, (1.0, 0.5), strict=True):
            group["lr"] = lr * rate
        for value, one in zip(theirs_of, wanted, strict=True):
            value.grad = one.clone()
        theirs.step()
        for ours, their in zip(parameters.values, theirs_of, strict=True):
            torch.testing.assert_close(ours, their.detach())
        theirs.eval()
        for shown, their in zip(optimizer.shown() or [], theirs_of, strict=True):
            torch.testing.assert_close(shown, their.detach())


def test_to_be_shown_changes_nothing() -> None:
    parameters = parameters_in_64_bits()
    optimizer = ScheduleFree(parameters, 0.9)
    optimizer.step(giving(parameters, gradients(parameters)[0]), 0.1)
    before = [value.clone() for value in parameters.values]
    first, again = optimizer.shown(), optimizer.shown()
    for value, own, one, other in zip(parameters.values, before, first, again, strict=True):
        assert torch.equal(value, own)
        assert torch.equal(one, other)


def test_another_state_is_refused() -> None:
    optimizer = ScheduleFree(parameters_in_64_bits(), 0.9)
    adamw = ScheduleFree(parameters_in_64_bits(), 0.9, Square(0.9, 1e-8))
    for state in ({}, {"mean": []}, adamw.state_dict()):
        with pytest.raises(CheckpointError, match="schedule_free"):
            optimizer.load_state_dict(state)
