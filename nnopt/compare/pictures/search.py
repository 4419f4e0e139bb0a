"""search.png: the objective against the learning rate, and the best value against the number of trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnopt.compare.pictures.figure import MOST_LINES, limits, new_figure, plain, style, write_picture
from nnopt.compare.search.expected import ExpectedBest
from nnopt.compare.search.sensitivity import RatePoint, Sensitivity
from nnopt.compare.search.summary import Estimate, SearchSummary, VariantSearch
from nnopt.compare.search.trial import Trial

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

LOG_FROM = 5.0
MANY_TRIALS = 10  # from here on their number is on an axis of factors
FEW_TRIALS = 5
EARLY = 0.1  # of the trials: what fewer of them find may leave the picture
LEGEND_COLUMNS = 4
SHARE_SHOWN = 0.7  # of the trials, from the best on
RANGE_HEIGHT = 0.03  # of the panel, for each range


def plot_search(summary: SearchSummary, path: Path) -> None:
    """Draws the search, 1200 pixels wide: PNG, SVG or PDF by the suffix of `path`.

    Above, with two objectives, each trial against its cost with the front, and those of it that were trained again with
    their intervals on fresh seeds. Then each trial against its learning rate, with the line through the best of
    each rate and the range within 1 % of the best at its foot; a trial that diverged is a cross at the edge. Below, the
    expected best of n trials with nine of ten draws, against n and against the seconds they take; where the sampler
    learns, the best so far as a thin line beside it. The first 21 variants are drawn.

    Raises:
        DiskError: the file cannot be written.
    """
    variants = summary.variants[:MOST_LINES]
    has_rates = any(one.sensitivity for one in variants)
    has_front = summary.against is not None
    mosaic = "".join([*(["ff;"] if has_front else []), *(["rr;"] if has_rates else []), "ts"])  # front; rates; ...
    handles = _legend(summary, variants)
    figure = new_figure(12, 4.2 * (1 + has_rates + has_front) + 0.3 + 0.25 * -(-len(handles) // LEGEND_COLUMNS))
    panels = figure.subplot_mosaic(mosaic)
    if has_front:
        _draw_front(panels["f"], summary, variants)
    if has_rates:
        _draw_rates(panels["r"], summary, variants)
    _draw_expected(panels["t"], summary, variants, lambda found: list(map(float, found.trials)))
    _draw_expected(panels["s"], summary, variants, lambda found: list(found.seconds))
    panels["t"].set_xlabel("trials")
    panels["s"].set_xlabel("training seconds")
    figure.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False)
    write_picture(figure, path)


def _draw_front(axes: Axes, summary: SearchSummary, variants: Sequence[VariantSearch]) -> None:
    """Every trial with a value against its cost, the front as steps, and its members on fresh seeds."""
    plain(axes, f"{summary.metric} against {summary.against}")
    axes.set_xlabel(str(summary.against))
    tried = [_paid(one.trials) for one in variants]
    fronts = [_paid([member.trial for member in one.front]) for one in variants]
    again = [_on_fresh_seeds(one) for one in variants]
    costs = [cost for places in tried for cost in places[0]]
    values = [value for places in tried for value in places[1]]
    if costs and max(costs) > LOG_FROM * min(costs) > 0:
        _by_factors(axes)
    is_log = _is_log(values, summary.higher_is_better)
    axes.set_yscale("log" if is_log else "linear")
    shown = _near_the_best(values, summary.higher_is_better)
    shown += [value for places in fronts for value in places[1]] + [found.mean for one in again for _, found in one]
    axes.set_ylim(*limits(shown, is_log))
    for place, (trials, front, estimates) in enumerate(zip(tried, fronts, again, strict=True)):
        colour, dashes = style(place)
        axes.plot(*trials, linestyle="", marker="o", markersize=4, color=colour, alpha=0.4)
        axes.step(*front, where="post", color=colour, linestyle=dashes, linewidth=1.8, marker="o", markersize=6)
        for cost, found in estimates:
            low, high = (found.interval.low, found.interval.high) if found.interval else (found.mean, found.mean)
            axes.plot([cost], [found.mean], color=colour, marker="D", markersize=7)
            axes.plot([cost, cost], [low, high], color=colour, marker="_", linewidth=1.2)


def _paid(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    """Costs and values of the trials that have both."""
    pairs = [(one.cost, one.value) for one in trials if one.cost is not None and one.value is not None]
    return [cost for cost, _ in pairs], [value for _, value in pairs]


def _on_fresh_seeds(one: VariantSearch) -> list[tuple[float, Estimate]]:
    """The cost of each member of a front that was trained again, and the objective there."""
    again = [member for member in one.front if member.confirmed and member.estimates]
    return [(member.trial.cost, member.estimates[0]) for member in again if member.trial.cost is not None]


def _draw_rates(axes: Axes, summary: SearchSummary, variants: Sequence[VariantSearch]) -> None:
    found = [(style(place), one.sensitivity) for place, one in enumerate(variants) if one.sensitivity]
    plain(axes, f"{summary.metric} against {found[0][1].key}")
    values = [point.value for _, one in found for point in one.points if point.value is not None]
    is_log = _is_log(values, summary.higher_is_better)
    low, high = limits(_near_the_best(values, summary.higher_is_better), is_log)
    axes.set_xscale("log")
    axes.set_yscale("log" if is_log else "linear")
    axes.set_ylim(low, high)
    axes.set_xlabel(found[0][1].key)
    for (colour, dashes), one in found:
        known = [point for point in one.points if point.value is not None]
        axes.plot(*_places(known), linestyle="", marker="o", markersize=4, color=colour, alpha=0.4)
        for piece in _pieces(one.curve):
            axes.plot(*_places(piece), color=colour, linestyle=dashes, linewidth=1.8)
        axes.plot(*_places([one.best]), color=colour, marker="o", markersize=8)
        lost = [point.rate for point in one.points if point.value is None]
        edge = low if summary.higher_is_better else high
        (crosses,) = axes.plot(lost, [edge] * len(lost), linestyle="", marker="x", color=colour, clip_on=False)
        crosses.set_in_layout(False)
    foot, other = (0.0, 1.0) if summary.higher_is_better else (1.0, 0.0)
    for place, ((colour, _), one) in enumerate(found):
        height = foot + (other - foot) * RANGE_HEIGHT * (place + 1.5)
        _draw_range(axes, one, height, colour)


def _near_the_best(values: Sequence[float], higher_is_better: bool) -> list[float]:
    """Without the worst of them, beside which the others would all look alike."""
    ordered = sorted(values, reverse=higher_is_better)
    return ordered[: max(1, math.ceil(SHARE_SHOWN * len(ordered)))]


def _draw_range(axes: Axes, one: Sensitivity, height: float, colour: str) -> None:
    """The range within 1 % of the best, at a height from 0 to 1 of the panel; an end that is open is an arrow."""
    across = axes.get_xaxis_transform()
    axes.plot([one.low, one.high], [height, height], transform=across, color=colour, linewidth=4, alpha=0.6)
    ends = ((one.low, one.low_is_open, "<"), (one.high, one.high_is_open, ">"))
    for rate, is_open, arrow in ends:
        axes.plot([rate], [height], transform=across, color=colour, marker=arrow if is_open else "|", markersize=8)


def _places(points: Sequence[RatePoint]) -> tuple[list[float], list[float]]:
    return [point.rate for point in points], [point.value for point in points if point.value is not None]


def _pieces(curve: Sequence[RatePoint]) -> list[list[RatePoint]]:
    """The curve without its diverged points, which part it."""
    pieces: list[list[RatePoint]] = [[]]
    for point in curve:
        if point.value is None:
            pieces.append([])
        else:
            pieces[-1].append(point)
    return pieces


def _draw_expected(
    axes: Axes,
    summary: SearchSummary,
    variants: Sequence[VariantSearch],
    x_of: Callable[[ExpectedBest], list[float]],
) -> None:
    """The expected best with its band, against what `x_of` gives for each number of trials."""
    plain(axes, f"expected best {summary.metric}")
    found = [(style(place), one.expected_best) for place, one in enumerate(variants) if one.expected_best]
    values = _shown(found, summary.higher_is_better)
    is_log = _is_log(values, summary.higher_is_better)
    axes.set_yscale("log" if is_log else "linear")
    axes.set_ylim(*limits(values, is_log))
    x_values = [x for _, one in found for x in x_of(one)]
    if x_values and max(x_values) > MANY_TRIALS * min(x_values) > 0:
        _by_factors(axes)
    if not found:
        axes.text(0.5, 0.5, "no trial has a value", ha="center", transform=axes.transAxes)
    for (colour, dashes), one in found:
        x = x_of(one)
        marker = "o" if len(x) == 1 else ""
        axes.plot(x, one.expected, color=colour, linestyle=dashes, linewidth=1.8, marker=marker)
        axes.fill_between(x, one.low, one.high, color=colour, alpha=0.12, linewidth=0)
        if summary.learns:
            so_far = [math.nan if value is None else value for value in one.so_far]
            axes.step(x, so_far, where="post", color=colour, linestyle=dashes, linewidth=0.9)


def _by_factors(axes: Axes) -> None:
    """Makes the horizontal axis logarithmic, with plain numbers at 1, 2, 5, 10, ..."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _shown(found: Sequence[tuple[object, ExpectedBest]], higher_is_better: bool) -> list[float]:
    """What the panel should show whole: means and bands, but not the bad ends of few trials."""
    values = []
    for _, one in found:
        bad, good = (one.low, one.high) if higher_is_better else (one.high, one.low)
        early = round(EARLY * len(one.trials))
        values += [*one.expected[max(1, early) :], *good, *bad[max(FEW_TRIALS - 1, 2 * early) :], one.expected[-1]]
    return values


