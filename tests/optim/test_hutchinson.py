"""Estimates of the Hessian's diagonal, and optimizers that step by them, against dense Hessians and others' code."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import pytest
import torch
from plain_objective import PlainObjective
from torch import Tensor, nn

from nnopt.errors import CheckpointError, UsageError
from nnopt.losses import CrossEntropy
from nnopt.models.transformer import Attention
from nnopt.optim.adahessian import AdaHessian, adahessian_slowly
from nnopt.optim.hutchinson import CurvedRule, HutchinsonOptimizer, diagonal
from nnopt.optim.optimizer import State
from nnopt.optim.parameters import FlatParameters, Group, Parameters, SeparateParameters
from nnopt.optim.sophia import Sophia, sophia_slowly

CPU = torch.Generator


def network(*layers: nn.Module) -> tuple[nn.Module, FlatParameters]:
    model = nn.Sequential(*layers).double()
    return model, FlatParameters(model)


def perceptron() -> tuple[nn.Module, FlatParameters, PlainObjective]:
    torch.manual_seed(0)
    model, parameters = network(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    inputs = torch.randn(20, 4, dtype=torch.float64)
    objective = PlainObjective(model, parameters, inputs, torch.arange(20) % 3, CrossEntropy(), l2=0.1)
    return model, parameters, objective


def dense_hessian(objective: PlainObjective) -> Tensor:
    """By double backward, entry by entry, [count, count]."""
    smooth, (value,) = objective.smooth(), objective.parameters.values
    place = value.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(smooth([place]), place, create_graph=True)
    rows = [torch.autograd.grad(entry, place, retain_graph=True)[0] for entry in gradient]
    return torch.stack(rows)


def test_an_estimate_is_the_mean_of_z_times_hz() -> None:
    _, parameters, objective = perceptron()
    hessian = dense_hessian(objective)

    (found,) = diagonal(objective.smooth(), parameters, 3, "gaussian", CPU().manual_seed(4))

    draw = CPU().manual_seed(4)
    ways = []
    for _ in range(3):
        parts = {
            name: torch.randn(part.shape, generator=draw, dtype=torch.float64)
            for name, part in sorted(parameters.named(), key=itemgetter(0))
        }
        ways.append(torch.cat([parts[name].flatten() for name in parameters.names]))
    torch.testing.assert_close(found, sum((z * (hessian @ z) for z in ways), torch.zeros(())) / 3)
    assert objective.passes == 6


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_many_estimates_meet_the_diagonal(probe: Any) -> None:
    _, parameters, objective = perceptron()
    hessian = dense_hessian(objective)
    count = 3000

    (found,) = diagonal(objective.smooth(), parameters, count, probe, CPU().manual_seed(0))

    # The variance of one estimate is the sum of the squares of the row without its diagonal, for normal numbers of
    # the row and the diagonal once more (Bekas et al. 2007).
    squares = hessian.square().sum(dim=1)
    own = hessian.diagonal().square()
    error = ((squares + own if probe == "gaussian" else squares - own) / count).sqrt()
    assert ((found - hessian.diagonal()).abs() < 5 * error).all()
    assert ((found - hessian.diagonal()).abs() > 0.01 * error).any()


def test_signs_are_exact_where_the_hessian_is_diagonal() -> None:
    model, parameters = network(nn.Linear(3, 1, bias=False))
    scales = torch.tensor([1.0, -4.0, 100.0], dtype=torch.float64)
    inputs = torch.eye(3, dtype=torch.float64)  # the outputs are the weights
    objective = PlainObjective(model, parameters, inputs, inputs, lambda z, _: scales @ z[:, 0].square())

    (found,) = diagonal(objective.smooth(), parameters, 1, "rademacher", CPU().manual_seed(0))

    torch.testing.assert_close(found, 2 * scales)


def test_an_objective_without_curvature_has_a_diagonal_of_zeros() -> None:
    model, parameters = network(nn.Linear(3, 1))
    inputs = torch.ones(2, 3, dtype=torch.float64)
    objective = PlainObjective(model, parameters, inputs, inputs, lambda z, _: z.sum())

    (found,) = diagonal(objective.smooth(), parameters, 2, "rademacher", CPU().manual_seed(0))

    assert torch.equal(found, torch.zeros(4, dtype=torch.float64))


class Last(nn.Module):
    """The last answers of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, batch_first=True)

    def forward(self, values: Tensor) -> Tensor:
        answers: Tensor = self.lstm(values)[0][:, -1]
        return answers


