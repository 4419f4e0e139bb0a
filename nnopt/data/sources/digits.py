"""Handwritten digits of the UCI repository: 1797 images of 8x8 pixels with values from 0 to 16.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, 1998. https://doi.org/10.24432/C50P49
"""

from __future__ import annotations

import numpy as np

from nnopt.data.raw import Raw, digest
from nnopt.data.sources.embedded import embedded_file, table
from nnopt.data.sources.image_files import Shape
from nnopt.data.sources.pixel_layout import PixelLayout


def read() -> Raw:
    """Inputs [1797, 1, 8, 8] uint8, targets [1797] int64."""
    content = embedded_file("digits.csv.gz")
    rows = table(content)
    return Raw(
        inputs=rows[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8),
        targets=rows[:, -1].astype(np.int64),
        classes=tuple("0123456789"),
        content_hash=digest(content),
        largest=16.0,
        layout=PixelLayout(Shape(1, 8, 8), largest=16.0),
    )
