"""Several tasks together: on a terminal, in Markdown, and for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnopt.compare.sentences import show_p
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.tables.columns import TextColumn, render_columns
from nnopt.compare.tasks.across import AcrossTasks, Speedup
from nnopt.compare.text import ABSENT, listed, show_quantity

if TYPE_CHECKING:
    from rich.console import Console


def render_across(across: AcrossTasks, console: Console) -> None:
    """Prints the variants' table, the times of each task, and what has to be known about both.

    Columns that do not fit beside each other go into further tables, each with the variants' names.
    """
    _say(console, title(across), style="bold")
    console.print()
    for columns in (summary_columns(across), time_columns(across)):
        render_columns(columns, console)
    for sentence in across_sentences(across):
        _say(console, f"- {sentence}")


def across_markdown(across: AcrossTasks) -> list[str]:
    """The same as lines of Markdown."""
    lines = [f"### {title(across)}", ""]
    for columns in (summary_columns(across), time_columns(across)):
        if columns:
            rows = zip(*(column.texts for column in columns), strict=True)
            table = [[column.title for column in columns], ["---"] * len(columns), *rows]
            lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in table]
            lines.append("")
    return [*lines, *(f"- {sentence}" for sentence in across_sentences(across))]


def across_json(across: AcrossTasks) -> Any:
    """The same for JSON: None where there is no number, "inf" for an interval without an end."""
    return {
        "tasks": [{"task": task, "metric": metric} for task, metric in zip(across.tasks, across.metrics, strict=True)],
        "variants": list(across.variants),
        "baseline": across.baseline,
        "axis": across.axis,
        "times": {name: list(times) for name, times in across.times.items()},
        "profiles": {name: [list(step) for step in profile] for name, profile in across.profiles.items()},
        "profile_scores": across.profile_scores,
        "speedups": [
            {
                "variant": one.variant,
                "baseline": one.baseline,
                "factor": one.factor,
                "interval": _ends(one.interval),
                "tasks": one.tasks,
                "left_out": list(one.left_out),
            }
            for one in across.speedups
        ],
        "score": across.score,
        "iqm": {name: {"value": value, "interval": _ends(interval)} for name, (value, interval) in across.iqm.items()},
        "ranked_by": across.ranked_by,
        "ranks": {name: {"mean": mean, "interval": _ends(interval)} for name, (mean, interval) in across.ranks.items()},
        "friedman_p": across.friedman_p,
        "notes": list(across.notes),
    }


def title(across: AcrossTasks) -> str:
    """`Across 3 tasks (mnist, digits, wine), against sgd`."""
    count = len(across.tasks)
    if not across.variants:
        return "Across tasks: no variant has a result in every task"
    return f"Across {count} task{'' if count == 1 else 's'} ({listed(across.tasks)}), against {across.baseline}"


def in_order(across: AcrossTasks) -> list[str]:
    """The variants by their mean rank."""
    return sorted(across.variants, key=lambda name: across.ranks[name][0])


def summary_columns(across: AcrossTasks) -> list[TextColumn]:
    """One row a variant, by mean rank: what is known of all tasks together."""
    names = in_order(across)
    columns = [TextColumn("variant", tuple(names))]
    if across.axis is not None:
        faster = {one.variant: one for one in across.speedups}
        columns += [
            TextColumn("solved", tuple(_solved(across.times[name]) for name in names)),
            TextColumn("profile score", tuple(f"{across.profile_scores[name]:.2f}" for name in names)),
            TextColumn("speed-up", tuple(_speedup(faster.get(name)) for name in names)),
        ]
    if across.iqm:
        columns.append(TextColumn("IQM", tuple(_with_interval(*across.iqm[name], decimals=3) for name in names)))
    columns.append(TextColumn("mean rank", tuple(_with_interval(*across.ranks[name], decimals=2) for name in names)))
    return columns if names else []


def time_columns(across: AcrossTasks) -> list[TextColumn]:
    """One row a task: the median time to target of each variant, the best first; none without an axis."""
    if across.axis is None:
        return []
    return [
        TextColumn(across.ranked_by, across.tasks),
        *(
            TextColumn(name, tuple("never" if time is None else show_quantity(time) for time in across.times[name]))
            for name in in_order(across)
        ),
    ]


def across_sentences(across: AcrossTasks) -> list[str]:
    """Speed-ups, Friedman's test, what the interquartile mean is of, and the notes."""
    said = [_speedup_sentence(one, across) for one in across.speedups]
    if across.iqm:
        said.append(f"IQM: interquartile mean of {across.score}; more is better.")
    if across.ranks:
        test = f"; Friedman's test that all are alike: {show_p(across.friedman_p)}" if across.friedman_p else ""
        said.append(f"Ranks are by {across.ranked_by}{test}.")
    return [*said, *across.notes]


def _speedup_sentence(one: Speedup, across: AcrossTasks) -> str:
    without = f"; left out: {', '.join(one.left_out)}" if one.left_out else ""
    if one.factor is None:
        return f"{one.variant} has no speed-up over {one.baseline}{without}."
    unit = (across.axis or "").replace("_", " ")
    interval = f"{_range(one.interval, 2)}, " if one.interval else ""
    over = f"{one.tasks} of {len(across.tasks)}" if one.left_out else f"{one.tasks}"
    return (
        f"{one.variant} gets to the target {one.factor:.2f} times as fast as {one.baseline} in {unit} "
        f"({interval}geometric mean over {over} tasks{without})."
    )


def _solved(times: Sequence[float | None]) -> str:
    return f"{sum(time is not None for time in times)} of {len(times)}"


def _speedup(one: Speedup | None) -> str:
    if one is None:
        return "1 (baseline)"
    if one.factor is None:
        return ABSENT
    partly = f", {one.tasks} task{'' if one.tasks == 1 else 's'}" if one.left_out else ""
    return _with_interval(one.factor, one.interval, decimals=2) + partly


def _with_interval(value: float, interval: Interval | None, decimals: int) -> str:
    return f"{value:.{decimals}f}" + (f" ({_range(interval, decimals)})" if interval else "")


def _range(interval: Interval | None, decimals: int) -> str:
    if interval is None:
        return "no interval"
    return " to ".join(
        "no bound" if math.isinf(end) else f"{end:.{decimals}f}" for end in (interval.low, interval.high)
    )


def _ends(interval: Interval | None) -> list[float | str] | None:
    if interval is None:
        return None
    return [end if math.isfinite(end) else "inf" if end > 0 else "-inf" for end in (interval.low, interval.high)]


def _say(console: Console, sentence: str, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(sentence), style=style, soft_wrap=True)
