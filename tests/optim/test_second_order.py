"""Newton and its relatives: against dense solutions and scipy, their order of convergence, and what upsets them."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable
from typing import Annotated, Any

import numpy
import pytest
import scipy.optimize
import torch
from plain_objective import PlainObjective
from pydantic import TypeAdapter, ValidationError
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from nnopt.data.landscapes import quadratic
from nnopt.errors import CheckpointError, UsageError
from nnopt.losses.objective import Objective as Value
from nnopt.models.point import Point
from nnopt.optim.optimizer import Optimizer
from nnopt.optim.parameters import FlatParameters, Parameters, SeparateParameters
from nnopt.optim.second_order.conjugate_gradients import truncated
from nnopt.optim.second_order.line_search import backtracked
from nnopt.optim.second_order.products import GaussNewton, Hessian, flat, like
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.union import OPTIMIZERS

ADAPTER: TypeAdapter[AnyOptimizerSpec] = TypeAdapter(Annotated[AnyOptimizerSpec, OPTIMIZERS])
KINDS = ["newton", "newton_cg", "gauss_newton"]
EACH = pytest.mark.parametrize("kind", KINDS)
Loss = Callable[[Tensor, Tensor], Tensor]


def build(kind: str, model: nn.Module, **keys: Any) -> tuple[Parameters, Optimizer]:
    parameters = FlatParameters(model)
    return parameters, ADAPTER.validate_python({"kind": kind, **keys}).build(parameters)


def at(start: list[float], value: Callable[[Tensor], Tensor], kind: str, **keys: Any) -> tuple[PlainObjective, Any]:
    """A point on a function, and the optimizer on it, in float64."""
    model = Point(torch.tensor(start, dtype=torch.float64))
    parameters, optimizer = build(kind, model, **keys)
    inputs = torch.zeros(1, 1)
    objective = PlainObjective(model, parameters, inputs, torch.zeros(1, len(start)).double(), Value(value))
    return objective, optimizer


def rosenbrock(places: Tensor) -> Tensor:
    x, y = places.unbind(-1)
    return (1 - x).square() + 100 * (y - x.square()).square()


def network(loss: Loss = cross_entropy, dtype: torch.dtype = torch.float64, l2: float = 0.1) -> PlainObjective:
    """A small network with curvature of all signs, on made-up rows."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).to(dtype)
    inputs = torch.randn(7, 3, dtype=dtype)
    targets = torch.randint(0, 3, (7,)) if loss is cross_entropy else torch.randn(7, 3, dtype=dtype)
    return PlainObjective(model, FlatParameters(model, {"0.weight", "2.weight"}), inputs, targets, loss, l2)


