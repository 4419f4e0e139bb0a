"""Every file in configs/ trains, for a few steps, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from command_line import Ended
from smoke import CONFIGS, TINY, missing_data

from nnopt.spec.loading import load


@pytest.mark.parametrize("config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_trains(config: Path, cli: Callable[..., Ended], runs: Path) -> None:
    if reason := missing_data(config):
        pytest.skip(reason)
    cli("train", config, *TINY, "--quiet")
    experiment = load(config)
    table = pandas.read_csv(runs / experiment.name / "comparison.csv")
    assert set(table["variant"]) == set(experiment.variants)
    assert (table["done"] == 1).all()
