"""What a run's hash is over: the keys that differ from the defaults, and nothing that changes no number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended
from pydantic import Field, create_model

from nnopt.plan import Plan
from nnopt.spec import identity
from nnopt.spec.base import Spec
from nnopt.spec.evaluation import EvaluationSpec
from nnopt.spec.experiment import RunSettings
from nnopt.spec.identity import differing, resolved, settings_hash, to_yaml
from nnopt.spec.loading import load
from nnopt.spec.parts import UNIONS
from nnopt.spec.strategy import StrategySpec

Settings = Callable[..., RunSettings]


@pytest.fixture
def settings(write_spec: Callable[..., Path]) -> Settings:
    """The settings of the small spec with overrides."""
    return lambda *overrides: next(iter(load(write_spec(), overrides).variants.values()))


def test_a_hash_of_long_ago_still_holds(settings: Settings) -> None:
    # The hash of the small spec when runs were first made with it. A new key with a default must leave it as it is:
    # where this fails, old runs are no longer found. Only a new meaning of an old key (SCHEMA_VERSION) may change it.
    assert identity.SCHEMA_VERSION == 1
    assert settings_hash(settings()) == "facdf06898a3fc71"
    overrides = "strategy.lr_decay={kind: cosine, warmup: 0.1}", "evaluation.every={steps: 5}", "loss.l2=1e-4"
    assert settings_hash(settings(*overrides)) == "2d377db5d4c327d2"


def test_a_new_key_with_a_default_changes_no_hash(settings: Settings) -> None:
    newer = create_model(
        "Newer", __base__=RunSettings,
        strategy=(create_model("S", __base__=StrategySpec, new=(float, 0.5)), StrategySpec()),
        new=(int | None, None),
    )  # fmt: skip
    old = settings("strategy.batch_size=32")
    new = newer.model_validate({**resolved(old), "strategy": {"batch_size": 32}})
    assert new.strategy.new == 0.5  # type: ignore[attr-defined]
    assert settings_hash(new) == settings_hash(old)
    changed = newer.model_validate({**resolved(old), "strategy": {"batch_size": 32, "new": 0.6}})
    assert settings_hash(changed) != settings_hash(old)


def test_a_new_mapping_with_a_default_changes_no_hash(settings: Settings) -> None:
    newer = create_model("Newer", __base__=RunSettings, again=(EvaluationSpec, EvaluationSpec()))
    assert settings_hash(newer.model_validate(resolved(settings()))) == settings_hash(settings())


@pytest.mark.parametrize(
    "override",
    [
        "logging.every=3",
        "checkpoint.every={steps: 5}",
        "seeds=[5, 6]",
        "tags=[a]",
        "notes=a note",
        "name=other",
        # what the default says already
        "strategy.batch_size=64",
        "strategy.precision=fp32",
        "strategy.lr_decay={kind: constant}",
        "evaluation.every={epochs: 1}",
        "evaluation.every={epochs: 1.0}",
        "evaluation.metrics=[]",
        "optimizer.momentum=0",
        "optimizer.lr=1e-1",
        "model.hidden=[0x10]",
        "device=auto",
        "data.split_seed=0",
    ],
)
def test_what_changes_no_number_is_not_in_the_hash(settings: Settings, override: str) -> None:
    assert settings_hash(settings(override)) == settings_hash(settings())


def test_where_data_lies_is_not_in_the_hash(settings: Settings) -> None:
    at_home, elsewhere = "data={kind: mnist}", "data={kind: mnist, root: /elsewhere}"
    assert settings_hash(settings(at_home)) == settings_hash(settings(elsewhere))


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.lr=0.2",
        "optimizer.momentum=0.9",
        "optimizer={kind: momentum, lr: 0.1}",
        "model.hidden=[16, 16]",
        "strategy.batch_size=32",
        "strategy.lr_decay={kind: cosine}",
        "budget.epochs=3",
        "budget.steps=2",
        "evaluation.every={epochs: 2}",
        "data.split_seed=1",
        "device=cpu",
        "loss.l1=1e-9",
    ],
)
def test_what_changes_numbers_is_in_the_hash(settings: Settings, override: str) -> None:
    assert settings_hash(settings(override)) != settings_hash(settings())


def test_a_hash_without_the_budget_is_for_runs_that_can_go_on(settings: Settings, write_spec: Any) -> None:
    def run(*overrides: str) -> Any:
        return Plan.of(load(write_spec(), overrides)).runs[0]

    assert run().hash_without_budget == run("budget.epochs=9").hash_without_budget
    assert run().hash != run("budget.epochs=9").hash
    assert run("strategy.lr_decay={kind: plateau}").hash_without_budget is not None
    assert run("strategy.lr_decay={kind: cosine}").hash_without_budget is None
    assert run("strategy.lr_decay={kind: constant, warmup: 0.1}").hash_without_budget is None
    assert run("strategy.average={kind: swa}").hash_without_budget is None
    assert run("strategy.average={kind: ema}").hash_without_budget is not None


def test_the_hash_is_over_the_differing_keys_alone(settings: Settings) -> None:
    assert json.loads(json.dumps(differing(settings("strategy.lr_decay={kind: step, every: 0.3}")))) == {
        "data": {"kind": "digits"},
        "model": {"kind": "mlp", "hidden": [16]},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "strategy": {"batch_size": 64, "lr_decay": {"kind": "step"}},
        "budget": {"epochs": 2},
    }


# What a part, or all of a union, has to be told besides its kind.
REQUIRED: dict[str, dict[str, Any]] = {
    "optimizer": {"lr": 0.1},
    "optimizer sam": {"base": {"kind": "sgd", "lr": 0.1}},
    "optimizer lookahead": {"base": {"kind": "adam", "lr": 0.1}},
    **{f"optimizer {kind}": {} for kind in ("prodigy", "dadapt_sgd", "dadapt_adam")},
    **{f"optimizer {kind}": {} for kind in ("newton", "newton_cg", "gauss_newton")},
    "prune": {"amount": 0.5},
    "data synthetic": {"problem": {"kind": "spirals"}},
    "data function": {"function": {"kind": "beale"}},
    "data text": {"path": "a.txt"},
    "data images": {"path": "a"},
    "data npz": {"path": "a.npz"},
    "data npy": {"path": "a.npy", "targets": "b.npy"},
    "data huggingface": {"path": "a"},
    "data csv": {"path": "a.csv", "target": "b"},
    "data parquet": {"path": "a.parquet", "target": ["b"]},
    "data sklearn": {"name": "iris"},
    "split time": {"column": "a"},
    "split group": {"column": "a"},
    "augment cutout": {"size": 4},
    "augment colour_jitter": {"brightness": 0.1},
    "model torchvision": {"name": "resnet18"},
    "model timm": {"name": "resnet18"},
    "parallel local_sgd": {"processes": 2, "period": 8},
    "parallel hogwild": {"processes": 2},
    "parallel parameter_server": {"workers": 2, "staleness": 1},
}
MEMBERS = [(union, name) for union, kinds in UNIONS.items() for name in kinds.named()]


@pytest.mark.parametrize(("union", "name"), MEMBERS)
def test_a_resolved_part_is_the_part(union: str, name: str) -> None:
    member = UNIONS[union].find(name)
    required = REQUIRED.get(f"{union} {name}", REQUIRED.get(union, {}))
    part: Spec = member.model_validate({"kind": name, **required})
    assert member.model_validate(resolved(part)) == part
    assert differing(part) == {"kind": name, **required}


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("strategy.batch_size={start: 8, at: [0.5]}", "strategy.average={kind: swa, every: {steps: 3}}"),
        ("strategy.early_stopping={patience: 3}", "evaluation.target={metric: val_accuracy, value: 0.5}"),
        ("data={kind: mnist, root: '/a b: #c'}", "tags=[on, 'a: b']", 'notes="two\\nlines"', "optimizer.lr=1e-12"),
        ("model={kind: cnn}", "checkpoint.every={seconds: 30}", "loss.class_weights=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"),
    ],
)
def test_a_run_as_a_file_is_the_run(write_spec: Callable[..., Path], overrides: tuple[str, ...]) -> None:
    for run in Plan.of(load(write_spec(), ["seeds=[4, 2]", *overrides])).runs:
        (again,) = Plan.of(load(write_spec(run.as_file(), "again.yaml"))).runs
        assert again == run
        assert again.hash == run.hash


def test_a_resolved_spec_trained_again_is_the_same_run(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    cli("train", write_spec(), "--quiet", "optimizer={kind: adam, lr: 1e-3}", "tags=[a]")
    first = runs / "small" / "adam" / "seed-0"
    assert cli("train", first / "spec.yaml", "--dry-run", "--json").stdout.count('"skipped"') == 1
    cli("train", first / "spec.yaml", "--quiet", "--runs-dir", tmp_path / "elsewhere")
    again = tmp_path / "elsewhere" / "small" / "adam" / "seed-0"
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (first, again)]
    for key in ("spec_hash", "spec", "metrics", "test"):
        assert summaries[0][key] == summaries[1][key]
    assert (first / "spec.yaml").read_bytes() == (again / "spec.yaml").read_bytes()


def test_defaults_are_written_out_in_full(settings: Settings) -> None:
    keys = resolved(settings())
    assert keys["strategy"]["lr_decay"] == {"kind": "constant", "warmup": 0.0}
    assert keys["evaluation"]["every"] == {"epochs": 1.0}
    assert "clip_norm" not in keys["strategy"]  # an optional key that is not set
    assert to_yaml(keys).startswith("data: {kind: digits, ")


def test_a_plain_spec_class_with_a_key_out_of_identity() -> None:
    part = create_model(
        "Part", __base__=Spec, a=(int, 1), where=(str, Field("", json_schema_extra={"identity": False}))
    )
    assert differing(part(a=2, where="there")) == {"a": 2}  # type: ignore[call-arg]
