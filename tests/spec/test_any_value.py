"""Whatever stands at whatever key: the spec loads, and then all that is made of it works, or it is refused in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import SMALL

from nnopt.compare.pictures.rates import learning_rates
from nnopt.errors import SpecError
from nnopt.plan import Plan
from nnopt.spec.base import Spec
from nnopt.spec.identity import resolved
from nnopt.spec.loading import load
from nnopt.spec.merge import merge, nested
from nnopt.spec.parts import UNIONS
from nnopt.spec.structure.distill import DistillSpec, FeatureSpec, TeacherSpec
from nnopt.spec.structure.low_rank import LowRankSpec
from nnopt.spec.structure.prune import RewindSpec

ANYTHING: list[Any] = [
    None, True, False, 0, 1, -1, 3, 10**240, -(10**240), 0.0, 0.5, 1.0, -0.5, 1e-300, 1e300, "", "x", "auto", "full",
    "val_loss", "val_accuracy", "train_loss", "../x", "a" * 500, "\x00", "é😀", [], [1], [0.5], [-1], ["accuracy"],
    ["x", "x"], [None], [[]], [{}], [0.2, 0.1], {}, {"kind": "x"}, {"kind": None}, {"kind": []}, {"kind": "json:loads"},
    {"epochs": 1}, {"epochs": 1, "steps": 1}, {"steps": 10**240}, {"seconds": 1e-300}, {"epochs": 1e300}, {1: 2},
]  # fmt: skip
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the fast one where PyYAML has it
FEW: list[Any] = [None, True, 0, 1, -1, 10**240, 0.5, 1e300, "", "x", [], [0.5], ["x"], {"kind": "x"}]


def members() -> Iterator[tuple[str, str]]:
    """Every union with every of its names."""
    for union, kinds in UNIONS.items():
        for name in kinds.named():
            yield union, name


def paths_of(part: type[Spec], at: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The keys of a part."""
    return [(*at, name) for name in part.model_fields]


def survives(path: Path, keys: dict[str, Any]) -> bool:
    """Whether a file loads and the front end makes of it what it should, or it is refused in words."""
    path.write_text(yaml.dump(keys, Dumper=DUMPER, sort_keys=False, allow_unicode=True), encoding="utf-8")
    try:
        experiment = load(path)
    except SpecError as error:
        for problem in error.problems:
            assert "\n" not in problem
            assert "validation error" not in problem
            assert "Input should" not in problem, problem
        return bool(error.problems)
    run = Plan.of(experiment).runs[0]
    again = path.with_name("again.yaml")
    again.write_text(run.as_file(), encoding="utf-8")
    assert Plan.of(load(again)).runs[0] == run
    rates = learning_rates(run.settings)
    assert all(0 <= rate < float("inf") for rate in rates)
    return bool(resolved(run.settings)["model"])


WHERE: dict[str, tuple[str, ...]] = {
    "lr_decay": ("strategy", "lr_decay"),
    "average": ("strategy", "average"),
    "sampler": ("search", "sampler"),
    "pruner": ("search", "prune"),
    "prune": ("structure", "prune"),
    "prune_schedule": ("structure", "prune", "schedule"),
    "quantise": ("structure", "quantise"),
}
SEARCHED = {"optimizer.lr": {"log": [0.001, 1], "points": 2}, "loss.l2": {"range": [0, 1], "points": 2}}
NEEDED = {
    "optimizer": {"lr": 0.1},
    "search": {"space": SEARCHED},
}


@pytest.mark.parametrize(("union", "name"), list(members()))
def test_any_value_of_any_key_of_a_part(union: str, name: str, tmp_path: Path) -> None:
    part = UNIONS[union].find(name)
    at = WHERE.get(union, (union,))
    around = {"kind": "magnitude", "amount": 0.5} if at[:2] == ("structure", "prune") else {}
    good = merge(merge(SMALL, nested(at[:2], around)), nested(at, {"kind": name}))
    good = merge(good, nested(at[:1], NEEDED.get(at[0], {})))
    for path in paths_of(part, at):
        for value in FEW:
            assert survives(tmp_path / "spec.yaml", merge(good, nested(path, value)))


TOP = ["name", "seeds", "tags", "notes", "variants", "data", "model", "loss", "optimizer", "strategy", "budget"]
BELOW = {
    "strategy": ["batch_size", "accumulate", "precision", "lr_decay", "clip_norm", "clip_value", "early_stopping",
                 "average", "compile", "threads"],
    "budget": ["epochs", "steps", "seconds"],
    "evaluation": ["every", "at_start", "metrics", "select", "target", "batch_size"],
    "checkpoint": ["every"],
    "logging": ["every"],
    "structure": ["low_rank", "prune", "quantise", "distill"],
    "search": ["space", "sampler", "trials", "seeds_per_trial", "objective", "limits", "prune", "confirm",
               "at_once"],
}  # fmt: skip


@pytest.mark.parametrize("key", [*TOP, "structure", "evaluation", "checkpoint", "logging", "search", "device"])
def test_any_value_at_the_top(key: str, tmp_path: Path) -> None:
    for value in ANYTHING:
        assert survives(tmp_path / "spec.yaml", {**SMALL, key: value})


@pytest.mark.parametrize(("mapping", "key"), [(mapping, key) for mapping, keys in BELOW.items() for key in keys])
def test_any_value_below(mapping: str, key: str, tmp_path: Path) -> None:
    for value in ANYTHING:
        keys = {**SMALL.get(mapping, {}), **NEEDED.get(mapping, {})}
        assert survives(tmp_path / "spec.yaml", {**SMALL, mapping: {**keys, key: value}})


TEACHER = {"run": "other/big/seed-{seed}"}
FEATURE = {"student": "1", "teacher": "1"}
SHAPED: dict[tuple[str, ...], tuple[type[Spec], dict[str, Any]]] = {
    ("low_rank",): (LowRankSpec, {"rank": 2}),
    ("distill",): (DistillSpec, {"teachers": [TEACHER]}),
    ("distill", "teachers", "0"): (TeacherSpec, {"teachers": [TEACHER]}),
    ("distill", "features", "0"): (FeatureSpec, {"teachers": [TEACHER], "features": [FEATURE]}),
    ("prune", "rewind"): (RewindSpec, {"kind": "magnitude", "amount": 0.5, "rewind": {"to": 0.1}}),
}


@pytest.mark.parametrize("at", list(SHAPED), ids=".".join)
def test_any_value_within_the_structure(at: tuple[str, ...], tmp_path: Path) -> None:
    part, around = SHAPED[at]
    good = {**SMALL, "structure": {at[0]: around}}
    path = tmp_path / "good.yaml"
    path.write_text(yaml.dump(good, Dumper=DUMPER), encoding="utf-8")
    load(path)  # so that what is refused below is refused for its value
    for key in paths_of(part, ("structure", *at)):
        for value in FEW:
            assert survives(tmp_path / "spec.yaml", laid(good, key, value))


def laid(keys: Any, path: Sequence[str], value: Any) -> Any:
    """A copy of `keys` with `value` at `path`, which may lead through lists."""
    if not path:
        return value
    first, *rest = path
    if isinstance(keys, list):
        return [laid(one, rest, value) if str(place) == first else one for place, one in enumerate(keys)]
    return {**keys, first: laid(keys.get(first, {}), rest, value)}
