"""A search that cannot work is refused before anything is trained: file, line and key, and what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import SMALL, Ended
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from nnopt.errors import SpecError
from nnopt.spec.experiment import RESERVED
from nnopt.spec.identity import resolved, to_yaml
from nnopt.spec.json_schema import json_schema
from nnopt.spec.loading import load
from nnopt.spec.merge import merge
from nnopt.spec.search.words import search_in_words

Write = Callable[..., Path]
LR = {"optimizer.lr": {"log": [1e-4, 1]}}
KINDS = {"optimizer.kind": {"choice": ["sgd", "adam", "nadam"]}}
PAIR = [{"kind": "sgd", "lr": 1}, {"kind": "adam", "lr": 1}]
MOMENTUM = {"optimizer.momentum": {"range": [0, 0.9]}}
SPEC = """\
name: places
data: {kind: digits}
model: {kind: mlp, hidden: [16]}
loss: {kind: cross_entropy}
optimizer: {kind: sgd, lr: 0.1}
budget: {epochs: 6}
search:
  trials: 5
  space:
    optimizer.lr: {log: [1.0e-4, 1]}
    strategy.batch_size:
      int: [16, 64]
variants:
  plain:
  adam:
    optimizer: {kind: adam}
    search:
      space:
        optimizer.lr: {log: [1.0e-5, 0.1]}
