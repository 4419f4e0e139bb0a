"""The setting of a trial: a pure function of the space, the sampler, its index, and the trials that it may know.

So a sweep tries the same settings with any number of workers, in whatever order they end, and after any kill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnopt.compare.search.trial import Trial
from nnopt.errors import UsageError
from nnopt.search.propose.cma_es import cma_es_setting, population_of
from nnopt.search.propose.grid import grid_point
from nnopt.search.propose.places import quasi_random_places, random_places, setting_at
from nnopt.search.propose.tpe import tpe_setting
from nnopt.spec.search.domains import Space
from nnopt.spec.search.samplers import CmaEs, Grid, QuasiRandom, Random, SamplerSpec, Tpe
from nnopt.spec.search.search import SearchSpec


def propose(
    space: Space,
    sampler: SamplerSpec,
    index: int,
    known: Sequence[Trial],
    higher_is_better: bool,
    first: int = 0,
    has_costs: bool = False,
) -> dict[str, Any]:
    """The setting of trial `index` of a round: a value of each active key, conditional ones after the others.

    Args:
        space: the round's.
        sampler: how settings are chosen.
        index: place in the round, from 0.
        known: the round's trials 0, 1, ..., `known_before` - 1, in this order and all finished.
        higher_is_better: the direction of the objective.
        first: number of the round's first trial: a later round goes on with numbers that no earlier one used.
        has_costs: the cost of a trial is a second objective; the lower, the better.

    Raises:
        UsageError: a grid has no such point, or nnopt does not know how the sampler works.
    """
    match sampler:
        case Grid():
            return grid_point(space, index)
        case Random():
            return setting_at(space, random_places(space, sampler.seed, first + index))
        case QuasiRandom():
            return setting_at(space, quasi_random_places(space, sampler, first + index))
        case Tpe():
            return tpe_setting(space, sampler, first + index, known, higher_is_better, has_costs)
        case CmaEs():
            return cma_es_setting(space, sampler, index, known, higher_is_better, first)
    raise UsageError(
        f"the sampler {type(sampler).__name__} is no subclass of one of nnopt's: `nnopt parts sampler` lists them"
    )


def known_before(search: SearchSpec, space: Space, index: int) -> int:
    """How many trials of the round trial `index` knows: they finish before it is proposed.

    None where nothing steers the search, all earlier generations for an evolution, else all but the `at_once` - 1
    that may still be in hand.
    """
    if not search.steers:
        return 0
    if isinstance(search.sampler, CmaEs):
        return index - index % population_of(search.sampler, space)
    return max(0, index - search.at_once + 1)
