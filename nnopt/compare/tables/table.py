"""A comparison as files: CSV and JSON for programs, Markdown for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnopt.compare.comparison import Comparison
from nnopt.compare.cost import shown_costs
from nnopt.compare.gates import GateResult
from nnopt.compare.rows import Row
from nnopt.compare.spread import Spread
from nnopt.compare.tables.tasks import across_json, across_markdown
from nnopt.compare.tables.verdicts import plain, verdict_cells, verdict_header, verdict_texts
from nnopt.compare.target import AXES, TimeToTarget
from nnopt.compare.text import (
    ABSENT,
    best_sentence,
    said,
    show_bytes,
    show_milliseconds,
    show_quantity,
    show_reached,
    show_runs,
    show_spread,
    show_value,
)
from nnopt.spec.metric_names import OF_THE_NETWORK, TRAFFIC
from nnopt.store.files import write_whole

STATUSES = ("done", "diverged", "failed", "interrupted", "running", "pruned")
COST_WORDS = {
    "train_seconds": "seconds",
    "memory_peak_bytes": "memory",
    "nonzero_parameters": "nonzero parameters",
    "network_bytes": "file size",
    "multiply_adds": "multiply-adds",
    "latency_seconds": "latency",
    "batch_latency_seconds": "batch latency",
    "energy_joules": "energy",
}
MOST_FRONTS = 4  # that are named where a variant is on all
TO_TARGET = ("reached", "runs", "steps", "samples", "gradient_evaluations", "seconds")
Cell = str | int | float | None


def cells(comparison: Comparison, row: Row) -> dict[str, Cell]:
    """One row for programs: a column a number, None where there is none. All rows have the same columns."""
    to_target = row.to_target
    verdict = next((verdict for verdict in comparison.verdicts if verdict.label == row.label), None)
    point = next((point for point in comparison.costs if point.label == row.label), None)
    return {
        "rank": row.rank,
        "label": row.label,
        "experiment": row.experiment,
        "variant": row.variant,
        "trial": row.trial,
        "spec_hash": row.spec_hash,
        "seeds": len(row.seeds),
        **{status: row.statuses.get(status, 0) for status in STATUSES},
        "metric": comparison.metric,
        "higher_is_better": int(comparison.higher_is_better),
        **_spread_cells("last", row.last),
        **_spread_cells("best", row.best),
        **_spread_cells("test_last", row.test_last),
        **_spread_cells("test_best", row.test_best),
        "target_metric": to_target.target.metric if to_target else None,
        "target_value": to_target.target.value if to_target else None,
        **{f"target_{name}": getattr(to_target, name, None) for name in TO_TARGET},
        **_bracket_cells(to_target),
        "target_success_low": to_target.success.low if to_target else None,
        "target_success_high": to_target.success.high if to_target else None,
        **_spread_cells("area", row.area),
        **_spread_cells("end_rate", row.end_rate),
        "train_seconds": row.train_seconds,
        "samples_per_second": row.samples_per_second,
        "memory_peak_bytes": row.memory_peak_bytes,
        "parameters": row.parameters,
        "energy_joules": row.energy_joules,
        **{name: getattr(row, name) for name in OF_THE_NETWORK if name != "parameters"},
        "parallel": row.parallel,
        **{name: getattr(row, name) for name in TRAFFIC},
        "pareto_set": " ".join(sorted(point.front)) if point else None,
        **verdict_cells(verdict),
    }


def to_csv(comparison: Comparison) -> str:
    """A header and one line a variant, in the order of the ranking; empty cells where there is no number."""
    rows = [cells(comparison, row) for row in comparison.rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def to_json(comparison: Comparison, gates: Sequence[GateResult] = ()) -> str:
    """The rows of the CSV, and verdicts, findings, gates, target, differences and notes, as one JSON object."""
    target, best = comparison.target, comparison.best
    value = {
        "metric": comparison.metric,
        "higher_is_better": comparison.higher_is_better,
        "target": target and {"metric": target.metric, "value": target.value},
        "best": best and best.label,
        "ranking": comparison.ranking,
        "baseline": comparison.baseline,
        "verdicts": [
            {
                "label": verdict.label,
                "sentence": verdict.sentence,
                "time_sentence": verdict.time_sentence,
                "comparisons": verdict.comparisons,
                **verdict_cells(verdict),
            }
            for verdict in comparison.verdicts
        ],
        "gates": [vars(gate) for gate in gates],
        "findings": [vars(finding) for finding in comparison.findings],
        "left_out": comparison.left_out,
        "rows": [cells(comparison, row) for row in comparison.rows],
        "across": across_json(comparison.across) if comparison.across else None,
        "differences": comparison.differences,
        "notes": comparison.notes,
    }
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def to_markdown(comparison: Comparison, gates: Sequence[GateResult] = ()) -> str:
    """What is unfair, the table, the verdicts, the notes and the keys in which the specs differ."""
    columns = shown_columns(comparison)
    lines = [f"- **{finding.text}** {finding.advice}" for finding in comparison.findings]
    lines += [f"- Left out: {sentence}" for sentence in comparison.left_out]
    lines += [""] if lines else []
    lines += _markdown_table(
        [column.title for column in columns],
        [[column.text(row) for column in columns] for row in comparison.rows],
    )
    lines += ["", best_sentence(comparison), "", *(f"- {sentence}" for sentence in said(comparison))]
    lines += [f"- gate {gate.sentence}" for gate in gates]
    lines += [f"- {note}" for note in comparison.notes]
    if comparison.verdicts:
        lines += ["", *_markdown_table(verdict_header(comparison), verdict_texts(comparison))]
    if comparison.across:
        lines += ["", *across_markdown(comparison.across)]
    if comparison.differences:
        labels = [row.label for row in comparison.rows]
        lines += ["", "The specs differ in:", ""]
        lines += _markdown_table(
            ["key", *labels],
            [[key, *(show_value(values, label) for label in labels)] for key, values in comparison.differences.items()],
        )
    return "\n".join(lines).rstrip() + "\n"


def write_csv(comparison: Comparison, path: Path) -> None:
    """Writes `to_csv` to a file.

    Raises:
        DiskError: it cannot be written.
    """
    write_whole(path, to_csv(comparison))


def write_markdown(comparison: Comparison, path: Path, gates: Sequence[GateResult] = ()) -> None:
    """Writes `to_markdown` to a file.

    Raises:
        DiskError: it cannot be written.
    """
    write_whole(path, to_markdown(comparison, gates))


@dataclass(frozen=True)
class Column:
    """A column of a table for people. Columns of one `part` stay together where not all fit side by side."""

    part: str
    title: str
    text: Callable[[Row], str]
    is_number: bool = True


def shown_columns(comparison: Comparison) -> list[Column]:
    """Rank and variant, then the columns that have a value in some row."""
    target = comparison.target
    pareto = _pareto_texts(comparison)
    goal = f"{target.metric} {target.value:g}" if target else "target"
    columns = [
        Column("result", "runs", show_runs, is_number=False),
        Column("result", comparison.measure.title, lambda row: show_spread(row.last)),
        Column("result", "best", lambda row: show_spread(row.best)),
        Column("result", "test", lambda row: show_spread(row.test_last)),
        Column("target", f"reached {goal}", show_reached),
        Column("target", "steps to target", _target_text("steps")),
        *(_evaluations_column(comparison)),
        Column("target", "seconds to target", _target_text("seconds")),
        Column("curve", "mean level", lambda row: show_spread(row.area)),
        Column("curve", "end, per 100 steps", _end_rate_text),
        Column("cost", "train seconds", lambda row: show_quantity(row.train_seconds)),
        Column("cost", "samples/s", lambda row: show_quantity(row.samples_per_second)),
        Column("cost", "memory", lambda row: show_bytes(row.memory_peak_bytes)),
        Column("cost", "parameters", lambda row: show_quantity(row.parameters)),
        Column("cost", "joules", lambda row: show_quantity(row.energy_joules)),
        Column("cost", "Pareto set", lambda row: pareto[row.label], is_number=False),
        *_network_columns(comparison),
        *_traffic_columns(comparison),
    ]
    return [
        Column("name", "#", lambda row: str(row.rank)),
        Column("name", "variant", lambda row: row.label, is_number=False),
        *(column for column in columns if any(column.text(row) != ABSENT for row in comparison.rows)),
    ]


def _pareto_texts(comparison: Comparison) -> dict[str, str]:
    """The fronts that each row is on, `all` where these are many and all there are."""
    fronts = {cost for point in comparison.costs for cost in point.front}

    def text(front: frozenset[str]) -> str:
        if len(fronts) > MOST_FRONTS and front == fronts:
            return "all"
        return ", ".join(sorted(COST_WORDS.get(cost, cost) for cost in front)) or ABSENT

    return dict.fromkeys(comparison.ranking, ABSENT) | {point.label: text(point.front) for point in comparison.costs}


def _network_columns(comparison: Comparison) -> list[Column]:
    """What networks cost besides parameters, where it tells them apart."""
    shown = shown_costs(comparison.rows)
    columns = {
        "nonzero_parameters": ("nonzero parameters", lambda row: show_quantity(_whole(row.nonzero_parameters))),
        "network_bytes": ("file size", lambda row: show_bytes(_whole(row.network_bytes))),
        "multiply_adds": ("multiply-adds", lambda row: show_quantity(_whole(row.multiply_adds))),
        "latency_seconds": ("latency", lambda row: show_milliseconds(row.latency_seconds)),
        "batch_latency_seconds": ("inference samples/s", lambda row: show_quantity(row.inference_samples_per_second)),
    }
    return [Column("network", title, text) for cost, (title, text) in columns.items() if cost in shown]


def _traffic_columns(comparison: Comparison) -> list[Column]:
    """What came of several processes that update at once, where some row has such."""
    if all(row.parallel is None for row in comparison.rows):
        return []
    return [
        Column("parallel", "updates/s", lambda row: show_quantity(row.updates_per_second)),
        Column("parallel", "staleness", lambda row: show_quantity(row.staleness_mean)),
        Column("parallel", "most", lambda row: show_quantity(row.staleness_max)),
        *(
            [Column("parallel", "drift", lambda row: show_quantity(row.drift))]
            if any(row.drift for row in comparison.rows)
            else []
        ),
    ]


def _whole(count: float | None) -> int | None:
    return None if count is None else round(count)


def _evaluations_column(comparison: Comparison) -> list[Column]:
    """Gradient evaluations to target, where they are not just the steps."""
    times = [row.to_target for row in comparison.rows if row.to_target]
    if all(to_target.gradient_evaluations == to_target.steps for to_target in times):
        return []
    return [Column("target", "gradient evaluations", _target_text("gradient_evaluations"))]


def _end_rate_text(row: Row) -> str:
    return ABSENT if row.end_rate is None else f"{row.end_rate.mean:+.2g}"


def _target_text(name: str) -> Callable[[Row], str]:
    return lambda row: show_quantity(getattr(row.to_target, name, None))


def _bracket_cells(to_target: TimeToTarget | None) -> dict[str, Cell]:
    """Between which evaluations the median moment lies, on each axis."""
    cells: dict[str, Cell] = {}
    for axis in AXES:
        found = to_target.axes.get(axis) if to_target else None
        grid = found.grid if found else None
        cells[f"target_{axis}_low"] = plain(grid.low) if grid else None
        cells[f"target_{axis}_high"] = plain(grid.high) if grid else None
    return cells


def _spread_cells(name: str, spread: Spread | None) -> dict[str, Cell]:
    mean, sd, count = (spread.mean, spread.sd, spread.n) if spread else (None, None, 0)
    return {f"{name}_mean": mean, f"{name}_sd": sd, f"{name}_n": count}


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    table = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in table]
