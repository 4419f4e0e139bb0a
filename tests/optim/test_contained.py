"""What is declared of optimizers within optimizers, step for step."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from nnopt.optim.parameters import FlatParameters, SeparateParameters
from nnopt.spec.identity import resolved
from nnopt.spec.optimizers.base import OptimizerSpec, SpecialCase
from nnopt.spec.optimizers.contained import imitation, in_words
from nnopt.spec.optimizers.union import OPTIMIZERS

ADAPTER: TypeAdapter[OptimizerSpec] = TypeAdapter(Annotated[OptimizerSpec, OPTIMIZERS])
STEPS = 8
# Settings to imitate. Those with a momentum, a decay and their mixtures show where a declaration claims too much.
SETTINGS: list[dict[str, Any]] = [
    {"kind": "gd", "lr": 0.3},
    {"kind": "sgd", "lr": 0.3},
    {"kind": "sgd", "lr": 0.3, "weight_decay": 0.1},
    {"kind": "sgd", "lr": 0.05, "momentum": 0.9},
    {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
    {"kind": "sgd", "lr": 0.05, "momentum": 0.5, "nesterov": True},
    {"kind": "momentum", "lr": 0.3, "beta": 0.8},
    {"kind": "norm_adaptive", "lr": 0.3, "beta": 2.0},
    {"kind": "adagrad", "lr": 0.1},
    {"kind": "rmsprop", "lr": 0.01, "momentum": 0.5},
    {"kind": "adam", "lr": 0.03},
    {"kind": "adam", "lr": 0.03, "beta1": 0.0, "beta2": 0.9, "eps": 1e-3},
    {"kind": "adam", "lr": 0.03, "beta1": 0.0, "weight_decay": 0.1},
    {"kind": "adam", "lr": 0.03, "beta1": 0.5, "amsgrad": True, "weight_decay": 0.1},
    {"kind": "adamw", "lr": 0.03, "beta1": 0.0},
    {"kind": "adamw", "lr": 0.03, "amsgrad": True},
    {"kind": "adamw", "lr": 0.03, "eps": 0.0},
    {"kind": "nadam", "lr": 0.03},
    {"kind": "radam", "lr": 0.03},
    {"kind": "adadelta", "lr": 1.0},
    {"kind": "adamax", "lr": 0.03},
    {"kind": "adafactor", "lr": 0.1},
    {"kind": "lbfgs", "lr": 0.1, "max_iter": 3},
    {"kind": "muon", "lr": 0.03},
]


def name_of(keys: dict[str, Any]) -> str:
    return "-".join(map(str, keys.values()))


def imitated() -> list[Any]:
    """Every setting with every optimizer that says it can imitate it."""
    found_ones = []
    for keys in SETTINGS:
        whole = resolved(ADAPTER.validate_python(keys))
        for kind in OPTIMIZERS.named():
            found = imitation(kind, whole)
            if found is not None and kind != keys["kind"]:
                found_ones.append(pytest.param(whole, found, id=f"{kind}-as-{name_of(keys)}"))
    return found_ones


def path(keys: dict[str, Any]) -> list[Tensor]:
    """Weights after each step, under a rate that changes, on gradients that do not depend on them."""
    spec = ADAPTER.validate_python(keys)
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    parameters = (FlatParameters if spec.flat else SeparateParameters)(model)
    optimizer = spec.build(parameters)
    random = torch.Generator().manual_seed(1)
    weights = []
    for step in range(STEPS):

        def evaluate() -> Tensor:
            for gradient in parameters.gradients:
                gradient.copy_(torch.randn(gradient.shape, generator=random))
            return torch.zeros(())

        optimizer.step(evaluate, spec.lr * (1 - step / STEPS))
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    return weights


@pytest.mark.parametrize(("inner", "outer"), imitated())
def test_an_imitation_takes_the_same_steps(inner: dict[str, Any], outer: dict[str, Any]) -> None:
    for theirs, ours in zip(path(inner), path(outer), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_steps_tell_optimizers_apart() -> None:
    """The test above can fail: unlike settings take unlike steps."""
    plain = path({"kind": "sgd", "lr": 0.3})[-1]
    for keys in SETTINGS[2:]:
        assert not torch.allclose(plain, path(keys)[-1], rtol=1e-3), keys


def cases() -> list[tuple[str, SpecialCase]]:
    parts = {name: part for name, part in OPTIMIZERS.named().items() if issubclass(part, OptimizerSpec)}
    return [(name, case) for name, part in parts.items() for case in part.contains]


@pytest.mark.parametrize(("kind", "case"), cases(), ids=lambda value: getattr(value, "kind", value))
def test_every_declaration_is_tried_by_the_settings_above(kind: str, case: SpecialCase) -> None:
    wholes = [resolved(ADAPTER.validate_python(keys)) for keys in SETTINGS if keys["kind"] == case.kind]
    assert any(case.where(whole) for whole in wholes)


def test_chains_are_followed_and_conditions_kept() -> None:
    momentum = {"kind": "momentum", "lr": 0.3, "beta": 0.8}
    found = imitation("rmsprop", momentum)
    assert found is not None
    assert found["momentum"] == 0.8
    assert in_words("rmsprop", found) == "eps → ∞, momentum = 0.8"
    assert imitation("adam", momentum) is None, "adam corrects its average for its start, momentum does not"
    assert imitation("momentum", {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True}) is None
    assert imitation("adam", {"kind": "sgd", "lr": 0.1}) is not None, "a key that is left out has its default"
    assert imitation("sgd", {"kind": "adam", "lr": 0.1}) is None


def test_plug_ins_imitate_nothing() -> None:
    assert imitation("mine.parts:Mine", {"kind": "sgd", "lr": 0.1}) is None
    assert imitation("sgd", {"kind": "mine.parts:Mine", "lr": 0.1}) is None
    assert imitation("sgd", {}) is None