def _is_log(values: Sequence[float], higher_is_better: bool) -> bool:
    """Errors and losses that span more than a few times themselves."""
    return bool(values) and not higher_is_better and min(values) > 0 and max(values) > LOG_FROM * min(values)


def _legend(summary: SearchSummary, variants: Sequence[VariantSearch]) -> list[Artist]:
    from matplotlib.lines import Line2D

    handles: list[Artist] = []
    for place, one in enumerate(variants):
        colour, dashes = style(place)
        lost = one.counts.get("diverged", 0)
        label = f"{one.variant} ({lost} of {len(one.trials)} diverged)" if lost else one.variant
        handles.append(Line2D([], [], color=colour, linestyle=dashes, linewidth=1.8, label=label))
    if any(member.confirmed for one in variants for member in one.front):
        handles.append(Line2D([], [], color="grey", linestyle="", marker="D", label="on fresh seeds (95 %)"))
    rates = [one.sensitivity for one in variants if one.sensitivity]
    if rates:
        handles.append(Line2D([], [], color="grey", linewidth=4, alpha=0.6, label="within 1 % of the best"))
    if any(point.value is None for one in rates for point in one.points):
        handles.append(Line2D([], [], color="grey", linestyle="", marker="x", label="diverged"))
    if summary.learns:
        handles.append(Line2D([], [], color="grey", linewidth=0.9, label="best so far"))
    hidden = len(summary.variants) - len(variants)
    if hidden:
        handles.append(Line2D([], [], linestyle="", label=f"and {hidden} more, not drawn"))
    return handles
