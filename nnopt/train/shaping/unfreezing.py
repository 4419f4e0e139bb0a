"""`model.unfreeze`: frozen parameters that train from a moment on."""

from __future__ import annotations

from typing import Any

from nnopt.errors import UsageError
from nnopt.spec.strategy import GrowingBatch
from nnopt.spec.transfer import Moment
from nnopt.train.freezing import count_frozen, freeze
from nnopt.train.horizon import Horizon
from nnopt.train.shaping.operation import Bench, Operation


class Unfreezing(Operation):
    """Parameters begin to train; the optimizer's memory and the average begin anew, as the optimizer has more of them.

    Raises:
        UsageError: the budget and the batch do not tell which share of the budget a moment is.
    """

    name = "unfreeze"
    changes_answers = False
    recompiles = True

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        spec = bench.settings.model
        horizon = Horizon(bench.settings.budget, bench.settings.strategy, len(bench.data.train))
        moments = [_share(one.at, horizon, f"model.unfreeze.{place}.at") for place, one in enumerate(spec.unfreeze)]
        order = sorted(range(len(moments)), key=lambda place: moments[place])
        within = [place for place in order if moments[place] < 1.0]
        self.coming = [spec.unfreeze[place] for place in within]
        self.shares = tuple(moments[place] for place in within)
        self.done = 0

    def change(self, index: int) -> str:
        """As the base class says."""
        before = count_frozen(self.bench.model)
        self.done = index + 1
        self._apply()
        names, left = ", ".join(self.coming[index].parameters), count_frozen(self.bench.model)
        return (
            f"unfreeze: {before - left:,} parameters ({names}) train from here on, {left:,} are frozen; "
            "the optimizer's memory begins anew" + ("" if self.bench.state.average is None else ", and so the average")
        )

    def _apply(self) -> None:
        freeze(self.bench.model, self.bench.settings.model, self.coming[: self.done])
        self.bench.refit(self.bench.model)

    def state_dict(self) -> dict[str, Any]:
        """As the base class says."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the base class says."""
        self.done = int(state["done"])
        if self.done:
            self._apply()


def _share(at: Moment, horizon: Horizon, key: str) -> float:
    """The share of the budget at which a moment comes: computed as that of an update is, so that both are equal.

    1 or more: not within the budget.
    """
    if at.share is not None:
        return at.share
    if at.steps is not None and horizon.total_steps is not None:
        return at.steps / horizon.total_steps
    if at.epochs is not None:
        if horizon.total_steps is not None and not isinstance(horizon.batch, GrowingBatch):
            an_epoch = -(-horizon.samples // horizon.batch_size(0.0))
            return at.epochs * an_epoch / horizon.total_steps
        if horizon.total_samples is not None:
            return at.epochs * horizon.samples / horizon.total_samples
    unit = "steps" if at.steps is not None else "epochs"
    raise UsageError(f"{key}.{unit}: with this budget and batch nobody knows beforehand when that is: take share")
