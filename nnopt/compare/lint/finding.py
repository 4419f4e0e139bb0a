"""One thing that makes a comparison unfair."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`text` says what is unfair, `advice` what to do, a sentence each; `rule` names the kind."""

    rule: str
    text: str
    advice: str
