"""What the learning rate is multiplied by: functions of the share of the budget that is used, 0 to 1.

All are pure; `Plateau` alone has state, stepped at evaluations. The learning rate of the spec is the highest
one: a multiplier lies between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

# A share such as 3 / 10 may lie a rounding error below the point 0.3 at which the rate falls.
ROUNDING = 1e-9

Shape = Literal["linear", "cosine", "sqrt"]


def warmup(share: float, length: float) -> float:
    """Rises linearly from 0 to 1 at `length` and stays there."""
    return 1.0 if share >= length else share / length


def step(share: float, every: float, factor: float) -> float:
    """factor^⌊s/every⌋: falls by `factor` each time another `every` of the budget is used."""
    return factor ** math.floor(share / every + ROUNDING)


def multistep(share: float, at: Sequence[float], factor: float) -> float:
    """factor^k after k of the points `at`."""
    return factor ** sum(share >= point - ROUNDING for point in at)


def exponential(share: float, final: float) -> float:
    """final^s: falls by the same factor at every step, from 1 to `final`."""
    return math.pow(final, share)


def polynomial(share: float, power: float, final: float) -> float:
    """final + (1 − final)(1 − s)^power."""
    return final + (1 - final) * math.pow(1 - share, power)


def cosine(share: float, final: float) -> float:
    """final + (1 − final)(1 + cos πs)/2 (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    return final + (1 - final) * (1 + math.cos(math.pi * share)) / 2


def cosine_restarts(share: float, cycles: int, growth: float, final: float) -> float:
    """Cosines from 1 to `final`, one after another, each `growth` times as long as the one before.

    The last cycle ends with the budget (Loshchilov & Hutter 2017, arXiv:1608.03983).
    """
    lengths = [growth**cycle for cycle in range(cycles)]
    used = share * sum(lengths)
    for length in lengths:
        if used < length * (1 - ROUNDING):
            return cosine(max(used, 0.0) / length, final)
        used -= length
    return final


def inverse_sqrt(share: float, timescale: float) -> float:
    """1/√(1 + s/timescale).

    With a warm-up of w and timescale = w/(1 − w) this is the rate of Vaswani et al. 2017, arXiv:1706.03762.
    """
    return 1 / math.sqrt(1 + share / timescale)


def one_cycle(share: float, peak: float, start: float, final: float) -> float:
    """Half a cosine from `start` up to 1 at the share `peak`, then half a cosine down to `final`.

    Smith & Topin 2017, arXiv:1708.07120.
    """
    if share < peak:
        return cosine(1 - share / peak, start)
    return cosine((share - peak) / (1 - peak), final)


def cyclic(share: float, cycles: int, low: float) -> float:
    """Triangles: `cycles` times from `low` up to 1 and down again (Smith 2017, arXiv:1506.01186)."""
    position = share * cycles % 1
    return low + (1 - low) * (1 - abs(2 * position - 1))


def warmup_stable_decay(share: float, decay: float, final: float, shape: Shape) -> float:
    """1 until the last `decay` of the budget, in which it falls to `final` in the given shape.

    Hu et al. 2024, arXiv:2404.06395; the shape sqrt, 1 − √x, is of Hägele et al. 2024, arXiv:2405.18392.
    """
    past = max(0.0, (share - (1 - decay)) / decay)
    return final + (1 - final) * _FALLS[shape](past)


_FALLS: Mapping[Shape, Callable[[float], float]] = {
    "linear": lambda x: 1 - x,
    "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
    "sqrt": lambda x: 1 - math.sqrt(x),
}


class Plateau:
    """Falls by `factor` after `patience` evaluations in a row without improvement, not below `minimum`.

    An improvement is a value better than the best so far by more than `min_delta`. `multiplier` is what the
    learning rate is multiplied by now.
    """

    def __init__(self, patience: int, factor: float, min_delta: float, minimum: float, higher_is_better: bool) -> None:
        self.patience = patience
        self.factor = factor
        self.min_delta = min_delta
        self.minimum = minimum
        self._sign = 1.0 if higher_is_better else -1.0
        self._best = -math.inf
        self._waited = 0
        self.multiplier = 1.0

    def update(self, value: float) -> None:
        """Takes the metric of one evaluation; a value that is not a number is no improvement."""
        signed = self._sign * value
        if signed > self._best + self.min_delta:
            self._best = signed
            self._waited = 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self._waited = 0
            self.multiplier = max(self.multiplier * self.factor, self.minimum)

    def state_dict(self) -> dict[str, float]:
        """All that later multipliers depend on."""
        return {"best": self._best, "waited": self._waited, "multiplier": self.multiplier}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Takes back what `state_dict` gave."""
        self._best = state["best"]
        self._waited = int(state["waited"])
        self.multiplier = state["multiplier"]
