"""DESIGN.md's rules of merging, one by one: variants over the keys above them, overrides over both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnopt.errors import SpecError
from nnopt.spec.experiment import RunSettings
from nnopt.spec.identity import resolved
from nnopt.spec.loading import load
from nnopt.spec.merge import given as given_paths
from nnopt.spec.merge import merge

Load = Callable[..., dict[str, RunSettings]]


@pytest.fixture
def variants(write_spec: Callable[..., Path]) -> Load:
    """Loads the small spec with changes and overrides: its variants."""
    return lambda changes, *overrides: load(write_spec(changes), overrides).variants


def test_a_file_without_variants_is_one_named_after_its_optimizer(variants: Load) -> None:
    assert list(variants({})) == ["sgd"]
    assert list(variants({"optimizer": {"kind": "adam", "lr": 0.1}})) == ["adam"]
    assert list(variants({}, "optimizer={kind: momentum, lr: 0.1}")) == ["momentum"]


def test_a_variant_is_merged_over_the_keys_above_it(variants: Load) -> None:
    found = variants({"variants": {"a": {}, "b": {"optimizer": {"momentum": 0.9}}, "c": None}})
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == found["c"]
    assert (found["b"].optimizer.lr, found["b"].optimizer.momentum) == (0.1, 0.9)  # type: ignore[attr-defined]
    assert found["b"].model == found["a"].model


def test_a_mapping_whose_kind_changes_is_replaced_whole(variants: Load) -> None:
    found = variants({"optimizer": {"momentum": 0.5}, "variants": {"a": {"optimizer": {"kind": "rmsprop", "lr": 1.0}}}})
    assert resolved(found["a"].optimizer)["momentum"] == 0.0  # rmsprop's own default, not 0.5 from above
    assert resolved(found["a"].optimizer)["lr"] == 1.0


def test_a_mapping_of_the_same_kind_is_merged(variants: Load) -> None:
    found = variants({"optimizer": {"momentum": 0.5}, "variants": {"a": {"optimizer": {"kind": "sgd", "lr": 1.0}}}})
    assert resolved(found["a"].optimizer)["momentum"] == 0.5


@pytest.mark.parametrize("override", ["budget={steps: 30}", "budget.steps=30"])
def test_a_budget_is_replaced_whole(variants: Load, override: str) -> None:
    in_variant = variants({"variants": {"a": {"budget": {"steps": 30}}}})["a"]
    by_override = variants({}, override)["sgd"]
    assert resolved(in_variant.budget) == resolved(by_override.budget) == {"steps": 30}


@pytest.mark.parametrize("override", ["evaluation.every={steps: 7}", "evaluation.every.steps=7"])
def test_a_period_is_replaced_whole(variants: Load, override: str) -> None:
    above = {"evaluation": {"every": {"epochs": 2}, "batch_size": 50}}
    in_variant = variants({**above, "variants": {"a": {"evaluation": {"every": {"steps": 7}}}}})["a"]
    by_override = variants(above, override)["sgd"]
    for settings in (in_variant, by_override):
        assert resolved(settings.evaluation.every) == {"steps": 7}
        assert settings.evaluation.batch_size == 50


def test_a_list_is_replaced_whole(variants: Load) -> None:
    found = variants({"model": {"hidden": [64, 32, 16]}, "variants": {"a": {"model": {"hidden": [8]}}}})
    assert resolved(found["a"].model)["hidden"] == [8]


def test_an_override_reaches_every_variant_and_comes_last(variants: Load) -> None:
    two = {"variants": {"a": {}, "b": {"optimizer": {"lr": 0.5}}}}
    assert [found.optimizer.lr for found in variants(two, "optimizer.lr=0.01").values()] == [0.01, 0.01]


def test_an_override_can_reach_one_variant(variants: Load) -> None:
    two = {"variants": {"a": {}, "b": {"optimizer": {"lr": 0.5}}}}
    found = variants(two, "variants.a.optimizer.lr=0.01")
    assert (found["a"].optimizer.lr, found["b"].optimizer.lr) == (0.01, 0.5)


def test_of_two_overrides_the_later_one_holds(variants: Load) -> None:
    assert variants({}, "optimizer.lr=1", "optimizer.lr=2")["sgd"].optimizer.lr == 2
    both = ("variants.sgd.optimizer.lr=1", "optimizer.lr=2")
    assert variants({}, *both)["sgd"].optimizer.lr == 2
    assert variants({}, *reversed(both))["sgd"].optimizer.lr == 1


def test_an_override_may_change_the_kind_and_the_next_ones_its_keys(variants: Load) -> None:
    (adam,) = variants({}, "optimizer.kind=adam", "optimizer.lr=0.01", "optimizer.beta1=0.8").values()
    assert resolved(adam.optimizer)["kind"] == "adam"
    assert (resolved(adam.optimizer)["lr"], resolved(adam.optimizer)["beta1"]) == (0.01, 0.8)


def test_an_override_may_name_what_the_file_leaves_out(variants: Load) -> None:
    found = variants({}, "strategy.lr_decay={kind: cosine, warmup: 0.05}", "evaluation.target.metric=val_accuracy",
                     "evaluation.target.value=0.9")["sgd"]  # fmt: skip
    assert resolved(found.strategy.lr_decay) == {"kind": "cosine", "warmup": 0.05, "final": 0.0}
    assert found.evaluation.target is not None
    assert found.evaluation.target.value == 0.9


def test_overrides_of_the_whole_experiment(write_spec: Callable[..., Path]) -> None:
    spec = load(write_spec(), ["name=other", "seeds=[3, 5]", "tags=[a, b]", "notes=a note"])
    assert (spec.name, spec.seeds, spec.tags, spec.notes) == ("other", (3, 5), ("a", "b"), "a note")


@pytest.mark.parametrize(
    ("override", "value"),
    [("optimizer.lr=1e-3", 0.001), ("optimizer.lr=010", 10.0), ("optimizer.lr= 0.5 ", 0.5)],
)
def test_values_of_overrides_are_read_as_yaml(variants: Load, override: str, value: float) -> None:
    assert variants({}, override)["sgd"].optimizer.lr == value


def test_an_equals_sign_belongs_to_the_value(write_spec: Callable[..., Path]) -> None:
    assert load(write_spec(), ["notes=lr=3"]).notes == "lr=3"


def test_a_count_of_seeds_is_the_first_numbers(write_spec: Callable[..., Path]) -> None:
    assert load(write_spec(), ["seeds=3"]).seeds == (0, 1, 2)
    assert load(write_spec({"seeds": None})).seeds == (0, 1, 2)
    assert load(write_spec(), [f"seeds=[7, 0, {2**63 - 1}]"]).seeds == (7, 0, 2**63 - 1)


def test_a_loaded_spec_cannot_change(write_spec: Callable[..., Path]) -> None:
    spec = load(write_spec())
    with pytest.raises(ValueError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        spec.variants["sgd"].optimizer.lr = 2.0  # type: ignore[misc]


def test_one_loss_of_two_tasks_needs_both_changed(variants: Load) -> None:
    found = variants({"variants": {"a": {"data": {"kind": "diabetes"}, "loss": {"kind": "mse"}}}})
    assert found["a"].metrics == ("mse", "mae", "r2")
    assert found["a"].select == "val_loss"


def test_a_header_key_in_a_variant_is_refused(variants: Load) -> None:
    with pytest.raises(SpecError, match=r"variants.a.seeds: belongs to the whole experiment"):
        variants({"variants": {"a": {"seeds": 2}}})


# ------------------------------------------------------------------------------ merge itself, on any mappings

keys = st.sampled_from(["kind", "lr", "budget", "every", "a"])
mappings: Any = st.recursive(
    st.dictionaries(keys, st.integers(0, 2), max_size=3),
    lambda inner: st.dictionaries(keys, st.integers(0, 2) | inner | st.lists(st.integers(), max_size=2), max_size=4),
    max_leaves=8,
)


def at(mapping: Any, path: tuple[str, ...]) -> Any:
    """The value at a path."""
    for key in path:
        mapping = mapping[key]
    return mapping


@given(mappings, mappings)
def test_what_merging_takes_from_the_upper_mapping(under: dict[str, Any], over: dict[str, Any]) -> None:
    merged, taken = merge(under, over), list(given_paths(under, over))
    assert all(at(merged, path) == at(over, path) for path in taken)
    assert merge(merged, over) == merged
    assert {path[0] for path in taken} <= set(over)
    for key in under.keys() - over.keys():
        assert merged[key] == under[key]


@given(mappings)
def test_merging_nothing_changes_nothing(mapping: dict[str, Any]) -> None:
    assert merge(mapping, {}) == mapping
    assert merge({}, mapping) == mapping
