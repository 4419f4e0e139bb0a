"""The JSON Schema for editors: valid, accepts what loads, and refuses misspelt keys."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL, Ended
from jsonschema import Draft7Validator

from nnopt.plan import Plan
from nnopt.spec.json_schema import json_schema
from nnopt.spec.loading import load
from nnopt.spec.merge import merge
from nnopt.spec.parts import UNIONS
from nnopt.spec.yaml_reader import read_file, read_text

ROOT = Path(__file__).parents[2]
FILES = [*sorted(ROOT.glob("configs/*.yaml")), *sorted(ROOT.glob("nnopt/examples/*.yaml"))]
SCHEMA = json_schema()


def mistakes(spec: Any) -> list[str]:
    """What the schema finds wrong."""
    return [error.json_path for error in Draft7Validator(SCHEMA).iter_errors(spec)]


def test_the_schema_is_one_of_draft_7() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(SCHEMA)


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(SCHEMA)
    references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert references
    assert all(name.removeprefix("#/definitions/") in SCHEMA["definitions"] for name in references)
    assert "$defs" not in text
    assert "discriminator" not in text


def test_every_member_of_every_union_is_in_it() -> None:
    kinds = {
        definition["properties"]["kind"]["const"]
        for definition in SCHEMA["definitions"].values()
        if "const" in definition.get("properties", {}).get("kind", {})
    }
    assert kinds == {name for union in UNIONS.values() for name in union.named()}


def test_there_are_files_to_try() -> None:
    assert len(FILES) > 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_that_we_give_is_accepted(path: Path) -> None:
    assert mistakes(read_file(path).plain()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_spec_of_every_run_of_them_is_accepted(path: Path) -> None:
    for run in Plan.of(load(path)).runs:
        node = read_text(run.as_file(), "spec.yaml")
        assert node is not None
        assert mistakes(node.plain()) == []


GOOD: list[dict[str, Any]] = [
    {},
    {"seeds": [0, 5], "tags": ["a"], "notes": "b", "device": "cuda:1"},
    {"strategy": {"batch_size": "full", "threads": 2}},
    {"strategy": {"batch_size": {"start": 8, "at": [0.5]}, "lr_decay": {"kind": "cosine", "warmup": 0.1}}},
    {"strategy": {"average": {"kind": "swa", "every": {"steps": 3}}, "early_stopping": {"patience": 3}}},
    {"evaluation": {"every": {"epochs": 0.5}, "target": {"metric": "val_accuracy", "value": 0.9}}},
    {"model": {"kind": "cnn", "blocks": [{"channels": 4, "pool": "max"}]}},
    {"optimizer": {"kind": "mine.parts:Mine", "anything": 1}},
    {"strategy": {"lr_decay": {"kind": "mine.parts:Mine", "anything": 1}}},
    {"variants": {"a": None, "b": {}, "c": {"optimizer": {"lr": 0.5}}, "d": {"strategy": {"lr_decay": {"warmup": 0}}}}},
]


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_what_loads_is_accepted(changes: dict[str, Any]) -> None:
    assert mistakes(merge(SMALL, changes)) == []


BAD: list[dict[str, Any]] = [
    {"optimiser": {}},
    {"model": {"hiden": [3]}},
    {"strategy": {"batchsize": 3}},
    {"strategy": {"lr_decay": {"kind": "cosine", "warm_up": 0.1}}},
    {"strategy": {"lr_decay": {"kind": "cosinus"}}},
    {"strategy": {"average": {"kind": "ema", "beta": 0.1}}},
    {"strategy": {"batch_size": {"begin": 3}}},
    {"optimizer": {"beta": 0.9}},
    {"optimizer": {"kind": "sdg", "lr": 1}},
    {"optimizer": {"lr": -1}},
    {"optimizer": {"lr": "fast"}},
    {"budget": {"epoch": 3}},
    {"budget": {"epochs": 0}},
    {"evaluation": {"metrics": "accuracy"}},
    {"evaluation": {"target": {"metrics": "val_accuracy"}}},
    {"seeds": -1},
    {"seeds": [-1]},
    {"device": "GPU"},
    {"variants": {"a": {"optimiser": {}}}},
    {"variants": {"a": {"seeds": 3}}},
    {"variants": {"a": {"strategy": {"batchsize": 3}}}},
    {"variants": {"a": {"optimizer": {"kind": "adam", "lr": 1, "momentum": 3}}}},
    {"name": 3},
]


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_what_is_misspelt_is_refused(changes: dict[str, Any]) -> None:
    assert mistakes(merge(SMALL, changes)) != []


def test_a_short_name_of_an_installed_package_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("mine", "mine.parts:Mine", "nnopt.specs")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [entry])
    validator = Draft7Validator(json_schema())
    assert validator.is_valid(merge(SMALL, {"optimizer": {"kind": "mine", "anything": 1}}))
    assert not validator.is_valid(merge(SMALL, {"optimizer": {"kind": "nine", "lr": 1}}))


def test_every_key_is_described() -> None:
    for name, definition in SCHEMA["definitions"].items():
        for key, value in definition.get("properties", {}).items():
            if key != "kind" and name != "Variant":
                assert value.get("description"), f"{name}.{key}"


def test_the_command_prints_it_and_writes_it(cli: Callable[..., Ended], tmp_path: Path) -> None:
    assert json.loads(cli("schema").stdout) == SCHEMA
    cli("schema", "--output", "schema.json")
    assert json.loads((tmp_path / "schema.json").read_text()) == SCHEMA
