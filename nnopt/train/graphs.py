"""An update recorded once on an accelerator and replayed: the host then asks for one thing a step, not for hundreds.

What is recorded is `FixedStep.run`: gathering, augmentation, forward and backward pass, clipping and the optimizer's
step, all between tensors that stay where they are. It runs on every device as it is; recording it needs CUDA, or XPU.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nnopt.data.batches import Position
from nnopt.errors import UsageError
from nnopt.train.session import Session
from nnopt.train.setup import Setup
from nnopt.train.state import TrainState, generator_states, set_generator_states
from nnopt.train.updating import InTurn, move

WARM_UPS = 3  # torch's own advice: libraries choose their kernels and memory in the first passes


class FixedStep:
    """One update from batches of one size; everything that changes between two of them is written into its tensors.

    Attributes:
        rows: [size], which samples are next; None for all of them in order.
        pair: inputs and targets of the batch, where they are not gathered within the update.
        lr: 0-dim float64.
        loss, norm: 0-dim, what came out.
    """

    def __init__(self, setup: Setup, state: TrainState, size: int) -> None:
        self.setup = setup
        self.state = state
        self.size = size
        feed = setup.feed
        rows = feed.order.take(Position(), size)
        self.rows = None if rows is None else rows.clone()
        self.pair: tuple[Tensor, Tensor] | None = None
        if not feed.gathers_anywhere:
            inputs, targets = feed.part.gather(rows)
            self.pair = inputs.clone(), targets.clone()
        self.lr = torch.zeros((), dtype=torch.float64, device=setup.device)
        self.loss = torch.zeros((), device=setup.device)
        self.norm = torch.zeros((), device=setup.device)

    def suits(self, position: Position, size: int) -> bool:
        """Whether the next batch has its size: the last of an epoch may be smaller."""
        whole = size >= self.setup.feed.samples or position.offset + size <= self.setup.feed.samples
        return size == self.size and whole

    def fill(self, position: Position, lr: float) -> None:
        """Writes the next batch and the learning rate into the tensors; moves `position` on."""
        feed = self.setup.feed
        feed.draw_anew(position.epoch, position.offset)
        if self.pair is None:
            rows = feed.order.take(position, self.size)
        else:
            rows, pair = feed.fetch(position, self.size)
            for fixed, fetched in zip(self.pair, pair, strict=True):
                fixed.copy_(fetched, non_blocking=True)
        if self.rows is not None and rows is not None:
            self.rows.copy_(rows)
        self.lr.fill_(lr)

    def run(self) -> None:
        """The update: what a graph records."""
        feed, backward = self.setup.feed, self.setup.backward
        pair = feed.part.gather(self.rows) if self.pair is None else self.pair
        backward.begin(feed.changed(self.rows, pair), norm_wanted=True)
        move(self.state, backward, self.lr)
        assert backward.loss is not None
        assert backward.gradient_norm is not None
        self.loss.copy_(backward.loss)
        self.norm.copy_(backward.gradient_norm)


class Replayed(InTurn):
    """Updates that are replayed where a batch has the recorded size; the others are carried out as ever."""

    def __init__(self, fixed: FixedStep, replay: Callable[[], None]) -> None:
        self.fixed = fixed
        self.replay = replay

    def step(self, session: Session, size: int, lr: float, norm_wanted: bool) -> int:
        """As InTurn says."""
        fixed, backward = self.fixed, session.setup.backward
        if not fixed.suits(session.state.position, size):
            return super().step(session, size, lr, norm_wanted)
        fixed.fill(session.state.position, lr)
        evaluations = backward.evaluations
        self.replay()
        backward.evaluations = evaluations + 1  # nobody counts while a graph is replayed
        backward.norm_wanted = norm_wanted
        backward.loss = fixed.loss.clone()
        backward.gradient_norm = fixed.norm.clone() if norm_wanted else None
        return size


def record(fixed: FixedStep) -> Callable[[], None]:
    """Records `fixed.run` on its accelerator; what carries it out again.

    Raises:
        UsageError: something in it cannot be recorded.
    """
    device = fixed.setup.device
    library = torch.get_device_module(device)
    graph = library.CUDAGraph() if device.type == "cuda" else library.XPUGraph()
    if fixed.setup.feed.augment is not None:
        graph.register_generator_state(fixed.setup.feed.generator)  # so that each replay draws anew
    side = library.Stream(device)
    side.wait_stream(library.current_stream(device))
    try:
        with library.stream(side):
            for _ in range(WARM_UPS):
                fixed.run()
        library.current_stream(device).wait_stream(side)
        with library.graph(graph):
            fixed.run()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"strategy.graph: an update of this run cannot be recorded ({reason}): leave it out, or take compile"
        ) from error
    replay: Callable[[], None] = graph.replay
    return replay


def replaying(session: Session, record: Callable[[FixedStep], Callable[[], None]] = record) -> Replayed:
    """Updates of a session from now on by a record of one; what making it does to the run is undone.

    Raises:
        UsageError: an update cannot be recorded.
    """
    setup, state = session.setup, session.state
    memory = [*state.model.parameters(), *state.model.buffers(), *state.optimizer.settle()]
    if state.scaler is not None:
        memory += state.scaler.state_dict().values()
    before = [tensor.detach().clone() for tensor in memory]
    generators = generator_states(state.device)
    setup.feed.draw_anew(0, 0)
    fixed = FixedStep(setup, state, setup.horizon.batch_size(0.0))
    replay = record(fixed)
    with torch.no_grad():
        for tensor, own in zip(memory, before, strict=True):
            tensor.copy_(own)
    setup.parameters.zero_gradients()
    set_generator_states(generators, state.device)
    setup.backward.evaluations = state.progress.gradient_evaluations
    return Replayed(fixed, replay)
