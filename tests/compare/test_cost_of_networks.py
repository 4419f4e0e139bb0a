"""Quality against what networks cost: which costs tell variants apart, fronts, and times that may not be ranked."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from compare_runs import make_run

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.cost import shown_costs
from nnopt.compare.gates import check_gates, parse_gate
from nnopt.compare.pictures.cost import plot_costs
from nnopt.compare.report.cost_part import cost_part
from nnopt.compare.tables.latex import to_latex
from nnopt.compare.tables.table import shown_columns, to_csv, to_markdown
from nnopt.errors import UsageError

Summary = dict[str, Any]
DENSE: Summary = {
    "parameters": 100_000,
    "nonzero_parameters": 100_000,
    "network_bytes": 402_000,
    "multiply_adds": 1_000_000,
    "latency_seconds": 100e-6,
    "latency_p95_seconds": 150e-6,
    "batch_latency_seconds": 2e-3,
    "batch_latency_p95_seconds": 3e-3,
    "inference_samples_per_second": 32_000.0,
    "inference_batch": 64,
    "threads": 1,
}
MASKED = {**DENSE, "nonzero_parameters": 10_000, "latency_seconds": 120e-6}
INT8 = {**DENSE, "network_bytes": 104_000, "latency_seconds": 180e-6}
HALVED = {
    **DENSE,
    "parameters": 25_000,
    "nonzero_parameters": 25_000,
    "network_bytes": 102_000,
    "multiply_adds": 250_000,
    "latency_seconds": 80e-6,
    "latency_p95_seconds": 90e-6,
    "batch_latency_seconds": 1e-3,
    "batch_latency_p95_seconds": 2e-3,
    "inference_samples_per_second": 64_000.0,
}


def compared(
    top: Path, *, metric: str | None = "val_accuracy", force: bool = False, **variants: tuple[float, Summary]
) -> Comparison:
    """Three seeds of each variant of a quality and a summary, their times some per cent apart."""
    records = []
    for variant, (quality, summary) in variants.items():
        for seed in range(3):
            values = {
                key: value * (1 + (seed - 1) / 50) if key.endswith("_seconds") else value
                for key, value in summary.items()
            }
            seconds = {"train": 1.0}
            records.append(make_run(top, variant, seed, [quality + (seed - 1) / 100], seconds=seconds, **values))
    return compare(records, metric=metric, force=force)


def all_four(top: Path) -> Comparison:
    return compared(top, dense=(0.95, DENSE), masked=(0.94, MASKED), int8=(0.93, INT8), halved=(0.92, HALVED))


def fronts(comparison: Comparison) -> dict[str, set[str]]:
    """Cost -> labels on its front."""
    costs = {cost for point in comparison.costs for cost in point.front}
    return {cost: {point.label for point in comparison.costs if cost in point.front} for cost in costs}


def test_each_cost_has_its_front(tmp_path: Path) -> None:
    assert fronts(all_four(tmp_path)) == {
        "parameters": {"dense", "halved"},
        "nonzero_parameters": {"dense", "masked"},
        "network_bytes": {"dense", "int8", "halved"},
        "multiply_adds": {"dense", "halved"},
        "latency_seconds": {"dense", "halved"},
        "batch_latency_seconds": {"dense", "halved"},
    }


def test_what_says_the_same_as_the_parameters_is_not_shown(tmp_path: Path) -> None:
    rows = compared(tmp_path, dense=(0.95, DENSE), halved=(0.92, HALVED)).rows
    assert "parameters" in shown_costs(rows)
    assert not {"nonzero_parameters", "network_bytes"} & set(shown_costs(rows))
    assert {"multiply_adds", "latency_seconds", "batch_latency_seconds"} < set(shown_costs(rows))


def test_networks_of_one_shape_are_not_told_apart_by_their_times(tmp_path: Path) -> None:
    slower = {**DENSE, "latency_seconds": 300e-6}
    alike = compared(tmp_path / "a", sgd=(0.95, DENSE), adam=(0.94, slower))
    assert set(shown_costs(alike.rows)) == {"train_seconds", "memory_peak_bytes", "parameters"}
    assert fronts(alike) == {}
    assert not any(column.part == "network" for column in shown_columns(alike))
    # With another network beside them the two count as equally quick: neither beats the other by chance.
    beside = compared(tmp_path / "b", sgd=(0.95, slower), adam=(0.94, DENSE), halved=(0.92, HALVED))
    assert fronts(beside)["latency_seconds"] == {"sgd", "halved"}


def test_tables_and_files_have_the_costs(tmp_path: Path) -> None:
    comparison = all_four(tmp_path)
    shown = {column.title: column for column in shown_columns(comparison) if column.part == "network"}
    row = next(row for row in comparison.rows if row.label == "halved")
    assert {title: column.text(row) for title, column in shown.items()} == {
        "nonzero parameters": "25,000",
        "file size": "102 kB",
        "multiply-adds": "250,000",
        "latency": "0.08 ms",
        "inference samples/s": "64,000",
    }
    parts = [column.part for column in shown_columns(comparison)]
    assert parts == sorted(parts, key=parts.index), "the columns of a part stay together"
    for text in (to_markdown(comparison), to_latex(comparison)):
        assert "0.08 ms" in text
    (cells,) = (line for line in csv.DictReader(io.StringIO(to_csv(comparison))) if line["label"] == "halved")
    assert float(cells["latency_p95_seconds"]) == pytest.approx(90e-6)
    assert {name: float(cells[name]) for name in ("network_bytes", "multiply_adds")} == {
        "network_bytes": 102_000,
        "multiply_adds": 250_000,
    }
    _, drawn = cost_part(comparison)
    assert {"latency_seconds", "multiply_adds", "nonzero_parameters", "network_bytes"} < set(drawn["axes"])
    path = tmp_path / "cost.svg"
    plot_costs(comparison, path)
    text = path.read_text(encoding="utf-8")
    for words in ("milliseconds for one sample", "multiply-adds for a sample", "parameters that are not 0"):
        assert f">{words}</text>" in text


def test_a_variant_on_each_of_many_fronts_is_on_all(tmp_path: Path) -> None:
    comparison = all_four(tmp_path)
    (pareto,) = (column for column in shown_columns(comparison) if column.title == "Pareto set")
    texts = {row.label: pareto.text(row) for row in comparison.rows}
    assert texts == {
        "dense": "all",
        "masked": "nonzero parameters",
        "int8": "file size",
        "halved": "batch latency, file size, latency, multiply-adds, parameters",
    }


@pytest.mark.parametrize(
    ("name", "higher"), [("latency_seconds", False), ("multiply_adds", False), ("inference_samples_per_second", True)]
)
def test_a_cost_can_be_what_is_compared(tmp_path: Path, name: str, higher: bool) -> None:
    comparison = compared(tmp_path, metric=name, dense=(0.95, DENSE), halved=(0.92, HALVED))
    assert comparison.higher_is_better is higher
    assert comparison.ranking == ("halved", "dense")
    (result,) = check_gates(comparison, [parse_gate(f"{name} {'>=' if higher else '<='} +0%")])
    assert result.state == "held"


@pytest.mark.parametrize(
    ("change", "metric", "words"),
    [
        ({"threads": 2}, "latency_seconds", "different numbers of threads: 1 (dense), 2 (halved)"),
        (
            {"inference_batch": 8},
            "batch_latency_seconds",
            "different numbers of samples a batch: 64 (dense)",
        ),
        ({"inference_batch": 8}, "inference_samples_per_second", "different numbers of samples a batch"),
        ({"machine": {"processor": "Z80", "cores": 1}}, "latency_seconds", "different machines"),
        ({"device": "cuda"}, "batch_latency_p95_seconds", "different machines: cpu (dense), cuda (halved)"),
    ],
)
def test_times_that_were_not_taken_alike_are_not_ranked(
    tmp_path: Path, change: Summary, metric: str, words: str
) -> None:
    here = {"machine": {"processor": "6502", "cores": 1}} if "machine" in change else {}
    variants = {"dense": (0.95, {**DENSE, **here}), "halved": (0.92, {**HALVED, **change})}
    with pytest.raises(UsageError) as refused:
        compared(tmp_path / "a", metric=metric, **variants)
    assert words in str(refused.value)
    assert "--force" in str(refused.value)
    found = fronts(compared(tmp_path / "b", **variants))
    assert metric not in found
    assert "multiply_adds" in found
    assert ("latency_seconds" in found) is ("inference_batch" in change), "one sample is the same for all"
    assert compared(tmp_path / "c", metric=metric, force=True, **variants).ranking == ("halved", "dense")
    with pytest.raises(UsageError, match="would be ranked across"):
        check_gates(compared(tmp_path / "d", **variants), [parse_gate(f"{metric} <= +5%")])


def test_runs_from_before_there_were_accounts_still_compare(tmp_path: Path) -> None:
    old = {"parameters": 100_000}
    comparison = compared(tmp_path, old=(0.95, old), halved=(0.92, HALVED))
    assert set(fronts(comparison)) == {"parameters"}
    assert next(point.costs for point in comparison.costs if point.label == "old").keys() == {
        "train_seconds",
        "memory_peak_bytes",
        "parameters",
    }
    ranked = compared(tmp_path / "b", metric="multiply_adds", old=(0.95, old), halved=(0.92, HALVED))
    assert ranked.ranking == ("halved", "old")
    assert any("no multiply_adds in" in sentence for sentence in ranked.left_out)


def test_a_size_that_is_the_same_for_every_seed_leaves_no_doubt(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, name, seed, [0.9 + seed / 100], **summary)
        for name, summary in (("dense", DENSE), ("halved", HALVED))
        for seed in range(3)
    ]
    found = compare(runs, metric="parameters", baseline="dense")
    (verdict,) = found.verdicts
    assert verdict.answer == "better"
    interval = verdict.difference.interval
    assert interval is not None
    assert -75_002 < interval.low < -75_000 < interval.high < -74_998
    (gate,) = check_gates(found, [parse_gate("parameters <= -74.9%")])
    assert gate.state == "held"
