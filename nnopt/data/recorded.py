"""What a run keeps of its data set: enough to build its model again and to read new samples, without the rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.data import encoding
from nnopt.data.dataset import Dataset, Samples
from nnopt.data.task import Question

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Blank(Samples):
    """So many rows of zeros, of one shape and type: rows of which nothing else is known any more."""

    count: int
    inputs: Tensor  # [1, *input_shape]
    targets: Tensor  # [1, ...]

    def __len__(self) -> int:
        return self.count

    @property
    @override
    def device(self) -> torch.device:
        return self.inputs.device

    @override
    def gather(self, rows: Tensor | None, epoch: int = 0) -> tuple[Tensor, Tensor]:
        count = self.count if rows is None else len(rows)
        inputs, targets = (one.expand(count, *one.shape[1:]) for one in (self.inputs, self.targets))
        return inputs, targets

    @override
    def to(self, device: torch.device | str) -> Blank:
        return Blank(self.count, self.inputs.to(device), self.targets.to(device))


def record_of(data: Dataset) -> dict[str, Any]:
    """Plain values for JSON, from which `dataset_of` makes a data set of blank rows."""
    inputs, targets = data.train.gather(torch.zeros(1, dtype=torch.int64, device=data.train.device))
    return {
        "name": data.name,
        "task": data.task,
        "sha256": data.content_hash,
        "samples": {name: len(getattr(data, name)) for name in PARTS},
        "input_shape": list(inputs.shape[1:]),
        "input_type": _type_name(inputs),
        "target_shape": list(targets.shape[1:]),
        "target_type": _type_name(targets),
        "classes": list(data.classes),
        "questions": [asdict(question) for question in data.questions],
        "target_mean": data.target_mean.tolist(),
        "target_scale": data.target_scale.tolist(),
        "encoding": None if data.encoding is None else data.encoding.record(),
        "notes": list(data.notes),
    }


def dataset_of(record: dict[str, Any]) -> Dataset:
    """The data set whose `record_of` this is, its rows blank."""
    inputs, targets = (
        torch.zeros(1, *record[f"{what}_shape"], dtype=getattr(torch, record[f"{what}_type"]))
        for what in ("input", "target")
    )
    train, validation, test = (Blank(record["samples"][name], inputs, targets) for name in PARTS)
    return Dataset(
        name=record["name"],
        train=train,
        validation=validation,
        test=test,
        task=record["task"],
        classes=tuple(record["classes"]),
        target_mean=torch.tensor(record["target_mean"], dtype=torch.float32),
        target_scale=torch.tensor(record["target_scale"], dtype=torch.float32),
        content_hash=record["sha256"],
        questions=tuple(Question(one["name"], tuple(one["classes"])) for one in record["questions"]),
        encoding=None if record["encoding"] is None else encoding.restore(record["encoding"]),
        notes=tuple(record["notes"]),
    )


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
