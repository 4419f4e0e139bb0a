"""Quality against cost: points, fronts, and the picture of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compare_runs import make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.pictures.cost import plot_costs
from nnopt.compare.pictures.labels import Box, place_labels
from nnopt.compare.spread import Spread
from nnopt.errors import UsageError


def compared(top: Path, **changes: str) -> Comparison:
    """Four variants: slow and good, quick and good enough, dominated, and one with a diverged run."""
    cells = {"slow": (0.95, 4.0, 30), "quick": (0.90, 1.0, 20), "beaten": (0.85, 2.0, 40), "lost": (0.99, 0.5, 10)}
    records = []
    for variant, (accuracy, seconds, memory) in cells.items():
        for seed in range(3):
            records.append(
                make_run(
                    top,
                    variant,
                    seed,
                    [0.1, accuracy + (seed - 1) / 100],
                    status="diverged" if variant == "lost" and seed == 0 else "done",
                    seconds={"train": seconds + (seed - 1) / 10},
                    memory_peak_bytes=(memory + seed) * 10**6,
                    energy_joules=None if variant == "beaten" else 10 * seconds,
                )
            )
    return compare(records, metric="val_accuracy", **changes)  # type: ignore[arg-type]


def test_a_point_has_its_quality_and_what_it_cost(tmp_path: Path) -> None:
    points = {point.label: point for point in compared(tmp_path).costs}
    assert points["quick"].quality == Spread(pytest.approx(0.90), pytest.approx(0.01), 3)
    assert points["quick"].costs == {
        "train_seconds": pytest.approx(1.0),
        "memory_peak_bytes": 22e6,
        "parameters": 650,
        "energy_joules": pytest.approx(10.0),
    }
    assert "energy_joules" not in points["beaten"].costs


def test_fronts_are_of_variants_without_a_diverged_run(tmp_path: Path) -> None:
    points = {point.label: point for point in compared(tmp_path).costs}
    assert points["slow"].front == {
        "train_seconds",
        "memory_peak_bytes",
        "energy_joules",
    }
    assert points["quick"].front == {"train_seconds", "memory_peak_bytes", "energy_joules"}
    assert points["beaten"].front == frozenset()
    assert (points["lost"].front, points["lost"].diverged) == (frozenset(), 1)


def test_without_any_quality_there_is_no_point(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path, "sgd", 0, [], status="failed")])
    assert comparison.costs == ()
    with pytest.raises(UsageError, match="and a cost"):
        plot_costs(comparison, tmp_path / "cost.png")


def test_tasks_have_fronts_of_their_own(tmp_path: Path) -> None:
    records = []
    for task, shift in (("easy", 0.5), ("hard", 0.0)):
        for variant, accuracy, seconds in (("sgd", 0.2, 1.0), ("adam", 0.3, 2.0)):
            for seed in range(3):
                values = [accuracy + shift + seed / 1000]
                more = {"seconds": {"train": seconds + 5 * shift}, "spec": {"data": {"kind": task}}}
                records.append(make_run(tmp_path, variant, seed, values, experiment=task, **more))
    comparison = compare(records)
    assert {point.task for point in comparison.costs} == {"easy", "hard"}
    # All of hard would be beaten in quality by easy, all of easy in time by hard.
    assert all("train_seconds" in point.front for point in comparison.costs)
    plot_costs(comparison, tmp_path / "cost.png")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_picture_is_drawn(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cost{suffix}"
    plot_costs(compared(tmp_path), path)
    first = path.read_bytes()
    plot_costs(compared(tmp_path / "again"), path)
    assert path.read_bytes() == first
    if suffix == ".png":
        picture = imread(path)
        # Panels of seconds, memory and energy; parameters are the same for all.
        assert picture.shape[:2] == (930, 1080)
        assert float(np.asarray(picture[..., :3]).mean()) > 0.9
    if suffix == ".svg":
        text = first.decode()
        for word in ("slow", "quick", "beaten", "lost (1 diverged)", "nothing is better and cheaper"):
            assert f">{word}</text>" in text


def test_a_single_variant_with_equal_costs_is_drawn(tmp_path: Path) -> None:
    plot_costs(compare([make_run(tmp_path, "sgd", 0, [0.5])]), tmp_path / "cost.svg")
    drawn = (tmp_path / "cost.svg").read_text(encoding="utf-8")
    assert ">sgd</text>" in drawn
    assert ">training seconds</text>" in drawn


FRAME = Box(0, 0, 600, 400)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=8, unique=True))
def test_labels_of_points_apart_touch_neither_each_other_nor_a_point(cells: list[tuple[int, int]]) -> None:
    points = [(50.0 + 100 * column, 25.0 + 50 * row) for column, row in cells]
    placed = [box for box, _ in place_labels(points, [(60.0, 12.0)] * len(points), [], FRAME)]
    for index, box in enumerate(placed):
        assert box.overlap(FRAME) == pytest.approx(box.area)
        assert all(box.overlap(other) == 0 for other in placed[:index])
        assert not any(box.left < x < box.right and box.bottom < y < box.top for x, y in points)


def test_a_crowd_of_points_keeps_its_labels_apart() -> None:
    points = [(300.0 + 3 * place, 200.0) for place in range(8)]
    placed = [box for box, _ in place_labels(points, [(70.0, 12.0)] * 8, [], FRAME)]
    assert sum(box.overlap(other) for at, box in enumerate(placed) for other in placed[:at]) == 0
