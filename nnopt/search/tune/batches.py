"""`nnopt tune batch-size`: the sizes of all variants, as tables, JSON, tune-batch-size.csv and tune-batch-size.png."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnopt.compare.pictures.figure import MOST_LINES, new_figure, plain, style, write_picture
from nnopt.compare.tables.columns import TextColumn
from nnopt.compare.text import ABSENT, grouped, listed, show_bytes, show_quantity
from nnopt.errors import UsageError
from nnopt.plan import Plan
from nnopt.search.steps import still_rate
from nnopt.search.tune.batch_sizes import LONGEST, ROOM, BatchSizes, Timed, find_sizes
from nnopt.search.tune.files import write_csv
from nnopt.spec.evaluation import EvaluationSpec
from nnopt.spec.experiment import RunSettings
from nnopt.spec.identity import settings_hash
from nnopt.spec.lr_decay import Constant
from nnopt.spec.strategy import GrowingBatch
from nnopt.spec.timing import Budget
from nnopt.store.files import make_folder
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest

CSV, PICTURE = "tune-batch-size.csv", "tune-batch-size.png"
COLUMNS = (
    "variant",
    "batch_size",
    "samples_per_second",
    "lowest_samples_per_second",
    "highest_samples_per_second",
    "update_seconds",
    "memory_peak_bytes",
    "threads",
)
UNSTEADY = 1.5  # times between the repeats of a size from which other work is suspected
CAVEAT = (
    "this is speed alone: a larger batch takes fewer updates an epoch and mostly wants another learning rate "
    "(`nnopt tune lr`), so what it does to the result is for a comparison to say"
)

Tick = Callable[[str], None]


def tune_batch_size(
    plan: Plan,
    stop: StopRequest,
    least: int,
    repeats: int,
    tick: Tick = lambda name: None,
    runs_dir: Path | None = None,
) -> tuple[BatchSizes, ...]:
    """The sizes of every variant, with the first seed of the plan; `tick` hears what is tried.

    Teachers lie below `runs_dir`.

    Raises:
        UsageError: a variant's settings do not fit together, or for no variant is there a batch to choose.
        Interrupted: a signal came.
    """
    cache = DataCache(runs_dir)
    measured: dict[str, BatchSizes] = {}  # variants that differ in nothing that takes time are measured once
    found = []
    for variant, settings in plan.experiment.variants.items():
        run = next(run for run in plan.runs if run.variant == variant)

        def tell(size: int, name: str = variant) -> None:
            tick(f"{name}, batches of {size:,}")

        work = settings_hash(_work(settings))
        if work not in measured:
            try:
                measured[work] = find_sizes(run, cache, stop, least, repeats, tell)
            except UsageError as error:
                raise type(error)(f"variant {variant}: {error}") from None
        found.append(replace(measured[work], variant=variant, batch_size=_shown(settings.strategy.batch_size)))
    if all(one.left_out for one in found):
        raise UsageError("; ".join(f"{one.variant}: {one.left_out}" for one in found))
    return tuple(found)


def _work(settings: RunSettings) -> RunSettings:
    """The settings with all that does not change how long an update of some size takes made equal."""
    optimizer = settings.optimizer.at_rate(still_rate(settings))
    strategy = settings.strategy.model_copy(
        update={"batch_size": 1, "lr_decay": Constant(kind="constant"), "early_stopping": None}
    )
    changes = {
        "optimizer": optimizer,
        "strategy": strategy,
        "budget": Budget(steps=1),
        "evaluation": EvaluationSpec(),
    }
    return settings.model_copy(update=changes)


def _shown(size: int | str | GrowingBatch) -> str:
    """What a spec has as its batch, in words."""
    return f"growing from {size.start}" if isinstance(size, GrowingBatch) else str(size)


def batch_tables(found: Sequence[BatchSizes]) -> list[tuple[str, list[TextColumn]]]:
    """All that is known of one variant, or of several of the same work; of others their throughput side by side."""
    alike: dict[tuple[Timed, ...], list[BatchSizes]] = {}
    for one in found:
        if one.timed:
            alike.setdefault(one.timed, []).append(one)
    if len(alike) == 1:
        (same,) = alike.values()
        names, sizes = (listed([getattr(one, part) for one in same]) for part in ("variant", "batch_size"))
        return [(f"{names} on {same[0].device} (the spec has batch_size {sizes})", _columns(same[0]))]
    tried = sorted({timed.size for times in alike for timed in times})
    columns = [TextColumn("batch size", tuple(f"{size:,}" for size in tried))]
    for times, same in alike.items():
        rates = {timed.size: show_quantity(timed.samples_per_second) for timed in times}
        names = listed([one.variant for one in same])
        columns.append(TextColumn(names, tuple(rates.get(size, ABSENT) for size in tried)))
    return [("samples a second", columns if alike else [])]


def _columns(one: BatchSizes) -> list[TextColumn]:
    def texts(show: Callable[[Timed], str]) -> tuple[str, ...]:
        return tuple(show(timed) for timed in one.timed)

    columns = [
        TextColumn("batch size", texts(lambda timed: f"{timed.size:,}")),
        TextColumn("samples/s", texts(lambda timed: show_quantity(timed.samples_per_second))),
        TextColumn("lowest", texts(lambda timed: show_quantity(timed.lowest))),
        TextColumn("highest", texts(lambda timed: show_quantity(timed.highest))),
        TextColumn("ms an update", texts(lambda timed: show_quantity(1000 * timed.update_seconds))),
        TextColumn(
            "process memory" if one.device == "cpu" else "peak memory", texts(lambda timed: show_bytes(timed.memory))
        ),
    ]
    if len({timed.threads for timed in one.timed}) > 1:
        columns.append(TextColumn("threads", texts(lambda timed: str(timed.threads))))
    return columns


def batch_sentences(found: Sequence[BatchSizes]) -> list[str]:
    """What was found, how sure it is, and what it is not."""
    said = grouped([(one.variant, remark) for one in found for remark in _remarks(one)])
    spreads = {(timed.highest / timed.lowest, one.variant, timed.size) for one in found for timed in one.timed}
    spread, variant, size = max(spreads, default=(1.0, "", 0))
    if spread > UNSTEADY:
        said.append(
            f"repeats of one size differ by up to {spread:.1f} times ({variant} at {size:,}): "
            "something else keeps the machine busy, so measure again when it is idle"
        )
    return [*said, CAVEAT]


def _remarks(one: BatchSizes) -> list[str]:
    """What was found for a variant."""
    if one.left_out is not None:
        return [f"left out, as {one.left_out}"]
    said = []
    if one.fastest is not None and one.enough is not None:
        best = f"{show_quantity(one.fastest.samples_per_second)} samples/s"
        is_same = one.enough is one.fastest
        near = f"the smallest within 5 % of the best throughput ({best} at {one.fastest.size:,})"
        said.append(f"a batch of {one.enough.size:,} is {f'the fastest ({best})' if is_same else near}")
    said.append(_largest(one))
    if one.are_passes:
        said.append("an update takes as many passes as the line search needs: the times are of one pass")
    return [*said, *(f"{size:,} was passed over: {reason}" for size, reason in one.unfit)]


def _largest(one: BatchSizes) -> str:
    """The largest batch that fits, and what ended the search."""
    if not one.largest:
        return "no batch fits into memory" if one.end == "memory" else "no batch could be tried"
    if one.end == "data":
        return f"the whole training set of {one.samples:,} samples fits as one batch"
    if one.end == "time":
        return (
            f"the largest tried is {one.largest:,}: an update of the next would take more than {LONGEST:g} s; "
            "memory was not at its end"
        )
    assert one.too_large is not None
    kept = f"predicted from smaller ones; {1 - ROOM:.0%} of what is free is kept free" if one.device == "cpu" else ""
    return f"the largest that fits is {one.largest:,}, and {one.too_large:,} does not{f' ({kept})' if kept else ''}"


def batch_json(found: Sequence[BatchSizes]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "variants": [
            {
                "variant": one.variant,
                "device": one.device,
                "batch_size": one.batch_size,
                "samples": one.samples,
                "largest_that_fits": one.largest or None,
                "smallest_too_large": one.too_large,
                "ended_by": one.end,
                "enough": None if one.enough is None else one.enough.size,
                "fastest": None if one.fastest is None else one.fastest.size,
                "left_out": one.left_out,
                "passed_over": [{"batch_size": size, "reason": reason} for size, reason in one.unfit],
                "sizes": [dict(zip(COLUMNS[1:], _row(one, timed)[1:], strict=True)) for timed in one.timed],
            }
            for one in found
        ],
        "notes": batch_sentences(found),
    }


def _row(one: BatchSizes, timed: Timed) -> tuple[str | float | int, ...]:
    return (
        one.variant,
        timed.size,
        timed.samples_per_second,
        timed.lowest,
        timed.highest,
        timed.update_seconds,
        timed.memory,
        timed.threads,
    )


def write_batch_files(found: Sequence[BatchSizes], folder: Path) -> list[Path]:
    """Writes tune-batch-size.csv, a row a size, and tune-batch-size.png into `folder`.

    Raises:
        RunsFolderError: the folder cannot be made.
        DiskError: the disk refuses.
    """
    make_folder(folder)
    write_csv(folder / CSV, COLUMNS, (_row(one, timed) for one in found for timed in one.timed))
    plot_batches(found, folder / PICTURE)
    return [folder / CSV, folder / PICTURE]


def plot_batches(found: Sequence[BatchSizes], path: Path) -> None:
    """Draws throughput against the size of the batch, a ring around what is enough; the first 21 variants.

    Raises:
        DiskError: the picture cannot be written.
    """
    from matplotlib.ticker import FuncFormatter

    shown = [one for one in found if one.timed][:MOST_LINES]
    figure = new_figure(9.0, 5.0)
    axes = figure.subplots()
    plain(axes, "training throughput: median of the repeats, lowest to highest; a ring: within 5 % of the best")
    for index, one in enumerate(shown):
        colour, dash = style(index)
        sizes = [timed.size for timed in one.timed]
        medians = [timed.samples_per_second for timed in one.timed]
        below = [timed.samples_per_second - timed.lowest for timed in one.timed]
        above = [timed.highest - timed.samples_per_second for timed in one.timed]
        axes.errorbar(
            sizes, medians, yerr=[below, above], color=colour, linestyle=dash, marker=".", capsize=2, label=one.variant
        )
        if one.enough is not None:
            (ring,) = axes.plot([one.enough.size], [one.enough.samples_per_second], "o", color=colour)
            ring.set(markersize=13, markerfacecolor="none")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: show_quantity(rate)))
    axes.set_xlabel("samples an update")
    axes.set_ylabel("samples a second")
    figure.legend(loc="outside right center", frameon=False)
    write_picture(figure, path)
