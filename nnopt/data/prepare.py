"""From the content of a source to a data set: split, normalise, make tensors."""

from __future__ import annotations

import numpy as np
import torch

from nnopt.data.dataset import Dataset, Part
from nnopt.data.normalise import FITS, Scaling, fit_none, fit_standard
from nnopt.data.raw import Array, Raw
from nnopt.data.splits import check_classes, split_rows


def prepare(name: str, raw: Raw, *, validation: float, test: float | None, split_seed: int, normalise: str) -> Dataset:
    """Split `raw`, fit the normalisation on the training rows, apply it to all.

    Args:
        name: what the spec calls the data set.
        raw: the content of its source.
        validation: a count of rows, or a share of the rows that are not for test.
        test: a count or a share of all rows; None where the source has an official test part.
        split_seed: the seed of the split.
        normalise: "unit", "standard" or "none".

    Raises:
        DataError: a part, or a class in the training part, would have no row.
    """
    labels = raw.targets if raw.task == "classification" else None
    rows = split_rows(len(raw.targets), labels, validation, test, split_seed)
    train_targets = raw.targets[rows.train]
    if labels is not None:
        check_classes(train_targets, raw.classes, f"the training part of {name}")

    train_inputs = raw.inputs[rows.train]
    scaling = FITS[normalise](train_inputs, raw.largest)
    target_scaling = fit_none(np.empty((0, 1))) if labels is not None else fit_standard(train_targets)

    def part(inputs: Array, targets: Array) -> Part:
        return Part(scaling.apply(inputs), _targets(targets, target_scaling))

    return Dataset(
        name=name,
        train=part(train_inputs, train_targets),
        validation=part(raw.inputs[rows.validation], raw.targets[rows.validation]),
        test=part(
            raw.inputs[rows.test] if raw.test_inputs is None else raw.test_inputs,
            raw.targets[rows.test] if raw.test_targets is None else raw.test_targets,
        ),
        task=raw.task,
        classes=raw.classes,
        target_mean=torch.from_numpy(target_scaling.shift.astype(np.float32)),
        target_scale=torch.from_numpy(target_scaling.scale.astype(np.float32)),
        content_hash=raw.content_hash,
    )


def _targets(targets: Array, scaling: Scaling) -> torch.Tensor:
    return torch.from_numpy(targets.astype(np.int64)) if targets.ndim == 1 else scaling.apply(targets)
