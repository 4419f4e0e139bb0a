"""Runs that begin with trained weights, freeze some of them, and unfreeze them later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import SMALL, Ended
from running import StopAfter, Told, assert_same_bits, fit, plan_of, prepare, rows_of, summary_of, weights_of
from torch import nn

from nnopt.errors import Interrupted, SpecError, UsageError
from nnopt.spec.merge import merge
from nnopt.spec.transfer import InitFromSpec
from nnopt.structure.frozen import set_frozen
from nnopt.structure.names import parameters_named
from nnopt.train.transfer import match_weights

pytestmark = pytest.mark.usefixtures("undrawn")

TRUNK: dict[str, Any] = {"name": "trunk", "model": {"norm": "batch"}, "variants": {"net": {}}}
# Layers of the network: 1 dense, 2 batch norm, 4 dense, the last.
MODEL: dict[str, Any] = {"norm": "batch", "init_from": {"run": "trunk/net/seed-{seed}"}}


def begun(source: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    """A file whose one variant begins with the trunk, by these keys of `init_from`."""
    return {"variants": {"net": {"model": merge(MODEL, {"init_from": source or {}, **model})}}}


def folder_of(top: Path, variant: str = "net", experiment: str = "small", seed: int = 0) -> Path:
    return top / "runs" / experiment / variant / f"seed-{seed}"


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trunk's run, not to be written to."""
    folder = tmp_path_factory.mktemp("trunk")
    fit(folder, TRUNK)
    return folder


