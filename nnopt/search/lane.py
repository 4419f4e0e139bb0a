"""One variant's way through its search: which trial comes next, and what it is made of."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnopt.compare.search.trial import Trial
from nnopt.errors import NnoptError
from nnopt.plan import RunSpec
from nnopt.scale.supply import Job
from nnopt.search.ledger import Ledger
from nnopt.search.propose.proposals import known_before, propose
from nnopt.search.prune import KnownCurves, curve_of, make_cut
from nnopt.spec.evaluation import CheckpointSpec
from nnopt.spec.experiment import ExperimentSpec, RunSettings
from nnopt.spec.search.search import SearchSpec
from nnopt.spec.search.setting import with_setting
from nnopt.spec.timing import Every
from nnopt.store.place import place
from nnopt.store.record import SUMMARY, RunRecord
from nnopt.store.search_file import Round
from nnopt.train import checkpoint

# What a run measures after its training: left out of trials unless they are judged by it.
TIMED = ("latency", "inference")
# A trial can be repeated to the bit: a kill may cost it some seconds.
SECONDS_BETWEEN_CHECKPOINTS = 10.0
# A trial that ended its process this often without a new checkpoint (for want of memory, say) would do so for ever.
MOST_RETURNS = 2


@dataclass
class Subject:
    """What a lane's trials have in common."""

    experiment: ExperimentSpec
    variant: str
    order: int
    settings: RunSettings
    search: SearchSpec
    metric: str
    higher_is_better: bool
    runs_dir: Path

    def runs(self, trial: Trial) -> tuple[RunSpec, ...]:
        """The runs of a trial, one a seed.

        Raises:
            SpecError: its keys do not go together.
        """
        settings = with_setting(self.settings, trial.setting)
        every = settings.checkpoint.every or Every(seconds=SECONDS_BETWEEN_CHECKPOINTS)
        kept = CheckpointSpec(every=every, best=False)
        judged_by = (self.metric, self.search.objective.against or "")
        is_timed = any(part in name for part in TIMED for name in judged_by)
        logging = settings.logging.model_copy(update={"layers": False, "latency": is_timed})
        settings = settings.model_copy(update={"checkpoint": kept, "logging": logging, "tuned": None})
        return tuple(self.run(seed, settings, trial) for seed in self.search.trial_seeds)

    def run(self, seed: int, settings: RunSettings, trial: Trial | None = None) -> RunSpec:
        """A run of the variant with these settings, of a trial or of none."""
        experiment = self.experiment
        return RunSpec(
            experiment=experiment.name,
            variant=self.variant,
            seed=seed,
            settings=settings,
            tags=experiment.tags,
            notes=experiment.notes,
            order=self.order,
            track=experiment.track,
            trial=None if trial is None else trial.number,
            setting={} if trial is None else dict(trial.setting),
        )

    def records(self, trial: Trial) -> list[RunRecord]:
        """The runs of a trial that lie on the disk."""
        places = [place(run, self.runs_dir) for run in self.runs(trial)]
        return [at.found for at in places if at.found is not None and at.relation == "same"]

    def reached(self, trial: Trial) -> int:
        """Grows as the runs of a trial write checkpoints: when the last was written, in nanoseconds; 0 for none."""
        files = [record.folder / checkpoint.FOLDER / checkpoint.LAST for record in self.records(trial)]
        return max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)

    def is_deleted(self, trial: Trial) -> bool:
        """Whether the folder of a trial that ran to its end is gone, or that of one of its seeds with a value."""
        if trial.status not in ("done", "diverged", "pruned"):
            return False
        folder = self.runs_dir / self.experiment.name / self.variant / f"trial-{trial.number}"
        return not folder.is_dir() or not all(
            any(folder.glob(f"{seed}/{SUMMARY}")) or any(folder.glob(f"{seed}-*/{SUMMARY}"))
            for seed in (f"seed-{number}" for number in trial.values)
        )


