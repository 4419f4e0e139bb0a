"""JSON Schema (draft 7) of a spec file, for editors that complete and check YAML."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from nnopt.spec.base import NOT_IDENTITY, PLUGIN_GROUP
from nnopt.spec.experiment import HEADER, ExperimentSpec, RunSettings
from nnopt.spec.search.domains import DOMAINS


def json_schema() -> dict[str, Any]:
    """The schema of a whole file; a variant takes the same keys as the file, none of them required."""
    settings = RunSettings.model_json_schema(ref_template="#/definitions/{model}")
    experiment = ExperimentSpec.model_json_schema(ref_template="#/definitions/{model}")
    header, definitions = experiment["properties"], experiment["$defs"]
    del settings["$defs"], definitions["RunSettings"]  # the former are among the latter
    whole = {domain.__name__ for domain in DOMAINS}
    for name, definition in definitions.items():
        if name in whole:
            continue
        # A value may also come from the keys above a variant, or be a plug-in with keys of its own.
        if "kind" in definition.get("properties", {}):
            definition["required"] = ["kind"]
        else:
            definition.pop("required", None)
    definitions = _with_plugins(definitions)
    keys = _with_plugins(settings["properties"])
    definitions["Variant"] = {"type": ["object", "null"], "properties": keys, "additionalProperties": False}
    by_path = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"}
    by_name = {"enum": sorted({entry.name for entry in importlib.metadata.entry_points(group=PLUGIN_GROUP)})}
    definitions["Plugin"] = {
        "type": "object",
        "properties": {"kind": {"anyOf": [by_path, by_name]} if by_name["enum"] else by_path},
        "required": ["kind"],
    }
    seeds = {"type": "integer", "minimum": 1}, {"type": "array", "items": {"type": "integer", "minimum": 0}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "nnopt experiment",
        "type": "object",
        "properties": {
            **{name: header[name] for name in HEADER},
            "seeds": {"anyOf": list(seeds), "description": header["seeds"]["description"]},
            **keys,
            "variants": {
                "type": "object",
                "description": header["variants"]["description"],
                "additionalProperties": {"$ref": "#/definitions/Variant"},
            },
        },
        "required": ["name"],
        "additionalProperties": False,
        "definitions": definitions,
    }


def _with_plugins(part: Any) -> Any:
    """`part` of a schema with its unions opened to plug-ins, and to mappings that leave `kind` to the keys above them.

    Keywords that are ours or OpenAPI's, not JSON Schema's, are left out.
    """
    if isinstance(part, list):
        return [_with_plugins(item) for item in part]
    if not isinstance(part, dict):
        return part
    plain = {key: _with_plugins(value) for key, value in part.items() if key not in ("discriminator", *NOT_IDENTITY)}
    if "discriminator" not in part:
        return plain
    without_kind = {"type": "object", "not": {"required": ["kind"]}}
    members = plain.pop("oneOf")
    return {**plain, "anyOf": [*members, {"$ref": "#/definitions/Plugin"}, without_kind]}
