"""The winners of a search trained again on fresh seeds: the numbers that are reported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnopt.compare.search.front import front_of, spread_out
from nnopt.compare.search.summary import best_trial
from nnopt.compare.search.trial import Trial
from nnopt.errors import NnoptError
from nnopt.plan import RunSpec
from nnopt.search.lane import Subject
from nnopt.spec.identity import resolved
from nnopt.spec.search.domains import NumberDomain
from nnopt.spec.search.setting import with_setting
from nnopt.spec.tuned import TunedSpec
from nnopt.store.files import write_json, write_whole
from nnopt.store.find import read_run, run_folders
from nnopt.store.lock import RunLock
from nnopt.store.place import place, set_aside
from nnopt.store.record import SPEC, SUMMARY, RunRecord
from nnopt.store.search_file import SearchedVariant, SearchFile, Winner, member_name

MODEL = "model."  # how the keys of a network's shape begin


def winner_runs(subject: Subject, winner: Trial, searched: SearchedVariant, seeds: Iterable[int]) -> list[RunSpec]:
    """The runs that confirm a trial's setting, one a seed, with what was searched written down as `tuned`.

    Those of a member of a front have a name of their own.
    """
    is_member = subject.search.objective.against is not None
    settings = with_setting(subject.settings, winner.setting)
    settings = settings.model_copy(update={"tuned": _tuned(searched, winner, is_member)})
    name = member_name(subject.variant, winner.number) if is_member else subject.variant
    return [replace(subject.run(seed, settings), variant=name) for seed in seeds]


def chosen(subject: Subject, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The trials whose settings are to be confirmed: the best, or with two objectives members of the front."""
    search = subject.search
    if search.confirm is None:
        return ()
    if search.objective.against is not None:
        return spread_out(front_of(trials, subject.higher_is_better), search.confirm.at_most)
    best = best_trial(trials, subject.higher_is_better)
    return () if best is None else (best,)


def retire(file: SearchFile, name: str, winners: Iterable[Winner], runs_dir: Path) -> list[Path]:
    """Sets the runs aside that confirmed others than these winners, and says where they lie now."""
    kept = {winner.spec_hash for winner in winners}
    moved = []
    for label, old in file.confirmed_as(name).items():
        for folder in run_folders(runs_dir / file.experiment / label) if old.spec_hash not in kept else ():
            try:
                record = RunRecord.read(folder)
            except NnoptError:
                continue
            if record.trial is None and record.spec_hash == old.spec_hash:
                moved.append(set_aside(folder, runs_dir))
    return moved


def tell_again(runs: Iterable[RunSpec], runs_dir: Path) -> None:
    """Writes the present `tuned` into runs that were finished before more was searched: it is no part of their hash."""
    for run in runs:
        found = place(run, runs_dir).found
        if found is None or run.settings.tuned is None:
            continue
        tuned = json.loads(json.dumps(resolved(run.settings.tuned)))
        spec: Mapping[str, Any] = found.summary["spec"]
        if spec.get("tuned") == tuned:
            continue
        with RunLock(found.folder):
            summary = read_run(found.folder).summary
            write_whole(found.folder / SPEC, run.as_file())
            write_json(found.folder / SUMMARY, {**summary, "spec": {**spec, "tuned": tuned}})


def _tuned(searched: SearchedVariant, winner: Trial, is_member: bool) -> TunedSpec:
    """What the lint of a comparison has to know: trials, and the range of each number that was searched.

    The smallest network of a front lies at the end of its ranges by its nature, and no wider search would change that.
    """
    ranges: dict[str, tuple[float, ...]] = {
        key: (domain.low, domain.high)
        for key, domain in searched.space.items()
        if key in winner.setting and isinstance(domain, NumberDomain) and not (is_member and key.startswith(MODEL))
    }
    return TunedSpec(trials=searched.trials, ranges=ranges)
