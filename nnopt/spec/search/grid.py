"""Every combination of a space: what a grid tries, how many that are, and how many trials a search has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nnopt.spec.search.domains import Choice, Space
from nnopt.spec.search.samplers import Grid
from nnopt.spec.search.search import DEFAULT_TRIALS
from nnopt.spec.search.setting import in_order

if TYPE_CHECKING:
    from nnopt.spec.experiment import ExperimentSpec

MAX_POINTS = 100_000


def grid_settings(space: Space) -> Iterator[dict[str, Any]]:
    """Every combination of the keys' grids, the last key changing fastest; a setting holds active keys alone.

    Raises:
        PydanticCustomError: a key needs `points`.
    """
    return _walk(space, in_order(space), {})


def grid_size(space: Space) -> int:
    """How many settings `grid_settings` gives; counting ends where they are more than MAX_POINTS.

    Raises:
        PydanticCustomError: a key needs `points`.
    """
    waited_for = _waited_for(space)
    free = [key for key in space if key not in waited_for]
    lengths = {key: len(space[key].grid()) for key in free}
    size = 0
    for setting in combinations(space, waited_for):
        size += math.prod(lengths[key] for key in free if space[key].is_active(setting))
        if size > MAX_POINTS:
            break
    return size


def combinations(space: Space, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every combination of these keys' grids, which must hold those that they wait for; one of no keys for no keys."""
    return _walk(space, tuple(key for key in in_order(space) if key in keys), {})


def deciding_keys(space: Space) -> tuple[str, ...]:
    """Choices that decide which other keys there are: those that conditions name, and kinds."""
    waited_for = _waited_for(space)
    kinds = {key for key, domain in space.items() if key.endswith(".kind") and isinstance(domain, Choice)}
    return tuple(key for key in in_order(space) if key in kinds or key in waited_for)


def trials_of(spec: ExperimentSpec) -> int:
    """Settings that the spec's search tries for each variant; 0 where it has no search."""
    if spec.search is None:
        return 0
    if isinstance(spec.search.sampler, Grid):
        return grid_size(spec.search.space)
    return spec.search.trials or DEFAULT_TRIALS


def _waited_for(space: Space) -> tuple[str, ...]:
    return tuple(dict.fromkeys(other for domain in space.values() for other in domain.when))


def _walk(space: Space, keys: tuple[str, ...], setting: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not keys:
        yield setting
        return
    key, *rest = keys
    if not space[key].is_active(setting):
        yield from _walk(space, tuple(rest), setting)
        return
    for value in space[key].grid():
        yield from _walk(space, tuple(rest), {**setting, key: value})
