"""Places in the unit cube: where each key of a trial lies in its range, from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnopt.randomness import derive
from nnopt.spec.search.domains import Space
from nnopt.spec.search.samplers import QuasiRandom
from nnopt.spec.search.setting import active_keys

# The digits of all dimensions are shuffled in one go, so with as many as this in every variant the keys that variants
# share at the head of their spaces lie at the same places.
DIMENSIONS = 16


def setting_at(space: Space, places: Mapping[str, float]) -> dict[str, Any]:
    """The setting at a place for each key, without the keys that are inactive there."""
    values = {key: domain.at(places[key]) for key, domain in space.items()}
    return {key: values[key] for key in active_keys(space, values)}


def random_places(space: Space, seed: int, number: int) -> dict[str, float]:
    """Independent uniform places. Those of a key depend on its name alone, so variants that share it are paired."""
    return {key: derive(seed, f"search/{key}", number) / 2**63 for key in space}


def quasi_random_places(space: Space, sampler: QuasiRandom, number: int) -> dict[str, float]:
    """Point `number` of a Sobol or Halton sequence, a coordinate a key in the order of the space."""
    from scipy.stats import qmc

    points = {"sobol": qmc.Sobol, "halton": qmc.Halton}[sampler.sequence](
        max(len(space), DIMENSIONS), scramble=sampler.scramble, rng=sampler.seed
    )
    if number:
        points.fast_forward(number)
    return dict(zip(space, map(float, points.random(1)[0]), strict=False))
