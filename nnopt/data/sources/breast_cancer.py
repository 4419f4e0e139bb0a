"""Breast cancer Wisconsin (diagnostic): 569 tumours, 30 features of their cell nuclei, malignant or benign.

W. Wolberg, O. Mangasarian, N. Street, W. Street, 1995. https://doi.org/10.24432/C5DW2B
"""

from __future__ import annotations

from nnopt.data.raw import Raw
from nnopt.data.sources.embedded import labelled_table

MEASURED = (
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave points", "symmetry", "fractal dimension"),
)
# Of all nuclei in a picture: the mean, its standard error, and the mean of the three largest.
FEATURES = (
    *(f"mean {name}" for name in MEASURED),
    *(f"{name} error" for name in MEASURED),
    *(f"worst {name}" for name in MEASURED),
)


def read() -> Raw:
    """Inputs [569, 30] float64, targets [569] int64."""
    return labelled_table("breast_cancer.csv", FEATURES)
