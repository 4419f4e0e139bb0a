"""Diabetes: 442 patients, 10 features, a measure of disease progression one year later.

B. Efron, T. Hastie, I. Johnstone, R. Tibshirani: Least Angle Regression, Annals of Statistics 32(2), 2004.
"""

from __future__ import annotations

from nnopt.data.raw import Raw, digest, joined_digest
from nnopt.data.sources.embedded import embedded_file, plain_layout, table

FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def read() -> Raw:
    """Inputs [442, 10] float64, targets [442, 1] float64, both in their own units.

    These are the raw features: scikit-learn's usual ones are scaled by all rows, test rows among them.
    """
    features, progression = embedded_file("diabetes_data_raw.csv.gz"), embedded_file("diabetes_target.csv.gz")
    return Raw(
        inputs=table(features, delimiter=None),
        targets=table(progression, delimiter=None),
        classes=(),
        content_hash=joined_digest([digest(features), digest(progression)]),
        layout=plain_layout(FEATURES),
    )
