"""`nnopt tune lr`: range tests of all variants and seeds, as a table, JSON, tune-lr.csv and tune-lr.png."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnopt.compare.pictures.figure import MOST_LINES, new_figure, plain, style, write_picture
from nnopt.compare.tables.columns import TextColumn
from nnopt.compare.text import ABSENT, listed
from nnopt.errors import UsageError
from nnopt.plan import Plan, RunSpec
from nnopt.search.tune.files import write_csv
from nnopt.search.tune.range_test import Range, RangeTest, range_test, unsuited
from nnopt.search.tune.suggestion import OverSeeds, Suggestion, sentences, show_rate
from nnopt.store.files import make_folder
from nnopt.train.devices import find_device
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CSV, PICTURE = "tune-lr.csv", "tune-lr.png"
COLUMNS = ("variant", "seed", "step", "lr", "loss", "smoothed_lr", "smoothed_loss")
HEIGHTS = 1.5  # the picture ends at this many times the first loss

Tick = Callable[[str], None]


def tune_lr(
    plan: Plan, rates: Range, stop: StopRequest, tick: Tick = lambda name: None, runs_dir: Path | None = None
) -> tuple[Suggestion, ...]:
    """The tests of every variant with every seed of the plan; `tick` hears the name of a test after each update.

    Teachers lie below `runs_dir`.

    Raises:
        UsageError: a variant's settings do not fit together, or no variant can be tested.
        Interrupted: a signal came.
    """
    by_variant: dict[str, list[RunSpec]] = {}
    for run in plan.runs:
        by_variant.setdefault(run.variant, []).append(run)
    reasons = {variant: unsuited(runs[0].settings) for variant, runs in by_variant.items()}
    if all(reasons.values()):
        raise UsageError("; ".join(f"{variant}: {reason}" for variant, reason in reasons.items()))
    cache = DataCache(runs_dir)
    return tuple(_tested(runs, reasons[variant], cache, rates, stop, tick) for variant, runs in by_variant.items())


def _tested(
    runs: Sequence[RunSpec], reason: str | None, cache: DataCache, rates: Range, stop: StopRequest, tick: Tick
) -> Suggestion:
    """One variant."""
    first = runs[0]
    settings = first.settings
    tests: list[RangeTest] = []
    for run in runs if reason is None else ():
        name = f"{run.variant}, seed {run.seed}"
        try:
            tests.append(range_test(run, cache, rates, stop, lambda name=name: tick(name)))  # type: ignore[misc]
        except UsageError as error:
            raise type(error)(f"variant {run.variant}: {error}") from None
    full = None
    if tests and settings.strategy.batch_size == "full":
        full = len(cache.get(settings, find_device(settings.device), first.seed).train)
    key = ".".join(("optimizer", *(settings.optimizer.lr_key or ())))
    return Suggestion(first.variant, key, settings.optimizer.peak_lr, rates, tuple(tests), reason, full)


def lr_columns(found: Sequence[Suggestion]) -> list[TextColumn]:
    """One row a variant: the spec's rate, the one to begin with, from where it is too high, the range to search."""

    def texts(of: Callable[[Suggestion], OverSeeds | None]) -> tuple[str, ...]:
        return tuple(ABSENT if (value := of(one)) is None else value.text for one in found)

    return [
        TextColumn("variant", tuple(one.variant for one in found)),
        TextColumn("spec has", tuple(f"{one.lr:g}" if one.key != "optimizer" else ABSENT for one in found)),
        TextColumn("begin with", texts(lambda one: one.steepest)),
        TextColumn("too high from", texts(lambda one: one.too_high)),
        TextColumn(
            "range to search",
            tuple(ABSENT if one.search is None else f"{one.search[0]:g} to {one.search[1]:g}" for one in found),
        ),
    ]


