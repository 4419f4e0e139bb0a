"""scoreboard.md, .csv, .json and the profiles as pictures, and the same on a terminal."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnopt.bench.scoreboard.standing import Result, Standing
from nnopt.compare.pictures.tasks import plot_profiles
from nnopt.compare.tables.columns import TextColumn, render_columns
from nnopt.compare.tables.tasks import across_json, in_order, time_columns
from nnopt.compare.tasks.across import AcrossTasks, Speedup
from nnopt.compare.text import ABSENT, show_quantity
from nnopt.store.files import make_folder, write_json, write_whole
from nnopt.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1
FILE = "scoreboard"


def write_board(standing: Standing, folder: Path) -> list[Path]:
    """Writes all files of a scoreboard into `folder`, whole; what it wrote.

    Raises:
        DiskError: the disk refuses.
    """
    make_folder(folder)
    pictures = []
    for name, across in standing.classes:
        picture = folder / f"profiles-{name}.png"
        plot_profiles(across, picture)
        pictures.append(picture)
    files = [folder / f"{FILE}.{suffix}" for suffix in ("md", "csv", "json")]
    write_whole(files[0], "\n".join(markdown(standing)) + "\n")
    write_whole(files[1], _csv(standing))
    write_json(files[2], board_json(standing))
    return [*files, *pictures]


def render_board(standing: Standing, console: Console) -> None:
    """Prints both classes and what has to be known about them."""
    from rich.text import Text

    for line in _about(standing):
        console.print(Text(line), soft_wrap=True)
    for name, across in standing.classes:
        console.print()
        console.print(Text(_title(name, across)), style="bold")
        for columns in (class_columns(across), time_columns(across)):
            render_columns(columns, console)
    for note in standing.notes:
        console.print(Text(f"- {note}"), soft_wrap=True)


def markdown(standing: Standing) -> list[str]:
    """The lines of scoreboard.md."""
    lines = [f"# {standing.name}", "", *(f"- {line}" for line in _about(standing)), ""]
    for name, across in standing.classes:
        lines += [f"## {_title(name, across)}", "", *_table(class_columns(across))]
        lines += [f"![profiles](profiles-{name}.png)", "", "Median training seconds to the target:", ""]
        lines += _table(time_columns(across))
    lines += ["## Targets", "", *_table(_target_columns(standing)), "## Every pair", "", *_table(_pairs(standing))]
    return [*lines, *([*(f"- {note}" for note in standing.notes), ""] if standing.notes else [])]


def class_columns(across: AcrossTasks) -> list[TextColumn]:
    """One row an optimizer, the highest score first."""
    names, faster = _by_score(across), {one.variant: one for one in across.speedups}
    return [
        TextColumn("optimizer", tuple(names)),
        TextColumn("score", tuple(f"{across.profile_scores[name]:.3f}" for name in names)),
        TextColumn("reached", tuple(_reached(across.times[name]) for name in names)),
        TextColumn("mean rank", tuple(f"{across.ranks[name][0]:.1f}" for name in names)),
        TextColumn(
            f"speed-up over {across.baseline}", tuple(_speedup(faster, name, across.baseline) for name in names)
        ),
    ]


def board_json(standing: Standing) -> dict[str, Any]:
    """All of it for programs: None where there is no number, "inf" for an interval without an end."""
    return {
        "schema": SCHEMA,
        "name": standing.name,
        "written": _now(),
        "nnopt": __version__,
        "machines": [dict(one) for one in standing.machines],
        "trials": standing.trials,
        "seeds": standing.seeds,
        "reference": standing.reference,
        "targets": {name: one.model_dump(mode="json") for name, one in standing.targets.items()},
        "results": [_plain(one) for one in standing.results],
        "classes": {name: across_json(across) for name, across in standing.classes},
        "notes": list(standing.notes),
    }


def _by_score(across: AcrossTasks) -> list[str]:
    """The optimizers by score, equals by mean rank."""
    scores = across.profile_scores
    return sorted(in_order(across), key=lambda name: -scores[name])


def _title(name: str, across: AcrossTasks) -> str:
    count, tasks = len(across.variants), len(across.tasks)
    return f"{name.capitalize()} class: {count} optimizer{'s'[: count > 1]} on {tasks} workload{'s'[: tasks > 1]}"


def _about(standing: Standing) -> list[str]:
    """What was measured, on what."""
    where = [
        f"{one.get('processor') or 'unknown processor'}, {one.get('cores')} cores, nnopt {one.get('nnopt')}, torch "
        f"{one.get('torch')}, Python {one.get('python')}"
        for one in standing.machines
    ]
    tuned = f"the best of {standing.trials} trials of each optimizer on each workload, trained again on fresh seeds"
    return [
        f"Median training seconds to fixed targets over n = {standing.seeds} seeds, one thread a run.",
        f"Tuned class: {tuned}. Self-tuning class: as it stands, on the same seeds.",
        "Score: area under the performance profile of the class up to 4 times the fastest; 1 is always the fastest.",
        *(f"Measured on: {one}." for one in where),
    ]


def _reached(times: Sequence[float | None]) -> str:
    return f"{sum(time is not None for time in times)} of {len(times)}"


def _speedup(faster: Mapping[str, Speedup], name: str, reference: str) -> str:
    one = faster.get(name)
    if one is None or one.factor is None:
        return "1 (reference)" if name == reference else ABSENT
    over = f", {one.tasks} workload{'s'[: one.tasks > 1]}" if one.left_out else ""
    return f"{one.factor:.2f}{_range(one.interval)}{over}"


def _range(interval: Any) -> str:
    if interval is None:
        return ""
    ends = ("no bound" if math.isinf(end) else f"{end:.2f}" for end in (interval.low, interval.high))
    return f" ({' to '.join(ends)})"


def _target_columns(standing: Standing) -> list[TextColumn]:
    rows = list(standing.targets.items())
    return [
        TextColumn("workload", tuple(name for name, _ in rows)),
        TextColumn("target", tuple(f"{one.metric} {one.value:g}" for _, one in rows)),
        TextColumn("baseline", tuple(one.baseline for _, one in rows)),
        TextColumn("quartiles", tuple(" to ".join(f"{end:g}" for end in one.quartiles) for _, one in rows)),
        TextColumn("setting", tuple(_setting(one.setting) for _, one in rows)),
        TextColumn("trials", tuple(str(one.trials) for _, one in rows)),
        TextColumn("seeds", tuple(str(one.seeds) for _, one in rows)),
        TextColumn("seconds", tuple(f"{one.seconds:g}" for _, one in rows)),
        TextColumn("fixed", tuple(f"{one.date}, nnopt {one.nnopt}, torch {one.torch}" for _, one in rows)),
    ]


def _pairs(standing: Standing) -> list[TextColumn]:
    rows = standing.results
    return [
        TextColumn("workload", tuple(one.workload for one in rows)),
        TextColumn("optimizer", tuple(one.optimizer for one in rows)),
        TextColumn("setting", tuple(_setting(one.setting) or ABSENT for one in rows)),
        TextColumn("reached", tuple(f"{one.time.reached} of {one.time.runs}" if one.time else ABSENT for one in rows)),
        TextColumn("seconds", tuple(_seconds(one) for one in rows)),
        TextColumn("steps", tuple(show_quantity(_where(one, "steps")) for one in rows)),
        TextColumn(f"times {standing.reference}'s seconds", tuple(_ratio(one, standing.reference) for one in rows)),
    ]


def _seconds(one: Result) -> str:
    if one.refused or one.is_open:
        return "does not go together" if one.refused else "to come"
    return "never" if one.median is None else show_quantity(one.median)


def _where(one: Result, axis: str) -> float | None:
    """The median on another axis; None where the one in seconds is: runs of equal seconds differ in steps."""
    found = one.time.axes.get(axis) if one.time is not None and one.median is not None else None
    return found.median if found is not None else None


def _ratio(one: Result, reference: str) -> str:
    if one.ratio is None or one.ratio.ratio is None:
        return "1" if one.optimizer == reference and one.median is not None else ABSENT
    return f"{one.ratio.ratio:.2f}{_range(one.ratio.interval)}"


def _setting(setting: Any) -> str:
    return ", ".join(
        f"{key.removeprefix('optimizer.')} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in setting.items()
    )


def _table(columns: Sequence[TextColumn]) -> list[str]:
    rows = [[column.title for column in columns], ["---"] * len(columns)]
    rows += [list(row) for row in zip(*(column.texts for column in columns), strict=True)]
    return [*(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows), ""]


def _plain(one: Result) -> dict[str, Any]:
    """A pair as a row of the CSV and of the JSON has it; no number is None."""
    time, axis, ratio = one.time, one.axis, one.ratio
    between = ratio.interval if ratio is not None else None
    return {
        "workload": one.workload,
        "optimizer": one.optimizer,
        "class": "tuned" if one.is_tuned else "self-tuning",
        "state": "refused" if one.refused else "open" if one.is_open else "done",
        "setting": dict(one.setting),
        "n": time.runs if time else 0,
        "reached": time.reached if time else 0,
        "seconds": one.median,
        "seconds_from": axis.grid.low if axis is not None and axis.grid else None,
        "steps": _where(one, "steps"),
        "samples": _where(one, "samples"),
        "gradient_evaluations": _where(one, "gradient_evaluations"),
        "ratio": ratio.ratio if ratio is not None else None,
        "ratio_low": _end(between.low) if between else None,
        "ratio_high": _end(between.high) if between else None,
        "ratio_p": ratio.p if ratio is not None else None,
        "ratio_method": ratio.method if ratio is not None else None,
        "refused": one.refused or None,
    }


def _end(value: float) -> float | str:
    return value if math.isfinite(value) else "inf"


def _csv(standing: Standing) -> str:
    file = io.StringIO()
    rows = [_plain(one) for one in standing.results]
    writer = csv.DictWriter(file, list(rows[0]) if rows else ["workload"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "setting": json.dumps(row["setting"]) if row["setting"] else ""})
    return file.getvalue()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
