"""Every file in configs/ trains or is searched, for a few steps, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from command_line import Ended
from smoke import CONFIGS, missing_data, smoke_command, spec_files, trained_before

from nnopt.spec.loading import load

pytestmark = pytest.mark.usefixtures("undrawn")

# `make smoke` trains them as well.
SLOW = {
    *("cifar10_flips", "cifar10_resnet", "mnist_precision", "mnist_transfer", "tinyshakespeare"),
    *("mnist_channels", "mnist_int8", "mnist_pruning", "mnist_pruning_cnn", "mnist_distillation"),
    *("mnist", "mnist_small", "lstm_transformer", "digits_low_rank", "wine_grid", "asynchronous", "processes"),
}


@pytest.mark.parametrize(
    "config",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else []) for path in spec_files()],
)
def test_a_config_trains(config: Path, cli: Callable[..., Ended], runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)  # paths of small files beside the configs are relative to it
    if reason := missing_data(config):
        pytest.skip(reason)
    for other in trained_before(config):
        cli(*smoke_command(other), "--quiet")
    cli(*smoke_command(config), "--quiet")
    experiment = load(config)
    table = pandas.read_csv(runs / experiment.name / "comparison.csv")
    assert set(table["variant"].map(lambda name: variant_of(name, set(experiment.variants)))) == set(
        experiment.variants
    )
    assert (table["done"] == 1).all()


def variant_of(name: str, variants: set[str]) -> str:
    """The variant that a row belongs to: a member of a front is called as its variant, with a number."""
    return name if name in variants else name.rpartition(".")[0]
