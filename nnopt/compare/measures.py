"""One number a run: what runs are ranked by, tested on and gated by.

| name | what |
|---|---|
| a column of metrics.csv, as `val_accuracy` | its last value |
| `best_<column>` | its best value |
| `test_<metric>`, `test_best_<metric>` | on test data, with the last or with the best weights |
| `train_seconds`, `samples_per_second`, `memory_peak_bytes`, `energy_joules` | of the whole run |
| `penalised_seconds` | training seconds up to the run's own target; missed, more: `_penalised_seconds` |
| `updates_per_second`, `staleness_mean`, `staleness_max`, `drift` | of all updates: docs/asynchronous.md |
| `parameters`, `nonzero_parameters`, `network_bytes`, `multiply_adds` | of the network that came out |
| `latency_seconds`, `latency_p95_seconds` | of its answer to one sample |
| `batch_latency_seconds`, `batch_latency_p95_seconds`, `inference_samples_per_second` | of answers to a batch |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnopt.compare.groups import Group
from nnopt.compare.series import finite, series, settled_from
from nnopt.errors import UsageError
from nnopt.spec.metric_names import COUNTED, OF_THE_RUN, higher_is_better, is_share
from nnopt.spec.nearest import nearest
from nnopt.store.record import RunRecord


@dataclass(frozen=True)
class Measure:
    """A quantity that every run may have a value of.

    `column` is the column of metrics.csv whose curve shows it, None where none does. Differences of a measure
    that `is_share` (an accuracy) are told in percentage points.
    """

    name: str
    title: str
    higher_is_better: bool
    is_share: bool
    column: str | None
    read: Callable[[RunRecord], float | None]

    @property
    def step(self) -> float | None:
        """What it is counted in, where it is counted and not measured: equal values then leave no doubt."""
        return 1.0 if self.name in COUNTED else None

    @property
    def worst(self) -> float:
        """The value that a diverged run counts with."""
        return float("-inf") if self.higher_is_better else float("inf")

    def values(self, group: Group) -> list[float]:
        """The values of the group's runs that are done."""
        return [value for record in group.results if (value := self.read(record)) is not None]

    def sample(self, group: Group) -> dict[int, float]:
        """Seed -> value: of the runs that are done, and the worst for those that diverged."""
        known = {record.seed: self.read(record) for record in group.results}
        lost = dict.fromkeys((record.seed for record in group.lost), self.worst)
        return {seed: value for seed, value in known.items() if value is not None} | lost


def find_measure(name: str, records: Sequence[RunRecord]) -> Measure:
    """The measure called `name`.

    Raises:
        UsageError: no run has such a column or test metric, and it is none of the quantities of a whole run.
    """
    columns = list(dict.fromkeys(column for record in records for column in record.curve()))
    tests = list(dict.fromkeys(key for record in records for key in (_tests(record, "last") or {})))
    if name in OF_THE_RUN:
        return Measure(name, name, higher_is_better(name), False, None, lambda record: _of_the_run(record, name))
    if name in columns or not columns:
        return column_measure(name)
    base = name.removeprefix("best_")
    if base != name and base in columns:
        return Measure(name, name, higher_is_better(base), is_share(base), base, lambda record: _best(record, base))
    part, weights = ("test_best_", "best") if name.startswith("test_best_") else ("test_", "last")
    metric = name.removeprefix(part)
    if metric != name and metric in tests:
        shown = f"val_{metric}" if f"val_{metric}" in columns else None
        read = _reader_of_tests(weights, metric)
        return Measure(name, name, higher_is_better(metric), is_share(metric), shown, read)
    known = [*columns, *(f"best_{column}" for column in columns), *(f"test_{metric}" for metric in tests), *OF_THE_RUN]
    raise UsageError(
        f"no run has a column '{name}'{nearest(name, known)}; there are {', '.join(columns)}; "
        f"also best_<column>, test_<metric>, {', '.join(OF_THE_RUN)}"
    )


def column_measure(column: str) -> Measure:
    """The last value of a column."""
    higher = higher_is_better(column)
    return Measure(column, f"last {column}", higher, is_share(column), column, lambda record: _last(record, column))


def best_of(measure: Measure) -> Measure | None:
    """The best value of the measure's column, where it is the last value of one."""
    if measure.column != measure.name:
        return None
    column = measure.name
    read: Callable[[RunRecord], float | None] = lambda record: _best(record, column)  # noqa: E731
    return Measure(f"best_{column}", "best", measure.higher_is_better, measure.is_share, column, read)


def test_of(measure: Measure, weights: str) -> Measure | None:
    """The measure's metric on test data, with the "last" or the "best" weights."""
    if measure.column != measure.name:
        return None
    metric = measure.name.removeprefix("val_").removeprefix("train_")
    return Measure(
        f"test_{metric}",
        "test",
        measure.higher_is_better,
        measure.is_share,
        measure.column,
        _reader_of_tests(weights, metric),
    )


def _last(record: RunRecord, column: str) -> float | None:
    values = series(record, column).values
    return values[-1] if values else None


def _best(record: RunRecord, column: str) -> float | None:
    found = series(record, column)
    values = found.values[settled_from(record, found) :]
    return (max if higher_is_better(column) else min)(values) if values else None


def _tests(record: RunRecord, weights: str) -> dict[str, float | None] | None:
    tests = record.summary.get("test") or {}
    return tests.get(weights) or None


def _reader_of_tests(weights: str, metric: str) -> Callable[[RunRecord], float | None]:
    return lambda record: finite((_tests(record, weights) or {}).get(metric))


def _of_the_run(record: RunRecord, name: str) -> float | None:
    if name == "train_seconds":
        return finite((record.summary.get("seconds") or {}).get("train"))
    if name == "penalised_seconds":
        return _penalised_seconds(record)
    return finite(record.summary.get(name))


def _penalised_seconds(record: RunRecord) -> float | None:
    """Seconds up to the run's own target; where it was not reached all its seconds times 1 + shortfall.

    The shortfall is |best value - target| / |target|, so that of runs that missed it the nearer one is the better, and
    each of them is worse than a run that reached it as the budget ended. None for a run without a target.
    """
    target = record.summary.get("target")
    if target is None:
        return None
    if target["reached"]:
        return finite(target["seconds"])
    spent = finite((record.summary.get("seconds") or {}).get("train"))
    best, wanted = _best(record, target["metric"]), float(target["value"])
    if spent is None or best is None:
        return None
    return spent * (1.0 + abs(best - wanted) / max(abs(wanted), 1e-12))
