"""Optimizers around others: SAM and Lookahead, beside another package's, by hand, and in training."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import SMALL, Ended
from plain_objective import PlainObjective
from pydantic import ValidationError
from pytorch_optimizer import SAM
from pytorch_optimizer import Lookahead as TheirLookahead
from running import fit, summary_of
from torch import Tensor, nn

from nnopt.errors import CheckpointError, UsageError
from nnopt.optim.gradient_descent import GradientDescent
from nnopt.optim.lookahead import Lookahead
from nnopt.optim.optimizer import Evaluate, Finite, Optimizer, Rate, RuleOptimizer
from nnopt.optim.parameters import FlatParameters, Parameters
from nnopt.optim.sam import SharpnessAware
from nnopt.spec.merge import merge
from nnopt.spec.optimizers import wrappers
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.union import OPTIMIZERS

pytestmark = pytest.mark.usefixtures("undrawn")

SGD = {"kind": "sgd", "lr": 0.05, "momentum": 0.9}
ADAMW = {"kind": "adamw", "lr": 0.03, "weight_decay": 0.1}


def spec_of(**keys: Any) -> AnyOptimizerSpec:
    spec = OPTIMIZERS.find(keys["kind"]).model_validate(keys)
    assert isinstance(spec, AnyOptimizerSpec)
    return spec


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).double()


def loss_of(model: nn.Module, step: int) -> Tensor:
    """A batch of its own for every step."""
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    return (model(inputs) - inputs.sin().sum(1, keepdim=True)).square().mean()


def evaluator(model: nn.Module, parameters: Parameters, step: int, calls: list[int] | None = None) -> Evaluate:
    def evaluate() -> Tensor:
        if calls is not None:
            calls.append(step)
        parameters.zero_gradients()
        loss = loss_of(model, step)
        loss.backward()
        return loss.detach()

    return evaluate


def assert_same_steps(
    keys: dict[str, Any], theirs: Callable[[nn.Module], torch.optim.Optimizer], steps: int = 13
) -> None:
    ours_model, their_model = network(), network()
    parameters = FlatParameters(ours_model)
    ours, peer = spec_of(**keys).build(parameters), theirs(their_model)
    lr = spec_of(**keys).peak_lr
    for step in range(steps):
        ours.step(evaluator(ours_model, parameters, step), lr)

        def closure(step: int = step) -> Tensor:
            peer.zero_grad()
            loss = loss_of(their_model, step)
            loss.backward()
            return loss

        closure()
        peer.step(closure)
        for left, right in zip(ours_model.parameters(), their_model.parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-8)  # theirs takes norms in float32


BASES: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    (ADAMW, torch.optim.AdamW, {"lr": 0.03, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("base", "peer", "options"), BASES, ids=["sgd", "adamw"])
@pytest.mark.parametrize(("rho", "adaptive"), [(0.05, False), (0.5, True)])
def test_sam_takes_the_steps_of_another_package(
    base: dict[str, Any], peer: Any, options: dict[str, Any], rho: float, adaptive: bool
) -> None:
    keys = {"kind": "sam", "rho": rho, "adaptive": adaptive, "base": base}
    assert_same_steps(keys, lambda model: SAM(model.parameters(), peer, rho=rho, adaptive=adaptive, **options))


@pytest.mark.parametrize(("base", "peer", "options"), BASES, ids=["sgd", "adamw"])
@pytest.mark.parametrize(("every", "alpha"), [(5, 0.5), (2, 0.8), (1, 0.3)])
def test_lookahead_takes_the_steps_of_another_package(
    base: dict[str, Any], peer: Any, options: dict[str, Any], every: int, alpha: float
) -> None:
    keys = {"kind": "lookahead", "every": every, "alpha": alpha, "base": base}
    assert_same_steps(keys, lambda model: TheirLookahead(peer(model.parameters(), **options), k=every, alpha=alpha))


def on_a_bowl(optimizer: Callable[[Parameters], Optimizer], start: list[float], steps: int, lr: float) -> list[float]:
    """Steps on J = θ₁² + θ₂²/2; where they end."""
    model = nn.Linear(2, 1, bias=False).double()
    parameters = FlatParameters(model)
    parameters.values[0].copy_(torch.tensor(start, dtype=torch.float64))
    built = optimizer(parameters)

    def evaluate() -> Tensor:
        (value,) = parameters.values
        parameters.gradients[0].copy_(value * torch.tensor([2.0, 1.0], dtype=torch.float64))
        return value.square().sum()

    for _ in range(steps):
        built.step(evaluate, lr)
    return parameters.values[0].tolist()


def plain(parameters: Parameters) -> RuleOptimizer:
    return RuleOptimizer(GradientDescent(), parameters)


def test_sam_by_hand() -> None:
    """From (1, 2) the gradient is (2, 2): ρ/√8 of it uphill it is 2(1 + ρ/√2), 2 + ρ/√2."""
    rho, lr = 0.3, 0.1
    up = rho / 2**0.5
    found = on_a_bowl(lambda parameters: SharpnessAware(plain(parameters), parameters, rho), [1.0, 2.0], 1, lr)
    assert found == pytest.approx([1 - lr * 2 * (1 + up), 2 - lr * (2 + up)])
    # Adaptive: θ²g = (2, 8), θg = (2, 4) of length √20.
    up1, up2 = 2 * rho / 20**0.5, 8 * rho / 20**0.5
    found = on_a_bowl(lambda parameters: SharpnessAware(plain(parameters), parameters, rho, True), [1.0, 2.0], 1, lr)
    assert found == pytest.approx([1 - lr * 2 * (1 + up1), 2 - lr * (2 + up2)])


def test_lookahead_by_hand() -> None:
    """Two steps of η = 0.1 multiply by 0.8² and 0.9², of which way a quarter is gone."""
    found = on_a_bowl(lambda parameters: Lookahead(plain(parameters), parameters, 2, 0.25), [1.0, 2.0], 2, 0.1)
    assert found == pytest.approx([1 + 0.25 * (0.64 - 1), 2 + 0.25 * (1.62 - 2)])


def test_sam_at_distance_0_and_lookahead_that_goes_the_whole_way_are_their_bases() -> None:
    wanted = on_a_bowl(plain, [1.0, 2.0], 7, 0.1)
    assert on_a_bowl(lambda one: SharpnessAware(plain(one), one, 0.0), [1.0, 2.0], 7, 0.1) == wanted
    assert on_a_bowl(lambda one: Lookahead(plain(one), one, 3, 1.0), [1.0, 2.0], 7, 0.1) == wanted


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_stays_where_there_is_no_slope(adaptive: bool) -> None:
    found = on_a_bowl(lambda one: SharpnessAware(plain(one), one, 0.5, adaptive), [0.0, 0.0], 3, 0.1)
    assert found == [0.0, 0.0]


def test_sam_returns_to_where_it_was_before_its_base_steps() -> None:
    model = network()
    parameters = FlatParameters(model)
    before, calls = parameters.values[0].clone(), list[int]()
    spec_of(kind="sam", base=SGD).build(parameters).step(evaluator(model, parameters, 0, calls), 0.0)
    assert torch.equal(parameters.values[0], before)
    assert len(calls) == 2
    worst = parameters.gradients[0].clone()
    evaluator(model, parameters, 0)()
    assert not torch.allclose(worst, parameters.gradients[0], rtol=1e-3)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_sam_leaves_the_statistics_of_batch_norm_to_the_first_pass(momentum: float | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=momentum), nn.Linear(4, 2))
    parameters = FlatParameters(model)
    inputs, targets = torch.randn(16, 3), torch.randint(2, (16,))
    objective = PlainObjective(model, parameters, inputs, targets, nn.functional.cross_entropy)
    sam, norm = spec_of(kind="sam", rho=0.5, base=SGD).build(parameters), model[1]
    assert isinstance(norm, nn.BatchNorm1d)
    wanted = nn.BatchNorm1d(4, momentum=momentum)
    for _ in range(3):
        wanted(model[0](inputs))
        sam.step(objective, 0.1)
        for name, buffer in wanted.named_buffers():
            assert torch.equal(norm.get_buffer(name), buffer), name
    assert norm.momentum == momentum
    assert objective.passes == 6


def test_a_lookahead_that_is_settled_takes_the_same_steps() -> None:
    """With its count on the device, as recorded steps need it; an overflow counts as no step in either form."""
    found = []
    for settled in (False, True):
        model = network()
        parameters = FlatParameters(model)
        optimizer = spec_of(kind="lookahead", every=3, base=ADAMW).build(parameters)
        optimizer.step(evaluator(model, parameters, 0), 0.03)
        memory = optimizer.settle() if settled else []
        for step in range(1, 9):
            finite = torch.tensor(step not in (2, 5))
            optimizer.step(evaluator(model, parameters, step), 0.03, lambda finite=finite: finite)
        found.append([*parameters.values, torch.tensor(int(optimizer.state_dict()["count"]))])
        if settled:
            state = optimizer.state_dict()
            assert {id(tensor) for tensor in (*state["slow"], state["count"])} <= {id(tensor) for tensor in memory}
    for left, right in zip(*found, strict=True):
        assert torch.equal(left, right)
    assert int(found[0][-1]) == 1  # 7 of 9 steps counted, after two threes


def test_lookahead_goes_on_between_two_looks() -> None:
    def trained(steps: range, state: dict[str, Any] | None = None, settled: bool = False) -> dict[str, Any]:
        model = network()
        parameters = FlatParameters(model)
        optimizer = spec_of(kind="lookahead", every=4, base=ADAMW).build(parameters)
        if state is not None:
            parameters.values[0].copy_(state["values"])
            optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # torch's keep the tensors
        if settled:
            optimizer.settle()
        for step in steps:
            optimizer.step(evaluator(model, parameters, step), 0.03)
        file = io.BytesIO()
        torch.save({"values": parameters.values[0], "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        return dict(torch.load(file, weights_only=True))

    whole, half = trained(range(11)), trained(range(6))
    assert half["optimizer"]["count"] == 2
    assert torch.equal(trained(range(6, 11), half)["values"], whole["values"])
    assert torch.equal(trained(range(6, 11), half, settled=True)["values"], whole["values"])


@pytest.mark.parametrize("state", [{}, {"slow": [torch.zeros(2)], "base": {}, "count": 0}, {"slow": None, "base": {}}])
def test_a_state_that_is_none_of_lookaheads_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="none of lookahead's"):
        spec_of(kind="lookahead", base=SGD).build(FlatParameters(network())).load_state_dict(state)


class Showing(Optimizer):
    """Shows one tensor in place of the values."""

    tensor = torch.ones(1)

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        evaluate()

    def shown(self) -> list[Tensor] | None:
        return [self.tensor]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_what_the_base_shows_is_shown() -> None:
    parameters = FlatParameters(network())
    for wrapper in (SharpnessAware(Showing(), parameters, 0.1), Lookahead(Showing(), parameters, 2, 0.5)):
        assert wrapper.shown() == [Showing.tensor]


def test_sam_takes_no_loss_scaling() -> None:
    model = network()
    parameters = FlatParameters(model)
    with pytest.raises(UsageError, match="take bf16 or fp32"):
        spec_of(kind="sam", base=SGD).build(parameters).step(
            evaluator(model, parameters, 0), 0.1, lambda: torch.tensor(True)
        )


def test_the_rate_and_the_groups_are_the_bases() -> None:
    groups = [{"parameters": ["0"], "lr": 2.0}]
    for kind in wrappers.NAMES:
        spec = spec_of(kind=kind, base={**SGD, "groups": groups})
        assert (spec.peak_lr, spec.lr_key) == (0.05, ("base", "lr"))
        assert spec.at_rate(0.5).peak_lr == spec.at_rate(0.5).inner.peak_lr == 0.5
        assert [group.lr for group in spec.parameter_groups] == [2.0]
        assert spec.inner == spec_of(**SGD, groups=groups)


def test_all_optimizers_but_wrappers_can_stand_within() -> None:
    assert set(wrappers.BASES.named()) == set(OPTIMIZERS.named()) - set(wrappers.NAMES)
    assert {member.kind_name() for member in wrappers.MEMBERS} == set(wrappers.NAMES)


def test_every_other_optimizer_is_taken_or_refused_in_words() -> None:
    for kind, part in wrappers.BASES.named().items():
        assert issubclass(part, AnyOptimizerSpec)
        keys = {"kind": kind} | ({"lr": 0.1} if "lr" in part.model_fields else {})
        if part.evaluations_vary or part.needs_curvature:
            with pytest.raises(ValidationError, match="goes around optimizers that evaluate once"):
                spec_of(kind="sam", base=keys)
        else:
            assert spec_of(kind="sam", base=keys).inner.kind == kind


def test_a_wrapper_of_another_package_is_no_base_either() -> None:
    with pytest.raises(ValidationError, match="wrappers do not go into each other"):
        spec_of(kind="sam", base=spec_of(kind="lookahead", base=SGD))


IN_BASE = "belongs to the optimizer that it wraps: write it within base"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"kind": "sam", "lr": 0.1, "base": SGD}, f"optimizer.lr: sam: the learning rate {IN_BASE}"),
        (
            {"kind": "sam", "groups": [], "base": SGD},
            f"sam: what parameters are treated alike {IN_BASE}",
        ),
        ({"kind": "lookahead", "weight_decay": 1, "base": SGD}, f"lookahead: weight decay {IN_BASE}"),
        ({"kind": "sam"}, "optimizer.base: this key is missing"),
        ({"kind": "sam", "base": {"kind": "sgd"}}, "optimizer.base.lr: this key is missing"),
        ({"kind": "sam", "base": {"kind": "sgdd", "lr": 1}}, "did you mean 'sgd'?"),
        ({"kind": "sam", "base": {"kind": "lookahead", "base": SGD}}, "wrappers do not go into each other"),
        ({"kind": "lookahead", "base": {"kind": "lbfgs", "lr": 1}}, "optimizer.base.kind: lbfgs evaluates more than"),
        ({"kind": "lookahead", "base": {"kind": "schedule_free_sgd", "lr": 1}}, "averages its weights along the way"),
        ({"kind": "lookahead", "every": 0, "base": SGD}, "optimizer.every: should be"),
        ({"kind": "sam", "rho": -1, "base": SGD}, "optimizer.rho: should be"),
        ({"kind": "sam", "base": {**SGD, "groups": [{"parameters": ["conv"]}]}}, "'conv' matches no parameter"),
    ],
)
def test_a_mistake_is_one_line(keys: dict[str, Any], words: str, cli: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**SMALL, "optimizer": keys}))
    ended = cli("train", tmp_path / "spec.yaml", "--quiet", code=2)
    assert len(ended.errors) == 1
    assert words in ended.errors[0]


@pytest.mark.parametrize(("kind", "passes"), [("sam", 2), ("lookahead", 1)])
def test_runs_count_every_evaluation_and_heed_the_bases_groups(kind: str, passes: int, tmp_path: Path) -> None:
    base = {**SGD, "groups": [{"parameters": ["*.bias"], "lr": 3.0}]}
    (record,) = fit(tmp_path, {"optimizer": {"kind": kind, "base": base}, "budget": {"steps": 12}})
    summary = summary_of(record.folder)
    assert summary["gradient_evaluations"] == 12 * passes
    assert summary["groups"][0]["lr"] == 3.0


def rate_in(spec: Path) -> float:
    return float(yaml.safe_load(spec.read_text())["optimizer"]["base"]["lr"])


def test_a_search_and_an_override_reach_the_rate_within(cli: Callable[..., Ended], tmp_path: Path, runs: Path) -> None:
    spec = merge(SMALL, {"budget": {"steps": 4}})
    spec["optimizer"] = {"kind": "sam", "base": SGD}
    spec["search"] = {"space": {"optimizer.base.lr": {"log": [0.01, 0.1]}}, "trials": 2, "confirm": None}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    cli("sweep", tmp_path / "spec.yaml", "--quiet")
    rates = sorted(rate_in(path) for path in (runs / spec["name"]).glob("**/trial-*/**/spec.yaml"))
    assert len(rates) == 2
    assert 0.01 <= rates[0] < rates[1] <= 0.1
    del spec["search"]
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    cli("train", tmp_path / "spec.yaml", "optimizer.base.lr=0.02", "name=one", "--quiet")
    (path,) = (runs / "one").glob("**/seed-0/spec.yaml")
    assert rate_in(path) == 0.02
