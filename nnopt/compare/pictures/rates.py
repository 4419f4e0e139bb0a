"""Learning rates of a spec drawn before anything trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nnopt.compare.pictures.figure import new_figure, plain, style, write_picture
from nnopt.spec.experiment import RunSettings

POINTS = 400
BLOCKS = "▁▂▃▄▅▆▇█"


def learning_rates(settings: RunSettings, points: int = POINTS) -> list[float]:
    """The learning rate at `points` updates spread evenly over the budget (a plateau's falls are not known yet)."""
    decay = settings.strategy.lr_decay
    peak = settings.optimizer.peak_lr
    return [peak * decay.multiplier(index / points, (index + 1) / points) for index in range(points)]


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values as a line of blocks from nothing to the largest."""
    top = max(values) or 1.0
    shown = [values[index * len(values) // width] for index in range(width)]
    return "".join(BLOCKS[min(int(value / top * len(BLOCKS)), len(BLOCKS) - 1)] for value in shown)


def plot_rates(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Writes a PNG with one line a variant over the share of the budget."""
    figure = new_figure(8.0, 4.0)
    axes = figure.subplots()
    plain(axes, "learning rate")
    for index, (name, rates) in enumerate(curves.items()):
        colour, dash = style(index)
        shares = [position / len(rates) for position in range(len(rates))]
        axes.plot(shares, rates, color=colour, linestyle=dash, label=name)
    axes.set_xlabel("share of the budget")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside right center", frameon=False)
    write_picture(figure, path)
