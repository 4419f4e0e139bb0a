"""From the content of a source to a data set: split, normalise, make tensors."""

from __future__ import annotations

import numpy as np
import torch

from nnopt.data.dataset import Dataset, Part, Samples
from nnopt.data.encoding import Encoding
from nnopt.data.normalise import FITS, Scaling, fit_none, fit_standard
from nnopt.data.raw import Array, Raw
from nnopt.data.reading import Readers, Rows, chosen
from nnopt.data.selection import Selection, chosen_classes, chosen_rows, noisy, official_test_rows
from nnopt.data.splits import check_classes
from nnopt.data.streaming import StreamedPart


def prepare(
    name: str,
    raw: Raw,
    *,
    validation: float,
    test: float | None,
    split_seed: int,
    normalise: str,
    selection: Selection | None = None,
) -> Dataset:
    """Split `raw`, fit the normalisation on the training rows, apply it to all.

    Args:
        name: what the spec calls the data set.
        raw: the content of its source.
        validation: a count of rows, or a share of the rows that are not for test.
        test: a count or a share of all rows; None where the source has an official test part.
        split_seed: the seed of the split.
        normalise: "unit", "standard" or "none".
        selection: which classes and training rows, and with which labels; None takes all as they are.

    Raises:
        DataError: a part, or a class in the training part, would have no row; or the selection is not for such data.
    """
    selection = selection or Selection()
    selection.check(raw)
    rows = chosen_rows(chosen_classes(raw, selection.classes), selection, validation, test, split_seed)
    if raw.fit is not None:
        raw = raw.fit(rows.train)
    raw = chosen_classes(raw, selection.classes)
    train_targets = raw.targets[rows.train]
    if raw.task == "classification":
        check_classes(train_targets, raw.classes, f"the training part of {name}")
        train_targets = noisy(train_targets, len(raw.classes), selection, split_seed)
        check_classes(train_targets, raw.classes, f"data.label_noise: the training part of {name}")

    readers = Readers(raw.workers)
    train_inputs = chosen(raw.inputs, rows.train, readers)
    scaling = FITS[normalise](train_inputs, raw.largest).but(raw.unscaled)
    target_scaling = _fit_targets(raw, train_targets)

    def part(inputs: Array | Rows, targets: Array) -> Samples:
        scaled = _targets(targets, target_scaling)
        if isinstance(inputs, Rows):
            return StreamedPart(inputs, scaled, scaling)
        return Part(scaling.apply(inputs), scaled)

    test_inputs, test_targets, test_rows = raw.inputs, raw.targets, rows.test
    if raw.test_inputs is not None and raw.test_targets is not None:
        test_inputs, test_targets, test_rows = raw.test_inputs, raw.test_targets, official_test_rows(raw)
    return Dataset(
        name=name,
        train=part(train_inputs, train_targets),
        validation=part(chosen(raw.inputs, rows.validation, readers), raw.targets[rows.validation]),
        test=part(chosen(test_inputs, test_rows, readers), test_targets[test_rows]),
        task=raw.task,
        classes=raw.classes,
        target_mean=torch.from_numpy(target_scaling.shift.astype(np.float32)),
        target_scale=torch.from_numpy(target_scaling.scale.astype(np.float32)),
        content_hash=raw.content_hash,
        questions=raw.questions,
        encoding=None if raw.layout is None else Encoding(raw.layout, scaling),
        notes=raw.notes,
        pixel_range=None if raw.largest is None else _ends(raw.largest, scaling),
    )


def _ends(largest: float, scaling: Scaling) -> tuple[torch.Tensor, torch.Tensor]:
    """What 0 and `largest` become, [c] each."""
    black, white = scaling.apply(np.stack((np.zeros(len(scaling.shift)), np.full(len(scaling.shift), largest))))
    return black, white


def _fit_targets(raw: Raw, targets: Array) -> Scaling:
    """Numbers are standardised, each column by itself; classes and labels stay what they are."""
    if raw.task == "classification":
        return fit_none(np.empty((0, 1)))
    if raw.task == "multilabel":
        return fit_none(targets)
    found = fit_standard(targets)
    if not raw.questions:
        return found
    numbers = np.array([question.task == "regression" for question in raw.questions])
    return Scaling(np.where(numbers, found.shift, 0.0), np.where(numbers, found.scale, 1.0))


def _targets(targets: Array, scaling: Scaling) -> torch.Tensor:
    return torch.from_numpy(targets.astype(np.int64)) if targets.ndim == 1 else scaling.apply(targets)
