"""What the times of a step say, in sentences: where most of it goes, and what may be done about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NAMES = {
    "data": "taking the batch",
    "forward": "the forward pass and the loss",
    "backward": "the backward pass",
    "optimizer": "the optimizer",
    "synchronisation": "waiting for other processes or the device",
    "other": "what lies around the passes and the optimizer",
}
# What to do where a piece of data takes long.
DATA_ADVICE = {
    "waiting": "the next batch was not read yet: more readers (data.workers), or rows held in memory (data.in_memory)",
    "augmentation": "most of that are the changes of data.augment: fewer or cheaper ones make it less",
    "gathering": "most of that is gathering rows that lie in memory already: only smaller ones make it less",
}
LONG_DATA, LONG_OPTIMIZER, LONG_WAIT, LONG_REST = 0.3, 0.35, 0.3, 0.2  # shares of a step that are worth a word
HELD_UP = 0.9  # share of a device's step that Python takes to ask for it


def findings(rows: Sequence[Mapping[str, Any]], step_ms: Mapping[str, float], on_device: bool) -> list[str]:
    """Sentences on rows of profile.csv and the milliseconds of a step, the first on the longest stage."""
    stages = {row["stage"]: row for row in rows if row["part_of"] is None}
    longest = max(stages.values(), key=lambda row: row["share"])
    said = [f"{percent(longest['share'])} of a step is {NAMES[longest['stage']]}"]
    if "replayed" in step_ms:  # what would help is done
        said.append(
            f"the run replays a recorded update (strategy.graph) in {step_ms['replayed']:.3g} ms; the stages are those "
            f"of the same update carried out one by one, in {step_ms['mean']:.3g} ms"
        )
        return said
    return [*said, *_advice(rows, stages), *(_held_up(stages) if on_device else ())]


def percent(share: float) -> str:
    """A share in whole per cent."""
    return f"{100 * share:.0f} %"


def _advice(rows: Sequence[Mapping[str, Any]], stages: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    data, optimizer = stages["data"]["share"], stages["optimizer"]["share"]
    parts = [row for row in rows if row["part_of"] == "data"]
    if data > LONG_DATA and parts:
        most = max(parts, key=lambda row: row["share"])["stage"]
        yield f"data takes {percent(data)}: {DATA_ADVICE[most]}"
    if optimizer > LONG_OPTIMIZER:
        yield (
            f"the optimizer takes {percent(optimizer)}: with a larger strategy.batch_size an epoch has fewer steps "
            "(and is another experiment)"
        )
    wait, rest = stages["synchronisation"]["share"], stages["other"]["share"]
    if wait > LONG_WAIT:
        yield f"{percent(wait)} is waiting: more work between two exchanges (a larger batch, local_sgd) makes it less"
    if rest > LONG_REST:
        yield f"{percent(rest)} lies around the passes: steps are short; a larger batch has fewer of them an epoch"


def _held_up(stages: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    asking = sum(row["host_ms"] for name, row in stages.items() if name != "synchronisation")
    whole = sum(row["mean_ms"] for row in stages.values())
    if whole > 0 and asking / whole > HELD_UP:
        yield (
            f"the device waits for Python, which takes {percent(asking / whole)} of a step to ask for work: a larger "
            "batch, strategy.compile or strategy.graph gives it more to do at a time"
        )
