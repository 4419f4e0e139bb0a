"""One run from its spec to its record: finds its folder, resumes, trains, says how it ended."""

from __future__ import annotations

import contextlib
import datetime
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnopt.data.recorded import record_of
from nnopt.errors import (
    CheckpointError,
    DiskError,
    DivergedError,
    Interrupted,
    LostError,
    NnoptError,
    PrunedError,
    RunsFolderError,
    TrainingError,
)
from nnopt.plan import RunSpec
from nnopt.store.data_file import DATA, read_data_record, write_data_record
from nnopt.store.files import make_folder, remove_leftovers, write_json, write_whole
from nnopt.store.lock import RunLock
from nnopt.store.place import Place, make_way, place
from nnopt.store.record import FINISHED, SPEC, SUMMARY, SUMMARY_SCHEMA, RunRecord
from nnopt.track.tracker import Subject
from nnopt.track.tracking import Tracking
from nnopt.train import checkpoint
from nnopt.train.accounts import Accounts
from nnopt.train.diagnosis import look_back
from nnopt.train.engines import build_engine
from nnopt.train.environment import describe
from nnopt.train.listener import Listener
from nnopt.train.loop import train
from nnopt.train.output import RunLog, Tables
from nnopt.train.parallel.team import Team
from nnopt.train.parallel.whole import take_whole_state
from nnopt.train.session import Cut, Session
from nnopt.train.setup import DataCache, Setup, build
from nnopt.train.signals import StopRequest
from nnopt.train.state import TrainState
from nnopt.train.summary import summarise
from nnopt.train.teachers import check_same_teachers, teach
from nnopt.train.testing import test
from nnopt.train.trajectory import open_trajectory
from nnopt.train.transfer import begin_from_source, in_words
from nnopt.train.updating import InTurn

ENVIRONMENT = "environment.json"


@dataclass(frozen=True, eq=False)
class Workshop:
    """What runs of one process share."""

    runs_dir: Path
    cache: DataCache
    listener: Listener
    stop: StopRequest
    most_threads: int | None = None
    profile: bool = False  # whether each run says where the time of its steps goes
    max_restarts: int = 0  # of a run one of whose processes was lost


def run_one(run: RunSpec, shop: Workshop, fresh: bool = False, cut: Cut | None = None) -> RunRecord:
    """Trains `run`, or goes on with it, or leaves it as it is when it is finished; `cut` may end it as pruned.

    Raises:
        Interrupted: a signal came; the run can be resumed.
        DiskError: the disk refused a write; the run can be resumed.
        UsageError: the run's folder is held by another program or cannot be written.
    """
    team = Team.here()
    if not team.is_lead:
        return _follow(run, shop, cut)
    if fresh:
        make_way(run, shop.runs_dir)
    found = place(run, shop.runs_dir)
    if found.is_finished and found.found:
        shop.listener.skipped(run.label, found.found.status)
        team.told("profile" if shop.profile else "")
        if shop.profile:
            with RunLock(found.folder):
                _profile(run, found, shop, RunLog(found.folder))
        return found.found
    make_folder(found.folder)
    with RunLock(found.folder):
        again = place(run, shop.runs_dir)  # it may have been finished before the lock was ours
        if again.is_finished and again.found:
            shop.listener.skipped(run.label, again.found.status)
            team.told("")
            return again.found
        _claim(run, again)
        team.told("train")
        _train_through_losses(run, again, shop, cut)
    return RunRecord.read(again.folder)


def _train_through_losses(run: RunSpec, found: Place, shop: Workshop, cut: Cut | None) -> None:
    """Trains; where a process that this one started was lost, goes on from the checkpoint, so often as is allowed."""
    for restart in range(shop.max_restarts + 1):
        try:
            _train_in(run, found, shop, cut, is_last=restart == shop.max_restarts)
            return
        except LostError as error:
            told = f"{error}: going on from the checkpoint ({restart + 1} of {shop.max_restarts})"
            RunLog(found.folder).write(told)
            shop.listener.note(run.label, told)
            found = place(run, shop.runs_dir)


