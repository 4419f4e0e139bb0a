"""Parts of other packages: by `package.module:SpecClass`, and by a short name of the entry-point group nnopt.specs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended

from nnopt.errors import SpecError
from nnopt.plan import Plan
from nnopt.spec.loading import load

# A package as a user would write it: a part for each of the four unions, and some that are wrong.
SOURCE = '''
"""Parts of one's own."""
from pydantic import Field, model_validator

from nnopt.spec.data.base import DataSpec
from nnopt.spec.losses import LossSpec
from nnopt.spec.lr_decay import LrDecaySpec
from nnopt.spec.models import ModelSpec
from nnopt.spec.optimizers import OptimizerSpec
from nnopt.spec.optimizers.textbook import Sgd


class SignSgd(OptimizerSpec):
    """Steps along the sign of the gradient."""

    formula = "θ ← θ − η sign(g)"
    shrink: float = Field(0.0, ge=0, lt=1, description="share of the weights lost at each step")

    def build(self, parameters):
        from dataclasses import dataclass

        from nnopt.optim.optimizer import Rule, RuleOptimizer

        @dataclass(frozen=True)
        class Sign(Rule):
            def init(self, values):
                return {}

            def direction(self, gradients, state):
                return [gradient.sign() for gradient in gradients], state

        return RuleOptimizer(Sign(), parameters, self.shrink)


class Faster(Sgd):
    """sgd with another default."""

    kind: str
    lr: float = 0.5


class Twice(ModelSpec):
    """Two linear layers."""

    width: int = Field(8, gt=0, description="of the middle")

    def build(self, input_shape, outputs):
        from math import prod

        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), self.width), nn.Linear(self.width, outputs))


class Corners(DataSpec):
    """Points in a square, classified by their quarter."""

    rows: int = Field(200, gt=3, description="how many")

    def load(self):
        import numpy as np

        from nnopt.data.prepare import prepare
        from nnopt.data.raw import Raw, digest

        inputs = np.random.default_rng(0).uniform(-1, 1, (self.rows, 2))
        targets = (inputs[:, 0] > 0) + 2 * (inputs[:, 1] > 0).astype(np.int64)
        raw = Raw(inputs, targets, ("a", "b", "c", "d"), digest(inputs))
        return prepare("corners", raw, validation=0.2, test=0.2, split_seed=0, normalise="none")


class Fourth(LossSpec):
    """Mean fourth power of the errors against one-hot vectors."""

    def build(self, task, data_outputs, device):
        import torch

        from nnopt.losses import ComponentLoss

        return ComponentLoss(lambda z, y: (z - y).pow(4).mean(), torch.eye(data_outputs, device=device))


class Half(LrDecaySpec):
    """Half the rate, all the time."""

    def decay(self, share):
        return 0.5


class NotWhole(OptimizerSpec):
    """Does not say what it builds."""


class KindOfAnother(Sgd):
    """Still called sgd."""


class NoSpec:
    """Not a spec at all."""


