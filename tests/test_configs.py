"""Every file in configs/ trains or is searched, for a few steps, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from command_line import Ended
from smoke import CONFIGS, missing_data, smoke_command

from nnopt.spec.loading import load

pytestmark = pytest.mark.usefixtures("undrawn")

SLOW = {"cifar10_resnet", "mnist_precision"}  # `make smoke` trains them as well


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else [])
        for path in sorted(CONFIGS.rglob("*.yaml"))
    ],
)
def test_a_config_trains(config: Path, cli: Callable[..., Ended], runs: Path) -> None:
    if reason := missing_data(config):
        pytest.skip(reason)
    cli(*smoke_command(config), "--quiet")
    experiment = load(config)
    table = pandas.read_csv(runs / experiment.name / "comparison.csv")
    assert set(table["variant"]) == set(experiment.variants)
    assert (table["done"] == 1).all()