def _follow(run: RunSpec, shop: Workshop, cut: Cut | None) -> RunRecord:
    """Takes part in a run that the lead of its team writes; what this process writes is thrown away.

    Raises:
        TrainingError: this process failed, which run.log then tells.
    """
    team = Team.here()
    task = team.told("")
    if not task:
        return place(run, shop.runs_dir).found or RunRecord.read(shop.runs_dir / run.label)
    with tempfile.TemporaryDirectory(prefix="nnopt-") as name:
        folder = Path(name)
        make_folder(folder / checkpoint.FOLDER)
        silent = replace(shop, listener=Listener())
        if task == "profile":
            _profile(run, Place(folder), silent, RunLog(folder))
            return RunRecord.read(place(run, shop.runs_dir).folder)
        _train_in(replace(run, track=()), Place(folder), silent, cut)
        record = RunRecord.read(folder)
        if record.status == "failed":
            told = [line.partition(" ")[2] for line in RunLog(folder).read().splitlines()]  # without their times
            RunLog(place(run, shop.runs_dir).folder).write("\n".join([f"process {team.rank}:", *told]))
            raise TrainingError(f"process {team.rank} of {team.size} failed: {record.summary['reason']}")
    return record


def _claim(run: RunSpec, found: Place) -> None:
    """Makes a new folder known as this run's before anything else is in it: a kill leaves no nameless folder."""
    if found.relation == "new":
        summary = summarise(run, None, None, "running", "", _now(), None, None)
        write_json(found.folder / SUMMARY, {"schema": SUMMARY_SCHEMA, **summary})
    make_folder(found.folder / checkpoint.FOLDER)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _train_in(run: RunSpec, found: Place, shop: Workshop, cut: Cut | None, is_last: bool = True) -> None:
    """Trains in a folder whose lock is held, and writes how it ended.

    Raises:
        LostError: a process that this one started was lost, and this is not the last attempt.
    """
    folder = found.folder
    log = RunLog(folder)
    started = _now()
    setup: Setup | None = None
    state: TrainState | None = None
    session: Session | None = None
    tracking = Tracking()

    def end(status: str, reason: str, tests: dict[str, Any] | None = None, diverged: Any = None) -> None:
        if session is not None:
            if status in FINISHED:
                _take_accounts(session)
            session.tables.sync()
        accounts = None if session is None else session.accounts
        summary = summarise(run, setup, state, status, reason, started, tests, diverged, accounts)
        write_json(folder / SUMMARY, {"schema": SUMMARY_SCHEMA, **summary})
        log.write(f"{status}: {reason}")
        tracking.end(summary)
        shop.listener.ended(run.label, status, reason)

    with log.warnings():
        try:
            if Team.here().told(shop.profile):
                _profile(run, found, shop, log)
            threads = Team.here().told(_recorded_threads(found))
            setup, state = build(run, shop.cache, threads, shop.most_threads)
            teach(run, setup, state, shop.runs_dir, shop.cache)
            session = _open_session(run, found, shop, setup, state, log)
            tracking, session.cut = session.tracking, cut
            reason = train(session)
            end("done", reason, tests=test(session) if run.trial is None else None)
        except PrunedError as error:
            end("pruned", str(error))
        except DivergedError as error:
            if session is not None:
                look_back(session)
            end("diverged", str(error), diverged={"step": error.step, "last_loss": error.last_loss})
        except Interrupted as error:
            with contextlib.suppress(DiskError):
                end("interrupted", f"signal {error.exit_code - 128}: checkpointed at this step")
            raise
        except DiskError as error:
            with contextlib.suppress(DiskError):
                end("interrupted", str(error))
            raise
        except Exception as error:
            if isinstance(error, LostError) and not is_last:
                raise
            if not isinstance(error, NnoptError):
                log.write_traceback(error)
            message = str(error).strip().split("\n")[0]
            message += "; the same command resumes" if isinstance(error, LostError) else ""
            end("failed", message if isinstance(error, NnoptError) else f"{type(error).__name__}: {message}")
        finally:
            if session is not None:
                session.engine.close()
            tracking.close()


def _profile(run: RunSpec, found: Place, shop: Workshop, log: RunLog) -> None:
    """Writes where the time of a step goes; nothing of the run depends on it."""
    from nnopt.train.profiling.rehearsal import profile

    def say(text: str) -> None:
        log.write(text)
        shop.listener.note(run.label, text)

    profile(run, found.folder, shop, _recorded_threads(found), say)


def _take_accounts(session: Session) -> None:
    """Of the network that came out; a model that refuses to be asked once more has none, and its run is no worse."""
    try:
        session.accounts.end(session.setup, session.state, session.folder)
    except NnoptError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        session.say(f"parameters, multiply-adds and times of the network are not recorded: {reason}")


def _recorded_threads(found: Place) -> int | None:
    """The thread count that a run began with: another would change its bits."""
    threads = found.found.summary.get("threads") if found.found else None
    return int(threads) if threads else None


