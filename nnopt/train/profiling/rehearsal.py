"""Steps of a run carried out for the clock alone, before it trains: none of its numbers, and no second of it, changes.

A rehearsal builds the run once more, gives it the state of its newest checkpoint, and forgets it after some steps: the
run itself begins as after any other run of the same process.
"""

from __future__ import annotations

import datetime
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from typing_extensions import override

from nnopt.errors import DiskError
from nnopt.plan import RunSpec
from nnopt.store.files import refusals
from nnopt.store.profile_file import remove_profile, write_profile
from nnopt.train import checkpoint
from nnopt.train.horizon import Horizon
from nnopt.train.listener import Listener
from nnopt.train.output import Tables
from nnopt.train.parallel.team import Team
from nnopt.train.parallel.whole import take_whole_state
from nnopt.train.profiling.exchange import Exchange
from nnopt.train.profiling.findings import findings
from nnopt.train.profiling.times import StageTimes, events_of, stage_rows, step_statistics
from nnopt.train.profiling.trace import traced
from nnopt.train.session import Session
from nnopt.train.setup import build
from nnopt.train.shaping.advance import advance
from nnopt.train.teachers import teach
from nnopt.train.transfer import begin_from_source
from nnopt.train.updating import InTurn, follow, share_used
from nnopt.train.warming import warm_up
from nnopt.version import __version__

if TYPE_CHECKING:
    from nnopt.train.runner import Workshop


class Standstill(Horizon):
    """The share of the budget stays that of a run's next update (of its last, where it is over): no end comes near."""

    def __init__(self, session: Session) -> None:
        setup, progress = session.setup, session.state.progress
        settings, horizon = setup.settings, setup.horizon
        super().__init__(settings.budget, settings.strategy, horizon.samples)
        step, samples = progress.step, progress.samples
        if horizon.used_up(step, samples, session.now()):
            step, samples = step - 1, samples - horizon.batch_size(1.0)
        self._shares = horizon.shares(max(0, step), max(0, samples), session.now())

    @override
    def shares(self, step: int, samples: int, seconds: float) -> tuple[float, float]:
        return self._shares

    @override
    def used_up(self, step: int, samples: int, seconds: float) -> bool:
        return False


LONGEST = 10.0  # seconds of timed steps, but for the first three


@dataclass(frozen=True)
class Window:
    """How many steps are skipped, timed by their stages, and traced; the profiler slows steps, so those are others."""

    skipped: int
    timed: int
    traced: int

    @classmethod
    def of(cls, step_seconds: float) -> Window:
        """For steps of such a length: some seconds in all, but of each sort a few."""

        def between(least: int, seconds: float, most: int) -> int:
            return max(least, min(most, int(seconds / max(step_seconds, 1e-9))))

        return cls(between(1, 1.0, 10), between(3, 5.0, 200), between(1, 2.0, 20))


def profile(run: RunSpec, folder: Path, shop: Workshop, threads: int | None, say: Callable[[str], None]) -> None:
    """Writes where the time of a step of `run` goes into its folder; `say` hears what came of it.

    A run that cannot be rehearsed is no worse for it: it is trained all the same, and says itself what is wrong.

    Raises:
        DiskError: the disk refused a write.
    """
    with refusals(folder):
        remove_profile(folder)
    parallel = run.settings.parallel
    if parallel is not None and not parallel.in_step:
        say(f"not profiled: the processes of parallel {parallel.kind} have no steps in common; profile it without them")
        return
    try:
        with tempfile.TemporaryDirectory() as scratch:
            found = _rehearse(run, folder, Path(scratch), shop, threads)
    except DiskError:
        raise
    except Exception as error:
        if not Team.here().is_alone:  # the others would wait for this process
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        say(f"not profiled: {reason}")
        return
    finally:
        gc.collect()
        if run.settings.strategy.compile:
            torch.compiler.reset()  # what was compiled here is not to be what the run finds
    if found is not None and Team.here().is_lead:
        content, trace = found
        write_profile(folder, content, trace)
        say(f"profiled {content['steps']['timed']} steps from step {content['from_step']}: {content['findings'][0]}")


