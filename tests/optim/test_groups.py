"""Parameter groups: rates and weight decay of their own, for every optimizer, against torch and slow twins."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from chosen import chosen, kind_of
from command_line import SMALL, Ended
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_objective import PlainObjective
from pydantic import ValidationError
from rule_table import RULES, Row
from running import fit, prepare, summary_of
from torch import Tensor, nn

from nnopt.losses import ComponentLoss
from nnopt.optim.optimizer import RuleOptimizer
from nnopt.optim.parameters import FlatParameters, Group, SeparateParameters
from nnopt.spec.merge import merge
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.contained import imitation
from nnopt.spec.optimizers.union import OPTIMIZERS

pytestmark = pytest.mark.usefixtures("undrawn")

KEYS: dict[str, dict[str, Any]] = {
    "muon": {"adamw_lr": 0.02},
    "lbfgs": {"max_iter": 3},
    "kfac": {"kl_clip": None},
    "soap": {"weight_decay": 0.0},
}
LOSS = ComponentLoss(nn.functional.mse_loss, None)
RATES = {"0": 0.5, "1": 2.0}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2)).double()


def built(kind: str, groups: list[Group], **keys: Any) -> tuple[nn.Module, Callable[[int], None]]:
    """A network, and what takes so many steps on it with one batch after the other."""
    model = network()
    spec = OPTIMIZERS.find(kind).model_validate(chosen(kind, 0.02, **{**KEYS.get(kind, {}), **keys}))
    assert isinstance(spec, AnyOptimizerSpec)
    parameters = (FlatParameters if spec.inner.flat else SeparateParameters)(model, {"0.weight"}, groups)
    optimizer = spec.build(parameters)
    batches = torch.Generator().manual_seed(1)

    def train(steps: int) -> None:
        for _ in range(steps):
            inputs = torch.randn(8, 4, generator=batches, dtype=torch.float64)
            objective = PlainObjective(model, parameters, inputs, inputs[:, :2] * 3, LOSS)
            optimizer.step(objective, 0.02)

    return model, train


def group(layer: str, rate: float = 1.0, weight_decay: float | None = None) -> Group:
    return Group(frozenset({f"{layer}.weight", f"{layer}.bias"}), rate, weight_decay)


# All that can have groups, those that wrap another within it.
GROUPED = sorted(kind for kind, part in OPTIMIZERS.named().items() if part.model_fields.keys() & {"groups", "base"})


@pytest.mark.parametrize("kind", sorted(set(GROUPED) - {"norm_adaptive"}))
def test_groups_with_the_usual_rate_change_nothing(kind: str) -> None:
    (plain, one), (parted, other) = built(kind, []), built(kind, [group("1"), group("0", 1.0 + 1e-15)])
    one(4)
    other(4)
    for a, b in zip(plain.parameters(), parted.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


# One rate for all parameters is what these find; groups with another are refused in the spec.
ONE_RATE = {"prodigy", "dadapt_sgd", "dadapt_adam"}


@pytest.mark.parametrize("kind", sorted(ONE_RATE))
def test_one_rate_for_all_is_no_rate_of_a_group(kind: str) -> None:
    groups = [{"parameters": ["0"], "weight_decay": 0.1}, {"parameters": ["2"], "lr": 0.5}]
    keys: dict[str, Any] = {"kind": kind, "groups": groups}
    with pytest.raises(ValidationError, match=f"{kind} finds one rate for all parameters: leave lr of groups out"):
        kind_of(kind).model_validate(keys)
    spec = kind_of(kind).model_validate(keys | {"groups": keys["groups"][:1]})
    assert spec.parameter_groups[0].weight_decay == 0.1


@pytest.mark.parametrize("kind", sorted(set(GROUPED) - ONE_RATE))
def test_a_first_step_is_multiplied_by_the_rate(kind: str) -> None:
    (plain, one), (parted, other) = built(kind, []), built(kind, [group(*item) for item in RATES.items()])
    start = network()
    if kind == "lbfgs":  # one iteration: a step along the gradient, whose length depends on the gradient by φ
        (plain, one), (parted, other) = (
            built(kind, groups, max_iter=1) for groups in ([], [group(*item) for item in RATES.items()])
        )
    steps = 2 if kind == "soap" else 1  # its first gradient begins the matrices, and moves nothing
    one(steps)
    other(steps)
    ratios = {}
    for (name, a), b, origin in zip(plain.named_parameters(), parted.parameters(), start.parameters(), strict=True):
        ratios[name] = ((b - origin) / (a - origin)).mean().item()
    scale = ratios["2.weight"]
    wanted = {"0": 0.5, "1": 2.0, "2": 1.0}
    assert scale == pytest.approx(1.0) or kind == "lbfgs"
    for name, ratio in ratios.items():
        assert ratio / scale == pytest.approx(wanted[name[0]], rel=1e-6), name


@pytest.mark.parametrize("kind", ["adamw", "nadam", "radam", "adamax", "adadelta"])
def test_torch_optimizers_are_as_with_param_groups_written_by_hand(kind: str) -> None:
    groups = [group("0", 0.5, 0.3), group("2", 3.0)]
    model, train = built(kind, groups, weight_decay=0.1)
    twin = network()
    kinds = {"adamw": "AdamW", "nadam": "NAdam", "radam": "RAdam", "adamax": "Adamax", "adadelta": "Adadelta"}
    optimizer = getattr(torch.optim, kinds[kind])(
        [
            {"params": twin[1].parameters()},
            {"params": twin[0].parameters(), "lr": 0.01, "weight_decay": 0.3},
            {"params": twin[2].parameters(), "lr": 0.06},
        ],
        lr=0.02,
        weight_decay=0.1,
    )
    train(5)
    batches = torch.Generator().manual_seed(1)
    for _ in range(5):
        inputs = torch.randn(8, 4, generator=batches, dtype=torch.float64)
        optimizer.zero_grad()
        (twin(inputs) - inputs[:, :2] * 3).square().mean().backward()
        optimizer.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("row", [row for row in RULES if row.kinds != ("norm_adaptive",)], ids=lambda row: row.kinds[0])
@settings(max_examples=12)
@given(data=st.data())
def test_a_rule_in_groups_is_the_twin_with_each_groups_rate(row: Row, data: st.DataObject) -> None:
    options = {name: data.draw(choice) for name, choice in row.options.items()}
    if options.get("nesterov") and not options["momentum"]:
        options["nesterov"] = False
    rates = [data.draw(st.sampled_from([0.1, 1.0, 7.0])) for _ in range(2)]
    model = network()
    start = [parameter.detach().clone() for parameter in model.parameters()]
    parameters = FlatParameters(model, (), [group("0", rates[0], 0.5), group("1", rates[1])])
    optimizer = RuleOptimizer(row.rule(**options), parameters, 0.0)
    slopes = [[torch.randn_like(one) for one in start] for _ in range(3)]
    for gradients in slopes:

        def evaluate(gradients: list[Tensor] = gradients) -> Tensor:
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                assert parameter.grad is not None
                parameter.grad.copy_(gradient)
            return torch.zeros(())

        optimizer.step(evaluate, 0.01)
    treatments = [(rates[0], 0.5)] * 2 + [(rates[1], 0.0)] * 2 + [(1.0, 0.0)] * 2
    for place, ((rate, decay), found) in enumerate(zip(treatments, model.parameters(), strict=True)):
        gradients = [one[place] for one in slopes]
        origin = torch.zeros_like(found)
        path = itertools.chain([origin], row.twin(origin, gradients, 0.01 * rate, **options))
        steps = [after - before for before, after in itertools.pairwise(path)]
        theta = start[place]
        for step in steps:
            theta = theta * (1 - 0.01 * rate * decay) + step
        torch.testing.assert_close(found, theta, rtol=1e-6, atol=1e-9)


def test_penalties_reach_the_same_parameters_in_every_group() -> None:
    for kind in (FlatParameters, SeparateParameters):
        plain = kind(model := network(), {"0.weight", "2.weight"})
        parted = kind(network(), {"0.weight", "2.weight"}, [group("2", 2.0), group("0", 3.0)])
        assert parted.penalty(0.3, 0.2) == pytest.approx(plain.penalty(0.3, 0.2).item())
        assert (parted.count, parted.penalised) == (plain.count, plain.penalised)
        parted.add_penalty_gradient(0.3, 0.2)
        gradients = dict(parted.named(parted.gradients))
        for name, parameter in model.named_parameters():
            reached = name in ("0.weight", "2.weight")
            wanted = (0.2 * parameter + 0.3 * parameter.sign()) * reached
            torch.testing.assert_close(gradients[name], wanted.detach())


def test_without_groups_parameters_are_one_tensor_and_torch_sees_no_groups() -> None:
    parameters = FlatParameters(network())
    assert len(parameters.values) == 1
    assert parameters.for_torch() == parameters.values
    assert len(FlatParameters(network(), (), [group("1", 2.0), group("0", 2.0)]).for_torch()) == 2


GROUPS = {"optimizer": {"groups": [{"parameters": ["*.bias"], "lr": 3, "weight_decay": 0}, {"parameters": ["3"]}]}}


def test_the_first_group_that_names_a_parameter_has_it_and_the_record_tells(tmp_path: Path) -> None:
    (record,) = fit(tmp_path, GROUPS)
    first, second = summary_of(record.folder)["groups"]
    assert first == {"parameters": ["*.bias"], "tensors": 2, "count": 26, "lr": 3.0, "weight_decay": 0.0}
    assert (second["tensors"], second["count"]) == (1, 160)
    assert prepare(tmp_path)[0].hash != prepare(tmp_path, GROUPS)[0].hash


def test_removed_weights_and_their_moments_stay_0_in_every_group(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"optimizer": {"kind": "adam", "lr": 0.01, "groups": [{"parameters": ["1"], "lr": 0.5}]}}
    changes["structure"] = {"prune": {"kind": "magnitude", "amount": 0.5, "schedule": {"kind": "one_shot", "at": 0.5}}}
    (record,) = fit(tmp_path, changes)
    assert record.status == "done", record.summary["reason"]
    assert record.summary["nonzero_parameters"] == 1210 - (64 * 16 + 160) // 2


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"groups": [{"parameters": ["conv"], "lr": 2}]}, "optimizer.groups.0.parameters: 'conv' matches no parameter"),
        ({"groups": [{"parameters": ["*"]}, {"parameters": ["1"]}]}, "groups before it have all that 1 names"),
        ({"groups": [{"parameters": ["1"], "lr": 0}]}, "name them in model.freeze instead"),
        ({"kind": "lbfgs", "lr": 1, "groups": [{"parameters": ["1"], "weight_decay": 0.1}]}, "take loss.l2"),
        ({"groups": [{"parameters": []}]}, "should have at least 1 entries"),
    ],
)
def test_a_bad_group_is_one_line(keys: dict[str, Any], words: str, cli: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(merge(SMALL, {"optimizer": keys})))
    ended = cli("train", tmp_path / "spec.yaml", "--quiet", code=2)
    assert len(ended.errors) == 1
    assert words in ended.errors[0]


def test_an_optimizer_with_groups_is_not_taken_for_another() -> None:
    sgd = {"kind": "sgd", "lr": 0.1}
    assert imitation("adam", sgd) is not None
    assert imitation("adam", {**sgd, "groups": [{"parameters": ["1"], "lr": 2.0}]}) is None