def _open_session(run: RunSpec, found: Place, shop: Workshop, setup: Setup, state: TrainState, log: RunLog) -> Session:
    """Resumes from the newest whole checkpoint, or begins; the folder then says `running`."""
    folder = found.folder
    remove_leftovers(folder, folder / checkpoint.FOLDER)
    accounts = Accounts.begin(setup, state, found.found.summary if found.found else None)
    team = setup.together.team
    saved, problems = team.told(checkpoint.load_latest(folder / checkpoint.FOLDER))
    for problem in problems:
        log.write(f"{problem}: going on from the one before")
        shop.listener.note(run.label, f"{problem}: going on from the one before")
    if saved is not None:
        if problems and team.is_lead:
            checkpoint.put_previous_first(folder / checkpoint.FOLDER)
        if not _is_of(saved["identity"], run):
            raise CheckpointError(f"the checkpoint in {folder} is of another run ({saved['identity']['run']})")
        if team.is_lead:
            _check_same_data(folder, setup)
        check_same_teachers(setup, saved.get("teachers", []))
        take_whole_state(state, setup.together, saved["state"], saved.get("replicas", []))
    else:
        begin_from_source(run, setup, state, shop.runs_dir, shop.cache)
    is_shaped, has_layers = setup.settings.structure.changes_network, setup.settings.logging.layers
    tables = Tables(folder, setup.metrics, is_shaped, has_layers, setup.settings.parallel is not None)
    is_begun = saved is not None and team.is_lead  # the others' tables are thrown away
    tables.begin(state.progress.step if is_begun else None, state.shaping.told if state.shaping else 0)
    write_whole(folder / SPEC, run.as_file())
    if not (folder / ENVIRONMENT).exists():
        write_json(folder / ENVIRONMENT, describe(setup))
    if not (folder / DATA).exists():
        write_data_record(folder, record_of(setup.data))
    summary = summarise(run, setup, state, "running", "", _now(), None, None, accounts)
    write_json(folder / SUMMARY, {"schema": SUMMARY_SCHEMA, **summary})
    log.write(f"{'resumed at step ' + str(state.progress.step) if saved is not None else 'started'} on {setup.device}")
    if saved is None and state.origin is not None:
        log.write(in_words(state.origin))
    for note in setup.data.notes:
        log.write(note)
    for teacher in setup.teachers:
        log.write(f"learns from {', '.join(f'{key} {value}' for key, value in teacher.items())}")
    shop.listener.started(run.label, state.progress.step)
    with state.clock.account("logging"):
        tracking = _begin_tracking(run, found, shop, log)
    session = Session(
        run=run,
        setup=setup,
        state=state,
        folder=folder,
        tables=tables,
        listener=shop.listener,
        stop=shop.stop,
        engine=InTurn(),
        tracking=tracking,
        log=log,
        accounts=accounts,
        trajectory=open_trajectory(folder, setup, state, state.progress.step if is_begun else None),
    )
    session.engine = build_engine(session, (saved or {}).get("engine"))
    return session


def _begin_tracking(run: RunSpec, found: Place, shop: Workshop, log: RunLog) -> Tracking:
    """What shows the run elsewhere; what goes wrong there is said, and no more."""

    def warn(text: str) -> None:
        log.write(f"warning: {text}")
        shop.listener.note(run.label, text)

    settings = run.settings_as_keys()
    subject = Subject(
        run.experiment, run.variant, run.seed, run.tags, run.notes, settings, run.hash, found.folder, shop.runs_dir
    )
    return Tracking(run.track, subject, warn)


def _is_of(identity: dict[str, Any], run: RunSpec) -> bool:
    """Whether a checkpoint is of `run`, or of one with another budget that takes the same steps."""
    same = identity["spec_hash"] == run.hash
    shorter = run.hash_without_budget is not None and identity["hash_without_budget"] == run.hash_without_budget
    return identity["seed"] == run.seed and (same or shorter)


def _check_same_data(folder: Path, setup: Setup) -> None:
    """Raises CheckpointError where a run began on other content than its data has now."""
    try:
        before = read_data_record(folder).get("sha256")
    except RunsFolderError:  # an earlier nnopt kept none
        return
    if before != setup.data.content_hash:
        raise CheckpointError(
            f"the content of data {setup.data.name} is another than when the run began: bring that back, or begin anew "
            "with `nnopt train --fresh`"
        )
