"""What cannot be trained by several processes, found in the file: each with the key to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nnopt.spec.parallel import Fsdp, Hogwild, LocalSgd, ParallelSpec, ParameterServer
from nnopt.spec.strategy import GrowingBatch
from nnopt.spec.yaml_reader import Path_

if TYPE_CHECKING:
    from nnopt.spec.experiment import RunSettings

Mistake = tuple[Path_, str]


def first_mistake(settings: RunSettings) -> Mistake | None:
    """The first key that does not go with `parallel`, and why; None where all do."""
    for kinds, find in CHECKS:
        if settings.parallel is not None and isinstance(settings.parallel, kinds):
            found = next(find(settings), None)
            if found is not None:
                return found
    return None


def _of_asynchronous(settings: RunSettings) -> Iterator[Mistake]:
    """What needs to see every update of a network that stays the same: processes here see only some."""
    kind, strategy, optimizer = _kind(settings), settings.strategy, settings.optimizer
    if optimizer.evaluations_vary:
        yield (
            ("optimizer", "kind"),
            (
                f"optimizer {optimizer.kind} {optimizer.extra_passes}, which moves under it with parallel {kind}: "
                "take one that evaluates once an update, such as sgd or adam"
            ),
        )
    if settings.structure.changes_network:
        yield (
            ("structure",),
            (
                f"a network that changes on the way cannot be trained with parallel {kind}, whose processes hold the "
                "first one: leave one of the two out"
            ),
        )
    if settings.structure.distill is not None:
        yield (
            ("structure", "distill"),
            f"teachers are asked in one process, and parallel {kind} has several: leave one of the two out",
        )
    if settings.model.unfreeze:
        yield (
            ("model", "unfreeze"),
            (
                f"what is unfrozen on the way cannot be trained with parallel {kind}, whose processes hold the weights "
                "that train from the start: leave one of the two out"
            ),
        )
    if strategy.precision == "fp16":
        yield (
            ("strategy", "precision"),
            (
                f"the loss scale of fp16 follows every update in turn, which parallel {kind} does not have: "
                "use bf16 or fp32"
            ),
        )
    if strategy.compile:
        yield (
            ("strategy", "compile"),
            f"each process of parallel {kind} would compile within the time of training: leave compile out",
        )


def _of_hogwild(settings: RunSettings) -> Iterator[Mistake]:
    """What follows every update, or does not lie in the memory of the machine."""
    strategy = settings.strategy
    if settings.device not in ("auto", "cpu"):
        yield (
            ("device",),
            (
                f"parallel hogwild shares weights in the memory of the CPU, not of {settings.device}: "
                "write device: cpu, or take parallel parameter_server"
            ),
        )
    if strategy.average is not None:
        yield (
            ("strategy", "average"),
            (
                "an average follows the weights update by update, and with parallel hogwild nobody sees them in "
                "between: leave it out, or take parallel parameter_server"
            ),
        )
    if isinstance(strategy.batch_size, GrowingBatch) and settings.budget.seconds is not None:
        yield (
            ("strategy", "batch_size"),
            (
                "a batch that grows with the seconds is not the same in all processes of parallel hogwild: give the "
                "budget in epochs or steps, or take one size"
            ),
        )
    if settings.data.asks == "function":
        yield (
            ("parallel", "kind"),
            (
                "a way over a function is followed update by update, and with parallel hogwild nobody sees the "
                "weights in between: leave parallel out"
            ),
        )


def _of_local_sgd(settings: RunSettings) -> Iterator[Mistake]:
    """What would have to be the same in replicas of the weights that differ."""
    optimizer = settings.optimizer
    if optimizer.evaluations_vary:
        yield (
            ("optimizer", "kind"),
            (
                f"optimizer {optimizer.kind} {optimizer.extra_passes}, and with parallel local_sgd each process has an "
                "objective of its own: take one that evaluates once an update, or parallel ddp"
            ),
        )
    if settings.structure.changes_network:
        yield (
            ("structure",),
            (
                "a network that changes on the way cannot be trained with parallel local_sgd, whose processes have "
                "weights of their own: take parallel ddp, or leave it out"
            ),
        )
    if settings.model.unfreeze:
        yield ("model", "unfreeze"), "parallel local_sgd averages weights that train from the start: take parallel ddp"
    if settings.strategy.average is not None:
        yield (
            ("strategy", "average"),
            "parallel local_sgd averages the weights over its processes already: leave average out, or take ddp",
        )
    if settings.data.asks == "function":
        yield ("parallel", "kind"), "a function has one sample, which no two processes can share: leave parallel out"


def _of_fsdp(settings: RunSettings) -> Iterator[Mistake]:
    """What has to see whole tensors, of which no process has one."""
    optimizer, strategy = settings.optimizer, settings.strategy
    inner = optimizer.inner
    adds_up = optimizer.evaluations_vary or inner.sums_over_all
    if adds_up or not inner.flat:
        kind = optimizer.kind if optimizer.evaluations_vary else inner.kind
        seen = "adds up over all weights" if adds_up else "looks at whole matrices"
        yield (
            ("optimizer", "kind"),
            (
                f"optimizer {kind} {seen}, of which parallel fsdp leaves each process a part: take one that goes "
                "entry by entry, such as adam, or parallel ddp"
            ),
        )
    found = {
        ("structure",): settings.structure.changes_network or settings.structure.distill is not None,
        ("model", "unfreeze"): bool(settings.model.unfreeze),
        ("model", "init_from"): settings.model.init_from is not None,
        ("strategy", "average"): strategy.average is not None,
        ("strategy", "compile"): strategy.compile,
        ("strategy", "channels_last"): strategy.channels_last,
        ("strategy", "precision"): strategy.precision == "fp16",
    }
    for key, is_asked in found.items():
        if is_asked:
            name = ".".join(key)
            yield key, f"{name} needs whole tensors, which parallel fsdp cuts: leave it out, or take parallel ddp"


def _kind(settings: RunSettings) -> str:
    assert settings.parallel is not None
    return settings.parallel.kind


CHECKS: tuple[tuple[tuple[type[ParallelSpec], ...], Callable[[RunSettings], Iterator[Mistake]]], ...] = (
    ((Hogwild, ParameterServer), _of_asynchronous),
    ((Hogwild,), _of_hogwild),
    ((LocalSgd,), _of_local_sgd),
    ((Fsdp,), _of_fsdp),
)
