"""Processes that something outside started for one command, as torchrun does on one machine or several."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from nnopt.errors import UsageError
from nnopt.plan import Plan
from nnopt.surroundings import is_started_by_torchrun
from nnopt.train.devices import find_device
from nnopt.train.parallel.team import Team, membership


@contextlib.contextmanager
def outer_team(plan: Plan) -> Iterator[Team]:
    """This process joins those that torchrun started with it, while the block lasts; by itself where there are none.

    Raises:
        UsageError: a variant has nothing for several processes to do, or they do not find each other.
    """
    if not is_started_by_torchrun():
        yield Team()
        return
    size = int(os.environ["WORLD_SIZE"])
    for name, settings in plan.experiment.variants.items():
        if settings.parallel is None or not settings.parallel.in_step:
            raise UsageError(
                f"torchrun started {size} processes, and variant {name} trains in one: give it "
                "parallel: {kind: ddp} (or fsdp, local_sgd), or start nnopt without torchrun"
            )
    device = find_device(next(iter(plan.experiment.variants.values())).device)
    place = int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
    with membership(int(os.environ["RANK"]), size, place, "env://", device) as team:
        yield team
