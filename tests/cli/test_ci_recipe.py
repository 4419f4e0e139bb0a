"""The README's recipe for continuous integration: train before and after a change, compare with gates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Ended

CONFIG = Path(__file__).parents[2] / "configs" / "ci.yaml"
GATES = ("--gate", "val_accuracy >= -1pp", "--gate", "steps_to_target <= +20%")


@pytest.fixture
def before(cli: Callable[..., Ended]) -> None:
    cli("train", CONFIG, "name=before", "budget.epochs=4", "--quiet")


@pytest.mark.usefixtures("before")
def test_a_change_that_changes_nothing_passes(cli: Callable[..., Ended]) -> None:
    cli("train", CONFIG, "name=after", "budget.epochs=4", "--quiet")
    shown = cli("compare", "before", "after", *GATES, "--strict").stdout
    assert "are the same bits in all 5 pairs" in shown
    assert shown.count("gate held: after/adam against before/adam") == 2


@pytest.mark.usefixtures("before")
def test_a_change_for_the_worse_fails_the_build_and_says_by_how_much(cli: Callable[..., Ended], tmp_path: Path) -> None:
    cli("train", CONFIG, "name=after", "budget.epochs=4", "optimizer.lr=0.0005", "--quiet")
    ended = cli("compare", "before", "after", *GATES, "--markdown", tmp_path / "said.md", code=3)
    assert "gate broken: after/adam against before/adam, val_accuracy >= -1pp: -" in ended.stdout
    assert "error: " in ended.stderr
    assert "gate broken" in (tmp_path / "said.md").read_text()