def _bent(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The Hessian of a function, all by torch.func backwards: its forward mode warns of things that go."""
    bent: Callable[[Tensor], Tensor] = torch.func.jacrev(torch.func.jacrev(function))
    return bent


def dense_hessian(objective: PlainObjective) -> Tensor:
    """The Hessian by torch.func, which nothing here uses."""
    smooth, values = objective.smooth(), objective.parameters.values
    found = _bent(lambda one: smooth(like(one, values)))(flat(values))
    assert isinstance(found, Tensor)
    return found


def dense_gauss_newton(objective: PlainObjective) -> Tensor:
    """The sum over samples of JᵀLJ, each factor written down, and the penalty's part."""
    smooth, values = objective.smooth(), objective.parameters.values
    here = flat(values)
    outputs = smooth.outputs(values).detach()
    jacobian = torch.func.jacrev(lambda one: smooth.outputs(like(one, values)).reshape(-1))(here)
    inner = _bent(lambda z: smooth.loss(z.view(outputs.shape)))(outputs.reshape(-1))
    penalty = _bent(lambda one: smooth.penalty(like(one, values)))(here)
    return jacobian.T @ inner @ jacobian + penalty


@pytest.mark.parametrize("loss", [cross_entropy, mse_loss])
def test_the_hessian_is_that_of_torch_func(loss: Loss) -> None:
    objective = network(loss)
    products, wanted = Hessian(objective.smooth(), objective.parameters.values), dense_hessian(objective)
    for at_once in (1, 5, 100):
        torch.testing.assert_close(products.rows(at_once), wanted, rtol=1e-9, atol=1e-11)
    vector = torch.randn(len(wanted), dtype=torch.float64)
    torch.testing.assert_close(products(vector), wanted @ vector, rtol=1e-9, atol=1e-11)


def test_the_hessian_of_a_network_that_torch_takes_no_batch_of() -> None:
    """With the channels last its rows come one by one."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 3)).double()
    inputs, targets = torch.randn(6, 1, 4, 4, dtype=torch.float64), torch.tensor([0, 1, 2] * 2)
    objective = PlainObjective(model, SeparateParameters(model), inputs, targets, cross_entropy)
    wanted = Hessian(objective.smooth(), objective.parameters.values).rows(7)
    last = {"memory_format": torch.channels_last}
    objective = PlainObjective(
        model.to(**last), objective.parameters, inputs.contiguous(**last), targets, cross_entropy
    )
    torch.testing.assert_close(Hessian(objective.smooth(), objective.parameters.values).rows(7), wanted)


@pytest.mark.parametrize("loss", [cross_entropy, mse_loss])
def test_gauss_newton_products_are_those_of_the_written_matrix(loss: Loss) -> None:
    objective = network(loss)
    products, wanted = GaussNewton(objective.smooth(), objective.parameters.values), dense_gauss_newton(objective)
    assert not torch.allclose(wanted, dense_hessian(objective), rtol=1e-3), "the two matrices differ"
    vector = torch.randn(len(wanted), dtype=torch.float64)
    torch.testing.assert_close(products(vector), wanted @ vector, rtol=1e-9, atol=1e-11)


def test_products_with_parameters_that_have_no_part() -> None:
    """One tensor is not used at all, another only in a linear way: rows of zeros."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.linear, self.idle = (nn.Parameter(torch.ones(2).double()) for _ in range(3))

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs * self.used.square() + self.linear

    model = Odd()
    parameters = SeparateParameters(model)
    inputs = torch.ones(1, 2).double()
    objective = PlainObjective(model, parameters, inputs, inputs, lambda outputs, targets: outputs.sum())
    hessian = Hessian(objective.smooth(), parameters.values)
    assert torch.equal(hessian.rows(4), torch.diag(torch.tensor([2, 2, 0, 0, 0, 0]).double()))
    gauss_newton = GaussNewton(objective.smooth(), parameters.values)
    assert torch.equal(gauss_newton(torch.ones(6).double()), torch.zeros(6).double()), "the loss bends nowhere"


def test_conjugate_gradients_solve_and_stop_early() -> None:
    torch.manual_seed(0)
    root = torch.randn(8, 8, dtype=torch.float64)
    matrix, gradient = root @ root.T + torch.eye(8), torch.randn(8, dtype=torch.float64)
    asked = 0

    def product(vector: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return matrix @ vector

    step, bent = truncated(product, gradient, 0.3, 1e-12, 100)
    wanted = numpy.linalg.solve(matrix.numpy() + 0.3 * numpy.eye(8), -gradient.numpy())
    numpy.testing.assert_allclose(step.numpy(), wanted, rtol=1e-8)
    torch.testing.assert_close(bent, matrix @ step)
    exact, asked = asked, 0
    step, _ = truncated(product, gradient, 0.3, 0.5, 100)
    assert asked < exact
    assert float((matrix @ step + 0.3 * step + gradient).norm()) <= 0.5 * float(gradient.norm())
    asked = 0
    truncated(product, gradient, 0.3, 1e-12, 3)
    assert asked == 3


def test_conjugate_gradients_end_where_the_matrix_bends_down() -> None:
    matrix = torch.diag(torch.tensor([-4.0, -4.0]))
    gradient = torch.tensor([1.0, 2.0])
    step, _ = truncated(lambda v: matrix @ v, gradient, 0.0, 0.5, 10)
    torch.testing.assert_close(step, -gradient / 4)  # as long as the step of the curvature 4
    step, _ = truncated(lambda v: 0 * v, gradient, 0.0, 0.5, 10)
    torch.testing.assert_close(step, -gradient)  # no curvature: down the gradient
    mixed = torch.diag(torch.tensor([3.0, -1.0]))
    step, _ = truncated(lambda v: mixed @ v, torch.tensor([1.0, 0.1]), 0.0, 1e-9, 10)
    assert float(step @ torch.tensor([1.0, 0.1])) < 0


def test_backtracking_goes_back_until_it_falls_enough() -> None:
    tried: list[float] = []

    def value(t: float) -> float:
        tried.append(t)
        return math.inf if t > 0.5 else (t - 0.02) ** 2

    found = backtracked(value, 0.0004, -0.04, 1.0, 12)
    assert found.length is not None
    assert value(found.length) < 0.0004
    assert found.first == math.inf
    assert tried[1] == pytest.approx(0.1)
    assert tried[2] == pytest.approx(0.02)  # the lowest place of the parabola
    assert backtracked(lambda t: 1.0 + t, 1.0, -1.0, 1.0, 5).length is None


@pytest.mark.parametrize(("kind", "keys"), [("newton", {}), ("newton_cg", {"tolerance": 1e-12}),
                                            ("gauss_newton", {"tolerance": 1e-12})])  # fmt: skip
def test_a_quadratic_is_solved_in_one_step(kind: str, keys: dict[str, Any]) -> None:
    bowl = quadratic(4, 1e4, True)
    objective, optimizer = at([1.0, -2.0, 0.5, 1.5], bowl.value, kind, **keys)
    before = float(objective())
    optimizer.step(objective, 1.0)
    assert float(objective()) < 1e-18 * before


def test_damping_is_added_to_the_hessian() -> None:
    """(H + λI)p = −g, with the whole step taken: against a dense solution by numpy."""
    for kind in KINDS:
        objective = network(mse_loss)
        keys = {} if kind == "newton" else {"tolerance": 1e-13, "max_iterations": 500}
        optimizer = ADAPTER.validate_python({"kind": kind, "damping": 3.0, "line_search": "none", **keys}).build(
            objective.parameters
        )
        matrix = dense_gauss_newton(objective) if kind == "gauss_newton" else dense_hessian(objective)
        assert float(torch.linalg.eigvalsh(matrix)[0]) > -3.0
        if kind == "newton":
            bends, ways = torch.linalg.eigh(matrix)
            matrix = ways @ torch.diag(bends.abs()) @ ways.T
        objective()
        start, gradient = flat(objective.parameters.values), flat(objective.parameters.gradients)
        wanted = numpy.linalg.solve(matrix.numpy() + 3.0 * numpy.eye(len(start)), -gradient.numpy())
        optimizer.step(objective, 0.5)
        moved = flat(objective.parameters.values) - start
        numpy.testing.assert_allclose(moved.numpy(), 0.5 * wanted, rtol=1e-6, atol=1e-10)


def logistic() -> PlainObjective:
    torch.manual_seed(0)
    inputs = torch.randn(60, 4, dtype=torch.float64)
    targets = (inputs @ torch.tensor([1.0, -2.0, 0.5, 0.0]).double() + torch.randn(60).double() > 0).double()[:, None]
    model = nn.Linear(4, 1).double()
    return PlainObjective(
        model, FlatParameters(model, {"weight"}), inputs, targets, binary_cross_entropy_with_logits, 0.01
    )


def minimum_by_scipy(objective: PlainObjective, method: str) -> numpy.ndarray[Any, Any]:
    """The place that scipy finds, with derivatives by torch.func."""
    smooth, values = objective.smooth(), objective.parameters.values

    def value(place: Any) -> Tensor:
        return smooth(like(place, values))

    derivatives = (value, torch.func.grad(value), _bent(value))
    f, g, h = (lambda x, one=one: one(torch.tensor(x)).detach().numpy() for one in derivatives)
    options = {"maxiter": 200} | ({"gtol": 1e-10} if method == "trust-ncg" else {"xtol": 1e-10})
    found = scipy.optimize.minimize(f, flat(values).numpy(), jac=g, hess=h, method=method, options=options)
    place: numpy.ndarray[Any, Any] = found.x
    return place


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg"])
@EACH
def test_they_find_the_minimum_that_scipy_finds(kind: str, method: str) -> None:
    objective = logistic()
    wanted = minimum_by_scipy(objective, method)
    optimizer = ADAPTER.validate_python({"kind": kind}).build(objective.parameters)
    for _ in range(20):
        optimizer.step(objective, 1.0)
    numpy.testing.assert_allclose(flat(objective.parameters.values).numpy(), wanted, rtol=1e-5, atol=1e-6)
    assert float(objective.parameters.gradient_norm()) < 1e-9


def errors_of(kind: str, **keys: Any) -> list[float]:
    """Distances to the minimum of logistic regression, step for step, until rounding."""
    place = logistic()
    exact = ADAPTER.validate_python({"kind": "newton"}).build(place.parameters)
    for _ in range(30):
        exact.step(place, 1.0)
    lowest = flat(place.parameters.values)
    objective = logistic()
    optimizer = ADAPTER.validate_python({"kind": kind, **keys}).build(objective.parameters)
    errors = []
    for _ in range(30):
        errors.append(float((flat(objective.parameters.values) - lowest).norm()))
        if errors[-1] < 1e-9:
            break
        optimizer.step(objective, 1.0)
    return errors


def test_newton_converges_quadratically() -> None:
    """log eₖ₊₁ / log eₖ tends to 2: the exponent from the last errors above rounding."""
    errors = errors_of("newton")
    assert len(errors) <= 8
    a, b, c = errors[-4:-1]
    assert math.log(c / b) / math.log(b / a) == pytest.approx(2.0, abs=0.3), errors


def test_conjugate_gradients_converge_faster_than_linearly() -> None:
    errors = errors_of("newton_cg")
    ratios = [after / before for before, after in itertools.pairwise(errors)]
    assert errors[-1] < 1e-9
    assert ratios[-1] < ratios[0] / 10


def passes_to(kind: str, target: float, limit: int) -> int:
    """Passes until Rosenbrock's function from the usual start is below `target`."""
    keys = {"lr": 1e-3} if kind == "sgd" else {}
    objective, optimizer = at([-1.2, 1.0], rosenbrock, kind, **keys)
    while objective.passes < limit:
        optimizer.step(objective, 1e-3 if kind == "sgd" else 1.0)
        with torch.no_grad():
            if float(rosenbrock(objective.parameters.values[0])) < target:
                return objective.passes
    return limit


@pytest.mark.parametrize(("kind", "most", "times"), [("newton", 250, 100), ("newton_cg", 600, 30)])
def test_rosenbrocks_valley_takes_gradient_descent_many_times_as_long(kind: str, most: int, times: int) -> None:
    needed = passes_to(kind, 1e-10, 2000)
    assert needed < most
    assert passes_to("sgd", 1e-10, times * needed) == times * needed, "it is not there by then"


@pytest.mark.parametrize("kind", ["newton", "newton_cg"])
def test_a_saddle_is_left(kind: str) -> None:
    """x² − y² + y⁴/2 from beside its saddle at 0: the minima are at y = ±1."""
    objective, optimizer = at([0.5, 1e-6], lambda z: z[..., 0] ** 2 - z[..., 1] ** 2 + z[..., 1] ** 4 / 2, kind)
    for _ in range(60):
        optimizer.step(objective, 1.0)
    x, y = objective.parameters.values[0].tolist()
    assert abs(x) < 1e-6
    assert y == pytest.approx(1.0, abs=1e-6)


@EACH
def test_the_multiplier_shortens_the_step(kind: str) -> None:
    objective, optimizer = at([1.0, 2.0], quadratic(2, 10.0, False).value, kind)
    twin, other = at([1.0, 2.0], quadratic(2, 10.0, False).value, kind)
    start = flat(objective.parameters.values)
    optimizer.step(objective, 1.0)
    other.step(twin, 0.25)
    whole, part = (flat(one.parameters.values) - start for one in (objective, twin))
    torch.testing.assert_close(part, whole / 4)
    before = flat(twin.parameters.values)
    other.step(twin, 0.0)
    assert torch.equal(flat(twin.parameters.values), before)


def lambda_of(optimizer: Optimizer) -> float:
    return float(optimizer.state_dict()["damping"])


@EACH
def test_nothing_finite_ahead_leaves_the_values_and_raises_the_damping(kind: str) -> None:
    """The function ends in a wall right behind the start, and a gradient that leads into it."""

    def walled(places: Tensor) -> Tensor:
        x = places[..., 0]
        return torch.where(x >= 1.0, x.square(), torch.full_like(x, math.nan))

    objective, optimizer = at([1.0], walled, kind)
    for _ in range(3):
        before = lambda_of(optimizer)
        optimizer.step(objective, 1.0)
        assert objective.parameters.values[0].tolist() == [1.0]
        assert lambda_of(optimizer) > before


@EACH
def test_a_gradient_that_is_not_finite_or_is_0_moves_nothing(kind: str) -> None:
    for value, raises in ((lambda z: z[..., 0] * math.inf, True), (lambda z: z[..., 0] * 0, False)):
        objective, optimizer = at([1.0], value, kind)
        optimizer.step(objective, 1.0)
        assert objective.parameters.values[0].tolist() == [1.0]
        assert (lambda_of(optimizer) > 0) == raises


@EACH
def test_the_damping_follows_how_far_the_model_holds(kind: str) -> None:
    objective, optimizer = at([1.0, 2.0], quadratic(2, 3.0, False).value, kind, damping=8.0)
    optimizer.step(objective, 1.0)  # a quadratic falls as predicted
    assert lambda_of(optimizer) == 4.0
    steep, optimizer = at([1.0], lambda z: z[..., 0].square() + 1e3 * (1 - z[..., 0]).relu() ** 2, kind, damping=0.1)
    optimizer.step(steep, 1.0)  # beyond 1 it rises a thousand times as fast as seen from there
    assert lambda_of(optimizer) >= 0.4


@pytest.mark.parametrize(("kind", "keys"), [(kind, {}) for kind in KINDS] + [("newton", {"damping": 1.0})])
def test_noise_of_batches_is_no_excuse(kind: str, keys: dict[str, Any]) -> None:
    """A perceptron on handwritten digits, 256 of them a step."""
    images, digits = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    parameters, optimizer = build(kind, model, **keys)
    draw = torch.Generator().manual_seed(0)
    for _ in range(25):
        rows = torch.randperm(1500, generator=draw)[:256]
        optimizer.step(PlainObjective(model, parameters, inputs[rows], targets[rows], cross_entropy), 1.0)
        assert bool(parameters.values[0].isfinite().all())
    with torch.no_grad():
        right = float((model(inputs[1500:]).argmax(1) == targets[1500:]).float().mean())
    assert right > 0.8, right


def test_passes_are_counted() -> None:
    objective, optimizer = at([1.0, 2.0], quadratic(2, 10.0, False).value, "newton")
    optimizer.step(objective, 1.0)
    assert objective.passes == 1 + 1 + 2 * 2 + 1  # gradient, gradient to be differentiated, two rows, one value
    objective, optimizer = at([1.0, 2.0], quadratic(2, 10.0, False).value, "newton_cg", max_iterations=1)
    optimizer.step(objective, 1.0)
    assert objective.passes == 1 + 1 + 2 + 1


@EACH
def test_separate_parameters_take_the_same_steps(kind: str) -> None:
    found = []
    for layout in (FlatParameters, SeparateParameters):
        objective = network()
        model = objective.model
        parameters = layout(model, {"0.weight", "2.weight"})
        objective.parameters = parameters
        optimizer = ADAPTER.validate_python({"kind": kind}).build(parameters)
        for _ in range(5):
            optimizer.step(objective, 1.0)
        found.append(flat(list(model.parameters())))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-8)


@EACH
def test_the_state_goes_through_a_file(kind: str) -> None:
    objective, optimizer = at([-1.2, 1.0], rosenbrock, kind, damping=0.5)
    optimizer.step(objective, 1.0)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    _, other = at([0.0, 0.0], rosenbrock, kind)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert lambda_of(other) == lambda_of(optimizer) != 0.5
    with pytest.raises(CheckpointError, match=f"not one of {kind}"):
        other.load_state_dict({"momentum": torch.zeros(2)})


@EACH
def test_what_cannot_be_is_said_in_words(kind: str) -> None:
    objective, optimizer = at([1.0], lambda z: z[..., 0].square(), kind)
    with pytest.raises(UsageError, match=f"optimizer {kind} needs second derivatives, and here only gradients"):
        optimizer.step(lambda: torch.zeros(()), 1.0)
    with pytest.raises(UsageError, match="cannot use fp16: take fp32"):
        optimizer.step(objective, 1.0, lambda: torch.tensor(True))
    for key in ("lr", "groups", "weight_decay"):
        with pytest.raises(ValidationError, match=rf"(?s){key}.*leave {key} out|take loss.l2"):
            ADAPTER.validate_python({"kind": kind, key: 0.1})


def test_newton_refuses_a_model_that_is_too_large() -> None:
    with pytest.raises(UsageError, match=r"all 11,000 parameters.*max_parameters is 10,000: take newton_cg"):
        build("newton", nn.Linear(1000, 11, bias=False))
    build("newton", nn.Linear(1000, 11, bias=False), max_parameters=11_000)
