"""Optimizers that look at a weight's shape, and those of pytorch-optimizer: kernels, matrices, vectors."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnopt.bench.conformance.trial import spec_of
from nnopt.errors import UsageError
from nnopt.optim.optimizer import Optimizer
from nnopt.optim.parameters import FlatParameters, Parameters, SeparateParameters
from nnopt.spec.optimizers import modern, self_tuning

RATE, DECAY, STEPS = 0.02, 0.1, 12
DECAYED = {"lr": RATE, "weight_decay": DECAY}
CASES: dict[str, dict[str, Any]] = {
    "lion": DECAYED,
    "adan": DECAYED,
    "lamb": DECAYED,
    "lars": {**DECAYED, "trust": 0.1},
    "ademamix": {**DECAYED, "rise": 5},
    "mars": DECAYED,
    "soap": {**DECAYED, "update_every": 3},
    "shampoo": {**DECAYED, "update_every": 3},
    "prodigy": {"d0": 1e-3},
    "dadapt_sgd": {"d0": 1e-3},
    "dadapt_adam": {"d0": 1e-3},
}


def test_all_of_them_are_here() -> None:
    assert set(CASES) == {spec.kind_name() for spec in (*modern.MEMBERS, *self_tuning.MEMBERS)}


class Mixed(nn.Module):
    """A weight of every shape: kernel, matrix, vectors, a number, one without entries."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(2, 3, 3)
        self.matrix = nn.Linear(4, 3)
        self.number = nn.Parameter(torch.tensor(0.5))
        self.nothing = nn.Parameter(torch.zeros(0, 3))


class Trial:
    """An optimizer at work on gradients of a bowl, with noise of the step's number."""

    def __init__(self, model: nn.Module, keys: dict[str, Any], separate: bool = False) -> None:
        spec = spec_of(keys)
        self.model = model.double()
        kind: type[Parameters] = FlatParameters if spec.inner.flat and not separate else SeparateParameters
        self.parameters = kind(self.model)
        self.optimizer: Optimizer = spec.build(self.parameters)
        self.rate = spec.peak_lr

    def gradients(self, step: int) -> list[Tensor]:
        noise = torch.Generator().manual_seed(step)
        weights = self.model.parameters()
        return [0.3 * w.detach() + torch.randn(w.shape, generator=noise, dtype=w.dtype) for w in weights]

    def step(self, number: int) -> list[Tensor]:
        """Takes it; gives the gradients that it had."""
        given = self.gradients(number)

        def evaluate() -> Tensor:
            for weight, gradient in zip(self.model.parameters(), given, strict=True):
                assert weight.grad is not None
                weight.grad.copy_(gradient)
            return torch.zeros(())

        self.optimizer.step(evaluate, self.rate)
        return given

    def weights(self) -> list[Tensor]:
        return [weight.detach().clone() for weight in self.model.parameters()]


def mixed(kind: str, seed: int = 0, separate: bool = False) -> Trial:
    torch.manual_seed(seed)
    return Trial(Mixed(), {"kind": kind, **CASES[kind]}, separate)


@pytest.mark.parametrize("kind", CASES)
def test_gradients_are_as_they_were_after_a_step(kind: str) -> None:
    trial = mixed(kind)
    for number in range(4):
        given = trial.step(number)
        for weight, gradient in zip(trial.model.parameters(), given, strict=True):
            assert weight.grad is not None
            assert torch.equal(weight.grad, gradient), tuple(weight.shape)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("cut", [1, 5, 6])
def test_weights_of_every_shape_go_on_to_the_bit(kind: str, cut: int) -> None:
    """Also where eigenvectors and roots are between two computations (every 3)."""
    whole, first, second = mixed(kind), mixed(kind), mixed(kind, seed=1)
    start = whole.weights()
    for number in range(STEPS):
        whole.step(number)
    for number in range(cut):
        first.step(number)
    memory = io.BytesIO()
    torch.save([first.model.state_dict(), first.optimizer.state_dict()], memory)
    memory.seek(0)
    model, optimizer = torch.load(memory, weights_only=True)
    second.model.load_state_dict(model)
    second.optimizer.load_state_dict(optimizer)
    for number in range(cut, STEPS):
        second.step(number)
    for before, left, right in zip(start, whole.weights(), second.weights(), strict=True):
        assert torch.equal(left, right)
        assert left.isfinite().all()
        assert not before.numel() or not torch.equal(before, left), "it never moved"


