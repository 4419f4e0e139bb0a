"""How often each class or label is in the training part, and weights that make up for it."""

from __future__ import annotations

import torch
from torch import Tensor

from nnopt.data.dataset import Dataset
from nnopt.errors import DataError


def class_counts(key: str, data: Dataset) -> Tensor:
    """[classes] int64 on the CPU, how many training rows each class has.

    Raises:
        DataError: the data has not one class a row; `key` is what asks for them.
    """
    if data.task != "classification":
        raise DataError(f"{key} is for data with one class a row; this data asks for {data.task}")
    return torch.bincount(data.train.all_targets().cpu(), minlength=len(data.classes))


def class_weights(key: str, data: Dataset) -> Tensor:
    """[classes] float32: n / (K · n_c), so that all classes weigh the same and a row weighs 1 on the average.

    Raises:
        DataError: as class_counts.
    """
    counts = class_counts(key, data)
    return (counts.sum() / (len(counts) * counts.double())).float()


def yes_no_weights(key: str, data: Dataset) -> Tensor:
    """[2, k] float32 for k labels, or classes against the rest: n / (2 · n of those without it and with it).

    Of two classes, k is 1: the second against the first.

    Raises:
        DataError: no training row has a label, or every one has it; or the data has neither classes nor labels.
    """
    rows = len(data.train)
    if data.task == "multilabel":
        with_it = data.train.all_targets().cpu().double().sum(0)
        idle = [name for name, n in zip(data.classes, with_it.tolist(), strict=True) if n in (0, rows)]
        if idle:
            raise DataError(
                f"{key}: of label {', '.join(idle)} all training rows say the same, which leaves nothing to balance"
            )
    else:
        counts = class_counts(key, data).double()
        with_it = counts[1:] if len(counts) == 2 else counts
    return (rows / (2 * torch.stack((rows - with_it, with_it)))).float()
