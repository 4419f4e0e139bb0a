"""Which optimizer has which within it: a search over the larger one's keys cannot end worse, if it is long enough.

Choi et al. 2019, "On Empirical Comparisons of Optimizers for Deep Learning", arXiv:1910.05446. Theirs is a looser
notion: they let a free schedule of the rate take up Adam's correction for its start, which no key here can do.
"""

from __future__ import annotations

from typing import Any

from nnopt.spec.optimizers.base import DROWNING_EPS, AnyOptimizerSpec, Keys
from nnopt.spec.optimizers.union import OPTIMIZERS


def imitation(kind: str, other: Keys) -> dict[str, Any] | None:
    """All keys with which optimizer `kind` takes the steps of the optimizer with the keys `other`; None if it cannot.

    Keys that `other` leaves out have their defaults. Chains are followed: what imitates an imitation imitates.
    Plug-ins are not known to imitate anything, and optimizers with groups nothing but themselves.
    """
    known = OPTIMIZERS.named()
    start = str(other.get("kind"))
    if start not in known or kind not in known or (other.get("groups") and kind != start):
        return None
    found = {start: with_defaults(other)}
    waiting = [start]
    while waiting and kind not in found:
        inner = waiting.pop(0)
        for name, part in known.items():
            assert issubclass(part, AnyOptimizerSpec)
            for case in part.contains:
                if case.kind == inner and name not in found and case.where(found[inner]):
                    found[name] = with_defaults({**case.keys(found[inner]), "kind": name})
                    waiting.append(name)
    return found.get(kind)


def in_words(kind: str, keys: Keys) -> str:
    """The keys that differ from the defaults, the rate aside: `beta1 = 0, eps → ∞`; empty where none does."""
    defaults = with_defaults({"kind": kind})
    shown = []
    for name, value in keys.items():
        if name in ("kind", "lr") or value == defaults.get(name):
            continue
        if value == DROWNING_EPS:
            shown.append(f"{name} → ∞")
        else:
            shown.append(f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {str(value).lower()}")
    return ", ".join(shown)


def with_defaults(keys: Keys) -> dict[str, Any]:
    """The keys of a built-in optimizer with the defaults of those that are left out."""
    fields = OPTIMIZERS.named()[str(keys["kind"])].model_fields.items()
    return {name: field.get_default() for name, field in fields if not field.is_required()} | dict(keys)
