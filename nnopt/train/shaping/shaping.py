"""All changes of a run's network, in the order of the budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnopt.structure.network import record_of, reform
from nnopt.train.shaping.operation import Bench, Operation


class Shaping:
    """What changes the network of a run, and how far that has come.

    At one share of the budget operations act in the order they are listed in.
    """

    def __init__(self, bench: Bench, operations: Sequence[Operation]) -> None:
        self.bench = bench
        self.operations = list(operations)
        self.agenda = sorted(
            (
                (share, order, index)
                for order, operation in enumerate(self.operations)
                for index, share in enumerate(operation.shares)
            )
        )
        self.done = 0  # entries of the agenda that are behind

    @property
    def is_final(self) -> bool:
        """Whether the network that trains now is the last that does: only changes that follow training are to come."""
        return all(share >= 1.0 for share, _, _ in self.agenda[self.done :])

    @property
    def is_past_training(self) -> bool:
        """Whether changes that follow training have begun."""
        return self.done > 0 and self.agenda[self.done - 1][0] >= 1.0

    @property
    def told(self) -> int:
        """How many of the changes behind have a row in structure.csv."""
        operations = ((self.operations[order], index) for _, order, index in self.agenda[: self.done])
        return sum(operation.changes_answers and index not in operation.quiet for operation, index in operations)

    @property
    def is_over(self) -> bool:
        """Whether no change is to come at all."""
        return self.done == len(self.agenda)

    def next_due(self, share: float) -> tuple[Operation, int] | None:
        """The next change, where `share` of the budget has come to it."""
        if self.is_over or share < self.agenda[self.done][0]:
            return None
        _, order, index = self.agenda[self.done]
        return self.operations[order], index

    def after_backward(self) -> None:
        """Every operation sees the gradients."""
        for operation in self.operations:
            operation.after_backward()

    def after_update(self) -> None:
        """Every operation sees the weights."""
        for operation in self.operations:
            operation.after_update()

    def rate_shares(self, before: float, after: float) -> tuple[float, float]:
        """The shares of the budget that the learning rate's schedule is to see for an update."""
        for operation in self.operations:
            before, after = operation.rate_shares(before, after)
        return before, after

    def restored(self) -> None:
        """Called after a resume, once the network has its weights."""
        for operation in self.operations:
            operation.restored()

    def state_dict(self) -> dict[str, Any]:
        """How far the changes have come, the network's shape, and each operation's own state."""
        return {
            "done": self.done,
            "network": record_of(self.bench.model),
            "operations": {operation.name: operation.state_dict() for operation in self.operations},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave: the network has its shape then, and waits for its weights."""
        self.done = int(state["done"])
        if record_of(self.bench.model) != state["network"]:
            self.bench.refit(reform(self.bench.model, state["network"]))
        for operation in self.operations:
            operation.load_state_dict(state["operations"][operation.name])
