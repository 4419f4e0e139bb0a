"""How updates of a run come about: one after the other here, or by several that work at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnopt.train.session import Session


@dataclass(frozen=True)
class Traffic:
    """What came of working at once, since it was last asked: columns of metrics.csv.

    Attributes:
        staleness_mean: updates between reading the weights and changing them, on average.
        staleness_max: the most of them.
        drift: how far the replicas of the weights lie apart before they are averaged: the root mean square of their
            distances from the mean, by the length of the mean.
    """

    staleness_mean: float = 0.0
    staleness_max: float = 0.0
    drift: float = 0.0


class Engine(ABC):
    """Carries out the updates of one sitting of a run."""

    @abstractmethod
    def update(self, session: Session) -> tuple[float, float]:
        """One update of the weights, or several; the share of the budget it began at, and the last learning rate."""

    def rest(self, session: Session) -> None:
        """Brings to rest what is under way, as the weights are about to be looked at or kept."""

    def traffic(self) -> Traffic:
        """What came of working at once since this was last asked."""
        return Traffic()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the state that every run has: asked at rest, for the checkpoint."""
        return {}

    def close(self) -> None:
        """Ends whatever helps: called once, also after a failure."""
