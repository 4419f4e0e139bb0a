"""Trials of a search beside the runs that it led to: which of them are rows, and what is said of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnopt.compare.text import listed
from nnopt.errors import RunsFolderError
from nnopt.store.record import RunRecord

if TYPE_CHECKING:
    from nnopt.store.search_file import SearchFile

MOST_VARIANTS = 6


@dataclass(frozen=True)
class SearchedRuns:
    """An experiment's search: its file, and of the runs given those of the experiment, trials and others."""

    file: SearchFile
    records: tuple[RunRecord, ...]


def without_trials(
    records: Sequence[RunRecord], named: Collection[Path] = (), files: Mapping[Path, SearchFile] | None = None
) -> tuple[list[RunRecord], list[str]]:
    """The runs that are compared, and a sentence on each experiment whose trials are left out.

    Where an experiment has runs that are no trials, its trials only led to their settings: they are no rows, unless
    their folders are among those `named` one by one. Where a search has trials alone, the best of each variant is one.
    """
    others = {record.experiment for record in records if record.trial is None}
    bests = _best_trials(records, others, files or {})
    left_out = [
        record
        for record in records
        if record.trial is not None
        and record.folder not in named
        and (record.experiment in others or not _is_among(record, bests))
    ]
    dropped = {record.folder for record in left_out}
    kept = [record for record in records if record.folder not in dropped]
    names = dict.fromkeys(one.experiment for one in left_out)
    return kept, [
        _note(name, left_out, kept, files or {}) if name in others else _note_on_bests(name, left_out, kept)
        for name in names
    ]


Bests = dict[str, set[tuple[str, int]]]  # experiment -> variant and number of each best trial


def _best_trials(records: Sequence[RunRecord], others: Collection[str], files: Mapping[Path, SearchFile]) -> Bests:
    """The best trials of searches that have trials alone, of two objectives those on the front.

    A search without any done one is not among them.
    """
    found: Bests = {}
    for folder, file in files.items():
        members = [record for record in records if experiment_folder(record) == folder]
        if file.experiment in others or not members:
            continue
        from nnopt.compare.search.front import front_of
        from nnopt.compare.search.summary import best_trial
        from nnopt.compare.search.trials import trials_of

        tried = trials_of(members, file)
        if file.against:
            bests = {name: front_of(trials, file.higher_is_better) for name, trials in tried.items()}
        else:
            ones = {name: best_trial(trials, file.higher_is_better) for name, trials in tried.items()}
            bests = {name: (one,) for name, one in ones.items() if one is not None}
        if any(bests.values()):
            found[file.experiment] = {(name, best.number) for name, some in bests.items() for best in some}
    return found


def _is_among(record: RunRecord, bests: Bests) -> bool:
    if record.experiment not in bests:
        return True
    return (record.variant, record.trial) in bests[record.experiment]


def _note_on_bests(experiment: str, left_out: Sequence[RunRecord], kept: Sequence[RunRecord]) -> str:
    trials = {(one.variant, one.trial) for one in (*left_out, *kept) if one.experiment == experiment}
    shown = {(one.variant, one.trial) for one in kept if one.experiment == experiment}
    is_front = len(shown) > len({variant for variant, _ in shown})
    return (
        f"Of the search of {experiment} ({len(trials)} trials) the {'front' if is_front else 'best trial'} of each "
        f"variant is shown, and it was chosen by these very runs: its values are too good. `confirm: {{seeds: 5}}` "
        f"trains winners on fresh seeds; '{experiment}/*/trial-*' names all trials."
    )


def _note(
    experiment: str, left_out: Sequence[RunRecord], kept: Sequence[RunRecord], files: Mapping[Path, SearchFile]
) -> str:
    """What was searched, where it is seen, and which variants have no runs but trials."""
    of_it = [record for record in left_out if record.experiment == experiment]
    trials = Counter(variant for variant, _ in {(record.variant, record.trial): None for record in of_it})
    counts = set(trials.values())
    total = f"{sum(trials.values())} trials" if trials.total() > 1 else "1 trial"
    each = f", {counts.pop()} of each of {len(trials)} variants" if len(counts) == 1 and len(trials) > 1 else ""
    if len(counts) > 1:
        each = f": {listed([f'{count} of {variant}' for variant, count in trials.items()], MOST_VARIANTS)}"
    there = {record.variant for record in kept if record.experiment == experiment}
    alone = [name for name in trials if there.isdisjoint(_names_of(name, experiment, files))]
    waiting = f" Of {listed(alone, MOST_VARIANTS)} there are trials only, so far." if alone else ""
    return (
        f"The search of {experiment} ({total}{each}) led to these settings, so its trials are no rows; --html shows "
        f"it, and {experiment}/{of_it[0].variant}/trial-* names trials to compare.{waiting}"
    )


def _names_of(variant: str, experiment: str, files: Mapping[Path, SearchFile]) -> set[str]:
    """What the runs are called that a variant's search led to: as itself, or as the members of its front."""
    own = [file for file in files.values() if file.experiment == experiment and variant in file.variants]
    return {variant, *(label for file in own for label in file.confirmed_as(variant))}


def search_files(records: Sequence[RunRecord]) -> tuple[dict[Path, SearchFile], list[str]]:
    """Folder of an experiment -> its search, for every experiment of a trial or of a run that a search led to.

    Also a sentence on each that is damaged.
    """
    found: dict[Path, SearchFile] = {}
    problems: list[str] = []
    folders = dict.fromkeys(experiment_folder(record) for record in records if _is_of_a_search(record))
    if not folders:
        return found, problems
    from nnopt.store.search_file import SearchFile

    for folder in folders:
        try:
            file = SearchFile.read(folder)
        except RunsFolderError as error:
            problems.append(f"{error}.")
            continue
        if file is not None:
            found[folder] = file
    return found, problems


def _is_of_a_search(record: RunRecord) -> bool:
    return record.trial is not None or "tuned" in (record.summary.get("spec") or {})


def searched_runs(
    files: Mapping[Path, SearchFile], records: Sequence[RunRecord], named: Collection[Path] = ()
) -> tuple[SearchedRuns, ...]:
    """The searches of which trials came along with their experiment or variant, as far as their variants came.

    Trials that are named one by one are rows, and no search.
    """
    found = []
    for folder, file in files.items():
        members = [record for record in records if experiment_folder(record) == folder]
        variants = {one.variant for one in members if one.trial is not None and one.folder not in named}
        searched = {name: searched for name, searched in file.variants.items() if name in variants}
        if searched:
            found.append(SearchedRuns(replace(file, variants=searched), tuple(members)))
    return tuple(found)


def trials_given(files: Mapping[Path, SearchFile]) -> dict[tuple[str, str], int]:
    """Experiment and variant -> trials that its search has."""
    return {(file.experiment, name): one.trials for file in files.values() for name, one in file.variants.items()}


def experiment_folder(record: RunRecord) -> Path:
    """experiment/variant[/trial-n]/seed-k."""
    return record.folder.parents[1 if record.trial is None else 2]
