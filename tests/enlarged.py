"""Digits of 32x32 pixels, for models that smaller images do not suit: a plug-in."""

from __future__ import annotations

import dataclasses

from nnopt.data.dataset import Dataset, Part
from nnopt.spec.data.base import DataSpec
from nnopt.spec.data.embedded import Digits


class EnlargedDigits(DataSpec):
    """The embedded digits, each pixel sixteen times."""

    def load(self) -> Dataset:
        """Images [n, 1, 32, 32]; 150 rows for training and 50 each for validation and test."""

        def enlarged(part: Part) -> Part:
            return Part(part.inputs.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3), part.targets)

        small = Digits(kind="digits", validation=50, test=50).load()
        train = Part(small.train.inputs[:150], small.train.targets[:150])
        return dataclasses.replace(
            small, train=enlarged(train), validation=enlarged(small.validation), test=enlarged(small.test)
        )