"""


def search(space: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """The change that takes a search."""
    return {"search": {"space": space, **keys}}


def problems(write_spec: Write, changes: dict[str, Any], *overrides: str) -> list[str]:
    """The lines that refuse a spec, without their place."""
    with pytest.raises(SpecError) as raised:
        load(write_spec(changes), overrides)
    return [line.split(": ", 1)[1] for line in raised.value.problems]


SPACES: list[tuple[dict[str, Any], str]] = [
    ({"optimizer.lrr": {"log": [1, 2]}}, "optimizer.lrr: unknown key 'lrr'; did you mean 'lr'?"),
    ({"optimiser.lr": {"log": [1, 2]}}, "optimiser.lr: optimiser: unknown key 'optimiser'; did you mean 'optimizer'?"),
    ({"optimizer.beta1": {"range": [0, 1]}}, "optimizer.beta1: unknown key 'beta1'; the keys of sgd are"),
    ({"optimizer.lr.x": {"range": [0, 1]}}, "optimizer.lr.x: optimizer.lr: should be a number, not a mapping"),
    ({"": {"range": [0, 1]}}, "unknown key ''"),
    ({"model.hidden.1": {"int": [4, 8]}}, "model.hidden.1: model.hidden has no entry 1 in the spec"),
    ({"optimizer.lr": {"range": [0, 1]}}, "optimizer.lr: should be greater than 0, not 0"),
    ({"optimizer.momentum": {"range": [0, 1]}}, "optimizer.momentum: should be less than 1, not 1"),
    ({"data.fraction": {"range": [0.2, 1]}}, "data.fraction: should be a share above 0 and below 1, or a whole number"),
    ({"strategy.batch_size": {"log": [16, 64]}}, "takes whole numbers: write {int: [16, 64], log: true}"),
    ({"model.activation": {"choice": ["relu", "rleu"]}}, "model.activation: should be one of 'relu'"),
    ({"optimizer.kind": {"choice": ["sgd", "adamm"]}, **LR}, "optimizer.kind: no optimizer is called 'adamm'; did you"),
    ({"optimizer.kind": {"choice": ["sgd", "adam"]}}, "optimizer.kind: with adam, optimizer.lr is missing"),
    (KINDS | LR | MOMENTUM, "optimizer.momentum: is no key of adam, nadam; write `when: {optimizer.kind: [sgd]}`"),
    ({"optimizer.nesterov": {"choice": [True, False]}}, "optimizer.nesterov: optimizer: nesterov needs a momentum"),
    ({"optimizer": {"choice": [PAIR[0], {"kind": "gd", "lr": 1}]}}, "strategy.batch_size:"),
    ({"optimizer": {"choice": PAIR}, **LR}, "optimizer: is searched whole"),
    ({"optimizer": {"lr": {"log": [1, 2]}}}, "optimizer: is a mapping of keys; write the whole key with dots"),
    ({}, "search.space: names no key"),
    ({"device": {"choice": ["cpu", "cuda"]}}, "device: cannot be searched: all trials of a search run on one device"),
    ({"seeds": {"int": [1, 2]}}, "seeds: cannot be searched: it belongs to the whole experiment"),
    ({"search.trials": {"int": [1, 2]}}, "search.trials: cannot be searched"),
    ({"tuned.trials": {"int": [1, 2]}}, "tuned.trials: cannot be searched"),
    ({"evaluation.batch_size": {"int": [1, 2]}}, "cannot be searched: all trials are judged alike"),
    ({"data.split_seed": {"int": [1, 2]}}, "cannot be searched: all trials are judged on the same data"),
    (LR | {"optimizer.momentum": {"range": [0, 0.9], "when": {"optimizer.kid": "sgd"}}}, "kid is not searched"),
    (LR | {"optimizer.momentum": {"range": [0, 0.9], "when": {"optimizer.lr": 1}}}, "lr is a range: a condition"),
    (KINDS | LR | {"loss.l2": {"range": [0, 1], "when": {"optimizer.kind": "sdg"}}}, "'sdg' is none of the choices"),
    ({"optimizer.kind": {"choice": ["sgd", "adam"], "when": {"optimizer.kind": "sgd"}}}, "waits for itself"),
    (
        {"a": {"choice": [1, 2], "when": {"b": 1}}, "b": {"choice": [1, 2], "when": {"a": 1}}},
        "a and b wait for each other",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("space", "words"), SPACES, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_a_space_that_is_wrong(write_spec: Write, space: dict[str, Any], words: str) -> None:
    found = problems(write_spec, search(space))
    assert words in found[0]
    assert all(line.startswith("search.space") for line in found)


KEYS: list[tuple[dict[str, Any], str]] = [
    ({"trials": 0}, "search.trials: should be at least 1, not 0"),
    ({"trails": 3}, "search.trails: unknown key 'trails'; did you mean 'trials'?"),
    ({"sampler": {"kind": "sobol"}}, "search.sampler: no sampler is called 'sobol'"),
    ({"sampler": {"kind": "grid"}}, "search.space.optimizer.lr: a grid needs `points` here"),
    ({"sampler": {"kind": "cma_es"}}, "search.sampler: cma_es needs two keys or more"),
    ({"prune": {"kind": "hyperband"}}, "search.prune: no pruner is called 'hyperband'"),
    ({"seeds_per_trial": 0}, "search.seeds_per_trial: should be a count from 1 to 10000, not 0"),
    ({"confirm": {"seeds": [3, 0]}}, "search.confirm.seeds: the seed 0 is one of the trials'"),
    ({"seeds_per_trial": [2**63 - 1]}, "search.confirm.seeds: no seeds are left"),
    ({"objective": {"metric": "test_accuracy"}}, "search.objective.metric: 'test_accuracy' is measured on test data"),
    ({"objective": {"metric": "best_test_loss"}}, "search.objective.metric: 'best_test_loss' is measured on test data"),
    ({"objective": {"metric": "val_acuracy"}}, "search.objective.metric: no metric is called 'acuracy'; did you mean"),
    ({"objective": {"metric": "val_mse"}}, "search.objective.metric: metric 'mse' is for regression"),
    ({"objective": {"metric": "val_f1_macro"}}, "val_f1_macro is not measured: name f1_macro in evaluation.metrics"),
    ({"objective": {"metric": "train_accuracy"}}, "'train_accuracy' is measured at no evaluation: take val_accuracy"),
    ({"objective": {"metric": "speed"}}, "metric: no metric is called 'speed'; there are val_<metric>"),
    ({"objective": {"direction": "up"}}, "search.objective.direction: should be one of 'maximise' or 'minimise'"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "words"), KEYS, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_a_key_that_is_wrong(write_spec: Write, keys: dict[str, Any], words: str) -> None:
    (line,) = problems(write_spec, search(LR, **keys))
    assert words in line


def test_a_grid_and_its_trials(write_spec: Write) -> None:
    grid = {"sampler": {"kind": "grid"}}
    three = {"optimizer.lr": {"log": [1e-4, 1], "points": 3}}
    load(write_spec(search(three, trials=3, **grid)))
    assert problems(write_spec, search(three, trials=4, **grid)) == [
        "search.trials: the grid has 3 points, not 4: leave trials out"
    ]
    other = {"b": search({"optimizer.lr": {"log": [1e-4, 1], "points": 2}})}
    (line,) = problems(write_spec, search(three, **grid) | {"variants": {"a": {}, **other}})
    assert line == "variants.b.search.space: the grid of b has 2 points, that of a 3: all need the same number"
    huge = {f"model.hidden.{index}": {"int": [1, 100]} for index in range(3)}
    (line,) = problems(write_spec, {"model": {"hidden": [1, 1, 1]}, **search(huge, **grid)})
    assert "the grid has more than 100,000 points" in line


def test_every_point_of_a_grid_is_tried(write_spec: Write) -> None:
    space = {
        "optimizer.nesterov": {"choice": [False, True]},
        "optimizer.momentum": {"choice": [0.5, 0.0, 0.9]},
        "model.hidden": {"choice": [[4], [8]]},
    }
    (line,) = problems(write_spec, search(space, sampler={"kind": "grid"}))
    assert "nesterov needs a momentum above 0" in line


def test_cma_es_takes_numbers_alone(write_spec: Write) -> None:
    keys: dict[str, Any] = {"sampler": {"kind": "cma_es"}}
    load(write_spec(search(LR | MOMENTUM, **keys)))
    (line,) = problems(write_spec, search(LR | MOMENTUM | {"model.activation": {"choice": ["relu", "tanh"]}}, **keys))
    assert line.startswith("search.space.model.activation: cma_es moves numbers and knows no choices")
    (line, _) = problems(
        write_spec, search(LR | KINDS | {"loss.l2": {"range": [0, 1], "when": {"optimizer.kind": "adam"}}}, **keys)
    )
    assert line.startswith("search.space.optimizer.kind: cma_es")


@pytest.mark.parametrize(
    ("prune", "changes", "words"),
    [
        ({"kind": "median"}, {"budget": {"epochs": 1}}, "search.prune: a run has 1 evaluation, the last at its end"),
        ({"kind": "median", "warmup": 2}, {"budget": {"epochs": 3}}, "prune.warmup: should be less than 2, not 2"),
        ({"kind": "successive_halving", "first": 3}, {"budget": {"epochs": 3}}, "first: should be less than 3, not 3"),
        ({"kind": "median", "warmup": 1}, {"budget": {"epochs": 3}}, ""),
        ({"kind": "successive_halving", "first": 2}, {"budget": {"epochs": 3}}, ""),
        ({"kind": "median"}, {"budget": {"steps": 30}}, ""),
        ({"kind": "median"}, search({"budget.epochs": {"int": [1, 3]}}), ""),
        ({"kind": "median"}, search({"budget.epochs": {"int": [1, 2]}}), "warmup"),
        ({"kind": "median"}, search(LR, objective={"metric": "train_seconds"}), "is known at the end of a run alone"),
    ],
)  # fmt: skip
def test_pruning_needs_evaluations_before_the_last(
    write_spec: Write, prune: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    keys = merge(merge({"budget": {"epochs": 6}}, search(LR, prune=prune)), changes)
    if words:
        (line,) = problems(write_spec, keys)
        assert words in line
    else:
        load(write_spec(keys))


def test_the_value_of_a_loss_does_not_rank_losses(write_spec: Write) -> None:
    smoothing = {"loss.label_smoothing": {"range": [0, 0.2]}}
    load(write_spec(search(smoothing)))
    load(write_spec(search({"loss.l2": {"range": [0, 0.2]}}, objective={"metric": "val_loss"})))
    (line,) = problems(write_spec, search(smoothing, objective={"metric": "best_val_loss"}))
    assert "best_val_loss means something else for each loss.label_smoothing" in line


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ({"a": {}, "b": {"search": {"trials": 3}}}, "variants.b.search.trials: differs from a's"),
        ({"a": {}, "b": {"search": {"sampler": {"kind": "random"}}}}, "variants.b.search.sampler: differs from a's"),
        ({"a": {}, "b": {"search": None}}, "variants.b.search: all variants are searched or none"),
        ({"a": {}, "b": {"evaluation": {"select": "val_loss"}}}, "a is judged by val_accuracy and b by val_loss"),
        ({"trial-3": {}}, "variants.trial-3: a variant that is searched cannot be called 'trial-3'"),
        ({"a": {}, "b": {"optimizer": {"kind": "adam", "lr": 1}}}, "`search.space` of its own (variant b)"),
    ],
)
def test_variants_are_searched_alike(write_spec: Write, variants: dict[str, Any], words: str) -> None:
    (line,) = problems(write_spec, search(LR | MOMENTUM) | {"variants": variants})
    assert words in line


def test_without_a_search_a_variant_may_be_called_so(write_spec: Write) -> None:
    assert list(load(write_spec({"variants": {"trial-3": {}}})).variants) == ["trial-3"]
    assert {"study.db", "search.json", "tune-lr.csv"} <= RESERVED


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("1.0e-4, 1]", "0, 1]", "spec.yaml:10: search.space.optimizer.lr.log: should be greater than 0 at both"),
        ("int: [16", "int: [0", "spec.yaml:11: search.space.strategy.batch_size: should be a whole number from 1"),
        ("trials: 5", "trials: x", "spec.yaml:8: search.trials: should be a whole number, not the text 'x'"),
        (
            "lr: {log: [1.0e-4",
            "lrr: {log: [1.0e-4",
            "spec.yaml:10: search.space.optimizer.lrr: unknown key 'lrr'; did you",
        ),
        (
            "lr: {log: [1.0e-5",
            "lrr: {log: [1.0e-5",
            "spec.yaml:16: variants.adam.optimizer.lr: this key is missing; did you mean it by optimizer.lrr in search",
        ),
        ("1.0e-5, 0.1]", "1.0e-5, 0]", "spec.yaml:19: variants.adam.search.space.optimizer.lr.log: is reversed"),
    ],
)
def test_a_mistake_stands_at_its_line(write_spec: Write, old: str, new: str, line: str) -> None:
    assert old in SPEC
    path = write_spec(SPEC.replace(old, new, 1))
    with pytest.raises(SpecError) as raised:
        load(path)
    assert raised.value.problems[0].removeprefix(f"{path.parent}/").startswith(line)


def test_the_spec_of_these_places_is_good_and_overrides_reach_it(write_spec: Write) -> None:
    found = load(write_spec(SPEC), ["search.space={optimizer.lr: {log: [0.01, 0.1]}}", "search.trials=3"])
    assert [list(one.search.space) for one in found.variants.values() if one.search] == [["optimizer.lr"]] * 2
    for override in ("optimizer.lr={log: [1, 2]}", "optimizer.lr.log=[1, 2]"):
        with pytest.raises(
            SpecError, match=r"a space is replaced whole: write search\.space=\{optimizer\.lr: \.\.\.\}"
        ):
            load(write_spec(SPEC), [f"search.space.{override}"])
    with pytest.raises(SpecError, match=r"command line \(search\.trials=0\): search\.trials: should be at least 1"):
        load(write_spec(SPEC), ["search.trials=0"])


@pytest.mark.parametrize("command", ["check", "train"])
def test_nothing_is_trained(cli: Callable[..., Ended], write_spec: Write, runs: Path, command: str) -> None:
    ended = cli(
        command, write_spec(search({"optimizer.lr": {"log": [1e-4, 1]}, "model.dropout": {"range": [0, 2]}})), code=2
    )
    assert "search.space.model.dropout: should be less than 1, not 2" in ended.stderr
    assert not runs.exists()


def test_check_and_train_say_what_the_search_is(cli: Callable[..., Ended], write_spec: Write) -> None:
    when = {"loss.l2": {"range": [0, 0.1], "when": {"model.activation": "relu"}}}
    space = LR | {"model.activation": {"choice": ["relu", "tanh"]}} | when
    path = write_spec(
        {"optimizer": {"kind": "sgd", "lr": None}, **search(space, trials=7, seeds_per_trial=2, confirm={"seeds": 1})}
    )
    path.write_text(path.read_text().replace("  lr: null\n", ""))
    shown = cli("check", path, "--no-build").stdout
    assert (
        "search: 7 trials a variant (quasi_random), 2 seeds each: 14 runs of 1 variant; judged by val_accuracy, "
        "more is better; then the best of each variant on seed 2\n"
        "  sgd optimizer.lr 0.0001 to 1 by factors; model.activation relu or tanh; "
        "loss.l2 0 to 0.1 where model.activation is relu\n"
    ) in shown
    trained = cli("train", path, "--quiet")
    assert f"variants train as they stand; `nnopt sweep {path}` searches" in trained.stderr
    assert search_in_words(load(write_spec())) == []


def test_the_parts_have_it(cli: Callable[..., Ended]) -> None:
    assert "seeds_per_trial" in cli("parts", "search").stdout
    assert "startup_trials" in cli("parts", "sampler", "tpe").stdout
    assert "warmup" in cli("parts", "pruner", "median").stdout
    for domain in ("log", "range", "int", "choice"):
        assert "when" in cli("parts", domain).stdout


GOOD: list[dict[str, Any]] = [
    {"space": LR},
    {"space": {"a.b": {"int": [1, 4], "log": True, "when": {"c": "x", "d": [1, True]}}}, "confirm": None},
    {
        "space": {"a": {"choice": [None, [1], {"kind": "x"}]}},
        "sampler": {"kind": "tpe", "seed": 3},
        "seeds_per_trial": [4],
    },
    {"trials": 3, "prune": {"kind": "median"}, "objective": {"direction": "minimise"}, "sampler": {"seed": 3}},
    {"confirm": {"seeds": 3}, "sampler": {"kind": "mine.parts:Mine", "x": 1}},
]
BAD: list[dict[str, Any]] = [
    {"space": {"a": {"log": [1]}}},
    {"space": {"a": {"points": 3}}},
    {"space": {"a": {"log": [1, 2], "pionts": 3}}},
    {"space": {"a": 0.1}},
    {"trials": 0},
    {"trails": 1},
    {"sampler": {"kind": "tep"}},
    {"prune": {"kind": "median", "warm": 1}},
    {"seeds_per_trial": "x"},
    {"objective": {"direction": "up"}},
]  # fmt: skip


def test_editors_know_it(write_spec: Write) -> None:
    checker = Draft7Validator(json_schema())
    for keys in GOOD:
        assert not list(checker.iter_errors(merge(SMALL, {"search": keys}))), keys
    for keys in BAD:
        assert list(checker.iter_errors(merge(SMALL, {"search": keys}))), keys
    written = yaml.safe_load(to_yaml(resolved(load(write_spec(SPEC)))))
    assert not list(checker.iter_errors(written))


scalars = st.sampled_from(
    [None, True, False, 0, 1, -1, 2, 16, 0.1, 0.5, 1e300, 10**240, "", "x", "sgd", "adam", "relu", "tanh"]
)
values = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.dictionaries(st.sampled_from(["kind", "lr", "x"]), scalars, max_size=2)
)
dotted = st.sampled_from(
    ["optimizer.lr", "optimizer.kind", "optimizer.momentum", "optimizer", "strategy.batch_size", "budget.epochs",
     "budget", "strategy.lr_decay.kind", "strategy.lr_decay.warmup", "strategy.average.decay", "model.hidden",
     "model.hidden.0", "data", "loss.l2", "name", "", ".", "a..b", "optimizer.lr.x", "device",
     "variants.sgd.optimizer.lr", "search.space", "kind"]
)  # fmt: skip
domains = st.one_of(
    values,
    st.fixed_dictionaries(
        {},
        optional={
            "log": st.one_of(st.lists(scalars, min_size=1, max_size=3), scalars),
            "range": st.lists(scalars, min_size=2, max_size=2),
            "int": st.lists(scalars, min_size=2, max_size=2),
            "choice": st.one_of(st.lists(values, max_size=3), scalars),
            "points": scalars,
            "when": st.one_of(st.dictionaries(dotted, values, max_size=2), scalars),
        },
    ),
    st.sampled_from(
        [{"choice": ["sgd", "adam"]}, {"log": [1e-3, 0.5], "points": 3}, {"int": [1, 9]}, {"range": [0, 0.5]}]
    ),
)
searches = st.fixed_dictionaries(
    {"space": st.one_of(st.dictionaries(dotted, domains, max_size=4), values)},
    optional={
        "sampler": st.one_of(values, st.sampled_from([{"kind": kind} for kind in ("grid", "random", "tpe", "cma_es")])),
        "prune": st.one_of(values, st.sampled_from([{"kind": "median"}, {"kind": "successive_halving", "first": 9}])),
        "trials": scalars,
        "seeds_per_trial": values,
        "confirm": st.one_of(values, st.fixed_dictionaries({"seeds": values})),
        "objective": st.one_of(values, st.fixed_dictionaries({"metric": scalars})),
        "at_once": scalars,
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=250)
@given(searches, st.one_of(st.none(), searches))
def test_any_search_gives_a_spec_or_is_refused_in_words(
    write_spec: Write, tmp_path: Path, one: Any, other: Any
) -> None:
    variants = {"a": {}, "b": {"search": other}} if other is not None else {"a": {}}
    path = write_spec({**SMALL, "search": one, "variants": variants})
    try:
        found = load(path)
    except SpecError as error:
        refused = error.problems
    else:
        refused = []
        again = tmp_path / "again.yaml"
        again.write_text(to_yaml(resolved(found)))
        assert resolved(load(again)) == resolved(found)
    for problem in refused:
        assert "\n" not in problem
        assert "Input should" not in problem
