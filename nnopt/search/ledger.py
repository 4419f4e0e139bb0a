"""The trials of a search on disk: Optuna's SQLite beside the variants, which its API and dashboard open.

One study a variant, called `experiment/variant`. A trial is added with all that it sets in one transaction, and told
in one at its end: a kill leaves it either unknown, or running under its number, or finished.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnopt.compare.search.trial import Status, Trial
from nnopt.errors import DiskError, RunsFolderError
from nnopt.search.propose.distributions import as_parameter, distributions, from_parameter
from nnopt.spec.search.domains import Space
from nnopt.store.search_file import ADVICE

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

STUDY = "study.db"
RESULT = "result"  # user attribute of a finished trial: what Optuna has no column for
AGAIN = "again"
TAKEN_UP = "taken_up"
SIZES = "sizes"  # what its network takes: written down before the trial is trained, and measured once
# Optuna leaves a diverged trial out of its own statistics, as it does a failed one; the attribute tells them apart.
STATES = {
    "done": "COMPLETE",
    "pruned": "PRUNED",
    **dict.fromkeys(("diverged", "failed", "over"), "FAIL"),
    "running": "RUNNING",
}


@contextlib.contextmanager
def open_storage(experiment_folder: Path) -> Iterator[RDBStorage]:
    """The studies of an experiment, made where there are none; closed at the end.

    Raises:
        RunsFolderError: another version of Optuna wrote them, or they are damaged.
        DiskError: the disk refuses.
    """
    import optuna
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = experiment_folder / STUDY
    url = sqlalchemy.engine.URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    with database_errors(path):
        try:
            storage = optuna.storages.RDBStorage(url)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise RunsFolderError(
                f"{path} was written by another version of Optuna than {optuna.__version__}, the one here: {reason} "
                f"Or: {ADVICE}"
            ) from None
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()


@contextlib.contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turns what SQLite reports into one line."""
    import optuna
    import sqlalchemy

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        reason = str(getattr(cause, "orig", None) or cause or error).strip().split("\n")[0]
        if any(word in reason for word in ("disk is full", "disk I/O", "readonly", "unable to open")):
            raise DiskError(f"cannot write {path}: {reason}: mend it and run the same command again to go on") from None
        raise RunsFolderError(f"{path} cannot be used ({reason}); {ADVICE}") from None


class Ledger:
    """The trials of one variant, by number from 0. What it is told is on the disk when the call returns.

    With `has_costs` a trial has two values: the objective, and its cost, of which less is better.
    """

    def __init__(
        self,
        storage: RDBStorage,
        name: str,
        higher_is_better: bool,
        about: Mapping[str, Any],
        has_costs: bool = False,
    ) -> None:
        import optuna
        from optuna.study import StudyDirection

        objective = StudyDirection.MAXIMIZE if higher_is_better else StudyDirection.MINIMIZE
        self._storage = storage
        self._has_costs = has_costs
        self.study: Study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=[objective, *([StudyDirection.MINIMIZE] if has_costs else [])],
            load_if_exists=True,
        )
        self._study_id: int = storage.get_study_id_from_name(name)
        known = self.study.user_attrs
        for key, value in about.items():
            if known.get(key) != value:
                self.study.set_user_attr(key, value)
        self._trials = [_as_trial(found) for found in self.study.get_trials(deepcopy=False)]

    @property
    def trials(self) -> Sequence[Trial]:
        """All trials by number."""
        return self._trials

    def add(self, setting: Mapping[str, Any], space: Space, again: int | None = None) -> Trial:
        """A new trial that runs from now on, under the next number."""
        from optuna.trial import TrialState, create_trial

        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params={key: as_parameter(value) for key, value in setting.items()},
                distributions=distributions(space, setting),
                user_attrs={} if again is None else {AGAIN: again},
            )
        )
        trial = Trial(len(self._trials), dict(setting), "running", again=again)
        self._trials.append(trial)
        return trial

    def take_up(self, number: int, reached: int) -> int:
        """Notes that an interrupted trial goes on; how often it did so before without getting beyond `reached`."""
        storage = self._storage
        key = storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        before = storage.get_trial(key).user_attrs.get(TAKEN_UP) or {}
        times = int(before["times"]) if before.get("reached") == reached else 0
        storage.set_trial_user_attr(key, TAKEN_UP, {"reached": reached, "times": times + 1})
        return times

    def note_sizes(self, number: int, sizes: Mapping[str, float]) -> Trial:
        """Writes down what a trial's network takes; the trial with that."""
        key = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        self._storage.set_trial_user_attr(key, SIZES, dict(sizes))
        self._trials[number] = dataclasses.replace(self._trials[number], sizes=dict(sizes))
        return self._trials[number]

    def tell(self, trial: Trial, curve: Sequence[float] = ()) -> None:
        """A trial's end; `curve`: the objective's column by evaluation, where trials are pruned by it.

        What was told of a trial stays: one that was only trained again because its folder was gone is not told twice.
        """
        from optuna.trial import TrialState

        if self._trials[trial.number].is_finished:
            return
        number, storage = trial.number, self._storage
        key = storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        for evaluation, value in enumerate(curve, 1):
            storage.set_trial_intermediate_value(key, evaluation, value)
        result = {
            "status": trial.status,
            "value": trial.value,
            "values": {str(seed): value for seed, value in trial.values.items()},
            "train_seconds": trial.train_seconds,
            **({"cost": trial.cost} if self._has_costs else {}),
            **({"excess": trial.excess} if trial.status == "over" else {}),
        }
        storage.set_trial_user_attr(key, RESULT, result)
        told = [trial.value, *([trial.cost] if self._has_costs else [])]
        known = [value for value in told if value is not None]
        values = known if trial.status == "done" and len(known) == len(told) else None
        # One that is done without a value, as where energy cannot be read, is none that Optuna could rank.
        state = "FAIL" if trial.status == "done" and values is None else STATES[trial.status]
        storage.set_trial_state_values(key, TrialState[state], values)
        self._trials[number] = trial


def _as_trial(found: FrozenTrial) -> Trial:
    """What the study knows of a trial."""
    result = found.user_attrs.get(RESULT) or {}
    finished = found.state.is_finished()
    status: Status = result.get("status", "failed") if finished else "running"
    trial = Trial(
        number=found.number,
        setting={key: from_parameter(value) for key, value in found.params.items()},
        status=status,
        again=found.user_attrs.get(AGAIN),
        sizes=found.user_attrs.get(SIZES) or {},
    )
    if not finished:
        return trial
    return dataclasses.replace(
        trial,
        value=result.get("value"),
        values={int(seed): value for seed, value in (result.get("values") or {}).items()},
        train_seconds=float(result.get("train_seconds") or 0.0),
        cost=result.get("cost"),
        excess=float(result.get("excess") or 0.0),
    )
