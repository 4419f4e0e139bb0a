"""Problems with stated targets, small enough that every optimizer can be tried on all of them.

| problem | what | target | why so much |
| --- | --- | --- | --- |
| quadratic | linear regression, Hessian's condition number 30 | a thousandth of the first loss | a random walk stays \
above the first loss, and 1 − 1/30 a step gets there in a tenth of the updates |
| rosenbrock | two numbers, from (−1.2, 1) | 0.5, from 24.2 | the valley's floor is reached at about 4: below 0.5 it \
was followed around the bend |
| breast_cancer | logistic regression | training loss 0.1, from ln 2 | the best constant answer has 0.66 |
| digits | a perceptron 64-16-10 | validation accuracy 0.9 | guessing has 0.1 |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnopt.bench.conformance.trial import Trial
from nnopt.data.dataset import Dataset
from nnopt.losses.classes import CrossEntropy
from nnopt.losses.components import ComponentLoss
from nnopt.losses.loss import Loss
from nnopt.randomness import derive
from nnopt.spec.data.union import DATA

SECOND_ORDER = 20  # they get the updates divided by this: each of their steps costs many passes
PASSES = 3  # a step of all others may take so many passes on the average over the updates, or gets fewer updates


@dataclass(frozen=True, eq=False)
class Problem:
    """Something to minimise, and how far.

    Attributes:
        name: its name.
        says: what has been reached, in words with the value in place of {}.
        loss: the kind of its loss.
        loss_function: that loss.
        updates: in how many steps of one evaluation each.
        batch: samples of a step; None: all of them.
        target: what `value` is to be.
        model: makes the network as it is at the start, the same every time.
        train: makes inputs and targets.
        value: how good the network is, lower is better.
    """

    name: str
    says: str
    loss: str
    loss_function: Loss
    updates: int
    batch: int | None
    target: float
    model: Callable[[], nn.Module]
    train: Callable[[], tuple[Tensor, Tensor]]
    value: Callable[[Trial], float]

    def batches(self, whole: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches without end, the same ones every time."""
        inputs, targets = self.train()
        if self.batch is None or whole:
            while True:
                yield inputs, targets
        generator = torch.Generator().manual_seed(derive(0, "order"))
        while True:
            order = torch.randperm(len(inputs), generator=generator)
            for start in range(0, len(order) - self.batch + 1, self.batch):
                rows = order[start : start + self.batch]
                yield inputs[rows], targets[rows]


def _seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(0, "init"))
            return make()

    return made


def _objective(trial: Trial, problem: Problem) -> float:
    inputs, targets = problem.train()
    return float(problem.loss_function(trial.outputs(inputs), targets))


@cache
def _regression() -> tuple[Tensor, Tensor]:
    """[64, 8] inputs of which XᵀX has eigenvalues from 1 to 30, times 64; and what a matrix [4, 8] makes of them."""
    generator = torch.Generator().manual_seed(derive(0, "regression"))
    left, _ = torch.linalg.qr(torch.randn(64, 8, generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64))
    curvatures = 30 ** torch.linspace(0, 1, 8, dtype=torch.float64)
    inputs = 8 * left @ torch.diag(curvatures.sqrt()) @ right.T
    wanted = torch.randn(8, 4, generator=generator, dtype=torch.float64) / 3
    return inputs.float(), (inputs @ wanted).float()


class _Rosenbrock(nn.Module):
    """The residuals √2(1 − x) and √2·10(y − x²), of which the mean square is Rosenbrock's function."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor([-1.2, 1.0]))

    def forward(self, inputs: Tensor) -> Tensor:
        x, y = self.place.unbind()
        residuals = 2**0.5 * torch.stack([1 - x, 10 * (y - x.square())])
        return residuals.expand(len(inputs), 2)


@cache
def _data(kind: str) -> Dataset:
    return DATA.find(kind).model_validate({"kind": kind}).for_seed(0).load()  # type: ignore[attr-defined, no-any-return]


def _training(kind: str) -> Callable[[], tuple[Tensor, Tensor]]:
    return lambda: _data(kind).train.gather(None)


def _wrong(trial: Trial) -> float:
    """The share of the validation digits that are taken for another one."""
    inputs, targets = _data("digits").validation.gather(None)
    return float((trial.outputs(inputs).argmax(1) != targets).float().mean())


def _problems() -> Iterator[Problem]:
    mse, cross_entropy = ComponentLoss(F.mse_loss, None), CrossEntropy()
    yield Problem(
        name="quadratic",
        says="{:.1e} of the first loss",
        loss="mse",
        loss_function=mse,
        updates=500,
        batch=None,
        target=1e-3,
        model=_seeded(lambda: nn.Sequential(nn.Linear(8, 4, bias=False))),
        train=_regression,
        value=lambda trial: _objective(trial, PROBLEMS["quadratic"]) / _first_regression(),
    )
    yield Problem(
        name="rosenbrock",
        says="the function is {:.2g}",
        loss="mse",
        loss_function=mse,
        updates=2000,
        batch=None,
        target=0.5,
        model=_Rosenbrock,
        train=lambda: (torch.zeros(1, 1), torch.zeros(1, 2)),
        value=lambda trial: _objective(trial, PROBLEMS["rosenbrock"]),
    )
    yield Problem(
        name="breast_cancer",
        says="training loss {:.3f}",
        loss="cross_entropy",
        loss_function=cross_entropy,
        updates=300,
        batch=None,
        target=0.1,
        model=_seeded(lambda: nn.Sequential(nn.Linear(30, 2))),
        train=_training("breast_cancer"),
        value=lambda trial: _objective(trial, PROBLEMS["breast_cancer"]),
    )
    yield Problem(
        name="digits",
        says="{:.1%} of the validation digits wrong",
        loss="cross_entropy",
        loss_function=cross_entropy,
        updates=300,
        batch=128,
        target=0.1,
        model=_seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))),
        train=_training("digits"),
        value=_wrong,
    )


@cache
def _first_regression() -> float:
    """The loss of a matrix of zeros."""
    return float(_regression()[1].square().mean())


PROBLEMS = {problem.name: problem for problem in _problems()}
