"""Gates held against drawn changes of known size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from compare_runs import in_memory

from nnopt.compare.comparison import compare
from nnopt.compare.gates import check_gates, parse_gate
from nnopt.store.record import RunRecord

GATE = "val_accuracy >= -1pp"
SD = 0.003  # of the accuracy over seeds
PAIRED = 0.5  # correlation of two runs of one seed


def runs(variant: str, values: Sequence[float], metric: str = "val_accuracy") -> list[RunRecord]:
    """A run a value, which is its last one."""
    return [in_memory(variant, seed, [0.5, value], metric=metric) for seed, value in enumerate(values)]


def gate_states(records: Sequence[RunRecord], *gates: str, target: float | None = None) -> list[str]:
    """What becomes of each gate."""
    comparison = compare(records, target=target)
    return [result.state for result in check_gates(comparison, [parse_gate(gate) for gate in gates])]


def gate_rates(true_change: float, n: int, repeats: int = 200) -> dict[str, float]:
    """How often GATE is held, broken and undecided over drawn changes of this true size, n seeds of each."""
    random = np.random.default_rng([n, round(1000 * abs(true_change))])
    counts = dict.fromkeys(("held", "broken", "undecided"), 0)
    for _ in range(repeats):
        shared, own, other = random.normal(size=(3, n)) * SD
        base = 0.95 + np.sqrt(PAIRED) * shared + np.sqrt(1 - PAIRED) * own
        new = 0.95 + true_change + np.sqrt(PAIRED) * shared + np.sqrt(1 - PAIRED) * other
        counts[gate_states(runs("base", base.tolist()) + runs("new", new.tolist()), GATE)[0]] += 1
    return {state: count / repeats for state, count in counts.items()}
