"""Every member of the union at work: learning, resuming, loss scaling, the learning rate it is told."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import torch
from plain_objective import PlainObjective
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from nnopt.errors import CheckpointError, UsageError
from nnopt.losses import ComponentLoss
from nnopt.optim.adam import Adam, _correction, adam_slowly
from nnopt.optim.optimizer import Optimizer, RuleOptimizer, State
from nnopt.optim.parameters import FlatParameters, Parameters, SeparateParameters
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.union import OPTIMIZERS
from nnopt.train.grouping import named_apart

ADAPTER: TypeAdapter[AnyOptimizerSpec] = TypeAdapter(Annotated[AnyOptimizerSpec, OPTIMIZERS])

# One row a member at least: keys besides kind, with a rate that learns the problem below.
SPECS: list[dict[str, Any]] = [
    {"kind": "gd", "lr": 0.3},
    {"kind": "sgd", "lr": 0.3},
    {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    {"kind": "momentum", "lr": 0.3},
    {"kind": "norm_adaptive", "lr": 0.3, "beta": 0.5},
    {"kind": "adagrad", "lr": 0.1},
    {"kind": "adagrad", "lr": 0.1, "epsilon": "outside"},
    {"kind": "rmsprop", "lr": 0.01},
    {"kind": "rmsprop", "lr": 3e-3, "centered": True, "momentum": 0.8, "weight_decay": 1e-3, "eps": 1e-4},
    {"kind": "adam", "lr": 0.03},
    {"kind": "adam", "lr": 0.03, "amsgrad": True, "weight_decay": 1e-3},
    {"kind": "adamw", "lr": 0.03},
    {"kind": "nadam", "lr": 0.03, "decoupled_weight_decay": True, "weight_decay": 1e-3},
    {"kind": "radam", "lr": 0.05},
    {"kind": "adadelta", "lr": 10.0},
    {"kind": "adamax", "lr": 0.05},
    {"kind": "adafactor", "lr": 0.5},
    {"kind": "lbfgs", "lr": 1.0, "max_iter": 4, "line_search_fn": "strong_wolfe"},
    {"kind": "lbfgs", "lr": 0.1, "max_iter": 3, "history_size": 2},
    {"kind": "muon", "lr": 0.03, "adamw_lr": 0.03},
    {"kind": "lion", "lr": 0.01, "weight_decay": 1e-3},
    {"kind": "adan", "lr": 0.03, "weight_decay": 1e-3},
    {"kind": "lamb", "lr": 0.05, "weight_decay": 1e-3},
    {"kind": "lars", "lr": 0.3, "trust": 0.05, "nesterov": True},
    {"kind": "ademamix", "lr": 0.01, "rise": 10},
    {"kind": "mars", "lr": 0.03},
    {"kind": "soap", "lr": 0.05, "update_every": 2},
    {"kind": "shampoo", "lr": 0.03, "update_every": 2},
    {"kind": "shampoo", "lr": 0.1, "graft": False, "decay": 0.99, "momentum": 0.0, "update_every": 1},
    {"kind": "schedule_free_sgd", "lr": 0.3, "weight_decay": 1e-3},
    {"kind": "schedule_free_adamw", "lr": 0.05},
    {"kind": "prodigy", "d0": 1e-3},
    {"kind": "dadapt_sgd", "d0": 1e-3},
    {"kind": "dadapt_adam", "d0": 1e-2},
    {"kind": "kfac", "lr": 0.1},
    {
        "kind": "kfac",
        "lr": 0.1,
        "momentum": 0.5,
        "kl_clip": None,
        "damping": 0.3,
        "update_every": 2,
        "weight_decay": 1e-3,
    },
    {"kind": "adahessian", "lr": 0.1},
    {"kind": "adahessian", "lr": 0.1, "power": 0.5, "update_every": 3, "probe": "gaussian", "probes": 2},
    {"kind": "sophia", "lr": 0.01},
    {"kind": "sophia", "lr": 0.01, "update_every": 3, "probe": "rademacher", "weight_decay": 1e-3},
    {"kind": "newton"},
    {"kind": "newton", "damping": 0.1, "line_search": "none"},
    {"kind": "newton_cg"},
    {"kind": "newton_cg", "damping": 0.1, "max_iterations": 5},
    {"kind": "gauss_newton"},
    {"kind": "gauss_newton", "damping": 1.0, "tolerance": 0.01},
    {"kind": "sam", "base": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}},
    {"kind": "sam", "rho": 0.5, "adaptive": True, "base": {"kind": "adamw", "lr": 0.03}},
    {"kind": "lookahead", "base": {"kind": "adam", "lr": 0.05}},
    {"kind": "lookahead", "every": 2, "alpha": 0.8, "base": {"kind": "nadam", "lr": 0.05}},
]
EACH = pytest.mark.parametrize("keys", SPECS, ids=lambda keys: "-".join(map(str, keys.values())))


@dataclass
class Task:
    """A small regression, with the optimizer at work on it."""

    spec: AnyOptimizerSpec
    model: nn.Module
    parameters: Parameters
    optimizer: Optimizer
    evaluate: PlainObjective

    @property
    def evaluations(self) -> int:
        return self.evaluate.passes

    def run(self, steps: int, multiplier: float = 1.0, **options: Any) -> float:
        for _ in range(steps):
            self.optimizer.step(self.evaluate, self.spec.peak_lr * multiplier, **options)
        return float(self.evaluate())

    def weights(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def make(keys: dict[str, Any], flat: bool | None = None) -> Task:
    spec = ADAPTER.validate_python(keys)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    layout = FlatParameters if (spec.inner.flat if flat is None else flat) else SeparateParameters
    parameters = layout(model)
    inputs = torch.linspace(-1, 1, 32).view(8, 4)
    targets = inputs.sin().sum(1, keepdim=True)
    objective = PlainObjective(model, parameters, inputs, targets, ComponentLoss(F.mse_loss, None))
    return Task(spec, model, parameters, spec.build(parameters), objective)


def equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(left, right, strict=True))


def flatten(state: Any) -> list[Any]:
    """The leaves of a state, tensors as lists of numbers."""
    if isinstance(state, dict):
        return [leaf for key in state for leaf in (key, *flatten(state[key]))]
    if isinstance(state, list | tuple):
        return [leaf for item in state for leaf in flatten(item)]
    return [state.tolist() if isinstance(state, Tensor) else state]


def slower(keys: dict[str, Any]) -> dict[str, Any]:
    """The same with an eighth of all learning rates."""
    rates = ("lr", "adamw_lr")
    slow = {name: value / 8 if name in rates else value for name, value in keys.items()}
    return slow | ({"base": slower(keys["base"])} if "base" in keys else {})


def test_every_member_of_the_union_has_a_row() -> None:
    assert {keys["kind"] for keys in SPECS} == set(OPTIMIZERS.named())


@EACH
def test_it_learns(keys: dict[str, Any]) -> None:
    task = make(keys)
    before = float(task.evaluate())
    assert task.run(40) < before / 4


@EACH
def test_a_step_evaluates_once_unless_it_says_otherwise(keys: dict[str, Any]) -> None:
    task = make(keys)
    task.optimizer.step(task.evaluate, task.spec.peak_lr)
    assert (task.evaluations > 1) == task.spec.evaluations_vary


@EACH
def test_resume_gives_the_same_bits(keys: dict[str, Any]) -> None:
    unbroken = make(keys)
    unbroken.run(5)
    file = io.BytesIO()
    torch.save({"model": unbroken.model.state_dict(), "optimizer": unbroken.optimizer.state_dict()}, file)
    file.seek(0)
    passes = unbroken.evaluations
    unbroken.run(5, multiplier=0.5)

    resumed = make(keys)
    resumed.run(2)
    saved = torch.load(file, weights_only=True)
    resumed.model.load_state_dict(saved["model"])
    resumed.optimizer.load_state_dict(saved["optimizer"])
    resumed.evaluate.passes = passes  # seeds what is drawn
    resumed.run(5, multiplier=0.5)

    assert equal(resumed.weights(), unbroken.weights())
    assert flatten(resumed.optimizer.state_dict()) == flatten(unbroken.optimizer.state_dict())


RATED = [keys for keys in SPECS if make(keys).spec.lr_key]


@pytest.mark.parametrize("keys", RATED, ids=lambda keys: "-".join(map(str, keys.values())))
def test_the_rate_of_the_step_counts_not_that_of_the_spec(keys: dict[str, Any]) -> None:
    """A tenth of the rate from one spec is the rate of another spec with a tenth."""
    decayed, lower = make(keys), make(slower(keys))
    decayed.run(3, multiplier=1 / 8)
    lower.run(3)
    assert equal(decayed.weights(), lower.weights())
    started = make(keys)
    assert not equal(started.weights(), decayed.weights())


FP16 = [keys for keys in SPECS if not make(keys).spec.evaluations_vary]
EACH_THAT_TAKES_FP16 = pytest.mark.parametrize("keys", FP16, ids=lambda keys: "-".join(map(str, keys.values())))


@EACH_THAT_TAKES_FP16
def test_an_overflow_changes_neither_weights_nor_state(keys: dict[str, Any]) -> None:
    task = make(keys)
    task.run(3)
    weights = task.weights()
    state = copy.deepcopy(flatten(task.optimizer.state_dict()))

    def overflow() -> Tensor:
        loss = task.evaluate()
        for gradient in task.parameters.gradients:
            gradient.fill_(torch.inf)
        task.parameters.gradients[0].view(-1)[0] = torch.nan
        return loss

    def finite() -> Tensor:
        return torch.stack([gradient.isfinite().all() for gradient in task.parameters.gradients]).all()

    task.optimizer.step(overflow, task.spec.peak_lr, finite)
    assert equal(task.weights(), weights)
    assert flatten(task.optimizer.state_dict()) == state


@EACH_THAT_TAKES_FP16
def test_a_finite_step_is_the_usual_one(keys: dict[str, Any]) -> None:
    usual, checked = make(keys), make(keys)
    usual.run(4)
    checked.run(4, finite=lambda: torch.tensor(True))
    assert equal(usual.weights(), checked.weights())


OWN = [keys for keys in SPECS if isinstance(make(keys).optimizer, RuleOptimizer) and make(keys).spec.recordable]


@pytest.mark.parametrize("keys", OWN, ids=lambda keys: "-".join(map(str, keys.values())))
def test_a_step_reads_nothing_from_the_device(keys: dict[str, Any]) -> None:
    """On the device `meta` tensors have no numbers: reading one on the host raises."""
    parameters = FlatParameters(nn.Linear(3, 2, device="meta"), {"weight"})
    optimizer = ADAPTER.validate_python(keys).build(parameters)

    def evaluate() -> Tensor:
        parameters.zero_gradients()
        parameters.add_penalty_gradient(l1=0.1, l2=0.1)
        parameters.clip_norm(1.0)
        parameters.clip_value(1.0)
        return parameters.penalty(l1=0.1, l2=0.1)

    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(parameters.gradient_norm())
    for finite in (None, lambda: parameters.gradient_norm().isfinite()):
        optimizer.step(evaluate, 0.1, finite)


def test_a_line_search_takes_no_loss_scaling() -> None:
    task = make({"kind": "lbfgs", "lr": 1.0})
    with pytest.raises(UsageError, match="take bf16 or fp32"):
        task.optimizer.step(task.evaluate, 1.0, lambda: torch.tensor(True))


@pytest.mark.parametrize("keys", [keys for keys in SPECS if make(keys).spec.inner.flat], ids=str)
def test_flat_and_separate_parameters_give_the_same_weights(keys: dict[str, Any]) -> None:
    flat, separate = make(keys, flat=True), make(keys, flat=False)
    flat.run(10)
    separate.run(10)
    for left, right in zip(flat.weights(), separate.weights(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


TORCH: dict[str, Callable[[nn.Module], list[torch.optim.Optimizer]]] = {
    "adamw": lambda m: [torch.optim.AdamW(m.parameters(), lr=0.02)],
    "nadam": lambda m: [torch.optim.NAdam(m.parameters(), lr=0.02)],
    "radam": lambda m: [torch.optim.RAdam(m.parameters(), lr=0.02)],
    "adadelta": lambda m: [torch.optim.Adadelta(m.parameters(), lr=0.02)],
    "adamax": lambda m: [torch.optim.Adamax(m.parameters(), lr=0.02)],
    "adafactor": lambda m: [torch.optim.Adafactor(m.parameters(), lr=0.02)],
    "lbfgs": lambda m: [torch.optim.LBFGS(m.parameters(), lr=0.02)],
    "muon": lambda m: [
        torch.optim.Muon([p for p in m.parameters() if p.ndim == 2], lr=0.02),
        torch.optim.AdamW([p for p in m.parameters() if p.ndim != 2], lr=1e-3, weight_decay=0),
    ],
}


@pytest.mark.parametrize("kind", TORCH)
def test_defaults_are_torchs(kind: str) -> None:
    task, peer = make({"kind": kind, "lr": 0.02}), make({"kind": "sgd", "lr": 0.02}, flat=False)
    optimizers = TORCH[kind](peer.model)
    for _ in range(5):
        task.optimizer.step(task.evaluate, 0.02)
        if task.spec.evaluations_vary:
            optimizers[0].step(lambda: float(peer.evaluate()))
        else:
            peer.evaluate()
            for optimizer in optimizers:
                optimizer.step()
        for left, right in zip(task.weights(), peer.weights(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_torchs_adamw_is_our_adam_with_decoupled_decay() -> None:
    theirs = make({"kind": "adamw", "lr": 0.03, "weight_decay": 0.2})
    ours = make({"kind": "adam", "lr": 0.03, "weight_decay": 0.2})
    theirs.run(10)
    ours.run(10)
    for left, right in zip(ours.weights(), theirs.weights(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_weight_decay_is_decoupled_and_reaches_all_parameters() -> None:
    """A step on gradients of 0 multiplies every parameter by 1 − ηλ, whatever the rule."""
    for keys in ({"kind": "sgd"}, {"kind": "rmsprop"}, {"kind": "adam"}):
        task = make({**keys, "lr": 0.5, "weight_decay": 0.1})
        before = task.weights()
        task.optimizer.step(lambda: torch.zeros(()), 0.5)
        for left, right in zip(task.weights(), before, strict=True):
            torch.testing.assert_close(left, right * 0.95)


def test_muon_leaves_what_is_no_matrix_to_adamw() -> None:
    task = make({"kind": "muon", "lr": 0.02, "adamw_lr": 1e-4, "weight_decay": 0.0})
    before = task.weights()
    task.optimizer.step(task.evaluate, 0.02)
    moved = [(new - old).abs().max().item() for new, old in zip(task.weights(), before, strict=True)]
    weight1, bias1, weight2, bias2 = moved
    assert bias1 == pytest.approx(1e-4, rel=0.01)
    assert bias2 == pytest.approx(1e-4, rel=0.01)
    assert min(weight1, weight2) > 1e-3


def test_muon_leaves_the_matrices_that_adamw_is_for_to_it() -> None:
    """The first step of AdamW moves every entry by its rate, an orthogonal one none by more than that of Muon."""
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False))
    model[2].weight = model[0].weight
    keys = {"kind": "muon", "lr": 0.02, "adamw_lr": 1e-4, "weight_decay": 0.0, "adamw_for": ["2"]}
    spec = ADAPTER.validate_python(keys)
    parameters = SeparateParameters(model, apart=named_apart(spec, model))
    before = {name: value.clone() for name, value in parameters.named()}
    model(torch.arange(5)).square().sum().backward()
    spec.build(parameters).step(lambda: torch.zeros(()), 0.02)
    moved = {name: (value - before[name]).abs().max().item() for name, value in parameters.named()}
    assert moved["0.weight"] == pytest.approx(1e-4, rel=0.01)
    assert moved["1.weight"] > 1e-3


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["embedding"], "optimizer.adamw_for: 'embedding' matches no parameter and no layer; there are layers '0'"),
        (["*"], "the model has none, or adamw_for names them all: take adamw"),
    ],
)
def test_muon_and_names_that_do_not_fit(names: list[str], words: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    spec = ADAPTER.validate_python({"kind": "muon", "lr": 0.02, "adamw_for": names})
    with pytest.raises(UsageError, match=re.escape(words)):
        spec.build(SeparateParameters(model, apart=named_apart(spec, model)))


def test_muon_without_a_matrix_is_refused() -> None:
    parameters = SeparateParameters(nn.Conv2d(1, 2, 3))
    with pytest.raises(UsageError, match="muon is for matrices"):
        ADAPTER.validate_python({"kind": "muon", "lr": 0.1}).build(parameters)


def test_muon_on_matrices_alone_needs_no_adamw() -> None:
    parameters = SeparateParameters(nn.Linear(3, 2, bias=False))
    optimizer = ADAPTER.validate_python({"kind": "muon", "lr": 0.1}).build(parameters)
    assert len(optimizer.state_dict()["optimizers"]) == 1


def wrong_states() -> dict[str, tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
    adam, wide = {"kind": "adam", "lr": 0.1}, FlatParameters(nn.Linear(9, 9))
    return {
        "another rule": (adam, lambda: make({"kind": "momentum", "lr": 0.1}).optimizer.state_dict()),
        "another model": (adam, lambda: RuleOptimizer(Adam(0.9, 0.99, 1e-8), wide).state_dict()),
        "another family": ({"kind": "adamw", "lr": 0.1}, lambda: make(adam).optimizer.state_dict()),
        "another count": (
            {"kind": "adamw", "lr": 0.1},
            lambda: make({"kind": "muon", "lr": 0.1}).optimizer.state_dict(),
        ),
        "another layout": (
            {"kind": "adamw", "lr": 0.1},
            lambda: make({"kind": "adafactor", "lr": 0.1}).optimizer.state_dict(),
        ),
    }


@pytest.mark.parametrize("name", wrong_states())
def test_a_state_that_does_not_belong_is_refused(name: str) -> None:
    keys, state = wrong_states()[name]
    with pytest.raises(CheckpointError):
        make(keys).optimizer.load_state_dict(state())


class _Elsewhere:
    """Stands for the count of steps on an accelerator: the CPU's shortcut is not taken."""

    is_cpu = False

    def __init__(self, steps: float) -> None:
        self.tensor = torch.tensor(steps)

    def __mul__(self, factor: float) -> Tensor:
        return self.tensor * factor


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.99999])
@pytest.mark.parametrize("steps", [1, 2, 1000, 10**6])
def test_adams_correction_is_the_same_on_an_accelerator(beta: float, steps: int) -> None:
    here = _correction(beta, torch.tensor(float(steps)))
    elsewhere = float(_correction(beta, _Elsewhere(float(steps))))  # type: ignore[arg-type]
    assert elsewhere == pytest.approx(here, rel=1e-6)


