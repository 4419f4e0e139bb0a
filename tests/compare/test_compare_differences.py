from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nnopt.compare.differences import differences, worth_telling
from nnopt.spec.experiment import RunSettings
from nnopt.spec.identity import resolved

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=3)
KEYS = st.sampled_from(["optimizer", "lr", "model", "hidden", "x", "y"])
SPECS = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, min_size=1), max_leaves=12).filter(
    lambda value: isinstance(value, dict)
)


def leaves(spec: dict[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, value in spec.items():
        found += leaves(value, (*prefix, key)) if isinstance(value, dict) else [(*prefix, key)]
    return found


def put(spec: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for key in path[:-1]:
        spec = spec[key]
    spec[path[-1]] = value


@given(SPECS, st.data())
def test_exactly_the_keys_that_were_changed_are_found(spec: dict[str, Any], data: st.DataObject) -> None:
    changed = data.draw(st.lists(st.sampled_from(leaves(spec)), unique=True))
    other = copy.deepcopy(spec)
    for path in changed:
        put(other, path, "another value")
    found = differences({"a": spec, "b": other, "c": copy.deepcopy(spec)})
    assert set(found) == {".".join(path) for path in changed}
    for values in found.values():
        assert values["b"] == "another value"
        assert set(values) == {"a", "b", "c"}


def test_a_key_that_one_spec_lacks_is_absent_there() -> None:
    specs = {
        "sgd": {"optimizer": {"kind": "sgd", "lr": 0.1, "nesterov": False}},
        "adam": {"optimizer": {"kind": "adam", "lr": 0.1, "beta1": 0.9}},
    }
    assert differences(specs) == {
        "optimizer.kind": {"sgd": "sgd", "adam": "adam"},
        "optimizer.nesterov": {"sgd": False},
        "optimizer.beta1": {"adam": 0.9},
    }


def test_lists_of_mappings_are_told_by_place_and_other_lists_are_one_value() -> None:
    specs = {
        "a": {"blocks": [{"channels": 8, "pool": "max"}, {"channels": 16}], "hidden": [128, 64]},
        "b": {"blocks": [{"channels": 8, "pool": "none"}, {"channels": 16}], "hidden": [128]},
    }
    assert differences(specs) == {
        "blocks.0.pool": {"a": "max", "b": "none"},
        "hidden": {"a": [128, 64], "b": [128]},
    }


def test_numbers_are_compared_as_numbers_and_truth_values_apart() -> None:
    assert differences({"a": {"x": 1, "y": 1}, "b": {"x": 1.0, "y": True}}) == {"y": {"a": 1, "b": True}}


def test_names_and_seeds_are_no_difference() -> None:
    assert differences({"a": {"name": "a", "seed": 0, "lr": 1}, "b": {"name": "b", "seed": 1, "lr": 1}}) == {}


def test_an_empty_spec_differs_in_every_key() -> None:
    assert differences({"a": {}, "b": {"lr": 1}}) == {"lr": {"b": 1}}


def test_keys_that_runs_of_other_tools_lack_do_not_differ() -> None:
    specs = {"ours": {"optimizer": {"lr": 0.1, "beta": 0.9}}, "theirs": {"optimizer": {"lr": 0.2}}, "bare": {}}
    assert differences(specs, partial=("theirs", "bare")) == {"optimizer.lr": {"ours": 0.1, "theirs": 0.2}}
    assert "optimizer.beta" in differences(specs)


def settings_of(**keys: Any) -> dict[str, Any]:
    """A resolved spec as summary.json holds it."""
    small = {
        "data": {"kind": "digits"},
        "model": {"kind": "mlp"},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "budget": {"epochs": 1},
    }
    return resolved(RunSettings.model_validate({**small, **keys}))


def test_a_part_that_others_do_not_have_is_told_by_its_own_keys() -> None:
    prune = {"kind": "magnitude", "amount": 0.5, "schedule": {"kind": "one_shot", "at": 0.25}}
    specs = {"whole": settings_of(), "pruned": settings_of(structure={"prune": prune})}
    found = differences(specs)
    assert "structure.prune.scope" in found
    assert worth_telling(found, specs) == {
        "structure.prune.kind": {"pruned": "magnitude"},
        "structure.prune.amount": {"pruned": 0.5},
        "structure.prune.schedule.kind": {"pruned": "one_shot"},
        "structure.prune.schedule.at": {"pruned": 0.25},
    }
    kept = {"often": settings_of(checkpoint={"every": {"steps": 5}}), "usual": settings_of()}
    assert worth_telling(differences(kept), kept) == {"checkpoint.every.steps": {"often": 5}}
    foreign = {"whole": {"a": {"b": 1}}, "other": {"c": {"d": 2}}}
    assert worth_telling(differences(foreign), foreign) == differences(foreign), "defaults of other tools are unknown"
