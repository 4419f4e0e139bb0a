from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compare_runs import make_run, write_csv
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from nnopt.compare.comparison import compare
from nnopt.compare.pictures.convergence import _is_log, plot_comparison
from nnopt.compare.pictures.figure import COLOURS, MOST_LINES, limits, style
from nnopt.compare.pictures.run import plot_run
from nnopt.errors import DiskError, UsageError
from nnopt.store.record import RunRecord


def colours_in(path: Path) -> set[int]:
    """Indices of the palette's colours that the picture has pixels of."""
    pixels = imread(path)[..., :3]
    return {index for index, name in enumerate(COLOURS) if (np.abs(pixels - to_rgb(name)).max(axis=-1) < 0.01).any()}


def draw(records: list[RunRecord], path: Path, target: float | None = None) -> np.ndarray:
    plot_comparison(compare(records, target=target), path)
    picture = np.asarray(imread(path))
    assert picture.shape[1] == 1200
    return picture


def test_every_variant_has_its_colour(tmp_path: Path) -> None:
    records = [
        make_run(tmp_path, variant, seed, [0.1, 0.5, 0.6 + seed / 10 + place / 50])
        for place, variant in enumerate(("sgd", "momentum", "adam"))
        for seed in range(3)
    ]
    picture = draw(records, tmp_path / "convergence.png", target=0.5)
    assert 800 <= picture.shape[0] <= 1000
    # Black, the last of the palette, is also the ink of axes and text.
    assert colours_in(tmp_path / "convergence.png") - {len(COLOURS) - 1} == {0, 1, 2}


def test_runs_of_every_sort_are_drawn_without_a_warning(tmp_path: Path) -> None:
    records = [
        make_run(tmp_path, "unequal", 0, [0.1, 0.2, 0.3]),
        make_run(tmp_path, "unequal", 1, [0.1, 0.2]),
        make_run(tmp_path, "one-point", 0, [0.4]),
        make_run(tmp_path, "gaps", 0, [None, "nan", 0.5]),
        make_run(tmp_path, "empty", 0, []),
        make_run(tmp_path, "other-steps", 0, [0.1, 0.2, 0.3], every=7),
        make_run(tmp_path, "other-steps", 1, [0.1, 0.2, 0.3], every=9),
        make_run(tmp_path, "lost", 0, [0.5], status="diverged", columns={"train_loss": [1e30]}),
    ]
    draw(records, tmp_path / "convergence.png")
    assert set(range(5)) <= colours_in(tmp_path / "convergence.png")


@pytest.mark.parametrize("status", ["diverged", "done"])
@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5]])
def test_a_comparison_with_little_in_it_is_drawn(tmp_path: Path, status: str, values: list[float]) -> None:
    draw([make_run(tmp_path, "sgd", 0, values, status=status)], tmp_path / "convergence.png")
    assert 0 in colours_in(tmp_path / "convergence.png")  # at least in the legend


def test_a_loss_that_is_not_positive_has_a_plain_axis(tmp_path: Path) -> None:
    columns = {"train_loss": [1.0, 0.0]}
    record = make_run(tmp_path, "sgd", 0, [2.0, -1.0], metric="val_loss", columns=columns)
    draw([record], tmp_path / "convergence.png", target=0.0)
    assert 0 in colours_in(tmp_path / "convergence.png")
    comparison = compare([record], target=0.0)
    assert not _is_log("train_loss", comparison, [1.0, 0.0])
    assert _is_log("train_loss", comparison, [1.0, 0.1])


def test_more_variants_than_lines_are_drawn_up_to_a_number(tmp_path: Path) -> None:
    count = MOST_LINES + 3
    records = [make_run(tmp_path, f"variant-{n}", 0, [0.1, n / count]) for n in range(count)]
    draw(records, tmp_path / "convergence.png")
    assert len({style(index) for index in range(MOST_LINES)}) == MOST_LINES


def test_a_folder_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path, "sgd", 0, [0.5])])
    with pytest.raises(DiskError):
        plot_comparison(comparison, tmp_path / "nothing" / "convergence.png")


def test_limits_hold_all_values() -> None:
    assert limits([], False) == (0, 1)
    assert limits([0.0, 1.0], False) == pytest.approx((-0.05, 1.05))
    assert limits([1.0, 1e20], True) == pytest.approx((0.1, 1e21))
    for values, is_log in (([5.0], False), ([0.0], False), ([5.0], True)):
        low, high = limits(values, is_log)
        assert low < values[0] < high


def test_a_run_is_drawn_with_its_steps(tmp_path: Path) -> None:
    columns = {"val_loss": [2.0, 1.0, 0.5], "val_mse": [900.0, 100.0, 50.0], "lr": [0.1, 0.05, 0.01]}
    record = make_run(tmp_path, "sgd", 0, [0.1, 0.5, 0.9], columns=columns)
    plot_run(record, tmp_path / "without.png")
    steps = list(range(1, 31))
    logged = {
        "step": steps,
        "loss": [3.0 / step for step in steps],
        "lr": [0.1] * 30,
        "grad_norm": [1.0] * 30,
    }
    write_csv(record.folder / "steps.csv", logged)
    plot_run(RunRecord.read(record.folder), tmp_path / "with.png")
    without, full = imread(tmp_path / "without.png"), imread(tmp_path / "with.png")
    assert without.shape[1] == full.shape[1] == 1200
    # Two rows of panels (shares, mse, loss, rate); the gradient norm asks for a third.
    assert without.shape[0] < full.shape[0]


def test_a_run_without_a_row_has_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        plot_run(make_run(tmp_path, "sgd", 0, []), tmp_path / "run.png")
    assert not (tmp_path / "run.png").exists()