def spec_lines(found: Sequence[Suggestion]) -> list[str]:
    """What to write into the spec so that `nnopt sweep` searches the ranges."""
    lines = [
        f"  {one.variant}: {{search: {{space: {{{one.key}: {{log: [{one.search[0]:g}, {one.search[1]:g}]}}}}}}}}"
        for one in found
        if one.search is not None
    ]
    if not lines:
        return []
    others = [one.variant for one in found if one.search is None]
    rest = [f"and a `search` of its own to {listed(others)}: all variants are searched or none"] if others else []
    return ["to search these ranges, add to the spec's variants:", *lines, *rest]


def lr_json(found: Sequence[Suggestion]) -> dict[str, Any]:
    """The same for programs."""
    rates = found[0].rates
    return {
        "low": rates.low,
        "high": rates.high,
        "steps": rates.steps,
        "variants": [
            {
                "variant": one.variant,
                "lr": None if one.key == "optimizer" else one.lr,
                "begin_with": _over_seeds(one.steepest),
                "too_high_from": _over_seeds(one.too_high),
                "search": None if one.search is None else list(one.search),
                "left_out": one.left_out,
                "seeds": [_seed_json(test) for test in one.tests],
            }
            for one in found
        ],
        "notes": sentences(found),
    }


def _over_seeds(value: OverSeeds | None) -> dict[str, float | int] | None:
    if value is None:
        return None
    return {"median": value.median, "lowest": value.lowest, "highest": value.highest, "seeds": value.count}


def _seed_json(test: RangeTest) -> dict[str, Any]:
    reading = test.reading
    return {
        "seed": test.seed,
        "updates": len(test.rates),
        "steepest": reading.steepest,
        "lowest_loss_at": reading.lowest,
        "too_high_from": reading.too_high,
        "ended_at": test.blows_up,
        "edge": reading.edge,
    }


def write_lr_files(found: Sequence[Suggestion], folder: Path) -> list[Path]:
    """Writes tune-lr.csv, a row an update, and tune-lr.png into `folder`.

    Raises:
        RunsFolderError: the folder cannot be made.
        DiskError: the disk refuses.
    """
    make_folder(folder)
    rows = (
        (one.variant, test.seed, step, *numbers)
        for one in found
        for test in one.tests
        for step, numbers in enumerate(zip(test.rates, test.losses, test.smoothed_rates, test.smoothed, strict=True), 1)
    )
    write_csv(folder / CSV, COLUMNS, rows)
    plot_lr(found, folder / PICTURE)
    return [folder / CSV, folder / PICTURE]


def plot_lr(found: Sequence[Suggestion], path: Path) -> None:
    """Draws the smoothed loss of every seed against the rate, a dot where to begin; the first 21 variants.

    Raises:
        DiskError: the picture cannot be written.
    """
    shown = [one for one in found if one.tests][:MOST_LINES]
    figure = new_figure(9.0, 5.0)
    axes = figure.subplots()
    plain(axes, "learning-rate range test: smoothed loss of each seed, a dot where to begin")
    for index, one in enumerate(shown):
        _draw(axes, one, index)
    firsts = [test.smoothed[0] for one in shown for test in one.tests if test.smoothed]
    lowest = [min(test.smoothed) for one in shown for test in one.tests if test.smoothed]
    if firsts:
        top, bottom = HEIGHTS * max(firsts), min(lowest)
        axes.set_ylim(bottom - 0.05 * (top - bottom), top)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    figure.legend(loc="outside right center", frameon=False)
    write_picture(figure, path)


def _draw(axes: Axes, one: Suggestion, index: int) -> None:
    """A variant's curves and its dot."""
    colour, dash = style(index)
    name = f"{one.variant}: {'-' if one.steepest is None else show_rate(one.steepest.median)}"
    for number, test in enumerate(one.tests):
        label = None if number else name
        axes.plot(test.smoothed_rates, test.smoothed, label=label, color=colour, linestyle=dash, linewidth=1.2)
    if one.steepest is None:
        return
    rate = one.steepest.median
    middle = one.tests[len(one.tests) // 2]
    at = min(range(len(middle.rates)), key=lambda place: abs(middle.smoothed_rates[place] / rate - 1))
    axes.plot([rate], [middle.smoothed[at]], "o", color=colour, markersize=8, markeredgecolor="white")
