"""A whole search: trials, extension, winners on fresh seeds, and what all of it says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnopt.compare.comparison import Comparison
from nnopt.compare.search.files import write_search_files
from nnopt.compare.search.reported import reported_metric
from nnopt.compare.search.summary import SearchSummary, best_of, summarise_search
from nnopt.errors import HeldError, RunsFolderError, UsageError
from nnopt.plan import Plan, RunSpec
from nnopt.scale.agency import Agency
from nnopt.scale.crew import Crew
from nnopt.scale.needs import Needs
from nnopt.scale.on import agency_on, restarts
from nnopt.scale.supply import Fixed
from nnopt.search.confirm import chosen, retire, tell_again, winner_runs
from nnopt.search.extension import extended
from nnopt.search.lane import Lane, Subject
from nnopt.search.ledger import STUDY, Ledger, open_storage
from nnopt.search.opening import asked_for, gone_on_from, search_of
from nnopt.search.probes import check_space
from nnopt.search.sizes import Scales, beyond
from nnopt.search.supply import Trials
from nnopt.spec.experiment import ExperimentSpec
from nnopt.spec.search.domains import Space
from nnopt.store.files import make_folder
from nnopt.store.find import read_runs, run_folders
from nnopt.store.lock import RunLock
from nnopt.store.place import place, set_aside
from nnopt.store.record import RunRecord
from nnopt.store.search_file import ADVICE, SEARCH, SearchFile, Sized, Winner
from nnopt.surroundings import cores
from nnopt.track.tracking import check_installed
from nnopt.train.experiment import BAD, Options
from nnopt.train.listener import Listener
from nnopt.train.report import write_report
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest, stop_requests


@dataclass(frozen=True)
class SweepOptions:
    """How a search is carried out; `extend` searches beyond the edges that bests lie at.

    `on` names a cluster, and `max_restarts` how often a run whose worker was lost is taken up (None: as usual there).
    """

    runs_dir: Path
    jobs: int | None = None
    fresh: bool = False
    extend: bool = False
    on: str | None = None
    max_restarts: int | None = None


@dataclass(frozen=True)
class Swept:
    """What a search came to. `comparison` is of the winners on fresh seeds, None where they are not confirmed."""

    summary: SearchSummary
    comparison: Comparison | None
    written: list[Path]
    has_failures: bool


def sweep(
    experiment: ExperimentSpec, options: SweepOptions, listener: Listener, more: Callable[[int], None] = lambda _: None
) -> Swept:
    """Carries out what is left of an experiment's search. `more` hears how many trials or runs are to come.

    Raises:
        UsageError: there is no search, its spec has changed, its store is another version's, a value of a space does
            not go together with data or model, or another program is at it.
        Interrupted: a signal came; everything done is kept.
        DiskError: the disk refused a write; everything done before is kept.
    """
    search_of(experiment)
    folder = options.runs_dir / experiment.name
    make_folder(folder)
    how = _how(experiment, options)
    with stop_requests() as stop, agency_on(options.on, how, options.jobs, experiment.cluster) as agency:
        work = _Sweep(experiment, options, listener, more, stop, how, agency)
        try:
            with RunLock(folder):
                work.open()
                if not options.fresh or not work.is_begun:
                    return work.carry_out()
        except HeldError:
            raise
        except UsageError:
            work.leave_no_trace()
            raise
        set_aside(folder, options.runs_dir)
        make_folder(folder)
        with RunLock(folder):
            return work.carry_out()


def subjects_of(experiment: ExperimentSpec, file: SearchFile, runs_dir: Path) -> list[Subject]:
    """What the trials of each variant have in common."""
    search = search_of(experiment)
    return [
        Subject(experiment, name, order, settings, search, file.metric, file.higher_is_better, runs_dir)
        for order, (name, settings) in enumerate(experiment.variants.items())
    ]


def _how(experiment: ExperimentSpec, options: SweepOptions) -> Options:
    """Trials side by side share the cores of this machine; on a cluster each takes one unless the file says more."""
    jobs, cpus = options.jobs or 1, experiment.cluster.cpus
    threads = max(1, cores() // jobs) if jobs > 1 else None
    return Options(
        options.runs_dir,
        most_threads=threads if options.on is None else cpus or 1,
        max_restarts=restarts(options.on, options.max_restarts),
        elsewhere=options.on is not None,
    )


@dataclass
class _Sweep:
    experiment: ExperimentSpec
    options: SweepOptions
    listener: Listener
    more: Callable[[int], None]
    stop: StopRequest
    how: Options
    agency: Agency | None = None
    cache: DataCache = field(default_factory=DataCache)

    def __post_init__(self) -> None:
        self.folder = self.options.runs_dir / self.experiment.name
        self.crew = Crew(self.how, self.listener, self.stop, self.options.jobs, self.cache, self.agency)

    @property
    def is_begun(self) -> bool:
        """Whether anything but a lock lies in the experiment's folder."""
        return any(not entry.name.startswith(".") for entry in self.folder.iterdir())

    def leave_no_trace(self) -> None:
        """Removes the folder of an experiment of which nothing was begun."""
        with contextlib.suppress(OSError):
            if not self.is_begun:
                for entry in self.folder.iterdir():
                    entry.unlink()
                self.folder.rmdir()

    def open(self) -> None:
        """Reads what was searched before, and checks what has not begun yet; writes nothing."""
        asked = asked_for(self.experiment)
        before = None if self.options.fresh else SearchFile.read(self.folder)
        self.file = asked if before is None else gone_on_from(before, asked)
        self.subjects = subjects_of(self.experiment, self.file, self.options.runs_dir)
        if before is None and not self.options.fresh and (self.folder / STUDY).exists():
            raise RunsFolderError(f"{self.folder} has a {STUDY} without the {SEARCH} that belongs to it; {ADVICE}")
        check_installed(self.experiment.track)
        for subject in self.subjects:
            if before is None or subject.variant not in before.variants:
                self._check(subject, self.file.variants[subject.variant].space)

    def _check(self, subject: Subject, space: Space) -> None:
        check_space(subject, space, self.cache, elsewhere=self.agency is not None)

    def carry_out(self) -> Swept:
        """Trials, where asked the part beyond the edges, winners, and what came of it."""
        self.file.write(self.folder)
        if self.agency is not None:
            settings = self.experiment.variants.values()
            self.agency.fit(Needs.of(self.experiment.cluster, settings, self.how.most_threads or 1))
        with self.crew:
            with open_storage(self.folder) as storage:
                lanes = [self._lane(subject, storage) for subject in self.subjects]
                self._search(lanes)
                if self.options.extend:
                    lanes = self._extend(lanes, storage)
                winners = self._choose(lanes)
                has_failures = any(_has_failed(lane, self.file) for lane in lanes)
            confirmed = self._confirm(winners)
        summary = self._summary()
        written = write_search_files(summary, self.folder)
        if self.file.is_extending:
            self.file = replace(self.file, is_extending=False)
            self.file.write(self.folder)
        if not confirmed:
            return Swept(summary, None, written, has_failures)
        plan = Plan(self.experiment, tuple(run for runs in winners.values() for run in runs))
        metric = reported_metric(self.file.metric, confirmed)
        comparison, more = write_report(plan, confirmed, self.options.runs_dir, metric)
        has_failures = has_failures or any(record.status in BAD for record in confirmed)
        return Swept(summary, comparison, [*written, *more], has_failures)

    def _lane(self, subject: Subject, storage: object) -> Lane:
        about = {"variant": subject.variant, "metric": self.file.metric, "search": self.file.search}
        name = f"{self.experiment.name}/{subject.variant}"
        has_costs = self.file.against is not None
        ledger = Ledger(storage, name, self.file.higher_is_better, about, has_costs)  # type: ignore[arg-type]
        return Lane(subject, self.file.variants[subject.variant].rounds, ledger)

    def _search(self, lanes: list[Lane]) -> None:
        scales = Scales(self.cache, self.how.most_threads)
        trials = Trials(lanes, self.file, self.listener, scales, self.stop)
        try:
            if trials.total:
                self.more(trials.total)
                self.crew.carry_out(trials)
        finally:  # also after an interruption: the tables tell of trials without a folder by this file
            if self.file.limits:
                for lane in lanes:
                    self.file = self.file.with_variant(lane.subject.variant, sized=_sized(lane, self.file))
                self.file.write(self.folder)

    def _extend(self, lanes: list[Lane], storage: object) -> list[Lane]:
        if self.file.is_extending:
            text = "this goes on with the extension that was cut short; --extend goes further when it is over"
            self.listener.note(self.experiment.name, text)
            return lanes
        made = {lane.subject.variant: len(lane.ledger.trials) for lane in lanes}
        wider = extended(self.file, self._summary(), made)
        if wider is None:
            self.listener.note(self.experiment.name, "no best lies at the edge of a range: there is nothing to extend")
            return lanes
        for lane in lanes:
            self._check(lane.subject, wider.variants[lane.subject.variant].rounds[-1].space)
        self.file = replace(wider, is_extending=True)
        self.file.write(self.folder)
        lanes = [self._lane(lane.subject, storage) for lane in lanes]
        self._search(lanes)
        return lanes

    def _choose(self, lanes: list[Lane]) -> dict[str, list[RunSpec]]:
        """The runs of each variant's winner, or of its front; runs that confirmed others are set aside."""
        seeds = self.file.confirm_seeds
        found: dict[str, list[RunSpec]] = {}
        for lane in lanes:
            name, trials = lane.subject.variant, chosen(lane.subject, lane.ledger.trials)
            if not trials:
                continue
            confirming = [winner_runs(lane.subject, one, self.file.variants[name], seeds) for one in trials]
            winners = tuple(Winner(one.number, runs[0].hash) for one, runs in zip(trials, confirming, strict=True))
            for moved in retire(self.file, name, winners, self.options.runs_dir):
                why = "another trial won" if self.file.against is None else "another trial took its place on the front"
                self.listener.note(f"{self.experiment.name}/{name}", f"{why}: a run was moved to {moved}")
            kept = {"winner": winners[0]} if self.file.against is None else {"front": winners}
            self.file = self.file.with_variant(name, **kept)
            found |= {runs[0].variant: runs for runs in confirming}
        self.file.write(self.folder)
        if self.file.against is None:
            return found
        return {name: [replace(run, order=order) for run in runs] for order, (name, runs) in enumerate(found.items())}

    def _confirm(self, winners: dict[str, list[RunSpec]]) -> list[RunRecord]:
        """Trains winners on the fresh seeds, all variants with the first before any with the second."""
        runs = [run for of_seed in zip(*winners.values(), strict=True) for run in of_seed]
        left = [run for run in runs if not place(run, self.options.runs_dir).is_finished]
        tell_again([run for run in runs if run not in left], self.options.runs_dir)
        supply = Fixed(left)
        if left:
            self.more(len(left))
            self.crew.carry_out(supply)
        found = [place(run, self.options.runs_dir) for run in runs]
        records, _ = read_runs([at.folder for at in found if at.relation == "same"])
        return [supply.marked(record) for record in records]

    def _summary(self) -> SearchSummary:
        records, _ = read_runs(run_folders(self.folder))
        return summarise_search(self.file, records)


def _sized(lane: Lane, file: SearchFile) -> tuple[Sized, ...]:
    """The trials of a lane that were held against the limits."""
    return tuple(
        Sized(trial.number, dict(trial.setting), dict(trial.sizes), beyond(trial.sizes, file.limits) > 0)
        for trial in lane.ledger.trials
        if trial.sizes
    )


def _has_failed(lane: Lane, file: SearchFile) -> bool:
    """Whether no trial came to a value, or one failed whose setting was not tried again since."""
    trials = lane.ledger.trials
    again = {trial.again for trial in trials}
    nothing = best_of(trials, file) is None
    return nothing or any(trial.status == "failed" for trial in trials if trial.number not in again)
