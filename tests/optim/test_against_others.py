"""What each optimizer's steps are compared with: a slow twin, another package, or what scipy finds."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nnopt.bench.conformance.trial import spec_of
from nnopt.optim.parameters import FlatParameters, SeparateParameters
from nnopt.spec.optimizers.union import OPTIMIZERS

HERE = Path(__file__).parent
RULES = ("test_rules.py::test_a_rule_equals_its_twin_at_every_step", "test_rules.py::test_equal_to_optax_at_every_step")
TORCH = "test_optimizers.py::test_defaults_are_torchs"
TWIN = "test_against_others.py::test_a_twin_by_the_printed_formula_takes_the_same_steps"
OPTAX = "test_against_others.py::test_optax_takes_the_same_steps"
SCIPY = "test_second_order.py::test_they_find_the_minimum_that_scipy_finds"
CURVED = (
    "test_hutchinson.py::test_a_rule_equals_its_twin",
    "test_hutchinson.py::test_a_rule_equals_that_of_another_package",
)
SHAPES = "test_contributed.py::test_a_twin_takes_the_same_steps_on_each_shape"
AUTHORS = "test_schedule_free.py::test_it_is_its_authors_package_at_every_step"

# Kind -> the tests that compare its steps.
COMPARED: dict[str, tuple[str, ...]] = {
    "gd": RULES,
    "sgd": RULES,
    "momentum": RULES,
    "norm_adaptive": RULES[:1],
    "adagrad": RULES,
    "rmsprop": RULES,
    "adam": RULES,
    "adamw": (TORCH, OPTAX),
    "nadam": (TORCH,),  # optax's has no ψ
    "radam": (TORCH, OPTAX),
    "adadelta": (TORCH, OPTAX),
    "adamax": (TORCH, OPTAX),
    "adafactor": (TORCH,),  # optax's is of the paper's first version: another β₂, another scale
    "lbfgs": (TORCH,),  # optax's has another line search
    "muon": (TORCH,),
    "lion": (TWIN, OPTAX),
    "adan": (TWIN,),  # optax's takes 1 − β₂ for the paper's 1 − β₂, though its β₂ is one minus the paper's
    "lamb": (TWIN, SHAPES),  # optax's trusts weights of any length
    "lars": (TWIN, SHAPES),
    "ademamix": (TWIN, OPTAX),
    "mars": (TWIN, SHAPES),
    "soap": (TWIN, SHAPES),
    "shampoo": (TWIN, SHAPES),
    "kfac": ("test_kfac.py::test_steps_equal_those_of_dense_blocks",),
    "adahessian": CURVED,
    "sophia": CURVED,
    "schedule_free_sgd": ("test_schedule_free.py::test_it_is_its_twin_at_every_step", AUTHORS),
    "schedule_free_adamw": ("test_schedule_free.py::test_it_is_its_twin_at_every_step", AUTHORS),
    "prodigy": (TWIN, OPTAX),
    "dadapt_sgd": (TWIN,),
    "dadapt_adam": (TWIN, OPTAX),
    "newton": ("test_second_order.py::test_a_quadratic_is_solved_in_one_step", SCIPY),
    "newton_cg": ("test_second_order.py::test_a_quadratic_is_solved_in_one_step", SCIPY),
    "gauss_newton": ("test_second_order.py::test_a_quadratic_is_solved_in_one_step", SCIPY),
    "sam": ("test_wrappers.py::test_sam_takes_the_steps_of_another_package",),
    "lookahead": ("test_wrappers.py::test_lookahead_takes_the_steps_of_another_package",),
}


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {f"{path.name}::{node.name}" for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_optimizer_is_compared_with_something() -> None:
    assert set(COMPARED) == set(OPTIMIZERS.named())
    there = {name for path in HERE.glob("test_*.py") for name in functions_of(path)}
    assert {name for names in COMPARED.values() for name in names} <= there


def test_the_table_says_what_is_compared_here() -> None:
    assert {kind for kind, names in COMPARED.items() if TWIN in names} == set(TWINS)
    assert {kind for kind, names in COMPARED.items() if OPTAX in names} == set(PEERS)


START = torch.tensor([0.5, -1.0, 2.0, 0.1, -0.3], dtype=torch.float64)
BENDS = torch.tensor([0.3, 1.0, 3.0, 10.0, 0.05], dtype=torch.float64)
STEPS = 40


def slope(theta: Tensor, step: int) -> Tensor:
    """A gradient that changes with place and step: of a bowl, its middle wandering about."""
    middle = torch.linspace(-1, 1, 5, dtype=torch.float64) * float(np.sin(1.7 * step))
    return BENDS * (theta - 2 - middle)


def steps_of(keys: dict[str, Any]) -> Iterator[Tensor]:
    """θ after each step of an optimizer of a spec; the rate changes from step to step."""
    spec = spec_of(keys)
    model = nn.Linear(5, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(START[None])
    parameters = (FlatParameters if spec.inner.flat else SeparateParameters)(model)
    optimizer = spec.build(parameters)
    for step in range(STEPS):
        here = slope(model.weight.detach()[0].clone(), step)

        def evaluate(gradient: Tensor = here) -> Tensor:
            parameters.gradients[0].copy_(gradient)
            return gradient.sum()

        optimizer.step(evaluate, spec.peak_lr * multiplier(step))
        yield model.weight.detach()[0].clone()


def multiplier(step: int) -> float:
    """Of a schedule that is at its top at the start."""
    return 1 / (1 + step / 20)


def prodigy(d_coef: float = 1.0) -> Iterator[Tensor]:
    theta, d, d0 = START.clone(), 1e-3, 1e-3
    b1, b2, b3 = 0.9, 0.999, 0.999**0.5
    r, s, m, v = 0.0, torch.zeros(5), torch.zeros(5), torch.zeros(5)
    for step in range(STEPS):
        g, lr = slope(theta, step), multiplier(step)
        r = b3 * r + lr * d**2 * float(g @ (START - theta)) / d0
        s = b3 * s + lr * d**2 * g / d0
        m, v = b1 * m + (1 - b1) * d * g, b2 * v + (1 - b2) * d**2 * g**2
        new = max(d, d_coef * r / float(s.abs().sum()))
        theta = theta - lr * d * m / (v.sqrt() + new * 1e-8)
        d = new
        yield theta


def dadapt_sgd(growth: float = float("inf")) -> Iterator[Tensor]:
    theta, d, r, s = START.clone(), 1e-3, 0.0, torch.zeros(5)
    first = float(slope(theta, 0).norm())
    for step in range(STEPS):
        g = slope(theta, step)
        gamma = d * multiplier(step) / first
        r = r + gamma * float(g @ s.to(g))
        s = s + gamma * g
        d = max(d, min(2 * r / float(s.norm()), d * growth))
        theta = 0.9 * theta + 0.1 * (START - s)
        yield theta


def dadapt_adam(growth: float = float("inf")) -> Iterator[Tensor]:
    theta, d, r = START.clone(), 1e-3, 0.0
    b1, b2, b3 = 0.9, 0.999, 0.999**0.5
    m, v, s = torch.zeros(5), torch.zeros(5).double(), torch.zeros(5).double()
    for step in range(STEPS):
        g, lr = slope(theta, step), multiplier(step)
        r = b3 * r + (1 - b3) * d * lr * float(g @ (s / (v.sqrt() + 1e-8)))
        m, v = b1 * m + (1 - b1) * d * lr * g, b2 * v + (1 - b2) * g**2
        s = b3 * s + (1 - b3) * d * lr * g
        d = max(d, min(r / ((1 - b3) * float(s.abs().sum())), d * growth))
        theta = theta - m / (v.sqrt() + 1e-8)
        yield theta


RATE = 0.05  # at the top, of those with a rate


def lion() -> Iterator[Tensor]:
    theta, m = START.clone(), torch.zeros(5)
    for step in range(STEPS):
        g = slope(theta, step)
        theta = theta - RATE * multiplier(step) * torch.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
        yield theta


def adan() -> Iterator[Tensor]:
    theta, b1, b2, b3 = START.clone(), 0.98, 0.92, 0.99
    m, u, n, before = torch.zeros(5), torch.zeros(5), torch.zeros(5), slope(START, 0)
    for t in range(1, STEPS + 1):
        g = slope(theta, t - 1)
        m, u = b1 * m + (1 - b1) * g, b2 * u + (1 - b2) * (g - before)
        n = b3 * n + (1 - b3) * (g + b2 * (g - before)) ** 2
        way = (m / (1 - b1**t) + b2 * u / (1 - b2**t)) / ((n / (1 - b3**t)).sqrt() + 1e-8)
        theta, before = theta - RATE * multiplier(t - 1) * way, g
        yield theta


def lamb() -> Iterator[Tensor]:
    theta, m, v = START.clone(), torch.zeros(5), torch.zeros(5)
    for t in range(1, STEPS + 1):
        g = slope(theta, t - 1)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        way = m / (v.sqrt() + 1e-6) + 0.1 * theta
        trust = min(float(theta.norm()), 10.0) / (float(way.norm()) + 1e-6)
        theta = theta - RATE * multiplier(t - 1) / (1 - 0.9**t) * trust * way
        yield theta


def lars(nesterov: bool) -> Iterator[Tensor]:
    theta, v = START.clone(), torch.zeros(5)
    for step in range(STEPS):
        g = slope(theta, step)
        trust = 0.1 * theta.norm() / (g.norm() + 0.02 * theta.norm())
        d = trust * (g + 0.02 * theta)
        v = 0.9 * v + d
        theta = theta - RATE * multiplier(step) * (d + 0.9 * v if nesterov else v)
        yield theta


def ademamix() -> Iterator[Tensor]:
    theta, m, s, v = START.clone(), torch.zeros(5), torch.zeros(5), torch.zeros(5)
    for t in range(1, STEPS + 1):
        g = slope(theta, t - 1)
        m, s, v = 0.9 * m + 0.1 * g, 0.9999 * s + 0.0001 * g, 0.999 * v + 0.001 * g**2
        way = (m / (1 - 0.9**t) + 5 * s) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        theta = theta - RATE * multiplier(t - 1) * way
        yield theta


def mars() -> Iterator[Tensor]:
    theta, m, v, before = START.clone(), torch.zeros(5), torch.zeros(5), torch.zeros(5)
    for t in range(1, STEPS + 1):
        g = slope(theta, t - 1)
        c = g + 0.025 * 0.95 / 0.05 * (g - before)
        c = c / max(1.0, float(c.norm()))
        m, v = 0.95 * m + 0.05 * c, 0.99 * v + 0.01 * c**2
        way = m / (1 - 0.95**t) / ((v.sqrt() + 1e-8) / (1 - 0.99**t) ** 0.5)
        theta, before = theta - RATE * multiplier(t - 1) * way, g
        yield theta


def soap() -> Iterator[Tensor]:
    """With the eigenvectors of the first gradient throughout; a matrix of one row has one on its left, 1."""
    theta, m, v = START.clone(), torch.zeros(5), torch.zeros(5)
    first = slope(START, 0)
    # Of a matrix of rank 1 most eigenvectors are rounding's: it has to be the same to the bit.
    matrix = torch.zeros(5, 5).double().lerp_(torch.outer(first, first), 1 - 0.95)
    turn = torch.linalg.eigh(matrix + 1e-30 * torch.eye(5))[1]
    yield theta
    for t in range(1, STEPS):
        g = slope(theta, t)
        m, v = 0.95 * m + 0.05 * g, 0.95 * v + 0.05 * (turn.T @ g) ** 2
        way = turn @ ((turn.T @ m) / (v.sqrt() + 1e-8))
        theta = theta - RATE * multiplier(t) * (1 - 0.95**t) ** 0.5 / (1 - 0.95**t) * way
        yield theta


def shampoo(graft: bool) -> Iterator[Tensor]:
    theta, velocity = START.clone(), torch.zeros(5)
    left, right = torch.full((1, 1), 1e-4).double(), 1e-4 * torch.eye(5).double()
    for step in range(STEPS):
        g = slope(theta, step)[None]
        left, right = left + g @ g.T, right + g.T @ g
        values, vectors = torch.linalg.eigh(right)
        d = (left**-0.25 * g @ vectors @ torch.diag(values**-0.25) @ vectors.T)[0]
        velocity = 0.9 * velocity + (d * g.norm() / d.norm() if graft else d)
        theta = theta - (0.002 if graft else RATE) * multiplier(step) * velocity
        yield theta


# Kind -> pairs of keys and the twin with them.
TWINS: dict[str, tuple[tuple[dict[str, Any], Callable[[], Iterator[Tensor]]], ...]] = {
    "prodigy": (({}, prodigy), ({"d_coef": 0.5}, lambda: prodigy(0.5))),
    "dadapt_sgd": (({}, dadapt_sgd), ({"growth_rate": 1.1}, lambda: dadapt_sgd(1.1))),
    "dadapt_adam": (({}, dadapt_adam), ({"growth_rate": 1.1}, lambda: dadapt_adam(1.1))),
    "lion": (({"lr": RATE}, lion),),
    "adan": (({"lr": RATE}, adan),),
    "lamb": (({"lr": RATE, "weight_decay": 0.1}, lamb),),
    "lars": tuple(
        (
            {"lr": RATE, "trust": 0.1, "weight_decay": 0.02, "nesterov": nesterov},
            lambda nesterov=nesterov: lars(nesterov),  # type: ignore[misc]
        )
        for nesterov in (False, True)
    ),
    "ademamix": (({"lr": RATE}, ademamix),),
    "mars": (({"lr": RATE}, mars),),
    "soap": (({"lr": RATE, "update_every": 100, "weight_decay": 0.0}, soap),),
    "shampoo": (
        ({"lr": 0.002, "update_every": 1}, lambda: shampoo(True)),
        ({"lr": RATE, "update_every": 1, "graft": False}, lambda: shampoo(False)),
    ),
}
FIRST_GUESS = {kind: {"d0": 1e-3} for kind in ("prodigy", "dadapt_sgd", "dadapt_adam")}


@pytest.mark.parametrize(
    ("kind", "case"),
    [(kind, case) for kind, cases in TWINS.items() for case in range(len(cases))],
)
def test_a_twin_by_the_printed_formula_takes_the_same_steps(kind: str, case: int) -> None:
    """As closely as the package's sums, which it keeps in 32 bits."""
    keys, twin = TWINS[kind][case]
    own = list(steps_of({"kind": kind, **FIRST_GUESS.get(kind, {}), **keys}))
    for left, right in zip(own, twin(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)
    assert float((own[-1] - START).norm()) > 0.05, "it hardly moved, so nothing was compared"


# Kind -> keys, and the optimizer of optax of a schedule.
PEERS: dict[str, tuple[dict[str, Any], Callable[[Any, Any], Any]]] = {
    "adamw": (
        {"lr": 0.1, "weight_decay": 0.05},
        lambda optax, rate: optax.adamw(lambda step: 0.1 * rate(step), weight_decay=0.05),
    ),
    "radam": ({"lr": 0.1}, lambda optax, rate: optax.radam(lambda step: 0.1 * rate(step))),
    "adadelta": ({"lr": 1.0}, lambda optax, rate: optax.adadelta(rate, rho=0.9, eps=1e-6)),
    "adamax": ({"lr": 0.1}, lambda optax, rate: optax.adamax(lambda step: 0.1 * rate(step))),
    "dadapt_adam": (
        {"d0": 1e-3, "bias_correction": True},
        lambda optax, rate: optax.contrib.dadapt_adamw(rate, estim_lr0=1e-3),
    ),
    "lion": ({"lr": 0.1}, lambda optax, rate: optax.lion(lambda step: 0.1 * rate(step), weight_decay=0.0)),
    "ademamix": (
        {"lr": 0.1},
        lambda optax, rate: optax.contrib.ademamix(lambda step: 0.1 * rate(step), weight_decay=0.0, alpha=5.0),
    ),
    "prodigy": ({"d0": 1e-3, "bias_correction": True}, lambda optax, rate: optax.contrib.prodigy(rate, estim_lr0=1e-3)),
}


@pytest.mark.parametrize("kind", PEERS)
def test_optax_takes_the_same_steps(kind: str) -> None:
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    pytest.importorskip("optax.contrib")
    keys, build = PEERS[kind]
    own = list(steps_of({"kind": kind, **keys}))
    with jax.enable_x64(True), jax.disable_jit():
        peer = build(optax, lambda step: 1 / (1 + step / 20))
        theta = jax.numpy.asarray(START.numpy())
        state = peer.init(theta)
        for step in range(STEPS):
            gradient = slope(torch.tensor(np.asarray(theta)), step)
            updates, state = peer.update(jax.numpy.asarray(gradient.numpy()), state, theta)
            theta = optax.apply_updates(theta, updates)
            np.testing.assert_allclose(own[step].numpy(), np.asarray(theta), rtol=1e-5, atol=1e-6)
    assert float((own[-1] - START).norm()) > 0.05, "it hardly moved, so nothing was compared"
