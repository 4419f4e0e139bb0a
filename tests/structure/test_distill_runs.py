"""Runs that learn from other runs: who waits for whom, what is refused, what is kept, and that bits stay the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from command_line import Ended
from running import (
    CACHE,
    StopAfter,
    Told,
    assert_equal,
    assert_same_bits,
    fit,
    plan_of,
    prepare,
    rows_of,
    state_of,
    summary_of,
    weights_of,
)

from nnopt.errors import Interrupted, UsageError
from nnopt.scale.supply import Fixed
from nnopt.spec.merge import merge
from nnopt.structure.distill.asked import Memory
from nnopt.structure.distill.asked import ask as asked
from nnopt.train.restoring import read_spec
from nnopt.train.setup import DataCache
from nnopt.train.teachers import load_teacher, teach

pytestmark = pytest.mark.usefixtures("undrawn")

BIG: dict[str, Any] = {"model": {"hidden": [32]}}


def learning(*teachers: str | dict[str, Any], **keys: Any) -> dict[str, Any]:
    """The change that learns from these runs, or teachers with keys of their own."""
    named = [{"run": one} if isinstance(one, str) else one for one in teachers or ("big/seed-{seed}",)]
    return {"structure": {"distill": {"teachers": named, **keys}}}


def two(student: dict[str, Any] | None = None, **shared: Any) -> dict[str, Any]:
    """A small network, which stands first in the file, and the big one that it learns from."""
    return {"variants": {"small": student or learning(), "big": BIG}, **shared}


def folder_of(top: Path, variant: str, seed: int = 0) -> Path:
    return top / "runs" / "small" / variant / f"seed-{seed}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of `two`, not to be written to."""
    folder = tmp_path_factory.mktemp("trained")
    fit(folder, two())
    return folder


# ---------------------------------------------------------------------------------------------- what it is


def test_the_gradient_is_that_of_the_written_objective(trained: Path) -> None:
    run, setup, state = prepare(trained, two(learning(temperature=3.0, weight=0.8)))
    teach(run, setup, state, trained / "runs", CACHE)
    rows = torch.arange(40)
    setup.backward.begin(setup.feed.of(rows), norm_wanted=False)
    setup.backward()

    weights = weights_of(folder_of(trained, "big"), "best.pt")
    inputs, labels = setup.data.train.inputs[rows].flatten(1), setup.data.train.targets[rows]
    teacher = (inputs @ weights["1.weight"].T + weights["1.bias"]).relu() @ weights["3.weight"].T + weights["3.bias"]
    own = {name: tensor.clone().requires_grad_() for name, tensor in state.model.state_dict().items()}
    outputs = (inputs @ own["1.weight"].T + own["1.bias"]).relu() @ own["3.weight"].T + own["3.bias"]
    soft, said = (teacher / 3).softmax(1), (outputs / 3).log_softmax(1)
    divergence = (soft * (soft.log() - said)).sum(1).mean()
    loss = F.cross_entropy(outputs, labels)
    (0.2 * loss + 0.8 * 9 * divergence).backward()

    for name, parameter in state.model.named_parameters():
        torch.testing.assert_close(parameter.grad, own[name].grad, rtol=1e-4, atol=1e-6)
    assert setup.backward.loss is not None
    assert setup.backward.loss.item() == pytest.approx(loss.item(), rel=1e-5), "the loss column leaves teachers out"


def test_with_no_weight_on_its_teacher_a_run_is_as_without_one(tmp_path: Path) -> None:
    dropped = {"model": {"dropout": 0.3}, "strategy": {"precision": "bf16"}}
    fit(tmp_path, {"variants": {"alone": dropped, "small": {**learning(weight=0), **dropped}, "big": BIG}})
    ours, theirs = (folder_of(tmp_path, name) for name in ("small", "alone"))
    assert rows_of(ours / "metrics.csv") == rows_of(theirs / "metrics.csv")
    assert_equal(state_of(ours), state_of(theirs))


