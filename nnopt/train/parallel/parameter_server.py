"""A parameter server: the run's process holds the weights and applies gradients that Ray actors compute.

A gradient is applied at most `staleness` updates after the one that made the weights which it was computed of. That
bound is never broken and nothing is thrown away (stale-synchronous parallel, Ho et al. 2013): where the oldest gradient
under way could become too old, its turn is waited for, and no more gradients are under way than can have their turn in
time. At staleness 0 the server trains as one process does, to the bit on one machine.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnopt.errors import LostError, TrainingError
from nnopt.randomness import derive
from nnopt.spec.parallel import ParameterServer as Spec
from nnopt.stages import stage
from nnopt.surroundings import Surroundings
from nnopt.train.engine import Engine, Traffic
from nnopt.train.parallel.gradient_worker import (
    Answer,
    Batch,
    Draws,
    GradientWorker,
    arrays_of,
    buffers_of,
    draws_now,
    write,
)
from nnopt.train.parallel.ray_cluster import connect, wait_for_any
from nnopt.train.parallel.staleness import Staleness
from nnopt.train.session import Session
from nnopt.train.state import set_generator_states
from nnopt.train.updating import rate_at

COPIES = 4  # of weights and gradients for each actor, in the shared memory of a machine
MOST_LOSSES = 3  # for each actor, without an update in between: then what takes them away is no accident


@dataclass(frozen=True, eq=False)
class _Weights:
    """The weights after so many updates, as actors get them; `buffers` is what they were then."""

    version: int
    values: Any  # references of Ray
    buffers: Any
    sent: list[Tensor]


@dataclass(frozen=True, eq=False)
class _Flight:
    """A gradient under way."""

    actor: int
    batch: Batch
    samples: int
    weights: _Weights
    answer: Any


def turns(versions: Sequence[int], step: int, staleness: int) -> int:
    """How many of the gradients under way may be applied as the next update: so many of the oldest.

    After it, those that are older still must have their turn in time, one after the other.

    Args:
        versions: the updates before the weights that each was computed of, the oldest first.
        step: the updates so far.
        staleness: the most updates between a gradient's weights and its own.
    """
    for place, version in enumerate(versions):
        if version + staleness <= step + place:
            return place + 1
    return len(versions)


class ParameterServer(Engine):
    """The server of a run, and its actors."""

    def __init__(self, session: Session, spec: Spec, saved: dict[str, Any]) -> None:
        """Starts the actors and waits until all are ready; `saved` is what `state_dict` gave, or empty.

        Raises:
            UsageError: there is no cluster to start them on.
            TrainingError: one of them cannot be built.
        """
        self.session = session
        self.spec = spec
        self.staleness = Staleness()
        self.in_flight: list[_Flight] = []  # the oldest weights first
        self.waiting: deque[Batch] = deque(Batch(**batch) for batch in saved.get("in_flight", []))
        self.weights: _Weights | None = None
        self.losses = 0  # of actors since the last update
        if saved:
            self.staleness.load_state_dict(saved["staleness"])
        self.actors: list[Any] = []
        size = sum(value.numel() * value.element_size() for value in session.setup.parameters.values)
        connect(COPIES * (spec.in_flight + 1) * size)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        import ray
        from ray.exceptions import RayError

        state = self.session.state.model.state_dict()
        arrays = dict(zip(state, arrays_of(list(state.values())), strict=True))
        self._task = (self.session.run, ray.put(arrays), self.session.setup.threads, Surroundings.here())
        self.actors = [self._hire() for _ in range(self.spec.in_flight)]
        pending = [actor.ready.remote() for actor in self.actors]
        while pending:
            for done in wait_for_any(pending):
                pending.remove(done)
                try:
                    ray.get(done)
                except RayError as error:
                    self._fail("a worker cannot be built", error)

    def _hire(self) -> Any:
        """A new actor. It asks for no CPU of the cluster: a run that waits for its own workers would wait for ever."""
        import ray

        gpus, there = 0.0, ray.cluster_resources().get("GPU", 0.0)  # type: ignore[no-untyped-call]
        if self.session.setup.device.type == "cuda":
            gpus = min(1.0, math.floor(1000 * there / self.spec.in_flight) / 1000)
        kind = ray.remote(GradientWorker)
        return kind.options(num_cpus=0, num_gpus=gpus, scheduling_strategy="SPREAD").remote(*self._task)

    def update(self, session: Session) -> tuple[float, float]:
        """One update, by the next gradient whose turn it may be; see Engine."""
        setup, state, progress = session.setup, session.state, session.state.progress
        with stage("synchronisation"):
            flight, answer = self._next_answer()
        before, lr = rate_at(session, progress.step, progress.samples)
        loss = torch.tensor(answer.loss, dtype=torch.float64)

        def evaluate() -> Tensor:
            write(setup.parameters.gradients, answer.gradients)
            return loss

        with stage("optimizer"):
            state.optimizer.step(evaluate, lr)
            self._take_buffers(flight, answer)
        if answer.draws.generators is not None:
            states = {name: torch.from_numpy(one.copy()) for name, one in answer.draws.generators.items()}
            set_generator_states(states, state.device)
        self.staleness.add(progress.step - flight.weights.version)
        progress.step += 1
        progress.samples += flight.samples
        progress.gradient_evaluations += 1
        setup.backward.evaluations = progress.gradient_evaluations
        logged = session.recorder.logs(progress.step)
        session.recorder.add(loss, lr, torch.tensor(answer.norm, dtype=torch.float64) if logged else None)
        if session.trajectory is not None and logged:
            with state.clock.account("logging"):
                session.trajectory.note(state)
        return before, lr

    def _take_buffers(self, flight: _Flight, answer: Answer) -> None:
        """What the forward pass made of the running statistics: where they moved on meanwhile, how it changed them."""
        buffers, sent = buffers_of(self.session.state.model), flight.weights.sent
        if flight.weights.version == self.session.state.progress.step:
            write(buffers, answer.buffers)
            return
        with torch.no_grad():
            for buffer, old, array in zip(buffers, sent, answer.buffers, strict=True):
                buffer += torch.from_numpy(array.copy()).to(buffer.device) - old

    def _next_answer(self) -> tuple[_Flight, Answer]:
        """Keeps the actors at work until a gradient is there whose turn it may be."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        while True:
            self._send_out()
            candidates = self._candidates()
            ready = wait_for_any([flight.answer for flight in candidates])
            flight = next(flight for flight in candidates if flight.answer == ready[0])
            self.in_flight.remove(flight)
            try:
                answer = ray.get(flight.answer)
            except RayActorError as error:
                self._replace(flight, error)
                continue
            except RayTaskError as error:
                self._fail("a worker failed", error)
            self.losses = 0
            return flight, answer

    def _candidates(self) -> list[_Flight]:
        versions = [flight.weights.version for flight in self.in_flight]
        return self.in_flight[: turns(versions, self.session.state.progress.step, self.spec.staleness)]

    def _send_out(self) -> None:
        """Gives batches to all actors that have none, of those that the budget has left."""
        session, setup, progress = self.session, self.session.setup, self.session.state.progress
        busy = {flight.actor for flight in self.in_flight}
        for place in range(len(self.actors)):
            step = progress.step + len(self.in_flight)
            samples = progress.samples + sum(flight.samples for flight in self.in_flight)
            now = session.now()
            if place in busy:
                continue
            if not self.waiting:
                if setup.horizon.used_up(step, samples, now) and self.in_flight:
                    return
                size = setup.horizon.batch_size(setup.horizon.shares(step, samples, now)[0])
                at = replace(session.state.position)
                setup.feed.order.take(session.state.position, size)
                self.waiting.append(Batch(at.epoch, at.offset, size))
            self._send(place, self.waiting.popleft())

    def _send(self, place: int, batch: Batch) -> None:
        weights = self._weights()
        draws = draws_now(self.session.state.device)
        if self.spec.in_flight > 1:  # several draw at once: each batch has a seed of its own
            draws = Draws(seed=derive(self.session.setup.seed, "default", batch.epoch, batch.offset))
        answer = self.actors[place].gradient.remote(weights.values, weights.buffers, batch, draws)
        samples = min(batch.size, self.session.setup.feed.samples - batch.offset)
        self.in_flight.append(_Flight(place, batch, samples, weights, answer))

    def _weights(self) -> _Weights:
        """The present weights, put where actors find them once an update."""
        import ray

        version, setup = self.session.state.progress.step, self.session.setup
        if self.weights is None or self.weights.version != version:
            buffers = buffers_of(self.session.state.model)
            values = ray.put(arrays_of(setup.parameters.values))
            self.weights = _Weights(
                version, values, ray.put(arrays_of(buffers)), [buffer.detach().clone() for buffer in buffers]
            )
        return self.weights

    def _replace(self, flight: _Flight, error: Exception) -> None:
        """Hires another actor for one that was lost; its batch is the next to be given out.

        Raises:
            TrainingError: the new one cannot be built either.
            LostError: actors are lost one after the other.
        """
        if getattr(error, "actor_init_failed", False):
            self._fail("a worker cannot be built", error)
        which = f"worker {flight.actor + 1} of {len(self.actors)} was lost"
        self.losses += 1
        if self.losses > MOST_LOSSES * len(self.actors):
            raise LostError(f"{which}, and {self.losses - 1} before it since the last update")
        self.session.say(f"{which} at step {self.session.state.progress.step}: another computes its batch again")
        self.waiting.appendleft(flight.batch)
        self.actors[flight.actor] = self._hire()

    def _fail(self, what: str, error: Exception) -> None:
        """Raises TrainingError; where it came from is put down."""
        self.session.put_down(f"{what}:\n{error}")
        cause = getattr(error, "cause", None) or error
        lines = [line.strip() for line in str(cause).strip().splitlines() if line.strip()]
        reason = lines[-1] if lines else type(cause).__name__
        raise TrainingError(f"{what}: {reason}")

    def rest(self, session: Session) -> None:
        """As Engine says: gradients under way are finished, and kept for their turn."""
        pending = [flight.answer for flight in self.in_flight]
        while pending:
            for done in wait_for_any(pending):
                pending.remove(done)

    def traffic(self) -> Traffic:
        """As Engine says."""
        return self.staleness.take()

    def state_dict(self) -> dict[str, Any]:
        """As Engine says: batches under way, whose gradients a resumed run computes anew."""
        batches = [*(flight.batch for flight in self.in_flight), *self.waiting]
        return {"in_flight": [batch.as_state() for batch in batches], "staleness": self.staleness.state_dict()}

    def close(self) -> None:
        """As Engine says; the cluster stays for the next run of this process."""
        import ray

        for actor in self.actors:
            ray.kill(actor)
        self.actors, self.in_flight, self.weights = [], [], None
