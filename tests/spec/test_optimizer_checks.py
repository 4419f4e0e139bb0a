"""What an optimizer cannot be given is one clear line, at the key to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chosen import chosen, kind_of
from command_line import Ended

from nnopt.spec.optimizers.union import OPTIMIZERS

CURVED = [kind for kind in OPTIMIZERS.named() if kind_of(kind).needs_curvature]
SECOND_ORDER = [kind for kind in OPTIMIZERS.named() if kind_of(kind).is_second_order]
WITHOUT_RATE = [kind for kind in OPTIMIZERS.named() if "lr" not in kind_of(kind).model_fields]
FULL = {"batch_size": "full"}
PRUNE = {"prune": {"kind": "magnitude", "amount": 0.5}}
TEACHER = {"distill": {"teachers": [{"run": "somebody"}]}}

Refused = Callable[[dict[str, Any]], str]


@pytest.fixture
def refused(cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path) -> Refused:
    """The one line that a spec with these changes ends in, before anything is written."""

    def ask(changes: dict[str, Any]) -> str:
        ended = cli("train", write_spec(changes), code=2)
        (line,) = ended.errors
        assert not runs.exists()
        return line

    return ask


def test_these_are_the_kinds() -> None:
    assert set(SECOND_ORDER) == {"newton", "newton_cg", "gauss_newton"}
    assert set(CURVED) == {*SECOND_ORDER, "kfac", "adahessian", "sophia"}
    tuning_themselves = {"prodigy", "dadapt_sgd", "dadapt_adam"}
    assert set(WITHOUT_RATE) == {*SECOND_ORDER, *tuning_themselves, "sam", "lookahead"}


@pytest.mark.parametrize("kind", WITHOUT_RATE)
def test_a_rate_where_there_is_none(refused: Refused, kind: str) -> None:
    line = refused({"optimizer": {**chosen(kind), "lr": 0.1}})
    assert f"optimizer.lr: {kind}: " in line
    assert "unknown key" not in line, "it says why there is none"


@pytest.mark.parametrize("kind", CURVED)
@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"strategy": {"precision": "fp16"}}, "strategy.precision", "second derivatives, which fp16's loss scaling"),
        ({"parallel": {"kind": "ddp", "processes": 2}}, "parallel.kind", "of which each process has a part"),
        ({"strategy": {"accumulate": 2}}, "strategy.accumulate", "of the whole batch at once"),
        ({"structure": TEACHER}, "structure.distill", "not taken of a teacher's part"),
    ],
)
def test_what_has_no_second_derivatives(
    refused: Refused, kind: str, changes: dict[str, Any], place: str, words: str
) -> None:
    line = refused({"optimizer": chosen(kind), **changes})
    assert f"{place}: optimizer {kind} needs second derivatives" in line
    assert words in line


@pytest.mark.parametrize("kind", SECOND_ORDER)
@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"strategy": {"precision": "bf16"}}, "strategy.precision", "less than bf16 can tell: use fp32"),
        ({"strategy": {"clip_norm": 1.0}}, "strategy.clip_norm", "leave clip_norm out"),
        ({"strategy": {"clip_value": 1.0}}, "strategy.clip_value", "leave clip_value out"),
        ({"structure": PRUNE}, "structure", "structure sets or replaces some on the way"),
        ({"strategy": {"graph": True}}, "strategy.graph", "looks at numbers on the host"),
    ],
)
def test_what_a_step_by_curvature_does_not_go_with(
    refused: Refused, kind: str, changes: dict[str, Any], place: str, words: str
) -> None:
    line = refused({"optimizer": chosen(kind), **changes})
    assert f"{place}: " in line
    assert words in line


def test_kfac_needs_a_loss_that_says_what_is_probable(refused: Refused) -> None:
    line = refused({"optimizer": chosen("kfac"), "loss": {"kind": "mae"}})
    assert "loss.kind: optimizer kfac draws targets from what the model says is probable, which loss mae does" in line
    line = refused({"optimizer": chosen("kfac"), "loss": {"kind": "cross_entropy", "class_weights": "balanced"}})
    assert "loss.class_weights: optimizer kfac draws targets" in line


def test_adahessian_needs_a_loss_that_curves(refused: Refused) -> None:
    line = refused({"optimizer": chosen("adahessian"), "loss": {"kind": "mae"}})
    assert "loss.kind: optimizer adahessian divides by curvature, and loss mae has none in many weights: take" in line


def test_matrices_where_there_are_none(cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path) -> None:
    """A landscape is minimised over a vector."""
    data = {"kind": "function", "function": {"kind": "rosenbrock"}}
    landscape = {"data": data, "model": {"kind": "point"}, "loss": {"kind": "objective"}, "strategy": FULL}
    for kind in ("kfac", "muon"):
        ended = cli("check", write_spec({**landscape, "optimizer": chosen(kind)}), code=2)
        (line,) = ended.errors
        assert f"optimizer {kind}" in line


@pytest.mark.parametrize("kind", ["schedule_free_sgd", "schedule_free_adamw"])
@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"strategy": {"average": {"kind": "ema"}}}, "strategy.average", "averages the weights itself"),
        ({"parallel": {"kind": "hogwild", "processes": 2}}, "parallel.kind", "take parallel ddp"),
        ({"parallel": {"kind": "local_sgd", "processes": 2, "period": 4}}, "parallel.kind", "take parallel ddp"),
    ],
)
def test_what_an_average_of_its_own_does_not_go_with(
    refused: Refused, kind: str, changes: dict[str, Any], place: str, words: str
) -> None:
    line = refused({"optimizer": chosen(kind), **changes})
    assert f"{place}: optimizer {kind} " in line
    assert words in line


def test_a_range_test_of_what_has_no_rate(cli: Callable[..., Ended], write_spec: Callable[..., Path]) -> None:
    for kind in ("prodigy", "newton_cg"):
        ended = cli("tune", "lr", write_spec({"optimizer": chosen(kind)}), code=2)
        assert f"optimizer {kind} has no learning rate" in ended.stderr


def test_a_range_test_within_a_wrapper_names_the_key_there(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], undrawn: None
) -> None:
    printed = cli("tune", "lr", write_spec({"optimizer": chosen("sam"), "seeds": 1}), "--steps", 40).stdout
    assert "optimizer.base.lr: {log: [" in printed


def test_kfac_on_a_network_without_its_layers(refused: Refused, tmp_path: Path) -> None:
    """The head of this one has the embedding's weights."""
    (tmp_path / "text.txt").write_text("a few words of a text, " * 60)
    line = refused(
        {
            "data": {"kind": "text", "path": str(tmp_path / "text.txt"), "context": 8, "validation": 50, "test": 50},
            "model": {"kind": "lstm", "width": 6},
            "optimizer": {"kind": "kfac", "lr": 0.01},
        }
    )
    assert "kfac needs a model with a dense layer (Linear) or a convolution" in line