def test_a_teacher_changes_what_is_learned_and_is_told(trained: Path) -> None:
    small, big = (summary_of(folder_of(trained, name)) for name in ("small", "big"))
    (teacher,) = small["teachers"]
    best = big["metrics"]["val_accuracy"]["best_step"]
    assert (teacher["run"], teacher["weights"], teacher["step"]) == ("small/big/seed-0", "best", best)
    assert len(teacher["sha256"]) == 64
    assert "teachers" not in big
    assert small["parameters"] < big["parameters"]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"kind": "diabetes"}, "loss": {"kind": "huber"}, "optimizer": {"lr": 0.01}},
        {"data": {"kind": "breast_cancer"}, "loss": {"kind": "bce"}},
        {"loss": {"kind": "mse"}, "strategy": {"accumulate": 3}},
        {"optimizer": {"kind": "gd", "lr": 0.5}, "strategy": {"batch_size": "full"}},
    ],
)
def test_every_loss_can_be_taught(tmp_path: Path, changes: dict[str, Any]) -> None:
    found = fit(tmp_path, two(**changes))
    assert [record.status for record in found] == ["done", "done"]


def test_kept_and_computed_features_teach_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"features": [{"student": "2", "teacher": "2", "weight": 50.0}]}
    (tmp_path / "computed").mkdir()
    fit(tmp_path, two(learning(**keys)))
    monkeypatch.setattr("nnopt.train.teachers.MOST_BYTES", 0)
    fit(tmp_path / "computed", two(learning(**keys)))
    kept, computed = (weights_of(folder_of(top, "small")) for top in (tmp_path, tmp_path / "computed"))
    for name, tensor in kept.items():
        torch.testing.assert_close(computed[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_teacher_is_asked_once_for_all_that_learn_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = []
    monkeypatch.setattr("nnopt.train.teachers.ask", lambda *words: count.append(1) or asked(*words))
    monkeypatch.setattr(CACHE, "asked", Memory())
    fit(tmp_path, {"variants": {"a": learning(), "b": learning(temperature=2.0), "big": BIG}})
    assert len(count) == 1


# ---------------------------------------------------------------------------------------------- order, waiting


def test_a_teacher_is_trained_before_those_that_learn_from_it(tmp_path: Path) -> None:
    told = Told()
    chain = {"small": learning("middle/seed-{seed}"), "middle": learning("small/big/seed-1"), "big": BIG}
    found = fit(tmp_path, {"variants": chain, "seeds": 2}, told)
    order = [words[1].removeprefix("small/") for words in told.words if words[0] == "started"]
    assert order == ["big/seed-1", "middle/seed-0", "small/seed-0", "big/seed-0", "middle/seed-1", "small/seed-1"]
    assert [record.name for record in found] == [run.label for run in plan_of(tmp_path, {"variants": chain}).runs] + [
        f"small/{name}/seed-1" for name in chain
    ], "what is reported keeps the order of the file"


def test_side_by_side_a_run_is_held_back_until_its_teacher_has_ended(tmp_path: Path) -> None:
    runs = {
        run.variant: run for run in plan_of(tmp_path, {"variants": {"small": learning(), "big": BIG, "c": {}}}).runs
    }
    supply = Fixed(runs.values())
    first, second = supply.take(), supply.take()
    assert first is not None
    assert second is not None
    assert (first.runs, second.runs, supply.take()) == ((runs["big"],), (runs["c"],), None)
    supply.ended(second, None)
    assert supply.take() is None
    supply.ended(first, "its process died")
    last = supply.take()
    assert last is not None
    assert last.runs == (runs["small"],)
    alone = Fixed([runs["small"]]).take()
    assert alone is not None, "a teacher that was trained before is not waited for"


def test_a_teacher_that_diverged_fails_those_that_learn_from_it_and_no_other(tmp_path: Path) -> None:
    wild = merge(BIG, {"loss": {"kind": "mse"}, "optimizer": {"lr": 1e38}})
    spec = {"variants": {"small": {**learning(), "loss": {"kind": "mse"}}, "big": wild, "other": {}}}
    for _ in range(2):
        found = {record.variant: record for record in fit(tmp_path, spec)}
        assert {name: record.status for name, record in found.items()} == {
            "small": "failed",
            "big": "diverged",
            "other": "done",
        }
        assert found["small"].summary["reason"] == (
            "teacher small/big/seed-0 is diverged: a network learns from one whose training is done"
        )


def test_with_another_teacher_of_the_same_name_it_is_another_run(tmp_path: Path) -> None:
    fit(tmp_path, two())
    told = Told()
    fit(tmp_path, {"variants": {"small": learning(), "big": {"model": {"hidden": [24]}}}}, told)
    assert [words[:2] for words in told.words if words[0] in ("started", "skipped")] == [
        ("started", "small/big/seed-0"),
        ("started", "small/small/seed-0"),
    ]
    folders = sorted(folder_of(tmp_path, "small").parent.iterdir())
    teachers = [summary_of(folder)["teachers"][0]["sha256"] for folder in folders]
    assert len(set(teachers)) == 2, "each learned from the teacher of its own file"


def test_the_spec_of_a_run_finds_its_teacher_again(trained: Path, cli: Callable[..., Ended], tmp_path: Path) -> None:
    spec = folder_of(trained, "small") / "spec.yaml"
    before = summary_of(folder_of(trained, "small"))
    cli("train", spec, "--runs-dir", trained / "runs", "--quiet")
    assert summary_of(folder_of(trained, "small"))["ended"] == before["ended"], "it was done, and is skipped"
    ended = cli("train", spec, "--runs-dir", tmp_path / "elsewhere", "--quiet", code=2)
    assert "teacher small/big/seed-0 is missing" in ended.stderr
    ended = cli("eval", "small/small/seed-0", "--runs-dir", trained / "runs", "--json")
    assert json.loads(ended.stdout)["accuracy"] == before["test"]["best"]["accuracy"]


# ---------------------------------------------------------------------------------------------- going on


def test_it_goes_on_as_if_it_had_not_stopped(tmp_path: Path, trained: Path) -> None:
    outside = str(folder_of(trained, "big"))
    keys = {"features": [{"student": "1", "teacher": "1"}], "weight": 0.6}
    spec = {**learning(outside, **keys), "evaluation": {"every": {"steps": 7}}, "model": {"dropout": 0.2}}
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    fit(tmp_path / "whole", spec)
    with pytest.raises(Interrupted):
        fit(tmp_path / "again", spec, StopAfter(3))
    fit(tmp_path / "again", spec)
    whole, again = (folder_of(tmp_path / name, "sgd") for name in ("whole", "again"))
    assert_same_bits(whole, again)
    assert summary_of(whole)["teachers"] == summary_of(again)["teachers"]


def test_it_does_not_go_on_with_another_teacher(tmp_path: Path) -> None:
    weights = tmp_path / "teacher.pt"
    spec = {**learning({"checkpoint": str(weights), "model": {"kind": "linear"}}), "budget": {"epochs": 4}}
    for scale in (1.0, 2.0):
        torch.save({"1.weight": torch.eye(10, 64) * scale, "1.bias": torch.zeros(10)}, weights)
        if scale == 1.0:
            with pytest.raises(Interrupted):
                fit(tmp_path, spec, StopAfter(2))
    (record,) = fit(tmp_path, spec)
    assert record.status == "failed"
    assert record.summary["reason"] == (
        f"teacher {weights} has other weights than when the run began to learn from it: bring those back, or begin "
        "anew with `nnopt train --fresh`"
    )


# ---------------------------------------------------------------------------------------------- which weights


def test_averaged_weights_teach(tmp_path: Path) -> None:
    averaged = {**BIG, "strategy": {"average": {"kind": "ema", "decay": 0.9}}, "evaluation": {"every": {"steps": 40}}}
    fit(tmp_path, {"variants": {"big": averaged}})
    run, setup, _ = prepare(tmp_path, two())
    spec = run.settings.structure.distill
    assert spec is not None
    (teacher,) = spec.teachers
    found = [
        load_teacher(
            teacher.model_copy(update={"spec": None, "weights": weights}), 0, setup, tmp_path / "runs", DataCache()
        )
        for weights in ("best", "last")
    ]
    assert found[0].record["sha256"] == found[1].record["sha256"], "one evaluation: the last are the best"
    assert_equal(dict(found[0].network.state_dict()), weights_of(folder_of(tmp_path, "big"), "best.pt"))
    assert not torch.equal(
        found[0].network.get_parameter("1.weight"), weights_of(folder_of(tmp_path, "big"))["1.weight"]
    )


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_a_checkpoint_of_a_run_teaches_as_a_file(trained: Path, tmp_path: Path, name: str) -> None:
    path = folder_of(trained, "big") / "checkpoints" / name
    spec = learning(
        {"checkpoint": str(path).replace("seed-0", "seed-{seed}"), "model": {"kind": "mlp", "hidden": [32]}}
    )
    (record,) = fit(tmp_path, spec)
    assert record.status == "done"
    (told,) = record.summary["teachers"]
    assert told["checkpoint"] == str(path)
    assert read_spec(record.folder).hash == record.spec_hash, "its spec reads back as it was"
    assert told["sha256"] == summary_of(folder_of(trained, "small"))["teachers"][0]["sha256"]


# ---------------------------------------------------------------------------------------------- bad input


def features(*pairs: dict[str, str]) -> dict[str, Any]:
    """The change that matches these layers besides."""
    return {"structure": {"distill": {"features": list(pairs)}}}


NO_LAYER = "{}: {} has no layer '9'; it has 0, 1, 2, 3"
BAD: list[tuple[dict[str, Any], str]] = [
    ({"data": {"kind": "wine"}, "strategy": {"batch_size": 16}}, "learned from digits, and this run learns from wine"),
    ({"data": {"split_seed": 1}}, "learned from digits with split_seed: 0, and this run has split_seed: 1"),
    ({"loss": {"kind": "mse"}}, "with loss cross_entropy, so its outputs are logits of a softmax; with loss mse"),
    (learning("big/seed-7"), "teacher big/seed-7 is missing: there is no runs folder"),
    (
        features({"student": "9", "teacher": "1"}),
        NO_LAYER.format("structure.distill.features.0.student", "this run's network"),
    ),
    (
        features({"student": "1", "teacher": "9"}),
        NO_LAYER.format("structure.distill.features.0.teacher", "teacher small/big/seed-0"),
    ),
    (
        features({"student": "1", "teacher": "1", "match": "values"}),
        "layer 1 gives [16] a sample and the teacher's 1 [32]: values need one size, so take match: similarities",
    ),
    (learning({"checkpoint": "none.pt", "model": {"kind": "linear"}}), "teacher none.pt: there is no such file"),
    (learning({"checkpoint": "spec.yaml", "model": {"kind": "linear"}}), "teacher spec.yaml: it cannot be read as"),
    (
        learning({"checkpoint": "big.pt", "model": {"kind": "linear"}}),
        "teacher big.pt: its weights are of another model: 1.weight is [32, 64] there, and [10, 64] in the model",
    ),
]


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_what_cannot_teach_is_refused_before_training(
    changes: dict[str, Any], said: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(weights_of(folder_of(trained, "big")), "big.pt")
    before = torch.get_rng_state()
    with pytest.raises(UsageError) as error:
        fit(tmp_path, merge(learning(str(folder_of(trained, "big"))), changes))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()
    torch.set_rng_state(before)


def test_classes_that_changed_since_are_refused(trained: Path, tmp_path: Path) -> None:
    run, setup, _ = prepare(tmp_path, learning(str(folder_of(trained, "big"))))
    spec = run.settings.structure.distill
    assert spec is not None
    other = replace(setup, data=replace(setup.data, classes=(*setup.data.classes[:-1], "ten")))
    with pytest.raises(UsageError, match="learned from digits with other content or classes than it has now"):
        load_teacher(spec.teachers[0], 0, other, tmp_path, CACHE)


FEATURE = {"student": "1", "teacher": "1"}
BAD_SPECS: list[tuple[dict[str, Any], str]] = [
    ({"structure": {"prune": {"kind": "magnitude", "amount": 0.5, "layers": [0]}}}, "prune.layers.0: should be text"),
    (learning({"run": "a", "checkpoint": "b"}), "should have exactly one of run, checkpoint"),
    (learning({"checkpoint": "b"}), "model: is missing: a file of weights does not say which model they belong to"),
    (learning({"run": "a", "model": {"kind": "linear"}}), "model: goes with checkpoint: a run knows its own"),
    (learning({"checkpoint": "b", "model": {"kind": "linear"}, "weights": "last"}), "weights and spec go with run"),
    (learning("a/{variant}"), "should hold no braces but those of {seed}, not the text 'a/{variant}'"),
    (learning("a", "b", features=[FEATURE]), "features: are those of one teacher, and there are 2"),
    ({**learning("a", features=[FEATURE]), "strategy": {"compile": True}}, "strategy.compile: a compiled network does"),
    ({"structure": {"distill": {"teachers": []}}}, "teachers: should name at least one teacher"),
    (learning("a", weight=1.5), "weight"),
    (
        {"variants": {"a": learning("b/seed-0"), "b": learning("small/a/seed-{seed}")}},
        "variants.a.structure.distill.teachers: a, which learns from b, which learns from a: none of them can be",
    ),
]


@pytest.mark.parametrize(("changes", "said"), BAD_SPECS)
def test_a_spec_that_makes_no_sense_is_one_line(
    changes: dict[str, Any], said: str, cli: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    ended = cli("check", write_spec(changes), code=2)
    (line,) = ended.errors
    assert said in line


def test_checking_a_file_looks_at_its_teachers(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], trained: Path
) -> None:
    cli("check", write_spec(two()))
    ended = cli("check", write_spec(learning("small/nobody/seed-0")), "--runs-dir", trained / "runs", code=2)
    (line,) = ended.errors
    assert "teacher small/nobody/seed-0 is missing: no run below" in line


@pytest.mark.parametrize("command", ["train", "check"])
def test_a_teacher_that_a_later_seed_lacks_is_found_before_training(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], trained: Path, tmp_path: Path, command: str
) -> None:
    at = folder_of(trained, "big").parent
    spec = write_spec(learning(f"{at}/seed-{{seed}}") | {"name": "later", "seeds": [0, 7]})
    ended = cli(command, spec, "--runs-dir", tmp_path / "runs", code=2)
    (line,) = ended.errors
    assert f"teacher {at}/seed-7 is missing" in line
    assert not list((tmp_path / "runs").glob("later/*/*")), "nothing was trained"


def test_a_run_tells_whose_answers_it_learned_from(trained: Path, cli: Callable[..., Ended]) -> None:
    teacher = summary_of(folder_of(trained, "small"))["teachers"][0]
    shown = cli("show", folder_of(trained, "small")).stdout
    assert f"{teacher['run']}, best weights (step {teacher['step']}" in shown


def test_tuning_and_searching_learn_from_the_teacher_too(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], trained: Path, tmp_path: Path
) -> None:
    student = learning("small/big/seed-{seed}")
    cli("tune", "lr", write_spec(student), "--steps", 20, "--runs-dir", trained / "runs", "--quiet")
    ended = cli("tune", "lr", write_spec(student), "--runs-dir", tmp_path / "none", "--quiet", code=2)
    assert "teacher small/big/seed-0 is missing" in ended.stderr
    space = {"structure.distill.weight": {"range": [0.1, 0.9], "points": 2}}
    spec = write_spec({**student, "name": "searched", "search": {"space": space, "trials": 2, "confirm": None}})
    cli("sweep", spec, "--runs-dir", trained / "runs", "--quiet")
    found = sorted((trained / "runs" / "searched").glob("sgd/trial-*/seed-0/summary.json"))
    assert [json.loads(path.read_text())["teachers"][0]["run"] for path in found] == ["small/big/seed-0"] * 2


def test_a_teacher_that_learned_from_another_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"validated on another fold of digits.*take the run of the same seed"):
        fit(tmp_path, two(learning("big/seed-0"), data={"folds": 5}, seeds=[1, 0]))