def _rehearse(
    run: RunSpec, folder: Path, scratch: Path, shop: Workshop, threads: int | None
) -> tuple[dict[str, Any], bytes] | None:
    """The content of profile.json and a trace; None where a signal came."""
    session = _begin(run, folder, scratch, shop, threads)
    setup, state, team = session.setup, session.state, session.setup.together.team
    before, graph = state.progress.step, session.engine
    session.engine = InTurn()  # within a recorded update no stage can be told from the other

    def step() -> None:
        share, _ = session.engine.update(session)
        session.pace.look(state.progress.step)
        follow(session, share, session.now())

    step()
    window = Window.of(team.told_numbers([_seconds_of(step, setup.device)])[0])
    times, exchange = StageTimes(setup.device, events_of(setup.device)), Exchange(setup.backward.model, setup.device)
    for _ in range(window.skipped):
        if session.pace.is_stopped:
            return None
        step()
    _wait(setup.device)
    samples, start = state.progress.samples, time.perf_counter()
    for place in range(window.timed):
        if session.pace.is_stopped:
            return None
        with times.step():
            step()
        if place:
            times.move(place - 1, "backward", "synchronisation", exchange.waited_ms())
        if team.is_alone and place >= 2 and time.perf_counter() - start > LONGEST:  # the measured step was a quick one
            break
    times.end()
    samples = state.progress.samples - samples
    step()
    times.move(-1, "backward", "synchronisation", exchange.waited_ms())
    trace, operators = traced(step, window.traced, setup.device)
    rows, lengths = stage_rows(times), step_statistics(times)
    if setup.settings.strategy.graph:
        session.engine = graph
        lengths["replayed"] = 1000 * _seconds_of(step, setup.device, window.timed)
    content = {
        "nnopt": __version__,
        "run": run.label,
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "from_step": before,
        "steps": {"skipped": 2 + window.skipped, "timed": len(times.host), "traced": window.traced},
        "step_ms": lengths,
        "samples_per_second": 1000 * samples / (len(times.host) * lengths["mean"]),
        "batch_size": setup.horizon.batch_size(setup.horizon.shares(before, 0, 0.0)[0]),
        "device": str(setup.device),
        "threads": setup.threads,
        "processes": team.size,
        "precision": setup.settings.strategy.precision,
        "compiled": setup.settings.strategy.compile,
        "clock": "device" if times.on_device else "process",
        "stages": rows,
        "operators": operators,
        "findings": findings(rows, lengths, bool(times.on_device)),
    }
    return content, trace


def _begin(run: RunSpec, folder: Path, scratch: Path, shop: Workshop, threads: int | None) -> Session:
    """The run once more, where its newest checkpoint left it; what it writes goes to `scratch`."""
    team = Team.here()
    setup, state = build(run, shop.cache, team.told(threads), shop.most_threads)
    teach(run, setup, state, shop.runs_dir, shop.cache)
    saved, _ = team.told(checkpoint.load_latest(folder / checkpoint.FOLDER))
    if saved is not None:
        take_whole_state(state, setup.together, saved["state"], saved.get("replicas", []))
    else:
        begin_from_source(run, setup, state, shop.runs_dir, shop.cache)
    tables = Tables(scratch, setup.metrics, setup.settings.structure.changes_network)
    tables.begin(None)
    session = Session(
        run=run,
        setup=setup,
        state=state,
        folder=scratch,
        tables=tables,
        listener=Listener(),
        stop=shop.stop,
        engine=InTurn(),
    )
    setup.backward.evaluations = state.progress.gradient_evaluations
    session.pace.look(state.progress.step)
    advance(session, share_used(session))
    warm_up(session)
    session.setup = replace(setup, horizon=Standstill(session))
    return session


def _seconds_of(step: Callable[[], None], device: torch.device, count: int = 1) -> float:
    """Seconds of a step, the mean over `count`."""
    _wait(device)
    start = time.perf_counter()
    for _ in range(count):
        step()
    _wait(device)
    return (time.perf_counter() - start) / count


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
