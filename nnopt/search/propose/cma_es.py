"""The sampler `cma_es`, with the package `cmaes`, in the unit cube."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnopt.compare.search.trial import Trial
from nnopt.randomness import derive
from nnopt.search.propose.losses import losses
from nnopt.search.propose.places import setting_at
from nnopt.spec.search.domains import Space
from nnopt.spec.search.samplers import CmaEs

if TYPE_CHECKING:
    from cmaes import CMA


def population_of(sampler: CmaEs, space: Space) -> int:
    """Trials a generation: Hansen 2016, equation 48, unless the spec says."""
    return sampler.population or 4 + math.floor(3 * math.log(len(space)))


def cma_es_setting(
    space: Space, sampler: CmaEs, index: int, known: Sequence[Trial], higher_is_better: bool, first: int
) -> dict[str, Any]:
    """Draw `index` of the round, after the generations before it were drawn again and told their losses.

    Where the law has shrunk to a point, or all of many generations were alike, it begins afresh.
    """
    population = population_of(sampler, space)
    generation, place = divmod(index, population)
    told = losses(known[: generation * population], higher_is_better)
    law = _law(space, sampler, first, 0)
    for past in range(generation):
        values = told[past * population : (past + 1) * population]
        law.tell([(law.ask(), value) for value in values])
        if law.should_stop():
            law = _law(space, sampler, first, past + 1)
    drawn = [law.ask() for _ in range(place + 1)][-1]
    return setting_at(space, dict(zip(space, map(float, drawn), strict=True)))


def _law(space: Space, sampler: CmaEs, first: int, generation: int) -> CMA:
    """The law that a search begins with; after `generation` generations its middle is drawn."""
    import numpy as np
    from cmaes import CMA

    keys = len(space)
    seed = derive(sampler.seed, "search/cma_es", first, generation) % 2**32
    middle = np.random.default_rng(seed).random(keys) if generation else np.full(keys, 0.5)
    bounds = np.array([[0.0, 1.0]] * keys)
    return CMA(middle, sampler.sigma, bounds, seed=seed, population_size=population_of(sampler, space))