class Lane:
    """A variant's rounds and its ledger.

    A trial that was running when the ledger was opened is taken up first, and so is one whose folder was deleted since
    it ended: it trains once more, to the same value. One that had failed by then is tried again under a new number
    when all others are given out.
    """

    def __init__(self, subject: Subject, rounds: Sequence[Round], ledger: Ledger) -> None:
        self.subject = subject
        self.rounds = tuple(rounds)
        self.ledger = ledger
        tried_again = {trial.again for trial in ledger.trials}
        self._interrupted = deque(
            trial for trial in ledger.trials if trial.status == "running" or subject.is_deleted(trial)
        )
        self._returned = [trial for trial in self._interrupted if not trial.is_finished]
        self._failed = deque(
            trial for trial in ledger.trials if trial.status == "failed" and trial.number not in tried_again
        )

    @property
    def left(self) -> int:
        """Trials that were not given out yet."""
        planned = sum(one.trials - len(self._of_round(index)) for index, one in enumerate(self.rounds))
        return len(self._interrupted) + planned + len(self._failed)

    @property
    def is_ready(self) -> bool:
        """Whether a trial can be given out before another one ends."""
        if self._interrupted:
            return True
        current = self._open_round()
        if current is None:
            return bool(self._failed)
        made = self._of_round(current)
        needed = known_before(self.subject.search, self.rounds[current].space, len(made))
        return all(trial.is_finished for trial in made[:needed])

    def take(self) -> Trial:
        """The next trial, from now on running in the ledger."""
        if self._interrupted:
            return self._interrupted.popleft()
        current = self._open_round()
        if current is None:
            failed = self._failed.popleft()
            return self.ledger.add(failed.setting, self._round_of(failed).space, again=failed.number)
        space, made = self.rounds[current].space, self._of_round(current)
        known = made[: known_before(self.subject.search, space, len(made))]
        sampler, higher = self.subject.search.sampler, self.subject.higher_is_better
        first, has_costs = self.rounds[current].first, self.subject.search.objective.against is not None
        return self.ledger.add(propose(space, sampler, len(made), known, higher, first, has_costs), space)

    def is_stuck(self, trial: Trial) -> bool:
        """Whether a trial that is taken up again has ended its process too often without getting further."""
        if not any(trial is one for one in self._returned):
            return False
        return self.ledger.take_up(trial.number, self.subject.reached(trial)) >= MOST_RETURNS

    def job(self, trial: Trial) -> Job:
        """What a worker has to do for a trial.

        Raises:
            SpecError: its keys do not go together.
        """
        runs, search = self.subject.runs(trial), self.subject.search
        if search.prune is None:
            return Job(runs)
        current, number = self._round_of(trial), self._origin(trial).number
        made = self._of_round(self.rounds.index(current))
        index = next(place for place, one in enumerate(made) if one.number == number)
        known = made[: known_before(search, current.space, index)]
        curves = [self._curves(one) for one in known]
        return Job(runs, make_cut(search.prune, self.subject.metric, self.subject.higher_is_better, curves))

    def planned(self) -> list[dict[str, Any]]:
        """The settings of the trials to come, as far as they depend on no result."""
        sampler, higher = self.subject.search.sampler, self.subject.higher_is_better
        if sampler.learns:
            return []
        return [
            propose(one.space, sampler, index, (), higher, one.first)
            for current, one in enumerate(self.rounds)
            for index in range(len(self._of_round(current)), one.trials)
        ]

    def _open_round(self) -> int | None:
        """The first round that has trials left to propose."""
        open_ = (index for index, one in enumerate(self.rounds) if len(self._of_round(index)) < one.trials)
        return next(open_, None)

    def _of_round(self, index: int) -> list[Trial]:
        """The trials that a round proposed, in order; those tried again are none of them."""
        first = self.rounds[index].first
        end = self.rounds[index + 1].first if index + 1 < len(self.rounds) else len(self.ledger.trials)
        return [trial for trial in self.ledger.trials[first:end] if trial.again is None]

    def _round_of(self, trial: Trial) -> Round:
        """The round whose space a trial was proposed from."""
        number = self._origin(trial).number
        return next(one for one in reversed(self.rounds) if one.first <= number)

    def _origin(self, trial: Trial) -> Trial:
        """The trial itself, or the failed one that it tries again."""
        while trial.again is not None:
            trial = self.ledger.trials[trial.again]
        return trial

    def _curves(self, trial: Trial) -> KnownCurves:
        """What a known trial showed at its evaluations, as far as its folders are still there."""
        values: dict[int, list[float]] = {}
        with contextlib.suppress(NnoptError):
            for record in self.subject.records(trial):
                values[record.seed] = curve_of(self.subject.metric, record.curve())
        return KnownCurves(trial.number, trial.status, values)
