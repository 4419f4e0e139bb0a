"""An update between tensors that stay where they are: on a CPU as it is, to the bit; on CUDA recorded and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from chosen import chosen, kind_of
from running import STEPS_AN_EPOCH, assert_equal, fit, fit_one, open_session, rows_of

from nnopt.errors import SpecError, UsageError
from nnopt.spec.optimizers.union import OPTIMIZERS
from nnopt.train import graphs, loop
from nnopt.train.session import Session

OWN = {
    "gd": {"strategy": {"batch_size": "full"}},
    "sgd": {"optimizer": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
    "momentum": {},
    "norm_adaptive": {},
    "adagrad": {"optimizer": {"lr": 0.02}},
    "rmsprop": {"optimizer": {"lr": 0.003, "centered": True, "momentum": 0.5, "weight_decay": 0.01}},
    "adam": {"optimizer": {"lr": 0.01, "weight_decay": 0.1}},
    "lion": {"optimizer": {"lr": 0.003, "weight_decay": 0.1}},
}
TORCHS = {
    "adamw": {"optimizer": {"lr": 0.01, "amsgrad": True}},
    "nadam": {"optimizer": {"lr": 0.01, "weight_decay": 0.01, "decoupled_weight_decay": True}},
    "radam": {"optimizer": {"lr": 0.01, "beta2": 0.9}},
    "adadelta": {"optimizer": {"lr": 5.0}},
    "adamax": {"optimizer": {"lr": 0.01}},
    "lookahead": {"optimizer": {"base": {"kind": "adam", "lr": 0.01}, "every": 3}},
}
BUSY: dict[str, Any] = {
    "model": {"kind": "mlp", "hidden": [12], "dropout": 0.2, "norm": "batch"},
    "loss": {"l1": 1e-4, "l2": 1e-3},
    "strategy": {"lr_decay": {"kind": "cosine", "warmup": 0.2}, "clip_norm": 1.0, "average": {"kind": "ema"}},
    "budget": {"epochs": 2},
}


def merged(kind: str, changes: dict[str, Any], busy: dict[str, Any] = BUSY) -> dict[str, Any]:
    optimizer = {**chosen(kind, 0.1), **changes.get("optimizer", {})}
    return {**busy, "optimizer": optimizer, "strategy": {**busy["strategy"], **changes.get("strategy", {})}}


def unrecorded(fixed: graphs.FixedStep) -> Any:
    return fixed.run


def trained(folder: Path, changes: dict[str, Any], fixed: bool) -> Session:
    """A session at its end, with updates as ever or between fixed tensors."""
    folder.mkdir()
    session = open_session(folder, changes)
    if fixed:
        session.engine = graphs.replaying(session, unrecorded)
    loop.train(session)
    return session


def memory(session: Session) -> Any:
    """All tensors of a state but those that hold the learning rate, which ends as a tensor or a number."""
    state = session.state.state_dict()
    if "optimizers" in state["optimizer"]:
        state["optimizer"] = [one["state"] for one in state["optimizer"]["optimizers"]]
    return {name: value for name, value in state.items() if name not in ("seconds", "energy", "progress", "means")}


def assert_same_run(a: Session, b: Session) -> None:
    assert_equal(memory(a), memory(b))
    for name in ("steps.csv", "metrics.csv"):
        assert rows_of(a.folder / name) == rows_of(b.folder / name)
    assert a.setup.backward.evaluations == b.setup.backward.evaluations


def test_every_optimizer_is_tried_or_refused() -> None:
    refused = {kind for kind, spec in OPTIMIZERS.named().items() if not spec.recordable}  # type: ignore[attr-defined]
    assert {*OWN, *TORCHS, *refused} == set(OPTIMIZERS.named())
    averaging, of_torch = {"schedule_free_sgd", "schedule_free_adamw"}, {"adafactor", "lbfgs", "muon"}
    contributed = {"adan", "lamb", "lars", "ademamix", "mars", "soap"}
    reading = {"prodigy", "dadapt_sgd", "dadapt_adam", "shampoo", *contributed}
    curved = {kind for kind in OPTIMIZERS.named() if kind_of(kind).needs_curvature}
    assert refused == {*averaging, *of_torch, *reading, *curved, "sam"}


@pytest.mark.parametrize("kind", [*OWN, *TORCHS])
def test_updates_between_fixed_tensors_are_those_of_the_loop_to_the_bit(tmp_path: Path, kind: str) -> None:
    changes = merged(kind, (OWN | TORCHS)[kind])
    plain, fixed = (trained(tmp_path / str(way), changes, way) for way in (False, True))
    assert plain.state.progress.step > (1 if kind == "gd" else 2 * STEPS_AN_EPOCH - 1)
    assert_same_run(plain, fixed)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"kind": "adam", "lr": 0.01, "groups": [{"parameters": ["2"], "lr": 0.1}]}},
        {"optimizer": {"kind": "adamw", "lr": 0.01, "groups": [{"parameters": ["2"], "lr": 0.1}]}},
        {"strategy": {**BUSY["strategy"], "accumulate": 3}},
        {"strategy": {**BUSY["strategy"], "precision": "bf16"}},
        {"strategy": {"lr_decay": {"kind": "plateau", "patience": 1, "factor": 0.5}}},
        {"data": {"kind": "digits", "augment": [{"kind": "rotation"}, {"kind": "noise"}, {"kind": "mixup"}]}},
        {"data": {"kind": "digits", "sampling": {"kind": "balanced"}}},
    ],
    ids=["groups", "torch's groups", "accumulate", "bf16", "plateau", "augment", "balanced"],
)
def test_whatever_else_goes_into_an_update(tmp_path: Path, changes: dict[str, Any]) -> None:
    plain, fixed = (trained(tmp_path / str(way), BUSY | changes, way) for way in (False, True))
    assert_same_run(plain, fixed)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_loss_scaling_and_its_overflows(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnopt.train.setup.check_precision", lambda precision, device: None)
    monkeypatch.setattr("nnopt.train.scaling.FIRST_SCALE", 2.0**30)
    changes = {"optimizer": {"kind": kind, "lr": 0.01}, "strategy": {"precision": "fp16"}, "budget": {"epochs": 1}}
    plain, fixed = (trained(tmp_path / str(way), BUSY | changes, way) for way in (False, True))
    assert fixed.state.scaler is not None
    assert float(fixed.state.scaler.scale) < 2.0**30, "some updates were left out"
    for name, own in plain.state.model.state_dict().items():
        assert torch.equal(own, fixed.state.model.state_dict()[name])


@pytest.mark.parametrize("kind", ["sgd", "adam", "nadam"])
def test_making_a_record_leaves_no_trace(tmp_path: Path, kind: str) -> None:
    session = open_session(tmp_path, merged(kind, (OWN | TORCHS)[kind]))
    before = {name: tensor.clone() for name, tensor in session.state.model.state_dict().items()}
    drawn = torch.get_rng_state()
    graphs.replaying(session, lambda fixed: [fixed.run() for _ in range(graphs.WARM_UPS)] and fixed.run)
    assert_equal(before, dict(session.state.model.state_dict()))
    assert torch.equal(drawn, torch.get_rng_state())
    assert session.setup.backward.evaluations == 0
    assert all(float(gradient.abs().sum()) == 0 for gradient in session.setup.parameters.gradients)
    remembered = session.state.optimizer.settle()
    assert remembered
    assert all(bool(((tensor == 0) | (tensor == 1)).all()) for tensor in remembered), "as before the first step"


def test_a_resumed_run_goes_on_with_what_torchs_optimizer_remembers(tmp_path: Path) -> None:
    changes = merged("nadam", TORCHS["nadam"])
    whole = trained(tmp_path / "whole", changes, fixed=True)
    (tmp_path / "parts").mkdir()
    first = open_session(tmp_path / "parts", changes)
    first.engine = graphs.replaying(first, unrecorded)
    for _ in range(7):
        first.engine.update(first)
    saved = first.state.state_dict()
    torch.save(saved, tmp_path / "state.pt")
    (tmp_path / "again").mkdir()
    second = open_session(tmp_path / "again", changes)
    second.state.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    second.engine = graphs.replaying(second, unrecorded)
    for _ in range(33):
        second.engine.update(second)
    for name, own in whole.state.model.state_dict().items():
        assert torch.equal(own, second.state.model.state_dict()[name])


def test_text_whose_windows_move_every_epoch(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    changes = {
        "data": {"kind": "text", "path": str(tmp_path / "text.txt"), "context": 16},
        "model": {"kind": "lstm", "width": 8},
        "optimizer": {"kind": "adam", "lr": 0.01},
        "strategy": {"batch_size": 16},
        "budget": {"epochs": 3},
    }
    plain, fixed = (trained(tmp_path / str(way), changes, way) for way in (False, True))
    assert_same_run(plain, fixed)


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": {"kind": "lbfgs", "lr": 0.5}}, "optimizer lbfgs looks at numbers on the host"),
        ({"optimizer": {"kind": "muon", "lr": 0.02}}, "optimizer muon looks at numbers"),
        ({"strategy": {"batch_size": {"start": 16, "at": [0.5]}}}, "this one grows"),
        ({"structure": {"prune": {"kind": "magnitude", "amount": 0.5}}}, "changes on the way"),
        ({"data": {"augment": [{"kind": "randaugment"}]}}, "randaugment looks at what it drew"),
        ({}, "strategy.graph needs CUDA or XPU, and this run is on the CPU"),
    ],
)
def test_what_no_graph_can_hold_is_refused_in_a_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    strategy = {"graph": True, **changes.get("strategy", {})}
    with pytest.raises((SpecError, UsageError), match=words) as caught:
        fit(tmp_path, changes | {"strategy": strategy})
    assert "leave" in str(caught.value)


def test_an_optimizer_from_elsewhere_that_reads_on_the_host_says_so(tmp_path: Path) -> None:
    session = open_session(tmp_path, {"optimizer": {"kind": "lbfgs", "lr": 0.5}})
    with pytest.raises(UsageError, match="ClosureOptimizer look at numbers on the host"):
        graphs.replaying(session, unrecorded)


# ------------------------------------------------------------------------------------------------ hardware


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here: nothing can be recorded")
@pytest.mark.parametrize("kind", [*OWN, *TORCHS])
def test_replays_on_cuda_train_as_the_loop_does(tmp_path: Path, kind: str) -> None:
    changes = merged(kind, (OWN | TORCHS)[kind]) | {"device": "cuda"}
    ends = []
    for graph in (False, True):
        (tmp_path / str(graph)).mkdir()
        strategy = changes["strategy"] | {"graph": graph}
        record = fit_one(tmp_path / str(graph), changes | {"strategy": strategy})
        ends.append(record.summary["metrics"]["train_loss"]["last"])
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here: nothing can be recorded")
def test_masks_differ_between_replays_on_cuda(tmp_path: Path) -> None:
    changes = {"model": {"hidden": [64], "dropout": 0.5}, "optimizer": {"lr": 1e-12}, "device": "cuda"}
    session = open_session(tmp_path, changes | {"strategy": {"batch_size": "full"}})
    session.engine = graphs.replaying(session)
    losses = []
    for _ in range(3):
        session.engine.update(session)
        losses.append(float(session.setup.backward.loss))  # type: ignore[arg-type]
    assert len(set(losses)) == 3
