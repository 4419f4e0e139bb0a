"""What came of several processes that update at once: of the updates since the last row, and of the whole run."""

from __future__ import annotations

from typing import Any

from nnopt.train.session import Session
from nnopt.train.state import Progress, Row


def traffic_of(session: Session) -> Row:
    """The columns of a run with `parallel` in metrics.csv, of the updates since the last row; notes them."""
    state, progress = session.state, session.state.progress
    found, drift = session.engine.traffic(), session.setup.together.drift()
    updates = progress.step - int((progress.last_row or {}).get("step") or 0)
    seconds = state.clock.seconds["train"] - state.means.train_seconds
    total = progress.traffic
    total["staleness_sum"] = total.get("staleness_sum", 0.0) + found.staleness_mean * updates
    total["staleness_max"] = max(total.get("staleness_max", 0.0), found.staleness_max)
    total["drift"] = max(total.get("drift", 0.0), found.drift, drift)
    return {
        "updates_per_second": updates / seconds if seconds > 0 else None,
        "staleness_mean": found.staleness_mean,
        "staleness_max": found.staleness_max,
        "drift": max(found.drift, drift),
    }


def traffic_of_run(progress: Progress, seconds: float) -> dict[str, Any]:
    """The same of the whole run, as summary.json has it: the mean and the most over all updates."""
    total = progress.traffic
    return {
        "updates_per_second": progress.step / seconds if seconds > 0 else None,
        "staleness_mean": total.get("staleness_sum", 0.0) / progress.step if progress.step else 0.0,
        "staleness_max": total.get("staleness_max", 0.0),
        "drift": total.get("drift", 0.0),
    }