@pytest.fixture
def top(trunk: Path, tmp_path: Path) -> Path:
    """A folder of one's own in which the trunk is trained."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "trunk").symlink_to(trunk / "runs" / "trunk")
    return tmp_path


def fit_one(top: Path, changes: dict[str, Any]) -> Path:
    (record,) = fit(top, changes)
    assert record.status == "done", record.summary["reason"]
    return record.folder


# ---------------------------------------------------------------------------------------------- init_from


def test_a_run_begins_with_the_best_weights_and_tells_what_it_took(top: Path) -> None:
    still = {"optimizer": {"lr": 1e-30}, "strategy": {"average": {"kind": "ema", "decay": 0.5}}}
    folder = fit_one(top, merge(begun({"leave_out": ["4.bias"]}), still))
    ours, theirs = weights_of(folder), weights_of(folder_of(top, experiment="trunk"), "best.pt")
    for name in ("1.weight", "2.weight", "4.weight"):
        assert torch.equal(ours[name], theirs[name]), name
    assert not torch.equal(ours["4.bias"], theirs["4.bias"])
    assert torch.equal(weights_of(folder, "best.pt")["1.weight"], theirs["1.weight"]), "the average began there too"
    told, source = summary_of(folder)["init_from"], summary_of(folder_of(top, experiment="trunk"))
    assert told["run"] == "trunk/net/seed-0"
    assert told["step"] == source["metrics"]["val_accuracy"]["best_step"]
    assert told["left"] == ["4.bias"]
    assert set(told["taken"]) == set(theirs) - {"4.bias"}
    assert "begins with run trunk/net/seed-0" in (folder / "run.log").read_text()


def test_a_head_of_another_shape_is_new_and_said_to_be(top: Path) -> None:
    path = {"checkpoint": str(folder_of(top, experiment="trunk") / "checkpoints" / "last.pt")}
    changes = {"data": {"classes": [0, 1, 2]}, "variants": {"net": {"model": {"norm": "batch", "init_from": path}}}}
    told = summary_of(fit_one(top, changes))["init_from"]
    assert told["new_head"] == "4"
    assert told["left"] == ["4.weight", "4.bias"]


def test_a_file_of_a_state_dict_is_taken(top: Path, tmp_path: Path) -> None:
    state = prepare(top, begun())[2].model.state_dict()
    torch.save({"state_dict": {name: torch.full_like(one, 2) for name, one in state.items()}}, tmp_path / "net.pth")
    still = {"optimizer": {"lr": 1e-30}, "model": {"norm": "batch", "init_from": {"checkpoint": "net.pth"}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        (record,) = fit(top, still)
    assert all((weights_of(record.folder)[name] == 2).all() for name in ("1.weight", "4.bias"))


def test_runs_of_the_same_file_come_first_and_are_part_of_what_a_run_is(tmp_path: Path) -> None:
    chain = {"small": {"model": {"init_from": {"run": "base/seed-{seed}"}}}, "base": {"optimizer": {"lr": 0.2}}}
    told = Told()
    fit(tmp_path, {"variants": chain}, told)
    assert [word[1] for word in told.words if word[0] == "started"] == ["small/base/seed-0", "small/small/seed-0"]
    other = merge({"variants": chain}, {"variants": {"base": {"optimizer": {"lr": 0.3}}}})
    ours, theirs = (plan_of(tmp_path, one).runs[0] for one in ({"variants": chain}, other))
    assert ours.settings.model.init_from is not None
    assert ours.settings.model.init_from.run == "small/base/seed-{seed}"
    assert ours.hash != theirs.hash
    with pytest.raises(SpecError, match="none of them can be trained first"):
        plan_of(tmp_path, merge(other, {"variants": {"base": {"model": {"init_from": {"run": "small/seed-0"}}}}}))


def test_a_begun_run_goes_on_without_its_source(top: Path) -> None:
    changes = begun(freeze=["1", "2"], unfreeze=[{"parameters": ["1"], "at": {"steps": 25}}])
    changes |= {"evaluation": {"every": {"steps": 10}}, "strategy": {"average": {"kind": "ema", "decay": 0.5}}}
    changes |= {"optimizer": {"kind": "adam", "lr": 0.01, "groups": [{"parameters": ["4"], "lr": 0.5}]}}
    (top / "whole").mkdir()
    (top / "whole" / "runs").symlink_to(top / "others")
    (top / "others").mkdir()
    (top / "others" / "trunk").symlink_to(top / "runs" / "trunk")
    fit(top / "whole", changes)
    for rows in (1, 2):  # before and after the layer is unfrozen
        with pytest.raises(Interrupted):
            fit(top, changes, StopAfter(rows))
        (top / "runs" / "trunk").unlink(missing_ok=True)
    fit(top, changes)
    ours, whole = folder_of(top), top / "others" / "small" / "net" / "seed-0"
    assert_same_bits(ours, whole)
    assert summary_of(ours)["init_from"] == summary_of(whole)["init_from"]


def source(**keys: Any) -> InitFromSpec:
    return InitFromSpec.model_validate({"checkpoint": "x", **keys})


def test_the_last_layer_is_taken_whole_or_not_at_all() -> None:
    small, large = (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, outputs)) for outputs in (2, 3))
    found = match_weights(source(), "x", small.state_dict(), large)
    assert (found.taken, found.left, found.new_head) == (("0.weight", "0.bias"), ("1.weight", "1.bias"), "1")
    assert match_weights(source(), "x", small.state_dict(), small).new_head == ""
    without = {name: one for name, one in large.state_dict().items() if name != "1.bias"}
    assert match_weights(source(), "x", without, large).taken == ("0.weight", "0.bias")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"hidden": [12]}, "1.weight is [16, 64] there, and [12, 64] in this one"),
        ({"hidden": [16, 16]}, "4.weight is [10, 16] there, and [16, 16] in this one"),
        ({"init_from": {"run": "trunk/nett/seed-0"}}, "no run below"),
        ({"init_from": {"checkpoint": "no.pt"}}, "there is no such file"),
        ({"init_from": {"checkpoint": "spec.yaml"}}, "cannot be read as weights"),
        ({"init_from": {"run": "trunk/net/seed-0", "only": ["conv*"]}}, "'conv*' matches no parameter and no layer"),
        ({"init_from": {"run": "trunk/net/seed-0", "leave_out": ["*"]}}, "nothing would be taken"),
        ({"freeze": ["conv*"]}, "model.freeze: 'conv*' matches no parameter and no layer; there are layers '1'"),
        ({"freeze": ["*"]}, "every parameter of the model is frozen"),
        ({"freeze": ["1"], "unfreeze": [{"parameters": ["4"], "at": {"share": 0.5}}]}, "4 are not frozen"),
        ({"freeze": ["1"], "unfreeze": [{"parameters": ["1"], "at": {"steps": 40}}]}, None),
        ({"unfreeze": [{"parameters": ["1"], "at": {"share": 0.5}}]}, "nothing is frozen"),
        ({"freeze": ["1"], "unfreeze": [{"parameters": ["1"], "at": {"epochs": 2}}]}, "within the budget of 2"),
        ({"init_from": {"run": "a/b/seed-0", "checkpoint": "c"}}, "exactly one of run, checkpoint"),
    ],
)
def test_what_does_not_fit_is_one_line_before_training(
    model: dict[str, Any], words: str | None, cli: Callable[..., Ended], top: Path, runs: Path
) -> None:
    keys = merge(SMALL, {"model": {**MODEL, **model}})
    (top / "spec.yaml").write_text(yaml.safe_dump(keys))
    ended = cli("train", top / "spec.yaml", "--quiet", code=None)
    if words is None:  # beyond an epoch budget's last update: it never comes
        assert ended.exit_code == 0
        return
    assert ended.exit_code == 2
    assert len(ended.errors) == 1
    assert words in ended.errors[0]
    assert not (runs / "small").exists()


def test_a_run_that_learned_from_this_fold_s_validation_rows_is_refused(tmp_path: Path) -> None:
    folds = {"data": {"folds": 3}, "budget": {"epochs": 1}, "seeds": 2}
    fit(tmp_path, merge(TRUNK, folds))
    words = r"init_from: trunk/net/seed-0 was validated on another fold of digits.*take the run of the same seed"
    with pytest.raises(UsageError, match=words):
        fit(tmp_path, merge(begun({"run": "trunk/net/seed-0"}), folds))
    assert not (tmp_path / "runs" / "small").exists()
    fit(tmp_path, merge(begun(), folds))
    # Among runs of one file, and where the rows are others.
    variants = {
        "net": {"model": {"norm": "batch"}},
        "tuned": {"model": merge(MODEL, {"init_from": {"run": "again/net/seed-0"}})},
    }
    with pytest.raises(UsageError, match="again/net/seed-0 was validated on another fold of digits"):
        fit(tmp_path, {"name": "again", **folds, "variants": variants})
    fit(tmp_path, merge(begun({"run": "trunk/net/seed-0"}), {"name": "more", "budget": {"epochs": 1}, "seeds": [1]}))


# ---------------------------------------------------------------------------------------------- freeze, unfreeze


def test_what_is_frozen_stays_to_the_bit_and_norms_keep_their_statistics(top: Path) -> None:
    folder = fit_one(top, begun(freeze=["1", "2.*"]))
    ours, theirs = weights_of(folder), weights_of(folder_of(top, experiment="trunk"), "best.pt")
    for name in ("1.weight", "2.weight", "2.bias", "2.running_mean", "2.running_var", "2.num_batches_tracked"):
        assert torch.equal(ours[name], theirs[name]), name
    assert not torch.equal(ours["4.weight"], theirs["4.weight"])
    assert summary_of(folder)["frozen_parameters"] == 64 * 16 + 2 * 16


@pytest.mark.parametrize(("at", "step"), [({"steps": 7}, 7), ({"epochs": 0.5}, 10), ({"share": 0.3}, 12)])
def test_a_layer_trains_from_the_exact_step_on(tmp_path: Path, at: dict[str, Any], step: int) -> None:
    changes = {
        "model": {"norm": "batch", "freeze": ["1", "2"], "unfreeze": [{"parameters": ["1"], "at": at}]},
        "evaluation": {"every": {"steps": 1}},
        "budget": {"epochs": 2},
        "seeds": [3],
    }
    for steps, frozen in ((step, True), (step + 1, False)):
        state = prepare(tmp_path, changes)[2]
        before = state.model.state_dict()["1.weight"].clone()
        (folder := tmp_path / str(steps)).mkdir()
        weights = stop_at(folder, changes, steps)
        assert torch.equal(weights["1.weight"], before) == frozen
        assert (weights["2.running_mean"] == 0).all()
    assert not (folder / "runs" / "small" / "sgd" / "seed-3" / "structure.csv").exists()
    log = (folder / "runs" / "small" / "sgd" / "seed-3" / "run.log").read_text()
    assert "1,024 parameters (1) train from here on, 32 are frozen" in log


def stop_at(folder: Path, changes: dict[str, Any], rows: int) -> dict[str, torch.Tensor]:
    """The weights after so many evaluations of a run that is then interrupted."""
    with pytest.raises(Interrupted):
        fit(folder, changes, StopAfter(rows))
    return weights_of(folder / "runs" / "small" / "sgd" / "seed-3")


def test_unfreezing_leaves_bests_as_they_are(tmp_path: Path) -> None:
    changes = {"model": {"freeze": ["1"], "unfreeze": [{"parameters": ["1"], "at": {"share": 0.5}}]}}
    wild = {"lr": 1.0, "groups": [{"parameters": ["1"], "lr": 10_000}]}
    (record,) = fit(tmp_path, changes | {"evaluation": {"every": {"steps": 5}}, "optimizer": wild})
    losses = [float(row["val_loss"]) for row in rows_of(record.folder / "metrics.csv")]
    assert losses.index(min(losses)) < 4, "the best is from before the layer trains"
    assert record.summary["metrics"]["val_loss"]["best"] == min(losses)
    assert "final_step" not in record.summary


def test_layers_that_are_cut_in_two_keep_their_names_and_stay_frozen(tmp_path: Path) -> None:
    changes = {
        "model": {"freeze": ["1.weight"], "unfreeze": [{"parameters": ["1.weight"], "at": {"steps": 30}}]},
        "optimizer": {"groups": [{"parameters": ["1.*"], "lr": 0.5}]},
        "structure": {"low_rank": {"rank": 2, "at": 0.25, "layers": ["1"]}},
    }
    (record,) = fit(tmp_path, changes)
    assert record.status == "done", record.summary["reason"]
    log = (record.folder / "run.log").read_text()
    assert "unfreeze: 160 parameters (1.weight) train from here on, 0 are frozen" in log


def test_shared_parameters_are_named_by_every_layer() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(5, 3)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.embedding.weight

    assert parameters_named(Tied(), ["head"], "k") == parameters_named(Tied(), ["embedding.w*"], "k")
    assert parameters_named(Tied(), ["head"], "k") == {"embedding.weight"}


def test_held_norms_forget_no_statistics_whatever_mode_is_asked_for() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False))
    norm = {"1.weight", "1.bias"}
    model[0].bias.requires_grad_(False)  # by the model itself
    set_frozen(model, norm, norm, lambda name: name == "2")
    model.train()(torch.randn(8, 3))
    assert [layer.training for layer in model] == [True, False, False]
    assert (model[1].running_mean == 0).all()
    assert isinstance(model[1], nn.BatchNorm1d)
    set_frozen(model, norm, (), lambda name: False)
    assert type(model[1]) is nn.BatchNorm1d
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == ["0.bias"]
    model(torch.randn(8, 3))
    assert (model[1].running_mean != 0).any()
