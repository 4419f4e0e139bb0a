"""A finished or stopped run's weights, evaluated once more."""

from __future__ import annotations

from pathlib import Path

from nnopt.train.evaluation import Result
from nnopt.train.judging import evaluate_part
from nnopt.train.restoring import read_spec, restore
from nnopt.train.setup import DataCache, build


def evaluate_again(folder: Path, weights: str, part: str) -> tuple[int, Result]:
    """The step of the weights, and their metrics on "validation" or "test" data.

    Raises:
        CheckpointError: these weights are missing or damaged, or were not to be kept.
        UsageError: the spec, its data or its device is not to be had here.
    """
    setup, state = build(read_spec(folder).in_one_process, DataCache())
    step = restore(setup, state, folder, weights)
    return step, evaluate_part(setup, state, part)
