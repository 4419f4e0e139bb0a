"""The trials of all variants as work for the workers: turn by turn, each as soon as it may know what it has to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nnopt.compare.search.summary import best_trial
from nnopt.compare.search.trial import Trial
from nnopt.compare.search.trials import trials_of
from nnopt.errors import UsageError
from nnopt.scale.supply import Job
from nnopt.search.lane import Lane
from nnopt.search.prune import curve_of
from nnopt.search.sizes import Scales, beyond
from nnopt.spec.search.limits import over_in_words, size_in_words
from nnopt.store.files import write_json
from nnopt.store.find import read_run
from nnopt.store.record import FINISHED, SUMMARY, RunRecord
from nnopt.store.search_file import SearchFile
from nnopt.train.listener import Listener
from nnopt.train.signals import StopRequest


class Trials:
    """Gives out trials, and puts down how they ended. Variants take turns, the one with the most left first."""

    def __init__(
        self, lanes: Sequence[Lane], file: SearchFile, listener: Listener, scales: Scales, stop: StopRequest
    ) -> None:
        self.lanes = list(lanes)
        self.file = file
        self.listener = listener
        self.scales = scales
        self.stop = stop
        self.total = sum(lane.left for lane in lanes)
        self.count = 0

    def take(self) -> Job | None:
        """As Supply says.

        Raises:
            Interrupted: a signal came while one trial after another was beyond a limit.
        """
        while ready := [lane for lane in self.lanes if lane.left and lane.is_ready]:
            lane = max(ready, key=lambda one: one.left)
            trial = lane.take()
            try:
                if not lane.is_stuck(trial):
                    if self._is_over(lane, trial):
                        self.stop.raise_if_set()
                        continue
                    return lane.job(trial)
                reason = "its process ended again and again without getting further"
                _mark_failed(lane.subject.records(trial), reason)
            except UsageError as error:
                reason = str(error)
            self.listener.note(f"{self.file.experiment}/{lane.subject.variant}/trial-{trial.number}", reason)
            self._put_down(lane, Trial(trial.number, trial.setting, "failed", again=trial.again))
        return None

    def ended(self, job: Job, died: str | None) -> None:
        """As Supply says."""
        run = job.runs[0]
        lane = next(lane for lane in self.lanes if lane.subject.variant == run.variant)
        assert run.trial is not None
        trial = lane.ledger.trials[run.trial]
        records = lane.subject.records(trial)
        if died is not None:
            records = _mark_failed(records, died)
        read = trials_of(records, self.file)[run.variant]
        found = next((one for one in read if one.number == trial.number), trial)
        status = found.status if found.is_finished else "failed"  # its worker died before the run's folder was there
        found = replace(found, setting=trial.setting, status=status, again=trial.again, sizes=trial.sizes)
        curve = curve_of(self.file.metric, records[0].curve()) if records and lane.subject.search.prune else ()
        self._put_down(lane, found, curve)

    def _is_over(self, lane: Lane, trial: Trial) -> bool:
        """Whether a trial's network takes more than the search allows; then the trial is at its end.

        Raises:
            UsageError: its settings do not fit together.
        """
        limits = self.file.limits
        if not limits or trial.is_finished:
            return False
        if not trial.sizes:
            sizes = self.scales.weigh(lane.subject.runs(trial)[0], tuple(limits))
            trial = lane.ledger.note_sizes(trial.number, sizes)
        excess = beyond(trial.sizes, limits)
        if excess:
            self._put_down(lane, replace(trial, status="over", excess=excess))
        return bool(excess)

    def _put_down(self, lane: Lane, trial: Trial, curve: Sequence[float] = ()) -> None:
        lane.ledger.tell(trial, curve)
        self.count += 1
        best = best_trial(lane.ledger.trials, self.file.higher_is_better)
        own = trial.status if trial.value is None else f"{self.file.metric} {trial.value:.4g}"
        if trial.status == "over":
            own = over_in_words(trial.sizes, self.file.limits)
        elif trial.cost is not None:
            own += f" at {size_in_words(trial.cost)} {self.file.against}"
        said = f"{own}; none is done yet" if best is None else f"{own}; best {best.value:.4g} (trial {best.number})"
        label = f"{self.file.experiment}/{lane.subject.variant}/trial-{trial.number}"
        self.listener.trial(label, said)


def _mark_failed(records: Sequence[RunRecord], reason: str) -> list[RunRecord]:
    """Writes into the runs that did not end by themselves that they failed; all of them as they are then."""
    for record in records:
        if record.status not in FINISHED:
            write_json(record.folder / SUMMARY, {**record.summary, "status": "failed", "reason": reason})
    return [read_run(record.folder) for record in records]
