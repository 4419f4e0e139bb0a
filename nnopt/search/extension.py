"""A search goes on beyond the edge at which it found its best."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nnopt.compare.search.summary import SearchSummary, VariantSearch
from nnopt.spec.search.domains import Domain, NumberDomain
from nnopt.spec.search.grid import grid_size
from nnopt.store.search_file import Round, SearchedVariant, SearchFile


def extended(file: SearchFile, summary: SearchSummary, made: Mapping[str, int]) -> SearchFile | None:
    """The search with a round more, or None where no best lies at an edge.

    A variant at an edge searches the part beyond it. Each variant gets as many more trials as the widest of these
    parts takes at the density of before, so that all have the same number; but a grid without an edge is complete.
    `made`: trials that each variant has by now.
    """
    at_edge = {one.variant: beyond(one) for one in summary.variants if one.edges and one.variant in made}
    if not at_edge:
        return None
    is_grid = file.search["sampler"]["kind"] == "grid"
    extra = max(_trials(file.variants[name], share) for name, (_, share) in at_edge.items())
    for name, variant in file.variants.items():
        if name not in made or (is_grid and name not in at_edge):
            continue
        space = at_edge[name][0] if name in at_edge else variant.space
        count = grid_size(space) if is_grid else extra
        file = file.with_variant(name, rounds=(*variant.rounds, Round(made[name], count, space)))
    return file


def beyond(search: VariantSearch) -> tuple[dict[str, Domain], float]:
    """The space with only the part beyond each edge, and the largest of these as a share of what was searched."""
    space, largest = dict(search.space), 0.0
    for edge in search.edges:
        domain = space[edge.key]
        assert isinstance(domain, NumberDomain)
        share = abs(domain.place_of(edge.added[1]) - domain.place_of(edge.added[0]))
        added = domain.with_ends(*edge.added)
        points = getattr(domain, "points", None)
        if points is not None:
            added = added.model_copy(update={"points": max(2, 1 + round((points - 1) * share))})
        space[edge.key] = added
        largest = max(largest, share)
    return space, largest


def _trials(variant: SearchedVariant, share: float) -> int:
    return max(1, math.ceil(variant.trials * share))
