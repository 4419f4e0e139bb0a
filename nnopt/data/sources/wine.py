"""Wine recognition: 178 wines of three cultivars, 13 results of a chemical analysis.

S. Aeberhard, M. Forina, 1991. https://doi.org/10.24432/C5PC7J
"""

from __future__ import annotations

from nnopt.data.raw import Raw
from nnopt.data.sources.embedded import labelled_table

FEATURES = (
    *("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids"),
    *("nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines", "proline"),
)


def read() -> Raw:
    """Inputs [178, 13] float64, targets [178] int64."""
    return labelled_table("wine_data.csv", FEATURES)
