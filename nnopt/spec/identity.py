"""What a spec is, apart from how it is written: its hash, its differences from the defaults, its YAML."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from nnopt.spec.base import Spec
from nnopt.spec.experiment import RunSettings
from nnopt.spec.yaml_reader import read_text

# Raised only when the meaning of a key changes; a new key with a default leaves old hashes as they are.
SCHEMA_VERSION = 1


def differing(spec: Spec) -> dict[str, Any]:
    """The keys of `spec` that identify it: those that differ from their defaults, and `kind`."""
    found: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("identity") is False:
            continue
        if name != "kind" and not field.is_required() and value == field.get_default(call_default_factory=True):
            continue
        plain = _plain(value, differing)
        if plain == {} and not field.is_required():
            continue
        found[name] = plain
    return found


def resolved(spec: Spec) -> dict[str, Any]:
    """All keys of `spec` as plain values, but those that are empty and need not be there."""
    told = ((name, field, getattr(spec, name)) for name, field in type(spec).model_fields.items())
    return {name: _plain(value, resolved) for name, field, value in told if _is_said(value, field)}


def _is_said(value: Any, field: FieldInfo) -> bool:
    return field.is_required() or value not in (None, {}, ()) or value != field.get_default()


def settings_hash(settings: RunSettings, without_budget: bool = False) -> str:
    """Sixteen hexadecimal digits that name what is trained, whatever the seed."""
    keys = differing(settings)
    if without_budget:
        keys.pop("budget", None)
    text = json.dumps({"schema": SCHEMA_VERSION, **keys}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_yaml(value: Any) -> str:
    """YAML that `yaml_reader` reads back as the same values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _plain(value: Any, of_spec: Any) -> Any:
    if isinstance(value, Spec):
        return of_spec(value)
    if isinstance(value, list | tuple):
        return [_plain(item, of_spec) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, of_spec) for key, item in value.items()}
    return value


class _Dumper(yaml.SafeDumper):
    """Quotes every text that our reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _reads_back(text) else '"')


@functools.lru_cache(maxsize=10_000)  # the keys of a spec are in every run's file
def _reads_back(text: str) -> bool:
    try:
        node = read_text(f"key: {text}", "")
        return node is not None and node.plain() == {"key": text}
    except Exception:
        return False


_Dumper.add_representer(str, _represent_text)
