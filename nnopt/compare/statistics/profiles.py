"""Performance profiles: how often each variant is within a factor of the fastest.

Dolan and Moré, Benchmarking optimization software with performance profiles, Mathematical Programming 91
(2002); so used by AlgoPerf (Dahl et al., Benchmarking neural network training algorithms, arXiv:2306.07179).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

# tau, and the share of tasks within it: a step function, each value holding until the next tau.
Profile = tuple[tuple[float, float], ...]
# AlgoPerf's profiles are scored up to this factor.
SCORED_UP_TO = 4.0


def time_ratios(times: Mapping[str, Sequence[float | None]]) -> dict[str, list[float]]:
    """Each variant's times by the best of all variants in the same task: 1 for the fastest.

    `times` has a value a task, None where the variant never got there: then the ratio is infinite. So it is
    against a best time of 0, unless the time is 0 as well.
    """
    tasks = zip(*times.values(), strict=True)
    best = [min((time for time in task if time is not None), default=None) for task in tasks]
    return {name: [_ratio(time, least) for time, least in zip(row, best, strict=True)] for name, row in times.items()}


def _ratio(time: float | None, best: float | None) -> float:
    if time is None or best is None or math.isinf(time):
        return math.inf
    if time == best:
        return 1.0
    return time / best if best > 0 else math.inf


def performance_profiles(times: Mapping[str, Sequence[float | None]]) -> dict[str, Profile]:
    """For each variant, rho(tau) = share of tasks in which its time is at most tau times the best, from tau = 1.

    A task that a variant does not solve is within no tau; so is, for all, a task that none solves.
    """
    return {name: _steps(ratios) for name, ratios in time_ratios(times).items()}


def _steps(ratios: Sequence[float]) -> Profile:
    taus = sorted({1.0, *(ratio for ratio in ratios if math.isfinite(ratio))})
    return tuple((tau, sum(ratio <= tau for ratio in ratios) / len(ratios)) for tau in taus)


def share_within(profile: Profile, tau: float) -> float:
    """rho(tau); 0 below tau = 1."""
    return max((share for start, share in profile if start <= tau), default=0.0)


def profile_score(profile: Profile, up_to: float = SCORED_UP_TO) -> float:
    """The mean of rho over tau from 1 to `up_to`: 1 for a variant that is the fastest everywhere."""
    starts = [min(tau, up_to) for tau, _ in profile]
    ends = [*starts[1:], up_to]
    area = sum(share * (end - start) for (_, share), start, end in zip(profile, starts, ends, strict=True))
    return area / (up_to - 1.0)
