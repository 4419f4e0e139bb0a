"""The key `tuned`: how settings were found, which changes no run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import Ended
from jsonschema import Draft7Validator

from nnopt.errors import SpecError
from nnopt.plan import Plan
from nnopt.spec.experiment import RunSettings
from nnopt.spec.identity import resolved
from nnopt.spec.json_schema import json_schema
from nnopt.spec.loading import load
from nnopt.spec.tuned import TunedSpec

Load = Callable[..., dict[str, RunSettings]]
SEARCHED = {"trials": 6, "ranges": {"optimizer.lr": [0.01, 3]}}


@pytest.fixture
def variants(write_spec: Callable[..., Path]) -> Load:
    """Loads the small spec with changes and overrides: its variants."""
    return lambda changes, *overrides: load(write_spec(changes), overrides).variants


def problem(variants: Load, changes: dict[str, Any], *overrides: str) -> str:
    """The one line that refuses a spec, without its place."""
    with pytest.raises(SpecError) as raised:
        variants(changes, *overrides)
    (line,) = raised.value.problems
    return line.split(": ", 1)[1]


def test_it_is_kept_and_none_is_none(variants: Load, write_spec: Callable[..., Path]) -> None:
    assert variants({})["sgd"].tuned is None
    settings = variants({"tuned": SEARCHED})["sgd"]
    assert settings.tuned == TunedSpec(trials=6, ranges={"optimizer.lr": (0.01, 3.0)})
    assert resolved(settings)["tuned"] == {"trials": 6, "ranges": {"optimizer.lr": [0.01, 3.0]}}
    assert variants({"tuned": {"trials": 2}})["sgd"].tuned == TunedSpec(trials=2)
    assert "tuned" not in resolved(variants({})["sgd"])


def test_it_changes_no_hash_and_goes_with_the_run(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    (plain,) = Plan.of(load(write_spec())).runs
    (run,) = Plan.of(load(write_spec({"tuned": SEARCHED}))).runs
    assert (run.hash, run.hash_without_budget) == (plain.hash, plain.hash_without_budget)
    again = tmp_path / "again.yaml"
    again.write_text(run.as_file())
    assert Plan.of(load(again)).runs == (run,)


def test_trials_are_inherited_and_ranges_are_replaced_whole(variants: Load) -> None:
    searched = {"trials": 6, "ranges": {"optimizer.lr": [0.01, 3], "optimizer.momentum": [0, 0.99]}}
    found = variants(
        {
            "tuned": searched,
            "variants": {
                "sgd": {},
                "more": {"tuned": {"trials": 20}},
                "adam": {"optimizer": {"kind": "adam", "lr": 0.1}, "tuned": {"ranges": {"optimizer.lr": [1e-4, 1]}}},
                "none": {"tuned": None},
            },
        }
    )
    tuned = {name: settings.tuned and resolved(settings.tuned) for name, settings in found.items()}
    assert tuned["sgd"] == searched
    assert tuned["more"] == {**searched, "trials": 20}
    assert tuned["adam"] == {"trials": 6, "ranges": {"optimizer.lr": [1e-4, 1.0]}}
    assert tuned["none"] is None


def test_an_inherited_range_of_a_key_that_the_kind_does_not_have_names_the_variant(variants: Load) -> None:
    changes = {
        "tuned": {"trials": 6, "ranges": {"optimizer.momentum": [0, 0.99]}},
        "variants": {"sgd": {}, "adam": {"optimizer": {"kind": "adam", "lr": 0.1}}},
    }
    line = problem(variants, changes)
    assert line.startswith("tuned.ranges.optimizer.momentum: unknown key 'optimizer.momentum'; the keys of adam are ")
    assert line.endswith("has `tuned.ranges` of its own (variant adam)")


def test_an_override_can_say_it(variants: Load) -> None:
    found = variants({}, "tuned.trials=3", "tuned.ranges={optimizer.lr: [1e-3, 1]}")["sgd"].tuned
    assert found == TunedSpec(trials=3, ranges={"optimizer.lr": (0.001, 1.0)})


@pytest.mark.parametrize(
    "ranges",
    [
        {"model.hidden.0": [8, 64], "strategy.clip_norm": [0.1, 10], "strategy.batch_size": [16, 128]},
        {"loss.l2": [0, 0.1], "optimizer.lr": [-1, 1]},
        {},
    ],
)
def test_any_number_of_the_variant_may_be_searched(variants: Load, ranges: dict[str, list[float]]) -> None:
    assert variants({"tuned": {"trials": 1, "ranges": ranges}})["sgd"].tuned is not None


@pytest.mark.parametrize(
    ("tuned", "words"),
    [
        ({}, "tuned.trials: this key is missing"),
        ({"trials": 0}, "tuned.trials: should be at least 1, not 0"),
        ({"trials": 2.5}, "tuned.trials: should be a whole number, not 2.5"),
        ({"trials": 1, "range": {}}, "tuned.range: unknown key 'range'; did you mean 'ranges'?"),
        ({"optimizer.lrr": [1, 2]}, "unknown key 'optimizer.lrr'; did you mean 'optimizer.lr'?"),
        ({"optimiser.lr": [1, 2]}, "unknown key 'optimiser.lr'; did you mean 'optimizer.lr'?"),
        ({"optimizer.lr.x": [1, 2]}, "unknown key 'optimizer.lr.x'; optimizer.lr has no keys of its own"),
        ({"model.hidden.1": [1, 2]}, "unknown key 'model.hidden.1'; the keys of model.hidden are 0"),
        ({"": [1, 2]}, "unknown key ''; the keys of a variant are data, model"),
        ({"optimizer.nesterov": [0, 1]}, "optimizer.nesterov is the truth value false, and a range is one of numbers"),
        ({"model.activation": [0, 1]}, "model.activation is the text 'relu', and a range is one of numbers"),
        ({"optimizer": [0, 1]}, "optimizer is a mapping, and a range is one of numbers"),
        ({"optimizer.lr": [2, 1]}, "tuned.ranges.optimizer.lr: should be the lowest and the highest value, not [2, 1]"),
        ({"optimizer.lr": [1, 1]}, "tuned.ranges.optimizer.lr: should be the lowest and the highest value, not [1, 1]"),
        ({"optimizer.lr": [1]}, "tuned.ranges.optimizer.lr: should have at least 2 entries, not 1"),
        ({"optimizer.lr": [1, 2, 3]}, "tuned.ranges.optimizer.lr: should have at most 2 entries, not 3"),
        ({"optimizer.lr": 1}, "tuned.ranges.optimizer.lr: should be a list such as [1, 2], not 1"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(variants: Load, tuned: dict[str, Any], words: str) -> None:
    ranges_alone = any("." in key or key in ("", "optimizer") for key in tuned)
    whole = {"trials": 1, "ranges": tuned} if ranges_alone else tuned
    assert words in problem(variants, {"tuned": whole})


def test_editors_know_it() -> None:
    checker = Draft7Validator(json_schema())
    good = yaml.safe_load(
        "{name: a, tuned: {trials: 6, ranges: {optimizer.lr: [0.01, 3]}}, variants: {b: {tuned: null}}}"
    )
    assert not list(checker.iter_errors(good))
    for bad in ({"trials": 0}, {"ranges": {"optimizer.lr": [1]}}, {"ranges": {"optimizer.lr": ["a", "b"]}}, {"x": 1}):
        assert list(checker.iter_errors({"name": "a", "tuned": bad}))


def test_the_parts_have_it(cli: Callable[..., Ended]) -> None:
    shown = cli("parts", "tuned").stdout
    assert "trials" in shown
    assert "ranges" in shown
