"""What an optimizer needs and cannot be given, found in the file: each with the key to change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnopt.spec.parallel import Ddp
from nnopt.spec.yaml_reader import Path_

if TYPE_CHECKING:
    from nnopt.spec.experiment import RunSettings

Mistake = tuple[Path_, str]


def first_misfit(settings: RunSettings) -> Mistake | None:
    """The first key that does not go with `optimizer`, and why; None where all do."""
    found = (*_of_evaluations(settings), *_of_curvature(settings), *_of_second_order(settings), *_of_shown(settings))
    return next(iter(found), None)


def _of_evaluations(settings: RunSettings) -> Iterator[Mistake]:
    optimizer, strategy = settings.optimizer, settings.strategy
    if optimizer.inner.needs_full_batch and strategy.batch_size != "full":
        yield (
            ("strategy", "batch_size"),
            (
                f"optimizer {optimizer.inner.kind} follows the gradient of the whole training set: "
                "write batch_size: full, or take optimizer sgd"
            ),
        )
    if optimizer.evaluations_vary and not optimizer.needs_curvature and strategy.precision == "fp16":
        yield (
            ("strategy", "precision"),
            (
                f"optimizer {optimizer.kind} {optimizer.extra_passes}, which fp16's loss scaling upsets: "
                "use bf16 or fp32"
            ),
        )


def _of_curvature(settings: RunSettings) -> Iterator[Mistake]:
    """What second derivatives of one batch in one process cannot be taken through."""
    optimizer, strategy = settings.optimizer.inner, settings.strategy
    if not optimizer.needs_curvature:
        return
    needs = f"optimizer {optimizer.kind} needs second derivatives"
    if strategy.precision == "fp16":
        instead = "fp32" if optimizer.is_second_order else "bf16 or fp32"
        yield ("strategy", "precision"), f"{needs}, which fp16's loss scaling upsets: use {instead}"
    if settings.parallel is not None:
        yield ("parallel", "kind"), f"{needs} of the whole batch, of which each process has a part: leave parallel out"
    if settings.structure.distill is not None:
        yield ("structure", "distill"), f"{needs}, which are not taken of a teacher's part of the loss: leave one out"
    if strategy.accumulate > 1:
        yield ("strategy", "accumulate"), f"{needs} of the whole batch at once: leave accumulate out"
    loss = settings.loss.kind
    if optimizer.losses is not None and loss not in optimizer.losses:
        reason = (
            f"draws targets from what the model says is probable, which loss {loss} does not say"
            if optimizer.draws_targets
            else f"divides by curvature, and loss {loss} has none in many weights"
        )
        others = " or ".join(optimizer.losses)
        yield ("loss", "kind"), f"optimizer {optimizer.kind} {reason}: take {others}, or another optimizer"
    if optimizer.draws_targets and getattr(settings.loss, "class_weights", None) is not None:
        yield (
            ("loss", "class_weights"),
            (
                f"optimizer {optimizer.kind} draws targets from what the model says is probable, and cannot tell "
                "those of the weighted classes: leave class_weights out, or take another optimizer"
            ),
        )


def _of_second_order(settings: RunSettings) -> Iterator[Mistake]:
    """What changes gradients or weights behind the back of a step that follows from curvature."""
    optimizer, strategy = settings.optimizer.inner, settings.strategy
    if not optimizer.is_second_order:
        return
    if strategy.precision == "bf16":
        yield (
            ("strategy", "precision"),
            f"optimizer {optimizer.kind} compares losses that differ by less than bf16 can tell: use fp32",
        )
    for key in ("clip_norm", "clip_value"):
        if getattr(strategy, key) is not None:
            yield (
                ("strategy", key),
                (
                    f"the step of optimizer {optimizer.kind} follows from the gradient as it is, and its length is "
                    f"searched for: leave {key} out"
                ),
            )
    if settings.structure.changes_network:
        yield (
            ("structure",),
            (
                f"optimizer {optimizer.kind} steps in all weights of one network, and structure sets or replaces some "
                "on the way: leave one of the two out"
            ),
        )


def _of_shown(settings: RunSettings) -> Iterator[Mistake]:
    """What does not know that the weights that train are not those that are judged."""
    optimizer = settings.optimizer.inner
    if not optimizer.shows_others:
        return
    if settings.strategy.average is not None:
        yield ("strategy", "average"), f"optimizer {optimizer.kind} averages the weights itself: leave average out"
    if settings.parallel is not None and not isinstance(settings.parallel, Ddp):
        yield (
            ("parallel", "kind"),
            (
                f"optimizer {optimizer.kind} is judged by an average that it keeps beside the weights, which parallel "
                f"{settings.parallel.kind} does not carry between processes: take parallel ddp"
            ),
        )
