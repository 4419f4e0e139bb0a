"""The sampler `grid`."""

from __future__ import annotations

from itertools import islice
from typing import Any

from nnopt.errors import UsageError
from nnopt.spec.search.domains import Space
from nnopt.spec.search.grid import grid_settings, grid_size


def grid_point(space: Space, index: int) -> dict[str, Any]:
    """The combination number `index`.

    Raises:
        UsageError: the grid has fewer points.
    """
    for setting in islice(grid_settings(space), index, None):
        return setting
    raise UsageError(
        f"the grid has {grid_size(space)} points, so there is no trial {index + 1}: give keys more `points`"
    )
