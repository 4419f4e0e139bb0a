"""The checks of every optimizer: all of nnopt's pass them, and each check is failed by an optimizer made to fail it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nnopt.bench.conformance import PROBLEMS, PROPERTIES, run
from nnopt.bench.conformance.properties import check
from nnopt.bench.conformance.reaching import rate_of, reach
from nnopt.bench.conformance.trial import Trial, spec_of
from nnopt.bench.kinds import part_of
from nnopt.errors import UsageError
from nnopt.spec.optimizers.union import OPTIMIZERS

CHECKS = [*PROBLEMS, "bf16", *PROPERTIES]

# Rates that are known to do, where the search for one takes seconds.
RATES = {
    "adahessian": {"quadratic": 0.03, "rosenbrock": 0.3},
    "adagrad": {"rosenbrock": 0.1},
    "adamw": {"rosenbrock": 0.01},
    "adamax": {"rosenbrock": 0.03},
    "lbfgs": {"digits": 0.01},
}

OWN = """
import math
from typing import ClassVar
import torch
from nnopt.errors import UsageError
from nnopt.optim.gradient_descent import GradientDescent
from nnopt.optim.optimizer import Optimizer, RuleOptimizer
from nnopt.spec.optimizers import OptimizerSpec

class Fine(OptimizerSpec):
    kind: str
    lr: float = 0.1
    def build(self, parameters):
        return RuleOptimizer(GradientDescent(), parameters)

class Plain(Optimizer):
    # Gradient descent that heeds all that is asked of it.
    def __init__(self, parameters):
        self.parameters = parameters
        self.memory = [torch.zeros_like(value) for value in parameters.values]
    def step(self, evaluate, lr, finite=None):
        evaluate()
        if finite is not None and not bool(finite()):
            return
        with torch.no_grad():
            self.update(lr)
    def update(self, lr):
        rates, decays = self.parameters.rates, self.parameters.weight_decays
        for value, way, rate, decay in zip(self.parameters.values, self.ways(lr), rates, decays, strict=True):
            value.mul_(1 - lr * rate * (decay or 0.0)).sub_(way, alpha=lr * rate)
    def ways(self, lr):
        return self.parameters.gradients
    def state_dict(self):
        return {"memory": list(self.memory)}
    def load_state_dict(self, state):
        for mine, saved in zip(self.memory, state["memory"], strict=True):
            mine.copy_(saved)

class Own(OptimizerSpec):
    kind: str
    lr: float = 0.1
    work: ClassVar = Plain
    def build(self, parameters):
        return self.work(parameters)

def own(work, **attributes):
    return type("Spec" + work.__name__, (Own,), {"work": work, "__module__": __name__, **attributes})

class FrozenWork(Plain):
    def ways(self, lr):
        return [torch.zeros_like(gradient) for gradient in self.parameters.gradients]
Frozen = own(FrozenWork)

class AllTooModest(Own):
    work: ClassVar = FrozenWork
    cannot: ClassVar = {"digits": "it does not move", "shapes": "it does not move"}

class Walk(Plain):
    # A random walk from a generator of its own, the state of which it saves.
    def __init__(self, parameters):
        super().__init__(parameters)
        self.generator = torch.Generator().manual_seed(0)
    def ways(self, lr):
        return [torch.randn(value.shape, generator=self.generator) for value in self.parameters.values]
    def state_dict(self):
        return {"generator": self.generator.get_state()}
    def load_state_dict(self, state):
        self.generator.set_state(state["generator"])
RandomWalk = own(Walk)

class UpWork(Plain):
    def ways(self, lr):
        return [-gradient for gradient in self.parameters.gradients]
Up = own(UpWork)

class Momentum(Plain):
    def ways(self, lr):
        for mine, gradient in zip(self.memory, self.parameters.gradients, strict=True):
            mine.mul_(0.9).add_(gradient)
        return self.memory
