"""Stopped and gone on, or simply done twice: the same bits, whatever the optimizer and the strategy."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from chosen import chosen, wants_whole_batches
from running import (
    DIGITS,
    STEPS_AN_EPOCH,
    StopAfter,
    Told,
    assert_same_bits,
    fit,
    fit_one,
    prepare,
    rows_of,
    state_of,
    weights_of,
)

from nnopt.errors import CheckpointError, Interrupted
from nnopt.spec.optimizers.union import OPTIMIZERS
from nnopt.train import devices
from nnopt.train.setup import DataCache

# A learning rate for each kind, so that every optimizer's state is in use; what has none here takes 0.01.
RATES = {"gd": 0.5, "sgd": 0.1, "momentum": 0.3, "norm_adaptive": 0.3, "adadelta": 1.0, "lbfgs": 0.5}
OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "rmsprop": {"centered": True, "momentum": 0.5},
    "adam": {"amsgrad": True},
}


def stopped_and_gone_on(folder: Path, changes: dict[str, Any], rows: int) -> Path:
    """The folder of a run that got a signal after `rows` rows and was started again."""
    folder.mkdir()
    with pytest.raises(Interrupted):
        fit(folder, changes, StopAfter(rows))
    told = Told()
    record = fit_one(folder, changes, told)
    (step,) = [words[2] for words in told.words if words[0] == "started"]
    assert 0 < step < record.summary["steps"], "it was really stopped on the way"
    return record.folder


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS.named()))
def test_every_optimizer_goes_on_as_if_it_had_not_stopped(tmp_path: Path, kind: str) -> None:
    full = wants_whole_batches(kind)
    changes = {
        "optimizer": chosen(kind, RATES.get(kind, 0.01), **OPTIONS.get(kind, {})),
        "strategy": {"batch_size": "full" if full else 64},
        "budget": {"steps": 7} if full else {"steps": 30},
        "evaluation": {"every": {"steps": 1 if full else 6}},
        "model": {"dropout": 0.2},
    }
    whole = fit_one(tmp_path, changes)
    assert_same_bits(whole.folder, stopped_and_gone_on(tmp_path / "again", changes, rows=3))


STRATEGIES: dict[str, dict[str, Any]] = {
    "ema": {"average": {"kind": "ema", "decay": 0.9}},
    "swa": {"average": {"kind": "swa", "start": 0.3, "every": {"steps": 4}}},
    "plateau": {"lr_decay": {"kind": "plateau", "patience": 1, "min_delta": 0.3}},
    "one_cycle": {"lr_decay": {"kind": "one_cycle"}},
    "cosine_restarts": {"lr_decay": {"kind": "cosine_restarts", "warmup": 0.1}},
    "stopping": {"early_stopping": {"metric": "val_loss", "patience": 3, "min_delta": 0.2}},
    "growing": {"batch_size": {"start": 16, "factor": 2.5, "at": [0.2, 0.6]}},
    "accumulate": {"accumulate": 3, "clip_norm": 0.5, "clip_value": 0.1},
    "bf16": {"precision": "bf16"},
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_goes_on_as_if_it_had_not_stopped(tmp_path: Path, name: str) -> None:
    changes = {
        "strategy": STRATEGIES[name],
        "model": {"norm": "batch", "dropout": 0.2},
        "optimizer": {"kind": "adam", "lr": 0.01},
        "evaluation": {"every": {"steps": 7}, "at_start": True},
        "budget": {"epochs": 3},
    }
    whole = fit_one(tmp_path, changes)
    assert_same_bits(whole.folder, stopped_and_gone_on(tmp_path / "again", changes, rows=4))


def test_the_loss_scale_of_fp16_is_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnopt.train.setup.check_precision", lambda precision, device: None)
    monkeypatch.setattr("nnopt.train.scaling.INTERVAL", 4)  # grows until it overflows, several times
    changes = {"strategy": {"precision": "fp16"}, "evaluation": {"every": {"steps": 7}}, "budget": {"epochs": 4}}
    whole = fit_one(tmp_path, changes)
    again = stopped_and_gone_on(tmp_path / "again", changes, rows=3)
    assert_same_bits(whole.folder, again)
    assert float(state_of(again)["scaler"]["scale"]) > 2**16


@pytest.mark.parametrize(
    "model", [{"kind": "cnn", "blocks": [{"channels": 4}]}, {"kind": "resnet", "depth": 8, "width": 4}]
)
def test_convolutions_give_the_same_bits_twice(tmp_path: Path, model: dict[str, Any]) -> None:
    folders = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        folders.append(fit_one(tmp_path / name, {"model": model, "budget": {"steps": 8}}).folder)
    assert_same_bits(*folders)


def test_regression_gives_the_same_bits_twice_and_in_another_order_of_variants(tmp_path: Path) -> None:
    spec = {
        "data": {"kind": "diabetes"},
        "loss": {"kind": "huber"},
        "variants": {"a": {"model": {"dropout": 0.2}}, "b": {"optimizer": {"lr": 0.01}}},
    }
    (tmp_path / "again").mkdir()
    first = fit(tmp_path, spec)
    second = fit(tmp_path / "again", spec | {"variants": dict(reversed(spec["variants"].items()))})
    for record in first:
        (other,) = [one for one in second if one.variant == record.variant]
        assert_same_bits(record.folder, other.folder)


def test_its_spec_file_repeats_a_run(tmp_path: Path, starter: Any) -> None:
    record = fit_one(tmp_path, {"optimizer": {"kind": "adam", "lr": 0.01}, "seeds": [4]})
    starter.run(tmp_path, "train", record.folder / "spec.yaml", "--runs-dir", tmp_path / "elsewhere")
    assert_same_bits(record.folder, tmp_path / "elsewhere" / "small" / "adam" / "seed-4")


# ------------------------------------------------------------------------------------------ paired comparisons


def initial_weights(folder: Path, changes: dict[str, Any]) -> dict[str, torch.Tensor]:
    _, _, state = prepare(folder, changes)
    return {name: tensor.clone() for name, tensor in state.model.state_dict().items()}


def batches(folder: Path, changes: dict[str, Any]) -> list[torch.Tensor]:
    _, setup, state = prepare(folder, changes)
    batches = (setup.feed.take(state.position, 64) for _ in range(2 * STEPS_AN_EPOCH))
    return [batch.rows for batch in batches if batch.rows is not None]


ADAM = {"optimizer": {"kind": "adam", "lr": 0.01}, "strategy": {"average": {"kind": "ema"}}, "budget": {"steps": 5}}


def test_variants_with_one_seed_share_initial_weights_and_batch_order(tmp_path: Path) -> None:
    first, second = initial_weights(tmp_path, {}), initial_weights(tmp_path, ADAM)
    assert all(torch.equal(first[name], second[name]) for name in first)
    pairs = list(zip(batches(tmp_path, {}), batches(tmp_path, ADAM), strict=True))
    assert len(pairs) == 2 * STEPS_AN_EPOCH
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_epoch_takes_every_sample_once_and_the_next_in_another_order(tmp_path: Path) -> None:
    rows = batches(tmp_path, {})
    first, second = torch.cat(rows[:STEPS_AN_EPOCH]), torch.cat(rows[STEPS_AN_EPOCH:])
    assert torch.equal(first.sort().values, torch.arange(1222))
    assert torch.equal(second.sort().values, torch.arange(1222))
    assert not torch.equal(first, second)


def test_another_seed_has_other_weights_and_another_order(tmp_path: Path) -> None:
    first, second = initial_weights(tmp_path, {"seeds": [0]}), initial_weights(tmp_path, {"seeds": [1]})
    assert not any(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(batches(tmp_path, {"seeds": [0]})[0], batches(tmp_path, {"seeds": [1]})[0])


def test_seeds_of_one_spec_train_differently(tmp_path: Path) -> None:
    records = fit(tmp_path, {"seeds": 3})
    curves = [tuple(row["val_loss"] for row in rows_of(record.folder / "metrics.csv")) for record in records]
    assert len(set(curves)) == 3
    for a, b in itertools.combinations(records, 2):
        assert not torch.equal(weights_of(a.folder)["1.weight"], weights_of(b.folder)["1.weight"])


def test_initial_weights_do_not_depend_on_the_thread_count(tmp_path: Path) -> None:
    changes = {"model": {"hidden": [64, 64], "init": "orthogonal"}}
    one, two = (initial_weights(tmp_path, changes | {"strategy": {"threads": count}}) for count in (1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)


# ----------------------------------------------------------------------------------------------- odds and ends


def test_a_resume_uses_the_thread_count_that_the_run_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, listener=StopAfter(1))
    monkeypatch.setattr("nnopt.train.setup.choose_threads", lambda *_: 2)
    assert fit_one(tmp_path).summary["threads"] == 1
    assert fit_one(tmp_path, {"seeds": [9]}).summary["threads"] == 2


def test_a_stop_between_two_runs_leaves_the_second_untouched(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, {"seeds": 2}, StopAfter(2))  # in the last evaluation of the first run
    assert not (tmp_path / "runs" / "small" / "sgd" / "seed-1").exists()
    assert fit(tmp_path, {"seeds": 2})[0].status == "done"


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    for seed in (0, 1):
        with pytest.raises(Interrupted):
            fit(tmp_path, {"seeds": [seed]}, StopAfter(1))
    zero, one = (tmp_path / "runs" / "small" / "sgd" / f"seed-{seed}" / "checkpoints" for seed in (0, 1))
    (zero / "last.pt").replace(one / "last.pt")
    (record,) = fit(tmp_path, {"seeds": [1]})
    assert record.status == "failed"
    assert "is of another run (small/sgd/seed-0)" in record.summary["reason"]


def test_state_of_another_model_is_refused(tmp_path: Path) -> None:
    _, _, state = prepare(tmp_path)
    _, _, other = prepare(tmp_path, {"optimizer": {"kind": "adam", "lr": 0.1}})
    with pytest.raises(CheckpointError, match="another optimizer or model"):
        state.load_state_dict(other.state_dict())


def test_the_table_of_digits_is_right(tmp_path: Path) -> None:
    _, setup, _ = prepare(tmp_path)
    assert len(setup.data.train) == 1222
    assert setup.horizon.total_steps == DIGITS["budget"]["epochs"] * STEPS_AN_EPOCH
    assert setup.device == torch.device("cpu") == devices.find_device("cpu")


def test_a_run_does_not_go_on_with_other_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "table.csv"
    rows = [f"{place % 7},{place % 3},{'ab'[place % 2]}" for place in range(100)]
    table.write_text("\n".join(["x,y,kind", *rows]))
    changes = {"data": {"kind": "csv", "path": str(table), "target": "kind"}, "strategy": {"batch_size": 16}}
    with pytest.raises(Interrupted):
        fit(tmp_path, changes, StopAfter(1))
    before = table.read_text()
    table.write_text(before.replace("6,0,a", "5,0,a"))
    monkeypatch.setattr("running.CACHE", DataCache())  # as in another process
    for _ in range(2):  # what it says of the failure does not make the new content its own
        (record,) = fit(tmp_path, changes)
        assert record.status == "failed"
        assert "another than when the run began" in record.summary["reason"]
    table.write_text(before)
    monkeypatch.setattr("running.CACHE", DataCache())
    assert fit(tmp_path, changes)[0].status == "done"