def test_the_state_is_tensors_by_name() -> None:
    """What a checkpoint of ours holds, and later code reads by these names."""
    state: State = make({"kind": "adam", "lr": 0.1, "amsgrad": True}).optimizer.state_dict()
    shapes = {name: [tuple(tensor.shape) for tensor in tensors] for name, tensors in state.items()}
    assert shapes == {"mean": [(37,)], "square": [(37,)], "largest": [(37,)], "steps": [()]}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no rate": ({"kind": "adam"}, "Field required"),
    "a rate of 0": ({"kind": "sgd", "lr": 0.0}, "greater than 0"),
    "a negative rate": ({"kind": "sgd", "lr": -0.1}, "greater than 0"),
    "an infinite rate": ({"kind": "sgd", "lr": float("inf")}, "finite"),
    "beta of 1": ({"kind": "momentum", "lr": 0.1, "beta": 1.0}, "less than 1"),
    "beta2 of 1": ({"kind": "adam", "lr": 0.1, "beta2": 1}, "less than 1"),
    "text": ({"kind": "adam", "lr": "fast"}, "valid number"),
    "nesterov alone": ({"kind": "sgd", "lr": 0.1, "nesterov": True}, "nesterov needs a momentum above 0"),
    "a key of another kind": ({"kind": "sgd", "lr": 0.1, "beta1": 0.9}, "unknown key 'beta1'"),
    "a misspelt kind": ({"kind": "adamm", "lr": 0.1}, "did you mean 'adam'"),
    "a place that is none": ({"kind": "adagrad", "lr": 0.1, "epsilon": "beside"}, "'inside' or 'outside'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_keys_are_refused(name: str) -> None:
    keys, message = WRONG[name]
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(keys)


@pytest.mark.parametrize("kind", OPTIMIZERS.named())
def test_every_part_describes_itself(kind: str) -> None:
    spec = OPTIMIZERS.named()[kind]
    assert spec.__doc__
    assert spec.formula  # type: ignore[attr-defined]
    undescribed = {name for name, field in spec.model_fields.items() if not field.description}
    assert undescribed == {"kind"}


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_on_flat_parameters_is_its_twin_step_by_step(amsgrad: bool) -> None:
    """The fused kernel, which `direction` and so the table of rules do not reach."""
    task = make({"kind": "adam", "lr": 0.03, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "amsgrad": amsgrad})
    (theta,), (gradient,) = task.parameters.values, task.parameters.gradients
    generator = torch.Generator().manual_seed(3)
    gradients = [torch.randn(len(theta), generator=generator) * 0.5**step for step in range(30)]
    twin = adam_slowly(theta.double().clone(), [g.double() for g in gradients], 0.03, 0.8, 0.95, 1e-6, amsgrad)

    def evaluate_to(wanted: Tensor) -> Callable[[], Tensor]:
        def evaluate() -> Tensor:
            gradient.copy_(wanted)
            return torch.zeros(())

        return evaluate

    for wanted, expected in zip(gradients, twin, strict=True):
        task.optimizer.step(evaluate_to(wanted), lr=0.03)
        torch.testing.assert_close(theta.double(), expected, rtol=2e-5, atol=2e-6)