not_a_class = 3
'''
BROKEN = "import no_such_package_at_all\n"


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with parts of one's own, and the name of its module."""
    package = tmp_path / "somebodys"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(SOURCE, encoding="utf-8")
    (package / "broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "somebodys.parts"
    for name in [name for name in sys.modules if name.partition(".")[0] == "somebodys"]:
        del sys.modules[name]


ALL_OWN = {
    "data": {"kind": "somebodys.parts:Corners", "rows": 400},
    "model": {"kind": "somebodys.parts:Twice", "width": 6},
    "loss": {"kind": "somebodys.parts:Fourth", "l2": 1e-4},
    "optimizer": {"kind": "somebodys.parts:SignSgd", "lr": 0.01, "shrink": 0.001},
    "strategy": {"lr_decay": {"kind": "somebodys.parts:Half", "warmup": 0.1}, "batch_size": 16},
    "budget": {"epochs": 6},
}


@pytest.mark.usefixtures("parts")
def test_a_run_of_nothing_but_plugins_trains(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    cli("train", write_spec(ALL_OWN), "--quiet")
    folder = runs / "small" / "SignSgd" / "seed-0"  # named after its class
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "done"
    assert summary["metrics"]["val_accuracy"]["last"] > 0.6  # of four classes
    assert summary["spec"]["optimizer"]["shrink"] == 0.001
    source = hashlib.sha256((tmp_path / "somebodys" / "parts.py").read_bytes()).hexdigest()
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["plugins"] == {"somebodys.parts": source}


@pytest.mark.usefixtures("parts")
def test_a_real_process_finds_parts_beside_the_spec(
    program: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    program("train", write_spec(ALL_OWN), "--quiet", "--jobs", "2", "seeds=2", "budget.epochs=1")
    assert len(list(runs.glob("small/SignSgd/seed-*/summary.json"))) == 2


@pytest.mark.usefixtures("parts")
def test_the_resolved_spec_of_plugins_is_the_same_run(write_spec: Callable[..., Path]) -> None:
    (run,) = Plan.of(load(write_spec(ALL_OWN))).runs
    (again,) = Plan.of(load(write_spec(run.as_file(), "again.yaml"))).runs
    assert again == run
    assert again.hash == run.hash


@pytest.mark.usefixtures("parts")
def test_a_subclass_of_a_builtin_part(write_spec: Callable[..., Path]) -> None:
    faster = next(iter(load(write_spec({"optimizer": {"kind": "somebodys.parts:Faster"}})).variants.values()))
    assert (faster.optimizer.lr, faster.optimizer.kind) == (0.5, "somebodys.parts:Faster")


@pytest.mark.usefixtures("parts")
def test_a_variant_may_change_a_plugins_keys(write_spec: Callable[..., Path]) -> None:
    spec = load(write_spec({**ALL_OWN, "variants": {"a": {}, "b": {"optimizer": {"shrink": 0.5}}}}))
    assert spec.variants["b"].optimizer.shrink == 0.5  # type: ignore[attr-defined]
    assert spec.variants["b"].optimizer.lr == 0.01


def entry(name: str, value: str) -> Any:
    """An `entry_points` that finds one entry of the group."""
    only = importlib.metadata.EntryPoint(name, value, "nnopt.specs")

    def entry_points(**wanted: str) -> list[importlib.metadata.EntryPoint]:
        return [only] if only.matches(**wanted) else []

    return entry_points


@pytest.mark.usefixtures("parts")
def test_a_short_name_of_an_installed_package(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", entry("signsgd", "somebodys.parts:SignSgd"))
    cli("train", write_spec({"optimizer": {"kind": "signsgd", "lr": 0.01}}), "--quiet")
    assert (runs / "small" / "signsgd" / "seed-0" / "summary.json").is_file()
    assert "share of the weights lost" in cli("parts", "optimizer", "signsgd").stdout


def test_a_short_name_hides_no_builtin_part(write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", entry("sgd", "somebodys.parts:SignSgd"))
    (settings,) = load(write_spec()).variants.values()
    assert type(settings.optimizer).__module__ == "nnopt.spec.optimizers.textbook"


@pytest.mark.usefixtures("parts")
def test_an_installed_package_that_cannot_be_imported_is_a_users_error(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", entry("mine", "somebodys.broken:Part"))
    ended = cli("train", write_spec({"optimizer": {"kind": "mine", "lr": 0.01}}), code=2)
    (line,) = ended.errors
    assert "optimizer: cannot import mine (ModuleNotFoundError: No module named 'no_such_package_at_all')" in line


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("somebodys.parts:Nothing", "cannot import somebodys.parts:Nothing (AttributeError: "),
        ("somebodys.nothing:Part", "cannot import somebodys.nothing:Part (ModuleNotFoundError: "),
        ("somebodys.broken:Part", "(ModuleNotFoundError: No module named 'no_such_package_at_all'); is it on the"),
        ("somebodys.parts:NoSpec", "is no optimizer: it should be a subclass of nnopt.spec.optimizers.base.AnyOpti"),
        ("somebodys.parts:not_a_class", "somebodys.parts:not_a_class is no optimizer"),
        ("somebodys.parts:Twice", "somebodys.parts:Twice is no optimizer"),
        ("somebodys.parts:NotWhole", "somebodys.parts:NotWhole is not whole: it does not define build"),
        ("somebodys.parts:KindOfAnother", "takes no kind but 'sgd': write `kind: str` in the class"),
        (
            "nnopt.spec.optimizers.textbook:Adam",
            "nnopt.spec.optimizers.textbook:Adam takes no kind but 'adam': write kind: 'adam'",
        ),
        (":", "cannot import : ("),
        ("a:b:c", "cannot import a:b:c ("),
        ("./x.py:C", "cannot import ./x.py:C ("),
    ],
)
@pytest.mark.usefixtures("parts")
def test_what_is_no_part_is_refused_in_words(write_spec: Callable[..., Path], kind: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(write_spec({"optimizer": {"kind": kind, "lr": 1}}))
    (problem,) = caught.value.problems
    assert "spec.yaml:10: optimizer: " in problem
    assert message in problem


@pytest.mark.usefixtures("parts")
def test_keys_of_a_plugin_are_checked_as_all_others(write_spec: Callable[..., Path]) -> None:
    with pytest.raises(SpecError) as caught:
        load(write_spec({"optimizer": {"kind": "somebodys.parts:SignSgd", "lr": 0, "shrik": 0.1}}))
    assert [problem.partition(": ")[2] for problem in caught.value.problems] == [
        "optimizer.lr: should be greater than 0, not 0",
        "optimizer.shrik: unknown key 'shrik'; did you mean 'shrink'?; the keys are kind, lr, groups, shrink",
    ]


@pytest.mark.usefixtures("parts")
def test_parts_prints_a_plugin(cli: Callable[..., Ended]) -> None:
    printed = cli("parts", "optimizer", "somebodys.parts:SignSgd").stdout
    assert "Steps along the sign of the gradient." in printed
    assert "θ ← θ − η sign(g)" in printed
    assert "shrink" in printed
