"""JSON Schema (draft 7) of a spec file, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from nnopt.spec.experiment import HEADER, ExperimentSpec, RunSettings


def json_schema() -> dict[str, Any]:
    """The schema of a whole file; a variant takes the same keys as the file, none of them required."""
    settings = RunSettings.model_json_schema(ref_template="#/definitions/{model}")
    header = ExperimentSpec.model_json_schema(ref_template="#/definitions/{model}")["properties"]
    definitions: dict[str, Any] = settings.pop("$defs")
    for definition in definitions.values():
        # A value may also come from the keys above a variant, or be a plug-in with keys of its own.
        if "kind" in definition.get("properties", {}):
            definition["required"] = ["kind"]
        else:
            definition.pop("required", None)
    keys = {name: _with_plugins(field) for name, field in settings["properties"].items()}
    definitions["Variant"] = {"type": ["object", "null"], "properties": keys, "additionalProperties": False}
    definitions["Plugin"] = {
        "type": "object",
        "properties": {"kind": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"}},
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


def _with_plugins(field: dict[str, Any]) -> dict[str, Any]:
    """Unions also take a mapping of a shared kind's own keys (a variant that leaves `kind` out) or a plug-in's."""
    if "oneOf" not in field and "discriminator" not in field:
        return field
    plain = {key: value for key, value in field.items() if key not in ("oneOf", "discriminator")}
    partial = {"type": "object", "not": {"required": ["kind"]}}
    return plain | {"anyOf": [*field.get("oneOf", []), {"$ref": "#/definitions/Plugin"}, partial]}
