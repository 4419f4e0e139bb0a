"""One update: gradients added up over parts, clipped, penalised - against autograd and arithmetic by hand."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from running import (
    Starter,
    assert_equal,
    assert_same_bits,
    fit_one,
    open_session,
    prepare,
    rows_of,
    wait_for,
    weights_of,
    write_digits,
)
from torch import Tensor

from nnopt.errors import DataError, UsageError
from nnopt.optim.optimizer import Evaluate
from nnopt.train import loop
from nnopt.train.setup import Setup
from nnopt.train.state import TrainState
from nnopt.train.warming import warm_up


def gradients(setup: Setup, rows: Tensor | None = None) -> dict[str, Tensor]:
    """The gradients of one evaluation, by name."""
    setup.backward.begin(setup.feed.of(rows), norm_wanted=True)
    setup.backward()
    named = setup.parameters.named(setup.parameters.gradients)
    return {name: gradient.clone() for name, gradient in named}


def by_autograd(setup: Setup, state: TrainState, rows: Tensor, l1: float = 0, l2: float = 0) -> dict[str, Tensor]:
    """The gradients of loss + λ₁‖w‖₁ + λ₂/2·‖w‖² over weight matrices w, all written out."""
    parameters = dict(state.model.named_parameters())
    outputs = state.model(setup.data.train.inputs[rows])
    objective = torch.nn.functional.cross_entropy(outputs, setup.data.train.targets[rows])
    weights = [value for name, value in parameters.items() if name.endswith("weight") and value.dim() > 1]
    for weight in weights:
        objective = objective + l1 * weight.abs().sum() + l2 / 2 * (weight**2).sum()
    return dict(zip(parameters, torch.autograd.grad(objective, list(parameters.values())), strict=True))


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 1e-5) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=rtol, atol=1e-7)


ROWS = torch.arange(100, 150)
OPTIMIZERS = [{"kind": "sgd", "lr": 0.1}, {"kind": "adamw", "lr": 0.1}]  # flat and separate parameters


# ---------------------------------------------------------------------------------------- accumulation


@settings(max_examples=15, deadline=None)
@given(parts=st.integers(2, 50), size=st.integers(50, 90))
def test_a_batch_in_parts_has_the_gradient_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, parts: int, size: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole, in_parts = (
        prepare(folder, {"strategy": {"accumulate": count, "batch_size": 90}})[1] for count in (1, parts)
    )
    rows = torch.arange(size)
    assert_close(gradients(in_parts, rows), gradients(whole, rows))
    assert float(in_parts.backward.loss) == pytest.approx(float(whole.backward.loss), rel=1e-5)
    assert in_parts.backward.evaluations == 1, "the parts are one evaluation of the gradient"


def test_parts_are_of_nearly_equal_size(tmp_path: Path) -> None:
    _, setup, state = prepare(tmp_path, {"strategy": {"accumulate": 4}})
    sizes: list[int] = []
    state.model.register_forward_hook(lambda _model, inputs, _output: sizes.append(len(inputs[0])))
    gradients(setup, torch.arange(10))
    assert sizes == [3, 3, 2, 2]
    sizes.clear()
    gradients(setup, torch.arange(3))
    assert sizes == [1, 1, 1]


def test_the_full_batch_can_be_accumulated(tmp_path: Path) -> None:
    strategies: list[dict[str, Any]] = [{"batch_size": "full"}, {"batch_size": "full", "accumulate": 7}]
    whole, in_parts = (prepare(tmp_path, {"strategy": keys})[1] for keys in strategies)
    assert_close(gradients(in_parts), gradients(whole), rtol=1e-4)


def test_training_in_parts_follows_training_in_one(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    changes = {"budget": {"steps": 20}, "seeds": [1]}
    whole = fit_one(tmp_path, changes)
    in_parts = fit_one(tmp_path / "parts", changes | {"strategy": {"accumulate": 5}})
    assert_close(weights_of(in_parts.folder), weights_of(whole.folder), rtol=1e-4)
    assert in_parts.summary["gradient_evaluations"] == whole.summary["gradient_evaluations"] == 20


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({"batch_size": 4, "accumulate": 3}, "parts of a batch of 4 with one sample alone"),
        ({"batch_size": 37}, "a batch with one sample alone"),  # 1222 = 33 * 37 + 1
        ({"batch_size": 1}, "a batch with one sample alone"),
    ],
)
def test_batch_norm_with_a_single_sample_is_found_before_training(
    tmp_path: Path, strategy: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        prepare(tmp_path, {"strategy": strategy, "model": {"norm": "batch"}})
    prepare(tmp_path, {"strategy": strategy, "model": {"norm": "layer"}})


def test_more_parts_than_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="5 parts of 4 samples are empty"):
        prepare(tmp_path, {"strategy": {"batch_size": 4, "accumulate": 5}})


# ------------------------------------------------------------------------------------------- penalties


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["flat", "separate"])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.01, 0.0), (0.0, 0.3), (0.02, 0.1)])
def test_l1_and_l2_have_the_gradient_of_the_penalised_objective(
    tmp_path: Path, optimizer: dict[str, Any], l1: float, l2: float
) -> None:
    changes = {"loss": {"l1": l1, "l2": l2}, "optimizer": optimizer, "model": {"norm": "layer"}}
    _, setup, state = prepare(tmp_path, changes)
    assert_close(gradients(setup, ROWS), by_autograd(setup, state, ROWS, l1, l2))


def test_the_loss_column_leaves_the_penalty_out(tmp_path: Path) -> None:
    plain, heavy = (prepare(tmp_path, {"loss": {"l2": l2}})[1] for l2 in (0.0, 10.0))
    gradients(plain, ROWS)
    gradients(heavy, ROWS)
    assert float(plain.backward.loss) == float(heavy.backward.loss)


def test_a_line_search_sees_the_penalty(tmp_path: Path) -> None:
    changes = {"optimizer": {"kind": "lbfgs", "lr": 1.0}, "strategy": {"batch_size": "full"}}
    values = []
    for l2 in (0.0, 2.0):
        _, setup, state = prepare(tmp_path, changes | {"loss": {"l2": l2}})
        setup.backward.begin(setup.feed.of(None), norm_wanted=False)
        values.append(float(setup.backward()))
        weights = [value.detach() for name, value in state.model.named_parameters() if name.endswith("weight")]
    assert values[1] - values[0] == pytest.approx(sum(float((w**2).sum()) for w in weights), rel=1e-4)


# -------------------------------------------------------------------------------------------- clipping


def update(folder: Path, changes: dict[str, Any]) -> tuple[Tensor, Setup]:
    """What one step of plain SGD with rate 1 takes from all parameters."""
    _, setup, state = prepare(folder, {"optimizer": {"kind": "sgd", "lr": 1.0}} | changes)
    before = torch.cat([value.detach().reshape(-1).clone() for value in state.model.parameters()])
    setup.backward.begin(setup.feed.of(ROWS), norm_wanted=True)
    state.optimizer.step(setup.backward, 1.0)
    after = torch.cat([value.detach().reshape(-1) for value in state.model.parameters()])
    return before - after, setup


def test_clip_norm_shortens_the_update_and_keeps_its_direction(tmp_path: Path) -> None:
    plain, setup = update(tmp_path, {})
    norm = float(plain.norm())
    clipped, clipped_setup = update(tmp_path, {"strategy": {"clip_norm": norm / 4}})
    torch.testing.assert_close(clipped, plain / 4, rtol=1e-3, atol=1e-7)
    assert float(clipped.norm()) == pytest.approx(norm / 4, rel=1e-4)
    for one in (setup, clipped_setup):
        assert float(one.backward.gradient_norm) == pytest.approx(norm, rel=1e-4), "logged as before the clipping"
    untouched, _ = update(tmp_path, {"strategy": {"clip_norm": norm * 2}})
    assert torch.equal(untouched, plain)


def test_clip_value_limits_every_entry_of_the_update(tmp_path: Path) -> None:
    plain, _ = update(tmp_path, {})
    limit = float(plain.abs().max()) / 3
    clipped, _ = update(tmp_path, {"strategy": {"clip_value": limit}})
    torch.testing.assert_close(clipped, plain.clamp(-limit, limit), rtol=1e-3, atol=1e-6)
    assert (clipped.abs() > limit * 0.99).sum() > 1


def test_clipping_takes_in_the_penalty(tmp_path: Path) -> None:
    clipped, _ = update(tmp_path, {"loss": {"l2": 100.0}, "strategy": {"clip_norm": 0.5}})
    assert float(clipped.norm()) == pytest.approx(0.5, rel=1e-4)


# ------------------------------------------------------------------------------------ counting evaluations


def test_gradient_descent_takes_all_samples_at_every_step(tmp_path: Path) -> None:
    changes = {"optimizer": {"kind": "gd", "lr": 0.5}, "strategy": {"batch_size": "full"}, "budget": {"epochs": 4}}
    record = fit_one(tmp_path, changes)
    assert (record.summary["steps"], record.summary["samples"]) == (4, 4 * 1222)
    assert record.summary["gradient_evaluations"] == 4
    losses = [float(row["loss"]) for row in rows_of(record.folder / "steps.csv")]
    assert losses == sorted(losses, reverse=True), "with a small rate the loss falls at every step"
    _, setup, state = prepare(tmp_path, changes)
    everything = state.model(setup.data.train.inputs)
    expected = torch.nn.functional.cross_entropy(everything, setup.data.train.targets)
    assert losses[0] == pytest.approx(float(expected.detach()), rel=1e-5)


def test_lbfgs_counts_every_evaluation_of_its_line_search(tmp_path: Path) -> None:
    changes = {
        "optimizer": {"kind": "lbfgs", "lr": 1.0},
        "strategy": {"batch_size": "full"},
        "budget": {"steps": 3},
        "evaluation": {"every": {"steps": 1}},
    }
    session = open_session(tmp_path, changes)
    calls: list[int] = []
    step = session.state.optimizer.step

    def counting(evaluate: Evaluate, lr: float, finite: Any = None) -> None:
        def once() -> Tensor:
            calls.append(session.state.progress.step + 1)
            return evaluate()

        step(once, lr, finite)

    session.state.optimizer.step = counting  # type: ignore[method-assign]
    loop.train(session)
    rows = rows_of(tmp_path / "metrics.csv")
    assert [int(row["gradient_evaluations"]) for row in rows] == [
        sum(made_at <= step for made_at in calls) for step in (1, 2, 3)
    ]
    assert all(calls.count(step) > 1 for step in (1, 2, 3))
    assert [int(row["samples"]) for row in rows] == [1222, 2444, 3666]


# ------------------------------------------------------------------------------------------- compilation


@pytest.mark.slow  # compiling takes most of a minute
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_run_follows_the_plain_one_and_its_warm_up_leaves_no_trace(tmp_path: Path) -> None:
    changes = {"model": {"norm": "batch", "dropout": 0.0}, "optimizer": {"kind": "adam", "lr": 0.01}}
    (tmp_path / "compiled").mkdir()
    plain = fit_one(tmp_path, changes)
    session = open_session(tmp_path / "compiled", changes | {"strategy": {"compile": True}})
    before = session.state.state_dict()
    before = {name: clone(before[name]) for name in ("model", "optimizer", "generators", "position", "progress")}
    warm_up(session)
    after = session.state.state_dict()
    assert_equal(before, {name: after[name] for name in before})
    compiling = session.state.clock.seconds["compile"]
    assert compiling > 0.1

    loop.train(session)
    curves = [rows_of(folder / "steps.csv") for folder in (plain.folder, tmp_path / "compiled")]
    assert len(curves[0]) == len(curves[1]) == 40
    for one, other in zip(*curves, strict=True):
        assert float(one["loss"]) == pytest.approx(float(other["loss"]), rel=2e-2)
    seconds = session.state.clock.seconds
    assert seconds["train"] < seconds["compile"], "training time has no compilation in it"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_run_that_was_stopped_ends_in_the_same_bits(tmp_path: Path, starter: Starter) -> None:
    changes = {"strategy": {"compile": True}, "model": {"dropout": 0.2}, "budget": {"epochs": 100}}
    tops = [tmp_path / "whole", tmp_path / "stopped"]
    for top in tops:
        top.mkdir()
        write_digits(top, changes)
    starter.run(tops[0], "train", "spec.yaml")
    whole, stopped = (top / "runs" / "small" / "sgd" / "seed-0" for top in tops)
    process = starter.start(tops[1], "train", "spec.yaml")
    wait_for(lambda: (stopped / "metrics.csv").exists() and (stopped / "metrics.csv").read_text().count("\n") > 3)
    process.send(signal.SIGTERM)
    assert process.wait() == 143
    starter.run(tops[1], "train", "spec.yaml")
    assert_same_bits(whole, stopped)


def clone(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    return [clone(item) for item in value] if isinstance(value, list) else value
