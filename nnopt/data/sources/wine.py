"""Wine recognition: 178 wines of three cultivars, 13 results of a chemical analysis.

S. Aeberhard, M. Forina, 1991. https://doi.org/10.24432/C5PC7J
"""

from __future__ import annotations

from nnopt.data.raw import Raw
from nnopt.data.sources.embedded import labelled_table


def read() -> Raw:
    """Inputs [178, 13] float64, targets [178] int64."""
    return labelled_table("wine_data.csv")
