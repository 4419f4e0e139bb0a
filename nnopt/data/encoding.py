"""How new samples are read and brought to the scale of a training's data: all that predictions need of it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnopt.data.layout import Layout
from nnopt.data.normalise import Scaling

# Where the layout of each kind is, imported when a recorded one is read back.
LAYOUTS: dict[str, str] = {
    "table": "nnopt.data.table_layout:TableLayout",
    "text": "nnopt.data.sources.text:TextLayout",
    "arrays": "nnopt.data.sources.arrays:ArrayLayout",
    "pixels": "nnopt.data.sources.pixel_layout:PixelLayout",
    "images": "nnopt.data.sources.image_layout:ImageLayout",
}


@dataclass(frozen=True, eq=False)
class NewSamples:
    """Samples that a model is to answer.

    Attributes:
        inputs: [n, *input_shape], float32 scaled as the training data was, or int64 tokens.
        labels: [n], what names each in the answer: a row number, a file name.
        label_name: the column that holds them: "row", "file".
    """

    inputs: Tensor
    labels: Sequence[str | int]
    label_name: str


@dataclass(frozen=True, eq=False)
class Encoding:
    """How a file becomes inputs of a model: the layout of its rows, and the scaling fitted on the training rows."""

    layout: Layout
    scaling: Scaling | None  # None for tokens

    def read(self, path: Path) -> NewSamples:
        """The samples in a file or folder, ready for a model.

        Raises:
            DataError: it is missing, or holds something else than the training data did, in words.
        """
        rows = self.layout.read(path)
        inputs = torch.from_numpy(rows.inputs) if self.scaling is None else self.scaling.apply(rows.inputs)
        return NewSamples(inputs, rows.labels, rows.label_name)

    def record(self) -> dict[str, Any]:
        """Plain values for JSON, from which `restore` makes the same encoding."""
        scaling = self.scaling
        fitted = {} if scaling is None else {"shift": scaling.shift.tolist(), "scale": scaling.scale.tolist()}
        return {"kind": self.layout.kind, "layout": self.layout.record(), **fitted}


def restore(record: dict[str, Any]) -> Encoding:
    """The encoding whose `record` this is."""
    module, _, name = LAYOUTS[record["kind"]].partition(":")
    layout: Layout = getattr(importlib.import_module(module), name).restore(record["layout"])
    scaling = None
    if "shift" in record:
        scaling = Scaling(*(np.array(record[name], dtype=np.float64) for name in ("shift", "scale")))
    return Encoding(layout, scaling)
