"""All randomness of a run, derived from its seed by name."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str, *numbers: int) -> int:
    """A seed from 0 to 2⁶³ − 1 for one purpose ("order", ...) and, say, one epoch.

    SHA-256 of the text: stable over versions and machines, and unrelated for neighbouring seeds.
    """
    text = "/".join(["nnopt", str(seed), purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