class ForgetfulWork(Momentum):
    def state_dict(self):
        return {}
    def load_state_dict(self, state):
        pass
Forgetful = own(ForgetfulWork)

class Counting(ForgetfulWork):
    # Saves a counter that load_state_dict does not take back.
    count = 0
    def ways(self, lr):
        self.count += 1
        return self.parameters.gradients
    def state_dict(self):
        return {"count": self.count}
Miscounting = own(Counting)

class Thing:
    pass
class UnsafeWork(Plain):
    def state_dict(self):
        return {"memory": list(self.memory), "thing": Thing()}
Unsafe = own(UnsafeWork)

class GlobalWork(Plain):
    def ways(self, lr):
        return [gradient * torch.rand(()).clamp_min(0.1) for gradient in self.parameters.gradients]
Global = own(GlobalWork)

class Reseeding(Plain):
    # The same bits each time, at the cost of the network's own generator.
    def ways(self, lr):
        torch.manual_seed(0)
        return [gradient * (1 + torch.rand(())) for gradient in self.parameters.gradients]
Seeding = own(Reseeding)

class ByPlace(Plain):
    def ways(self, lr):
        return [g * torch.linspace(1, 2, g.numel(), dtype=g.dtype) for g in self.parameters.gradients]
Placed = own(ByPlace)

class TwiceWork(Plain):
    def step(self, evaluate, lr, finite=None):
        evaluate()
        super().step(evaluate, lr, finite)
Twice = own(TwiceWork)
Once = own(Plain, evaluations_vary=True)
Claims = own(Plain, needs_curvature=True)

class Strict(Plain):
    def step(self, evaluate, lr, finite=None):
        from nnopt.optim.objective import objective_of
        objective_of(evaluate, "strict")
        super().step(evaluate, lr, finite)
Undeclared = own(Strict)

class DeafWork(Plain):
    def update(self, lr):
        super().update(0.05)
Deaf = own(DeafWork)

class AllOrNothing(Plain):
    def update(self, lr):
        super().update(0.05 if lr else 0.0)
Stubborn = own(AllOrNothing)

class Level(Plain):
    def update(self, lr):
        for value, way in zip(self.parameters.values, self.parameters.gradients, strict=True):
            value.sub_(way, alpha=lr)
Ungrouped = own(Level)

class Undecayed(Plain):
    def update(self, lr):
        for value, way, rate in zip(self.parameters.values, self.ways(lr), self.parameters.rates, strict=True):
            value.sub_(way, alpha=lr * rate)
NoDecay = own(Undecayed)

class Hasty(Plain):
    def step(self, evaluate, lr, finite=None):
        super().step(evaluate, lr)
HastySpec = own(Hasty)

class Remembering(Momentum):
    # Leaves the weights alone after an overflow, and remembers its gradients all the same.
    def step(self, evaluate, lr, finite=None):
        evaluate()
        with torch.no_grad():
            ways = [way.clone() for way in self.ways(lr)]
            if finite is None or bool(finite()):
                for value, way, rate in zip(self.parameters.values, ways, self.parameters.rates, strict=True):
                    value.sub_(way, alpha=lr * rate)
Tainted = own(Remembering)

class Normed(Plain):
    def ways(self, lr):
        return [gradient / gradient.norm() for gradient in self.parameters.gradients]
Quotient = own(Normed)
ByTensor = own(Normed, flat=False)

class Alone(Own):
    sums_over_all: ClassVar = True

class Drifting(Plain):
    def ways(self, lr):
        return [gradient - 1e-3 for gradient in self.parameters.gradients]
Drift = own(Drifting)

class Largest(Plain):
    def ways(self, lr):
        return [gradient / gradient.abs().max().clamp_min(1e-3) for gradient in self.parameters.gradients]
NoEmpty = own(Largest, flat=False)

class Boaster(Fine):
    cannot: ClassVar = {"digits": "it is shy", "resume": "it is shy"}

