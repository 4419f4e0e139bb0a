"""The winners of a search trained again on fresh seeds: the numbers that are reported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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
from nnopt.store.record import SUMMARY, RunRecord
from nnopt.store.search_file import SearchedVariant, SearchFile, Winner
from nnopt.train.runner import SPEC


def winner_runs(subject: Subject, winner: Trial, searched: SearchedVariant, seeds: Iterable[int]) -> list[RunSpec]:
    """The runs that confirm a trial's setting, one a seed, with what was searched written down as `tuned`."""
    settings = with_setting(subject.settings, winner.setting)
    settings = settings.model_copy(update={"tuned": _tuned(searched, winner)})
    return [subject.run(seed, settings) for seed in seeds]


def retire(file: SearchFile, name: str, winner: Winner, runs_dir: Path) -> list[Path]:
    """Sets the runs that confirmed another winner aside, and says where they lie now."""
    old = file.variants[name].winner
    if old is None or old.spec_hash == winner.spec_hash:
        return []
    moved = []
    for folder in run_folders(runs_dir / file.experiment / name):
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


def _tuned(searched: SearchedVariant, winner: Trial) -> TunedSpec:
    """What the lint of a comparison has to know: trials, and the range of each number that was searched."""
    ranges: dict[str, tuple[float, ...]] = {
        key: (domain.low, domain.high)
        for key, domain in searched.space.items()
        if key in winner.setting and isinstance(domain, NumberDomain)
    }
    return TunedSpec(trials=searched.trials, ranges=ranges)
