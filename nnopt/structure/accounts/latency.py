"""How long a network's answers take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnopt.structure.accounts.layers import answering

SECONDS = 0.15  # of one measure, where the least number of repeats takes no longer
LEAST, MOST = 10, 100
WARM_UPS = 3
# A network that takes longer than this for its warm-ups, or for ten repeats, is asked three times only.
PATIENCE = 2.0
FEW = 3


@dataclass(frozen=True)
class Latency:
    """Seconds of one forward pass over a batch: the median of `repeats`, and what 95 % of them do not exceed."""

    batch: int
    median: float
    p95: float
    repeats: int

    @property
    def samples_per_second(self) -> float:
        """Samples answered in a second, at the median."""
        return self.batch / self.median


def time_answers(
    network: nn.Module,
    inputs: Tensor,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Times forward passes over `inputs` [batch, *shape], one after another, each waited for on an accelerator.

    The network answers in evaluation mode without gradients, within `context()` (an autocast), and is as it was
    afterwards. After some passes to warm up come at least 10 and at most 100, as many as fit into 0.15 seconds; of a
    network that needs more than two seconds for so many at least 3. What else the machine does slows them: the median
    is little touched by it, the 95th percentile more.
    """

    def answer() -> float:
        begin = clock()
        network(inputs)
        if inputs.device.type != "cpu":
            torch.accelerator.synchronize(inputs.device)
        return clock() - begin

    taken: list[float] = []
    with answering(network), context():
        begun = clock()
        for _ in range(WARM_UPS):
            answer()
            if clock() - begun > PATIENCE:
                break
        begun = clock()
        while len(taken) < FEW or (len(taken) < LEAST and clock() < begun + PATIENCE):
            taken.append(answer())
        while LEAST <= len(taken) < MOST and clock() < begun + SECONDS:
            taken.append(answer())
    taken.sort()
    return Latency(
        batch=len(inputs),
        median=(taken[(len(taken) - 1) // 2] + taken[len(taken) // 2]) / 2,
        p95=taken[math.ceil(0.95 * len(taken)) - 1],
        repeats=len(taken),
    )
