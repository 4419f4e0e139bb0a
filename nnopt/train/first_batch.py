"""The first batch of a run, to look at before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nnopt.compare.pictures.batch import Shown, plot_batches
from nnopt.data.augment.pixels import Pixels
from nnopt.data.batches import Position
from nnopt.data.dataset import Dataset
from nnopt.data.raw import Array
from nnopt.spec.identity import resolved
from nnopt.train.setup import Setup

SAMPLES = 8  # that are shown
NUMBERS = 10  # of a row of a table
TOKENS = 64  # of a text
_LEAST_SHARE = 0.005  # of a class that is worth a word


class Batches:
    """First batches of the variants of an experiment, those alike shown once."""

    def __init__(self, experiment: str) -> None:
        self.picture = Path(f"{experiment}-batch.png")
        self._looks: dict[str, Look] = {}
        self._variants: dict[str, list[str]] = {}

    def add(self, variant: str, setup: Setup) -> None:
        """Takes the first batch of `variant`."""
        key = f"{resolved(setup.settings.data)} {setup.horizon.batch_size(0.0)}"
        self._variants.setdefault(key, []).append(variant)
        if key not in self._looks:
            self._looks[key] = look(setup)

    def show(self) -> list[str]:
        """Draws the images, in the working directory, and gives what else is to be said, line by line.

        Raises:
            DiskError: the picture cannot be written.
        """
        said: list[str] = []
        drawn: list[Shown] = []
        for key, found in self._looks.items():
            names = ", ".join(self._variants[key])
            if found.images is not None:
                drawn.append(replace(found.images, name=names))
            said += [f"first samples of {names}:", *found.lines] if found.lines else []
        if drawn:
            plot_batches(drawn, self.picture)
            said.append(f"written: {self.picture}")
        return said


@dataclass(frozen=True, eq=False)
class Look:
    """What is shown of one variant: images, or lines of text; neither where there are no samples."""

    images: Shown | None
    lines: list[str]


def look(setup: Setup) -> Look:
    """The first samples of the first batch, as they are and as the model sees them."""
    data = setup.data
    if data.task == "function":
        return Look(None, ["  none: a function is minimised"])
    batch = setup.feed.take(Position(), setup.horizon.batch_size(0.0))
    count = min(SAMPLES, len(batch))
    rows = torch.arange(count, device=setup.device) if batch.rows is None else batch.rows[:count]
    before, targets = setup.feed.part.gather(rows)
    after = batch.inputs[:count]
    was, said = ([target_in_words(one, data) for one in some] for some in (targets, batch.targets[:count]))
    if len(data.input_shape) == 3:
        pixels = Pixels.of(data)
        return Look(Shown("", _pictures(before, pixels), _pictures(after, pixels), was, said), [])
    lines = []
    for row, *pair in zip(rows.tolist(), zip(before, was, strict=True), zip(after, said, strict=True), strict=True):
        lines.append(f"  row {row}")
        for word, (inputs, answer) in zip(("as it is", "as seen "), pair, strict=True):
            lines.append(f"    {word} {_in_words(inputs, data)}{'' if data.task == 'language' else f'  {answer}'}")
    return Look(None, lines)


def target_in_words(target: Tensor, data: Dataset) -> str:
    """A class, shares of classes ("7 0.62, 3 0.38"), labels, numbers in their own units, or answers to questions."""
    if data.task == "language":
        return _in_words(target, data)
    if target.dim() == 0:
        return data.classes[int(target)]
    numbers = (target.cpu() * data.target_scale.cpu() + data.target_mean.cpu()).tolist()
    if data.questions:
        answers = (
            f"{question.name} {question.classes[round(number)] if question.classes else f'{number:.4g}'}"
            for question, number in zip(data.questions, numbers, strict=True)
        )
        return ", ".join(answers)
    if not data.classes:
        return ", ".join(f"{number:.4g}" for number in numbers)
    there = sorted(
        ((share, name) for share, name in zip(target.tolist(), data.classes, strict=True) if share > _LEAST_SHARE),
        key=lambda pair: -pair[0],
    )
    return ", ".join(name if share > 1 - _LEAST_SHARE else f"{name} {share:.2f}" for share, name in there) or "none"


def _in_words(inputs: Tensor, data: Dataset) -> str:
    """A row of a table, or a text, shortened."""
    if data.task != "language":
        flat = inputs.flatten().tolist()
        return " ".join(f"{value:8.3f}" for value in flat[:NUMBERS]) + (" ..." if len(flat) > NUMBERS else "")
    names = [data.classes[token] for token in inputs[:TOKENS].tolist()]
    return repr(("" if all(len(name) == 1 for name in names) else " ").join(names))


def _pictures(inputs: Tensor, pixels: Pixels) -> Array:
    """Images [n, c, h, w] as [n, h, w, 3], or [n, h, w] of their mean where they have not three channels."""
    images = pixels.brightness(inputs).clamp(0, 1)
    images = images.permute(0, 2, 3, 1) if images.shape[1] == 3 else images.mean(1)
    found: Array = images.cpu().numpy()
    return found
