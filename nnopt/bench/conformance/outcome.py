"""How a check ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Outcome:
    """How one check of one optimizer ended.

    Attributes:
        check: its name, a key that a class may have in `cannot`.
        status: declared: it is not for this optimizer, which says so, and that is true as far as can be seen.
        detail: what was seen, or what the optimizer says, in one line.
        settings: the optimizer's keys; empty where it was not built.
    """

    check: str
    status: Literal["passed", "failed", "declared"]
    detail: str
    settings: dict[str, Any] = field(default_factory=dict)
