"""Settings of trials: laid over the spec as overrides are; which keys count; grids; keys that a file leaves out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from nnopt.errors import SpecError
from nnopt.plan import Plan
from nnopt.spec.experiment import RunSettings
from nnopt.spec.identity import resolved, settings_hash, to_yaml
from nnopt.spec.loading import load
from nnopt.spec.search.grid import MAX_POINTS, grid_settings, grid_size, trials_of
from nnopt.spec.search.objective import evaluations, objective_of
from nnopt.spec.search.search import SearchSpec
from nnopt.spec.search.setting import active_keys, in_order, with_setting

Write = Callable[..., Path]
LR = {"optimizer.lr": {"log": [1e-4, 1]}}
BY_KIND: dict[str, Any] = {
    "optimizer.momentum": {"range": [0, 0.9], "points": 3, "when": {"optimizer.kind": "sgd"}},
    "optimizer.beta1": {"range": [0.5, 0.9], "points": 2, "when": {"optimizer.kind": ["adam", "nadam"]}},
    "optimizer.kind": {"choice": ["sgd", "adam", "nadam"]},
    "optimizer.lr": {"log": [1e-3, 1], "points": 2},
}


def search(space: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """The change that takes a search."""
    return {"search": {"space": space, **keys}}


def one(write_spec: Write, changes: dict[str, Any], *overrides: str) -> RunSettings:
    """The settings of the only variant."""
    (found,) = load(write_spec(changes), overrides).variants.values()
    return found


def without_search(found: RunSettings) -> RunSettings:
    """The settings as the runs of `nnopt train` have them."""
    return found.model_copy(update={"search": None})


CHANGES: dict[str, Any] = {
    "optimizer.lr": 0.5,
    "strategy.batch_size": 32,
    "strategy.clip_norm": None,
    "strategy.lr_decay": {"kind": "step", "factor": 0.5},
    "strategy.average": {"kind": "ema"},
    "budget.steps": 7,
    "model.hidden": [8, 4],
    "model.activation": "tanh",
    "evaluation.every.steps": 3,
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.sets(st.sampled_from(sorted(CHANGES))))
def test_a_setting_is_laid_as_overrides_are(write_spec: Write, keys: set[str]) -> None:
    changes = {"strategy": {"clip_norm": 1.0, "lr_decay": {"kind": "cosine", "warmup": 0.1}}}
    setting = {key: CHANGES[key] for key in keys}
    overrides = [f"{key}={json.dumps(value)}" for key, value in setting.items()]
    assert with_setting(one(write_spec, changes | search(LR)), setting) == one(write_spec, changes, *overrides)


def test_a_kind_goes_before_its_keys_whatever_the_order(write_spec: Write) -> None:
    found = with_setting(
        one(write_spec, search(LR)), {"optimizer.beta1": 0.5, "optimizer.lr": 3, "optimizer.kind": "adam"}
    )
    assert resolved(found.optimizer) == {**resolved(found.optimizer), "kind": "adam", "lr": 3, "beta1": 0.5}
    assert found == one(write_spec, {"optimizer": {"kind": "adam", "lr": 3, "beta1": 0.5}})
    same = with_setting(one(write_spec, {"optimizer": {"nesterov": True, "momentum": 0.5}}), {"optimizer.kind": "sgd"})
    assert resolved(same.optimizer)["nesterov"] is True


def test_an_entry_of_a_list_can_be_set(write_spec: Write) -> None:
    start = one(write_spec, {"model": {"hidden": [16, 8]}})
    assert resolved(with_setting(start, {"model.hidden.1": 3}).model)["hidden"] == [16, 3]
    with pytest.raises(SpecError, match=r"model\.hidden"):
        with_setting(start, {"model.hidden.2": 3})
    grouped = one(write_spec, {"optimizer": {"groups": [{"parameters": ["1.*"], "lr": 0.1}]}})
    (group,) = with_setting(grouped, {"optimizer.groups.0.lr": 0.5}).optimizer.groups
    assert (group.parameters, group.lr) == (("1.*",), 0.5)


def test_a_setting_that_does_not_fit_names_its_keys(write_spec: Write) -> None:
    with pytest.raises(SpecError) as raised:
        with_setting(one(write_spec, {}), {"optimizer.kind": "adam", "optimizer.beta1": 2.0, "model.hidden": [0]})
    start = "the setting optimizer.kind=adam, optimizer.beta1=2, model.hidden=[0] is refused: "
    assert [problem.removeprefix(start) for problem in raised.value.problems] == [
        "model.hidden.0: should be greater than 0, not 0",
        "optimizer.lr: this key is missing",
        "optimizer.beta1: should be less than 1, not 2.0",
    ]


def test_only_active_keys_count_and_come_after_what_they_depend_on() -> None:
    chain = {
        "c": {"choice": [1, 2], "when": {"b": [2]}},
        "b": {"choice": [1, 2], "when": {"a": [2]}},
        "d": {"range": [0, 1]},
        "a": {"choice": [1, 2]},
    }
    space = SearchSpec.model_validate({"space": chain}).space
    assert in_order(space) == ("d", "a", "b", "c")
    assert active_keys(space, {"a": 2, "b": 2, "c": 1, "d": 0}) == ("d", "a", "b", "c")
    assert active_keys(space, {"a": 2, "b": 1, "c": 1}) == ("d", "a", "b")
    # b has the value that c waits for, but does not count itself
    assert active_keys(space, {"a": 1, "b": 2, "c": 1}) == ("d", "a")


def test_a_grid_is_the_product_of_what_is_active() -> None:
    space = SearchSpec.model_validate({"space": BY_KIND}).space
    rows = []
    for kind, rate in itertools.product(("sgd", "adam", "nadam"), (0.001, 1.0)):
        own, values = ("momentum", (0.0, 0.45, 0.9)) if kind == "sgd" else ("beta1", (0.5, 0.9))
        for value in values:
            rows.append({"optimizer.kind": kind, "optimizer.lr": rate, f"optimizer.{own}": value})
    found = list(grid_settings(space))
    assert sorted(map(repr, (sorted(row.items()) for row in found))) == sorted(
        map(repr, (sorted(row.items()) for row in rows))
    )
    assert grid_size(space) == len(rows) == 14
    assert [row["optimizer.kind"] for row in found] == ["sgd"] * 6 + ["adam"] * 4 + ["nadam"] * 4


def test_the_last_key_changes_fastest_and_points_are_needed() -> None:
    space = SearchSpec.model_validate({"space": {"b": {"choice": [1, 2]}, "a": {"int": [0, 2]}}}).space
    assert [(row["b"], row["a"]) for row in grid_settings(space)] == list(itertools.product((1, 2), (0, 1, 2)))
    with pytest.raises(PydanticCustomError, match="points"):
        list(grid_settings(SearchSpec.model_validate({"space": LR}).space))
    binary = {
        f"k{index}": {"choice": [0, 1], **({"when": {f"k{index - 1}": [0, 1]}} if index else {})} for index in range(20)
    }
    assert MAX_POINTS < grid_size(SearchSpec.model_validate({"space": binary}).space) <= 2 * MAX_POINTS


@pytest.mark.parametrize(("keys", "trials"), [({}, 20), ({"trials": 7}, 7), ({"sampler": {"kind": "grid"}}, 14)])
def test_the_number_of_trials(write_spec: Write, keys: dict[str, Any], trials: int) -> None:
    assert trials_of(load(write_spec(search(BY_KIND, **keys)))) == trials
    assert trials_of(load(write_spec())) == 0


def test_keys_that_are_left_out_have_the_middle(write_spec: Write) -> None:
    space = {
        **BY_KIND,
        "strategy.lr_decay.warmup": {"range": [0, 0.2]},
        "strategy.batch_size": {"int": [16, 64]},
        "budget.epochs": {"int": [1, 9]},
    }
    found = one(write_spec, {"optimizer": None, "budget": None, **search(space)})
    assert found.search is not None
    middles = {key: found.search.space[key].middle() for key in found.search.filled}
    assert middles == {
        "optimizer.kind": "sgd",
        "optimizer.momentum": 0.45,
        "optimizer.lr": 0.0316228,
        "strategy.lr_decay.warmup": 0.1,
        "budget.epochs": 5,
    }
    assert without_search(found) == one(
        write_spec,
        {
            "optimizer": {"kind": "sgd", "lr": 0.0316228, "momentum": 0.45},
            "budget": {"epochs": 5},
            "strategy": {"lr_decay": {"kind": "constant", "warmup": 0.1}},
        },
    )


def test_keys_that_are_given_stay_and_a_given_budget_gets_no_second_unit(write_spec: Write) -> None:
    changes = {"optimizer": {"momentum": 0.3}, "strategy": {"clip_norm": None}}
    space = {**LR, "optimizer.momentum": {"range": [0, 0.9]}, "budget.steps": {"int": [1, 9]}}
    found = one(write_spec, changes | search(space | {"strategy.clip_norm": {"log": [1, 2]}}))
    assert found.search is not None
    assert not found.search.filled
    assert without_search(found) == one(write_spec, changes)
    assert with_setting(found, {"budget.steps": 4}).budget.epochs is None


def test_an_inactive_key_has_the_files_value_or_its_default(write_spec: Write) -> None:
    space = {
        "strategy.batch_size": {"choice": [64, 32]},
        "optimizer.momentum": {"range": [0.2, 0.8], "when": {"strategy.batch_size": 64}},
    }
    for own, left in (({}, 0.0), ({"optimizer": {"momentum": 0.3}}, 0.3)):
        found = one(write_spec, own | search(space))
        assert resolved(with_setting(found, {"strategy.batch_size": 32}).optimizer)["momentum"] == left
        assert (
            resolved(with_setting(found, {"strategy.batch_size": 64, "optimizer.momentum": 0.7}).optimizer)["momentum"]
            == 0.7
        )


FULL = search(
    BY_KIND,
    sampler={"kind": "tpe", "seed": 3},
    trials=9,
    seeds_per_trial=[3, 5],
    objective={"metric": "best_val_loss", "direction": "minimise"},
    prune={"kind": "median", "warmup": 0, "startup_trials": 3},
    confirm=None,
    at_once=2,
)


@pytest.mark.parametrize("changes", [search(LR), search(LR, confirm={"seeds": [7, 9]}), FULL])
def test_a_resolved_spec_reads_back_and_its_search_changes_no_run(
    write_spec: Write, tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / "again.yaml"
    variants = {"variants": {"a": {}, "b": {"strategy": {"batch_size": 32}}}}
    spec = load(write_spec({"optimizer": {"momentum": 0.0}, **changes, **variants}))
    path.write_text(to_yaml(resolved(spec)))
    assert load(path) == spec
    plain = load(write_spec({"optimizer": {"momentum": 0.0}, **variants}))
    assert [settings_hash(found) for found in spec.variants.values()] == [run.hash for run in Plan.of(plain).runs]
    assert Plan.of(spec).runs == Plan.of(plain).runs
    assert "search" not in Plan.of(spec).runs[0].as_file()


def test_a_space_is_replaced_whole_and_all_else_is_shared(write_spec: Write) -> None:
    adam = {"optimizer": {"kind": "adam", "lr": 1}, "search": {"space": {"optimizer.beta1": {"range": [0, 0.9]}}}}
    spec = load(write_spec(search(LR, trials=4) | {"variants": {"sgd": {}, "adam": adam}}), ["search.at_once=3"])
    assert {name: list(found.search.space) for name, found in spec.variants.items() if found.search} == {
        "sgd": ["optimizer.lr"],
        "adam": ["optimizer.beta1"],
    }
    assert spec.search == spec.variants["sgd"].search
    assert spec.search is not None
    assert (spec.search.trials, spec.search.at_once) == (4, 3)


@pytest.mark.parametrize(
    ("budget", "every", "at_start", "rows"),
    [
        ({"epochs": 10}, {"epochs": 3}, False, 4),
        ({"epochs": 9}, {"epochs": 3}, False, 3),
        ({"epochs": 1}, {"epochs": 0.1}, True, 11),
        ({"steps": 5}, {"steps": 5}, False, 1),
        ({"steps": 5}, {"epochs": 1}, False, None),
    ],
)
def test_evaluations_of_a_run(
    write_spec: Write, cli: Callable[..., Any], runs: Path, budget: Any, every: Any, at_start: bool, rows: int | None
) -> None:
    path = write_spec({"budget": budget, "evaluation": {"every": every, "at_start": at_start}})
    (found,) = load(path).variants.values()
    assert evaluations(found) == rows
    if rows is not None:
        cli("train", path, "--quiet")
        (table,) = runs.glob("small/sgd/seed-0/metrics.csv")
        assert len(table.read_text().splitlines()) - 1 == rows


def test_evaluations_beyond_all_numbers_are_many(write_spec: Write) -> None:
    found = one(write_spec, {"budget": {"epochs": 10**240}, "evaluation": {"every": {"epochs": 1e-300}}})
    assert evaluations(found) == 10**15


def test_what_trials_are_judged_by(write_spec: Write) -> None:
    assert objective_of(one(write_spec, search(LR))) == ("val_accuracy", True)
    assert objective_of(one(write_spec, search(LR, objective={"metric": "best_val_loss"}))) == ("best_val_loss", False)
    assert objective_of(one(write_spec, search(LR, objective={"direction": "minimise"}))) == ("val_accuracy", False)
    assert objective_of(one(write_spec, {"evaluation": {"select": "val_loss"}, **search(LR)})) == ("val_loss", False)


def test_winners_get_seeds_of_their_own() -> None:
    def seeds(**keys: Any) -> tuple[int, ...]:
        return SearchSpec.model_validate({"space": LR, **keys}).confirm_seeds

    assert seeds() == (1, 2, 3, 4, 5)
    assert seeds(seeds_per_trial=[0, 7], confirm={"seeds": 2}) == (8, 9)
    assert seeds(confirm={"seeds": [4, 11]}) == (4, 11)
    assert seeds(confirm=None) == ()
