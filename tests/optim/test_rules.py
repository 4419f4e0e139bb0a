"""Every textbook rule against its slow twin, torch.optim, optax and numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_table import RULES, Row
from torch import Tensor

from nnopt.optim.adagrad import Adagrad
from nnopt.optim.adam import Adam
from nnopt.optim.gradient_descent import GradientDescent
from nnopt.optim.momentum import Momentum
from nnopt.optim.norm_adaptive import NormAdaptive
from nnopt.optim.optimizer import Rule
from nnopt.optim.rmsprop import RmsProp
from nnopt.spec.optimizers.union import OPTIMIZERS

LR = 0.1
SHAPES = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=3)


def follow(rule: Rule, values: list[Tensor], gradients: Sequence[list[Tensor]], lr: float) -> list[Tensor]:
    """θ after each step, all parameters in one vector, [steps, n]."""
    values = [value.clone() for value in values]
    state = rule.init(values)
    path = []
    for step in gradients:
        directions, state = rule.direction(step, state)
        for value, direction in zip(values, directions, strict=True):
            value.sub_(lr * direction)
        path.append(torch.cat([value.flatten() for value in values]))
    return path


def draw_steps(
    shapes: Sequence[tuple[int, ...]], count: int, seed: int, dtype: torch.dtype = torch.float64
) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Values, and gradients over several orders of magnitude with some that are 0."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    def gradient(shape: tuple[int, ...]) -> Tensor:
        keep = torch.rand(shape, generator=generator) > 0.2
        return normal(shape) * (3 * normal(shape)).exp() * keep

    return [normal(shape) for shape in shapes], [[gradient(shape) for shape in shapes] for _ in range(count)]


@pytest.mark.parametrize("row", RULES, ids=lambda row: row.rule.__name__)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_rule_equals_its_twin_at_every_step(row: Row, data: st.DataObject) -> None:
    options = data.draw(st.fixed_dictionaries(row.options))
    shapes = data.draw(SHAPES)
    lr = data.draw(st.sampled_from([1e-3, 0.5]))
    values, gradients = draw_steps(shapes, count=6, seed=data.draw(st.integers(0, 10_000)))

    path = follow(row.rule(**options), values, gradients, lr)

    vectors = [torch.cat([tensor.flatten() for tensor in step]) for step in gradients]
    theta = torch.cat([value.flatten() for value in values])
    for fast, slow in zip(path, row.twin(theta, vectors, lr, **options), strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-7, atol=1e-9)


def test_every_rule_of_the_union_is_in_the_table() -> None:
    own = {name for name, spec in OPTIMIZERS.named().items() if spec.__module__ == "nnopt.spec.optimizers.textbook"}
    assert own == {kind for row in RULES for kind in row.kinds}


@pytest.mark.parametrize("row", RULES, ids=lambda row: row.rule.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_rule_leaves_the_gradients_alone(row: Row, data: st.DataObject) -> None:
    rule = row.rule(**data.draw(st.fixed_dictionaries(row.options)))
    values, gradients = draw_steps([(3,), (2, 2)], count=3, seed=1)
    copies = [[gradient.clone() for gradient in step] for step in gradients]
    follow(rule, values, gradients, LR)
    for step, copied in zip(gradients, copies, strict=True):
        assert all(torch.equal(*pair) for pair in zip(step, copied, strict=True))


# θ from 1 with the gradients 2 and then 4, η = 0.1, worked out with pencil and paper.
BY_HAND = {
    "gd": (GradientDescent(), [1 - 0.2, 0.8 - 0.4]),
    "heavy ball": (GradientDescent(0.5), [1 - 0.2, 0.8 - 0.1 * 5]),
    "nesterov": (GradientDescent(0.5, nesterov=True), [1 - 0.1 * 3, 0.7 - 0.1 * 6.5]),
    "momentum": (Momentum(0.5), [1 - 0.1, 0.9 - 0.1 * 2.5]),
    "norm_adaptive": (NormAdaptive(0.25), [1 - 0.1 / 2 * 2, 0.9 - 0.1 / 5 * 4]),
    "adagrad inside": (Adagrad(5, "inside"), [1 - 0.1 * 2 / 3, 1 - 0.1 * 2 / 3 - 0.1 * 4 / 5]),
    "adagrad outside": (Adagrad(2, "outside"), [1 - 0.1 * 2 / 4, 0.95 - 0.1 * 4 / (20**0.5 + 2)]),
    "rmsprop inside": (RmsProp(0.5, 2, "inside"), [1 - 0.1 * 2 / 2, 0.9 - 0.1 * 4 / 11**0.5]),
    "rmsprop outside": (RmsProp(0.75, 1, "outside"), [1 - 0.1 * 2 / 2, 0.9 - 0.1 * 4 / (4.75**0.5 + 1)]),
    # m = 1, 2.5; v = 2, 9; m̂ = 2, 10/3; v̂ = 4, 12
    "adam": (Adam(0.5, 0.5, 1), [1 - 0.1 * 2 / 3, 1 - 0.1 * 2 / 3 - 0.1 * (10 / 3) / (12**0.5 + 1)]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_two_steps_by_hand(name: str) -> None:
    rule, expected = BY_HAND[name]
    numbers = [[torch.tensor([2.0], dtype=torch.float64)], [torch.tensor([4.0], dtype=torch.float64)]]
    path = follow(rule, [torch.ones(1, dtype=torch.float64)], numbers, LR)
    assert [theta.item() for theta in path] == pytest.approx(expected, rel=1e-12)


TORCH: dict[str, tuple[Rule, Callable[[list[Tensor]], torch.optim.Optimizer]]] = {
    "sgd": (GradientDescent(), lambda p: torch.optim.SGD(p, LR)),
    "heavy ball": (GradientDescent(0.9), lambda p: torch.optim.SGD(p, LR, momentum=0.9)),
    "nesterov": (
        GradientDescent(0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, LR, momentum=0.9, nesterov=True),
    ),
    "adagrad": (Adagrad(1e-6, "outside"), lambda p: torch.optim.Adagrad(p, LR, eps=1e-6)),
    "rmsprop": (
        RmsProp(0.9, 1e-6, "outside"),
        lambda p: torch.optim.RMSprop(p, LR, alpha=0.9, eps=1e-6),
    ),
    "rmsprop centered with momentum": (
        RmsProp(0.9, 1e-2, "outside", centered=True, momentum=0.8),
        lambda p: torch.optim.RMSprop(p, LR, alpha=0.9, eps=1e-2, centered=True, momentum=0.8),
    ),
    "adam": (Adam(0.9, 0.99, 1e-6), lambda p: torch.optim.Adam(p, LR, betas=(0.9, 0.99), eps=1e-6)),
    "amsgrad": (
        Adam(0.9, 0.5, 1e-6, amsgrad=True),
        lambda p: torch.optim.Adam(p, LR, betas=(0.9, 0.5), eps=1e-6, amsgrad=True),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", TORCH)
def test_equal_to_torch_at_every_step(name: str, dtype: torch.dtype) -> None:
    rule, build = TORCH[name]
    values, gradients = draw_steps([(4, 3), (5,)], count=30, seed=3, dtype=dtype)
    peers = [value.clone().requires_grad_() for value in values]
    peer = build(peers)
    for theta, step in zip(follow(rule, values, gradients, LR), gradients, strict=True):
        for value, gradient in zip(peers, step, strict=True):
            value.grad = gradient.clone()
        peer.step()
        expected = torch.cat([value.detach().flatten() for value in peers])
        tolerance = 1e-12 if dtype == torch.float64 else 2e-5
        torch.testing.assert_close(theta, expected, rtol=tolerance, atol=tolerance)


OPTAX: dict[str, tuple[Rule, Callable[[Any], Any]]] = {
    "heavy ball": (GradientDescent(0.9), lambda optax: optax.sgd(LR, momentum=0.9)),
    "nesterov": (GradientDescent(0.9, nesterov=True), lambda optax: optax.sgd(LR, 0.9, nesterov=True)),
    "momentum": (
        Momentum(0.9),
        lambda optax: optax.chain(optax.ema(0.9, debias=False), optax.scale(-LR)),
    ),
    "adagrad inside": (
        Adagrad(1e-6, "inside"),
        lambda optax: optax.adagrad(LR, initial_accumulator_value=0.0, eps=1e-6),
    ),
    "rmsprop inside": (
        RmsProp(0.9, 1e-6, "inside"),
        lambda optax: optax.rmsprop(LR, decay=0.9, eps=1e-6, eps_in_sqrt=True),
    ),
    "rmsprop outside": (
        RmsProp(0.9, 1e-6, "outside"),
        lambda optax: optax.rmsprop(LR, decay=0.9, eps=1e-6, eps_in_sqrt=False),
    ),
    "rmsprop centered with momentum": (
        RmsProp(0.9, 1e-2, "inside", centered=True, momentum=0.8),
        lambda optax: optax.rmsprop(LR, decay=0.9, eps=1e-2, eps_in_sqrt=True, centered=True, momentum=0.8),
    ),
    "adam": (Adam(0.9, 0.99, 1e-6), lambda optax: optax.adam(LR, b1=0.9, b2=0.99, eps=1e-6)),
}


@pytest.mark.parametrize("name", OPTAX)
def test_equal_to_optax_at_every_step(name: str) -> None:
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    rule, build = OPTAX[name]
    values, gradients = draw_steps([(4, 3), (5,)], count=10, seed=4)
    with jax.enable_x64(True), jax.disable_jit():
        peer = build(optax)
        peers = [jax.numpy.asarray(value.numpy()) for value in values]
        state = peer.init(peers)
        for theta, step in zip(follow(rule, values, gradients, LR), gradients, strict=True):
            updates, state = peer.update([jax.numpy.asarray(g.numpy()) for g in step], state, peers)
            peers = optax.apply_updates(peers, updates)
            expected = np.concatenate([np.asarray(value).ravel() for value in peers])
            np.testing.assert_allclose(theta.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_adam_corrects_the_start_in_32_bits() -> None:
    """The first step is −η·sign(g); 1 − β₂ taken in 32 bits would miss it in the fifth digit."""
    gradient = torch.tensor([1e-3, -2.0, 30.0])
    (theta,) = follow(Adam(0.9, 0.999, 1e-12), [torch.zeros(3)], [[gradient]], lr=1.0)
    torch.testing.assert_close(theta, -gradient.sign(), rtol=3e-7, atol=0)


@given(beta=st.floats(1e-3, 1e3), scale=st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_norm_adaptive_never_steps_further_than_its_bound(beta: float, scale: float) -> None:
    gradients = [
        torch.full((3,), scale, dtype=torch.float64),
        torch.full((2, 2), -scale, dtype=torch.float64),
    ]
    directions, _ = NormAdaptive(beta).direction(gradients, {})
    length = sum(direction.square().sum() for direction in directions) ** 0.5
    assert length <= 1 / (2 * beta**0.5) * (1 + 1e-12)


def test_norm_adaptive_takes_one_norm_over_all_parameters() -> None:
    apart = [torch.tensor([3.0]), torch.tensor([[4.0]])]
    directions, _ = NormAdaptive(1.0).direction(apart, {})
    assert [direction.item() for direction in directions] == pytest.approx([3 / 26, 4 / 26])