@pytest.mark.parametrize(
    "layer",
    [lambda: Attention(4, 2, 0.0, None), lambda: nn.Sequential(Attention(4, 2, 0.5, None), nn.Dropout(0.5)), Last],
    ids=["attention", "dropout", "lstm"],
)
def test_layers_with_kernels_of_their_own_have_second_derivatives(layer: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = layer()
    parameters = FlatParameters(model)
    inputs = torch.randn(3, 5, 4)
    objective = PlainObjective(model, parameters, inputs, inputs, lambda z, _: z.square().sum())
    random = torch.get_rng_state()

    (found,) = diagonal(objective.smooth(), parameters, 400, "rademacher", CPU().manual_seed(0))

    smooth, step = objective.smooth(), 1e-2
    for entry in (0, 7, parameters.count - 1):
        way = torch.zeros(parameters.count)
        way[entry] = step
        place = parameters.values[0].detach()
        there, here, back = (float(smooth([place + sign * way])) for sign in (1, 0, -1))
        scale = 0.05 * float(found.abs().max()) + 0.05
        assert math.isclose((there - 2 * here + back) / step**2, float(found[entry]), abs_tol=scale)
    assert torch.equal(torch.get_rng_state(), random)


class Noted(CurvedRule):
    """Goes along the gradient, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[list[Tensor] | None] = []

    def init(self, values: Any) -> State:
        return {}

    def direction(self, gradients: list[Tensor], diagonals: list[Tensor] | None, state: State) -> list[Tensor]:
        self.given.append(diagonals)
        return gradients


def around(parameters: Parameters, rule: CurvedRule, **keys: Any) -> HutchinsonOptimizer:
    return HutchinsonOptimizer(
        rule, parameters, "noted", **({"update_every": 1, "probes": 1, "probe": "rademacher"} | keys)
    )


def test_estimates_are_made_every_so_many_steps() -> None:
    _, parameters, objective = perceptron()
    rule = Noted()
    optimizer = around(parameters, rule, update_every=3)
    for _ in range(5):
        optimizer.step(objective, 0.1)
    assert [given is not None for given in rule.given] == [True, False, False, True, False]
    assert objective.passes == 5 + 2 * 2


@pytest.mark.parametrize("layout", [FlatParameters, SeparateParameters])
def test_the_entries_of_a_kernel_share_their_mean(layout: Callable[[nn.Module], Parameters]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)).double()
    parameters = layout(model)
    inputs = torch.randn(6, 2, 3, 3, dtype=torch.float64)
    objective = PlainObjective(model, parameters, inputs, torch.arange(6) % 3, CrossEntropy())
    given = {}
    for averages in (False, True):
        rule = Noted()
        objective.passes = 0
        around(parameters, rule, averages_kernels=averages).step(objective, 0.0)
        assert rule.given[0] is not None
        given[averages] = dict(parameters.named(rule.given[0]))
    for name, part in given[False].items():
        expected = part.abs().mean(dim=(2, 3), keepdim=True).expand_as(part) if part.dim() == 4 else part
        torch.testing.assert_close(given[True][name], expected)
    assert given[True]["0.weight"].shape == (3, 2, 2, 2)


def test_an_estimate_that_is_not_finite_is_passed_over() -> None:
    model, parameters = network(nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        parameters.values[0].zero_()
    inputs = torch.ones(1, 1, dtype=torch.float64)
    objective = PlainObjective(model, parameters, inputs, inputs, lambda z, _: z.abs().pow(1.5).sum())
    for rule in (AdaHessian(0.9, 0.999, 1e-4, 1.0), Sophia(0.9, 0.99, 0.01, 1e-12, 1.0)):
        optimizer = around(parameters, rule)
        optimizer.step(objective, 0.1)  # the second derivative at 0 is infinite
        assert torch.equal(parameters.values[0], torch.zeros(1, dtype=torch.float64))
        for tensors in optimizer.state_dict().values():
            assert all(bool(tensor.isfinite().all()) for tensor in tensors)


TWINS: dict[str, tuple[CurvedRule, Callable[..., Any], dict[str, float]]] = {
    "adahessian": (
        AdaHessian(0.8, 0.9, 1e-3, 0.7),
        adahessian_slowly,
        {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "power": 0.7},
    ),
    "sophia": (
        Sophia(0.8, 0.9, 0.05, 1e-12, 0.7),
        sophia_slowly,
        {"beta1": 0.8, "beta2": 0.9, "gamma": 0.05, "eps": 1e-12, "clip": 0.7},
    ),
}


def drawn_steps(every: int) -> list[tuple[Tensor, Tensor | None]]:
    draw = CPU().manual_seed(3)
    numbers = torch.randn(9, 2, 6, generator=draw, dtype=torch.float64)
    numbers[:, 1, 0] = 0.0
    return [(numbers[step, 0], numbers[step, 1] * 10 if step % every == 0 else None) for step in range(9)]


def followed(rule: CurvedRule, theta: Tensor, steps: list[tuple[Tensor, Tensor | None]], lr: float) -> list[Tensor]:
    state, path = rule.init([theta]), []
    for gradient, estimate in steps:
        (direction,) = rule.direction([gradient], None if estimate is None else [estimate], state)
        theta = theta - lr * direction
        path.append(theta)
    return path


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("kind", TWINS)
def test_a_rule_equals_its_twin(kind: str, every: int) -> None:
    rule, twin, keys = TWINS[kind]
    theta, steps = torch.ones(6, dtype=torch.float64), drawn_steps(every)
    for fast, slow in zip(followed(rule, theta, steps, 0.1), twin(theta, steps, 0.1, **keys), strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "name", "options", "scale"),
    [
        ("adahessian", "AdaHessian", {"eps": 1e-3, "hessian_power": 0.7, "adam_debias": False}, 1.0),
        # The package has no γ: it is given γD instead. `p` is the paper's ρ.
        ("sophia", "SophiaH", {"p": 0.7, "eps": 1e-12}, 0.05),
    ],
)
def test_a_rule_equals_that_of_another_package(kind: str, name: str, options: dict[str, Any], scale: float) -> None:
    package = pytest.importorskip("pytorch_optimizer")
    rule, _, _ = TWINS[kind]
    steps = drawn_steps(1)
    place = nn.Parameter(torch.ones(6, dtype=torch.float64))
    other = getattr(package, name)([place], lr=0.1, betas=(0.8, 0.9), **options)
    for own, (gradient, estimate) in zip(followed(rule, place.detach().clone(), steps, 0.1), steps, strict=True):
        assert estimate is not None
        place.grad = gradient.clone()
        other.step(hessian=[estimate * scale])
        torch.testing.assert_close(own, place.detach(), rtol=1e-12, atol=1e-12)


def test_groups_have_rates_and_decays_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    parameters = FlatParameters(model, groups=[Group(frozenset({"1.weight"}), 3.0, 0.5)])
    inputs = torch.ones(2, 2, dtype=torch.float64)
    objective = PlainObjective(model, parameters, inputs, torch.tensor([0, 1]), CrossEntropy())
    around(parameters, Noted(), weight_decay=0.1).step(objective, 0.01)
    slopes = [parameter.grad for parameter in model.parameters()]
    for parameter, old, slope, rate, decay in zip(
        model.parameters(), before, slopes, (0.01, 0.03), (0.1, 0.5), strict=True
    ):
        assert slope is not None
        torch.testing.assert_close(parameter.detach(), (1 - rate * decay) * old - rate * slope)


@pytest.mark.parametrize("kind", TWINS)
def test_a_stopped_optimizer_goes_on_with_the_same_bits(kind: str) -> None:
    def begun() -> tuple[nn.Module, HutchinsonOptimizer, PlainObjective]:
        model, parameters, objective = perceptron()
        return model, around(parameters, TWINS[kind][0], update_every=2), objective

    model, optimizer, objective = begun()
    for _ in range(3):
        optimizer.step(objective, 0.05)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "passes": objective.passes}, file)
    for _ in range(4):
        optimizer.step(objective, 0.05)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again, other, later = begun()
    again.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    later.passes = saved["passes"]
    for _ in range(4):
        other.step(later, 0.05)
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)


def test_what_it_cannot_use_is_said() -> None:
    _, parameters, objective = perceptron()
    optimizer = around(parameters, TWINS["sophia"][0])
    with pytest.raises(UsageError, match="noted needs second derivatives and cannot use fp16"):
        optimizer.step(objective, 0.1, finite=lambda: torch.tensor(True))
    with pytest.raises(UsageError, match="noted needs second derivatives, and here only gradients"):
        optimizer.step(lambda: torch.zeros(()), 0.1)
    with pytest.raises(CheckpointError, match="not one of noted"):
        optimizer.load_state_dict({"mean": [torch.zeros(2)]})