class RaisingWork(Plain):
    def update(self, lr):
        raise RuntimeError("two\\nlines")
Raising = own(RaisingWork)

class Picky(Own):
    cannot: ClassVar = {"rosenbrock": "it is for layers"}
    def build(self, parameters):
        if parameters.count < 3:
            raise UsageError("too small")
        return Plain(parameters)

class Missing(Own):
    def build(self, parameters):
        raise UsageError("it is not here: pip install 'nnopt[optimizers]'")

class Demanding(Own):
    radius: float
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module of optimizers, each with one fault."""
    (tmp_path / "faulty_ones.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "faulty_ones"
    monkeypatch.delitem(sys.modules, "faulty_ones", raising=False)


@pytest.mark.parametrize("kind", OPTIMIZERS.named())
def test_every_optimizer_passes_or_declares(kind: str) -> None:
    outcomes = run(kind, rates=RATES.get(kind))
    assert [outcome.check for outcome in outcomes] == CHECKS
    failed = [f"{outcome.check}: {outcome.detail}" for outcome in outcomes if outcome.status == "failed"]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("kind", OPTIMIZERS.named())
def test_what_a_class_declares_is_a_check(kind: str) -> None:
    cannot = part_of(kind).cannot
    assert set(cannot) <= set(CHECKS)
    assert all(reason.strip() for reason in cannot.values())


def test_rates_are_of_optimizers_and_problems() -> None:
    assert set(RATES) <= set(OPTIMIZERS.named())
    assert {problem for rates in RATES.values() for problem in rates} <= set(PROBLEMS)


def test_one_of_ones_own_is_tried_alike(own: str) -> None:
    heard: list[str] = []
    before = torch.get_num_threads()
    outcomes = run(f"{own}:Fine", heard.append)
    assert torch.get_num_threads() == before
    assert heard == [outcome.check for outcome in outcomes] == CHECKS
    assert {outcome.status for outcome in outcomes} == {"passed"}
    assert all(outcome.settings["kind"] == f"{own}:Fine" for outcome in outcomes)


@pytest.mark.parametrize("fault", ["Frozen", "RandomWalk", "Up"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_no_target_is_reached_without_learning(problem: str, fault: str, own: str) -> None:
    """At no rate of the grid: neither by staying, nor by a random walk, nor by climbing."""
    outcome = reach(PROBLEMS[problem], f"{own}:{fault}")
    assert outcome.status == "failed"
    assert "wanted at one of the rates" in outcome.detail
    assert rate_of(outcome) is None


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("shapes", "Up", "the loss went from"),
        ("shapes", "Frozen", "the loss went from"),
        ("idle", "ByTensor", "is no finite number"),
        ("idle", "Drift", "has no part in the loss, and went from"),
        ("empty", "NoEmpty", "it raises"),
        ("resume", "Forgetful", "state_dict lacks something"),
        ("resume", "Miscounting", "but state_dict is not"),
        ("resume", "Unsafe", "weights_only=True"),
        ("repeat", "Global", "two runs of the same spec end at different weights"),
        ("repeat", "Seeding", "default generator"),
        ("order", "Placed", "layers in another order"),
        ("evaluations", "Twice", "2 updates took 4 passes"),
        ("evaluations", "Once", "2 updates took 2 passes"),
        ("evaluations", "Claims", "gradients alone are enough"),
        ("evaluations", "Undeclared", "should have needs_curvature"),
        ("rate", "Deaf", "a first step at the rate 0 moves weights"),
        ("rate", "Stubborn", "2 updates at a thousandth of the rate move"),
        ("groups", "Ungrouped", "should stay"),
        ("groups", "NoDecay", "weight decay changes nothing"),
        ("overflow", "HastySpec", "weights change"),
        ("overflow", "Tainted", "its state changes"),
        ("entries", "Quotient", "change scale, convolution.weight, convolution.bias, hidden.bias, answers.weight"),
        ("entries", "Alone", "alone change no other weights, and its class has sums_over_all = True"),
        ("shapes", "Raising", "RuntimeError: two lines"),
        ("resume", "Boaster", "its class says it cannot (it is shy), but"),
    ],
)
def test_every_property_can_be_failed(name: str, fault: str, words: str, own: str) -> None:
    outcome = check(name, f"{own}:{fault}")
    assert outcome.status == "failed", outcome
    assert words in outcome.detail
    assert "\n" not in outcome.detail


def test_plain_gradient_descent_written_out_has_every_property(own: str) -> None:
    """So what fails above is the fault, and not what all of them have in common."""
    for name in PROPERTIES:
        outcome = check(name, f"{own}:Own")
        assert outcome.status == "passed", outcome


def test_declarations_are_put_to_the_test(own: str) -> None:
    boast = reach(PROBLEMS["digits"], f"{own}:Boaster")
    assert (boast.status, boast.detail.startswith("its class says it cannot (it is shy), but:")) == ("failed", True)
    modest = reach(PROBLEMS["digits"], f"{own}:AllTooModest")
    assert (modest.status, modest.detail.startswith("it does not move (")) == ("declared", True)
    assert check("shapes", f"{own}:AllTooModest").status == "declared"
    refused = reach(PROBLEMS["rosenbrock"], f"{own}:Picky")
    assert (refused.status, refused.detail) == ("declared", "it is for layers")


def test_bf16_is_declared_where_a_run_refuses_it() -> None:
    outcome = reach(PROBLEMS["digits"], "newton", precision="bf16")
    assert (outcome.check, outcome.status) == ("bf16", "declared")
    assert "use fp32" in outcome.detail


def test_a_known_rate_is_tried_first_and_a_wrappers_is_its_bases() -> None:
    outcome = reach(PROBLEMS["breast_cancer"], "sam", known=0.05)
    assert outcome.status == "passed"
    assert outcome.settings["base"]["lr"] == rate_of(outcome) == 0.05


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("adamm", "adam"),
        ("no_such_module:Thing", "no_such_module"),
        ("{own}:Demanding", "requires radius"),
        ("{own}:Missing", "pip install 'nnopt[optimizers]'"),
    ],
)
def test_what_cannot_be_tried_is_said(kind: str, words: str, own: str) -> None:
    with pytest.raises(UsageError, match=words.replace("[", r"\[")) as error:
        run(kind.format(own=own))
    assert "\n" not in str(error.value)


def begun(problem: str) -> float:
    """The value before the first step."""
    found = PROBLEMS[problem]
    return found.value(Trial.begin(spec_of({"kind": "sgd", "lr": 0.1}), found.model(), found.loss_function))


def test_the_problems_are_what_is_said_of_them() -> None:
    inputs, _ = PROBLEMS["quadratic"].train()
    bends = torch.linalg.eigvalsh(inputs.T.double() @ inputs.double() / len(inputs))
    assert float(bends[-1] / bends[0]) == pytest.approx(30, rel=1e-4)
    assert begun("rosenbrock") == pytest.approx(100 * (1 - 1.2**2) ** 2 + 2.2**2, rel=1e-5)
    _, targets = PROBLEMS["breast_cancer"].train()
    share = float(targets.double().mean())
    assert -share * math.log(share) - (1 - share) * math.log(1 - share) == pytest.approx(0.66, abs=0.01)
    assert begun("breast_cancer") == pytest.approx(math.log(2), abs=0.25)
    assert begun("digits") > 0.8


@pytest.mark.parametrize("name", PROBLEMS)
def test_batches_come_in_the_same_order_every_time(name: str) -> None:
    problem = PROBLEMS[name]
    ways = [[next(batches)[0] for _ in range(20)] for batches in (problem.batches(False), problem.batches(False))]
    assert all(torch.equal(*pair) for pair in zip(*ways, strict=True))
    assert len(next(problem.batches(True))[0]) == len(problem.train()[0])