@pytest.mark.parametrize("kind", [kind for kind in CASES if spec_of({"kind": kind, **CASES[kind]}).inner.flat])
def test_on_the_flat_tensor_as_on_separate_ones(kind: str) -> None:
    flat, separate = mixed(kind), mixed(kind, separate=True)
    for number in range(STEPS):
        flat.step(number)
        separate.step(number)
    for left, right in zip(flat.weights(), separate.weights(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-9)


def turned(matrix: Tensor, tensor: Tensor, place: int) -> Tensor:
    return torch.tensordot(matrix, tensor, dims=([1], [place])).movedim(0, place)


def outer(gradient: Tensor, place: int) -> Tensor:
    unfolded = gradient.movedim(place, 0).reshape(gradient.shape[place], -1)
    return unfolded @ unfolded.T


Twin = Callable[[Tensor, Callable[[Tensor, int], Tensor]], Iterator[Tensor]]


def lars(x: Tensor, slope: Callable[[Tensor, int], Tensor]) -> Iterator[Tensor]:
    v = torch.zeros_like(x)
    for t in range(STEPS):
        g = slope(x, t)
        v = 0.9 * v + (0.1 * x.norm() / (g.norm() + DECAY * x.norm()) * (g + DECAY * x) if x.ndim > 1 else g)
        x = x - RATE * v
        yield x


def lamb(x: Tensor, slope: Callable[[Tensor, int], Tensor]) -> Iterator[Tensor]:
    m, v = torch.zeros_like(x), torch.zeros_like(x)
    for t in range(1, STEPS + 1):
        g = slope(x, t - 1)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        u = m / (v.sqrt() + 1e-6) + DECAY * x
        x = x - RATE / (1 - 0.9**t) * min(float(x.norm()), 10.0) / float(u.norm()) * u
        yield x


def mars(x: Tensor, slope: Callable[[Tensor, int], Tensor]) -> Iterator[Tensor]:
    m, v, before = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)
    for t in range(1, STEPS + 1):
        g = slope(x, t - 1)
        c = g + 0.025 * 0.95 / 0.05 * (g - before)
        c = c / max(1.0, float(c.norm()))
        m, v, before = 0.95 * m + 0.05 * c, 0.99 * v + 0.01 * c**2, g
        x = (1 - RATE * DECAY) * x - RATE * m / (1 - 0.95**t) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
        yield x


def soap(x: Tensor, slope: Callable[[Tensor, int], Tensor]) -> Iterator[Tensor]:
    """In the eigenvectors of the first gradient throughout; vectors are not turned."""
    first, m, v = slope(x, 0), torch.zeros_like(x), torch.zeros_like(x)
    places = range(x.ndim if x.ndim > 1 else 0)
    bases = [torch.linalg.eigh(outer(first, place))[1] for place in places]
    yield x
    for t in range(1, STEPS):
        g = slope(x, t)
        m = 0.95 * m + 0.05 * g
        way, seen = m, g
        for place in places:
            way, seen = turned(bases[place].T, way, place), turned(bases[place].T, seen, place)
        v = 0.95 * v + 0.05 * seen**2
        way = way / (v.sqrt() + 1e-8)
        for place in places:
            way = turned(bases[place], way, place)
        x = (1 - RATE * DECAY) * (x - RATE * (1 - 0.95**t) ** 0.5 / (1 - 0.95**t) * way)
        yield x


def shampoo(x: Tensor, slope: Callable[[Tensor, int], Tensor]) -> Iterator[Tensor]:
    sums, velocity = [1e-4 * torch.eye(size).double() for size in x.shape], torch.zeros_like(x)
    for t in range(STEPS):
        g = slope(x, t)
        d = g
        for place in range(x.ndim):
            sums[place] = sums[place] + outer(g, place)
            values, vectors = torch.linalg.eigh(sums[place])
            d = turned(vectors @ torch.diag(values ** (-1 / (2 * x.ndim))) @ vectors.T, d, place)
        velocity = 0.9 * velocity + d * g.norm() / d.norm()
        x = (1 - RATE * DECAY) * x - RATE * velocity
        yield x


TWINS: dict[str, tuple[dict[str, Any], Twin]] = {
    "lars": ({"trust": 0.1}, lars),
    "lamb": ({}, lamb),
    "mars": ({}, mars),
    "soap": ({"update_every": 100}, soap),
    "shampoo": ({"update_every": 1}, shampoo),
}


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 3, 3), (5,)], ids=["matrix", "kernel", "vector"])
def test_a_twin_takes_the_same_steps_on_each_shape(kind: str, shape: tuple[int, ...]) -> None:
    """Another weight of another length beside it: what is by layer stays so."""
    keys, twin = TWINS[kind]
    torch.manual_seed(3)
    model = nn.ParameterList([torch.randn(shape), 7 * torch.randn(4)])
    trial = Trial(model, {"kind": kind, **DECAYED, **keys})
    start = trial.weights()[0]

    def slope(x: Tensor, step: int) -> Tensor:
        noise = torch.Generator().manual_seed(step)
        return 0.3 * x + torch.randn(shape, generator=noise, dtype=x.dtype)

    for number, expected in enumerate(twin(start, slope)):
        trial.step(number)
        torch.testing.assert_close(trial.weights()[0], expected, rtol=1e-5, atol=1e-6)
    assert float((trial.weights()[0] - start).norm()) > 0.1, "it hardly moved, so nothing was compared"


NEEDY = [kind for kind in CASES if kind not in ("lion", "shampoo")]


@pytest.mark.parametrize("kind", CASES)
def test_who_needs_the_package_says_how_to_get_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    if kind in NEEDY:
        with pytest.raises(UsageError, match=f"optimizer {kind} needs .* pip install 'nnopt\\[optimizers\\]'"):
            mixed(kind)
    else:
        mixed(kind).step(0)
