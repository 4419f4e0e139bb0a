"""From a source to run folders: what it is, whose runs they are, where they lie."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnopt.errors import UsageError
from nnopt.importing.columns import check_renames, map_columns, parse_renames
from nnopt.importing.csv_files import SUFFIXES, csv_files, read_csv_files
from nnopt.importing.event_files import event_files, read_event_files
from nnopt.importing.folders import group_hash, make_content, to_map, write
from nnopt.importing.mlflow_store import is_store, read_mlflow
from nnopt.importing.naming import Identity, folder_name, identify, number_runs
from nnopt.importing.source import SourceRun
from nnopt.spec.nearest import nearest
from nnopt.store.record import SUMMARY

KINDS = ("auto", "tensorboard", "mlflow", "csv")


@dataclass(frozen=True)
class Wish:
    """What the user said beside the source."""

    experiment: str | None = None
    variant: str | None = None  # may hold {key}s of hyperparameters
    metric: str | None = None
    renames: tuple[str, ...] = ()  # theirs=ours
    kind: str = "auto"


@dataclass(frozen=True)
class Imported:
    """What became of one run. `state` is new, updated or unchanged; `columns` is theirs -> ours where they differ."""

    run: str  # as the source calls it
    folder: Path
    state: str
    status: str
    rows: int
    clock: str
    columns: dict[str, str]


def import_runs(source: str, runs_dir: Path, wish: Wish) -> tuple[list[Imported], list[str]]:
    """Makes run folders of the runs of `source`, and returns them with notes on what a reader should know.

    The same source again updates what changed and leaves the rest; a folder of another origin is left alone, and the
    run then lies beside it, under a name with a suffix.

    Raises:
        UsageError: nothing there, not what it should be, or names that do not fit.
    """
    kind = find_kind(source, wish.kind)
    renames = parse_renames(wish.renames)
    runs = READERS[kind](source, wish.experiment, renames)
    notes = [note for run in runs for note in run.notes]
    notes += [f"{run.name} has no values and is left out" for run in runs if not to_map(run)]
    runs = [run for run in runs if to_map(run)]
    if not runs:
        raise UsageError(f"{source} holds no curves")
    check_renames(renames, [name for run in runs for name in [*run.curves, *_used_up(run, renames)]])
    columns = {id(run): map_columns(to_map(run), renames) for run in runs}
    _check_metric(wish.metric, [ours for mapped in columns.values() for ours in mapped.values()])
    path = source if "://" in source else str(Path(source).resolve())
    imported: list[Imported] = []
    for experiment, members in _by_experiment(runs, source, wish).items():
        done, said = _import_experiment(experiment, members, columns, runs_dir, wish, {"from": kind, "path": path})
        imported += done
        notes += said
    repeated = sum(run.repeated for run in runs)
    if repeated:
        notes.append(f"{repeated} values came again at a step that had one: the last one counts")
    if any(one.clock == "none" for one in imported):
        notes.append(
            "the source has no times: train_seconds is 0; --rename COLUMN=train_seconds names a column of them"
        )
    elif any(one.clock == "wall" for one in imported):
        notes.append("train_seconds is wall time since a run's first event: evaluations and pauses are in it")
    return imported, notes


def find_kind(source: str, wanted: str) -> str:
    """Which kind of source it is.

    Raises:
        UsageError: nothing is there, or nothing that can be read.
    """
    if wanted not in KINDS:
        raise UsageError(f"--kind: there is no kind '{wanted}'{nearest(wanted, KINDS)}; there are {', '.join(KINDS)}")
    path = Path(source)
    if "://" not in source and not path.exists():
        raise UsageError(f"there is nothing at {source}")
    if wanted != "auto":
        return wanted
    if is_store(source):
        return "mlflow"
    if event_files(path):
        return "tensorboard"
    if (path.is_dir() and csv_files(path)) or path.suffix.lower() in SUFFIXES:
        return "csv"
    what = (
        "folder holds no event files of TensorBoard and no CSV files" if path.is_dir() else "file is of no known kind"
    )
    raise UsageError(f"{source}: this {what}; --kind {'|'.join(KINDS[1:])} says what it is")


READERS: dict[str, Callable[[str, str | None, Mapping[str, str]], list[SourceRun]]] = {
    "tensorboard": lambda source, _experiment, _renames: read_event_files(Path(source)),
    "mlflow": lambda source, experiment, _renames: read_mlflow(source, experiment),
    "csv": lambda source, _experiment, renames: read_csv_files(Path(source), renames),
}


def _used_up(run: SourceRun, renames: Mapping[str, str]) -> list[str]:
    """Columns of a CSV file that are no curves: those that a rename made the step or a clock."""
    return [theirs for theirs, ours in renames.items() if ours in ("step", "wall_seconds") or run.seconds]


def _check_metric(metric: str | None, columns: Sequence[str]) -> None:
    if metric is not None and metric not in columns:
        known = list(dict.fromkeys(columns))
        raise UsageError(
            f"--metric: there is no column '{metric}'{nearest(metric, known)}; there are {', '.join(known)}"
        )


def _by_experiment(runs: Sequence[SourceRun], source: str, wish: Wish) -> dict[str, list[SourceRun]]:
    """Runs by the name of our experiment: as asked for, else the source's own, else the name of file or folder."""
    named = list(dict.fromkeys(run.experiment for run in runs if run.experiment))
    if wish.experiment is not None and len(named) > 1:
        listed = ", ".join(named[:10])
        raise UsageError(f"{source} has {len(named)} experiments ({listed}): --experiment with one of them takes that")
    path = Path(source).resolve()
    own = path.stem if path.is_file() else path.name
    # A source that is one run lends that its own name, and the experiment the name of the folder above.
    fallback = path.parent.name if [run.name for run in runs] == [own] else own
    gathered: dict[str, list[SourceRun]] = {}
    for run in runs:
        name = folder_name(wish.experiment or run.experiment or fallback)
        gathered.setdefault(name, []).append(run)
    return gathered


def _import_experiment(
    experiment: str,
    runs: Sequence[SourceRun],
    columns: Mapping[int, Mapping[str, str]],
    runs_dir: Path,
    wish: Wish,
    origin: Mapping[str, str],
) -> tuple[list[Imported], list[str]]:
    fallback = folder_name(experiment)
    variants: dict[str, list[tuple[SourceRun, Identity]]] = {}
    for run, identity in zip(runs, identify(runs, fallback, wish.variant), strict=True):
        variants.setdefault(identity.variant, []).append((run, identity))
    imported, notes = [], []
    for variant, members in variants.items():
        notes += _differing(variant, [identity for _, identity in members])
        folder = runs_dir / experiment / variant
        there = _there(folder)
        known = {
            str(summary["imported"].get("run")): int(summary["seed"])
            for summary in there.values()
            if _same_origin(summary, origin)
        }
        taken = [int(summary["seed"]) for summary in there.values() if isinstance(summary.get("seed"), int)]
        wanted = [identity.seed if identity.seed is not None else known.get(run.id) for run, identity in members]
        given: set[str] = set()
        for (run, identity), seed in zip(members, number_runs(wanted, taken), strict=True):
            own = {**origin, "run": run.id}
            place = _place(folder / f"seed-{seed}", own, there, given)
            given.add(place.name)
            if place.name != f"seed-{seed}":
                notes.append(f"{folder / f'seed-{seed}'} is another run: {run.name} lies beside it, in {place.name}")
            mapped = columns[id(run)]
            content = make_content(
                run,
                mapped,
                wish.metric,
                {
                    "experiment": experiment,
                    "variant": variant,
                    "seed": seed,
                    "spec_hash": group_hash(origin["from"], experiment, variant),
                },
                identity.settings,
                own,
            )
            imported.append(
                Imported(
                    run=run.name,
                    folder=place,
                    state=write(place, content),
                    status=str(content.summary["status"]),
                    rows=content.rows,
                    clock=str(content.summary["imported"]["clock"]),
                    columns={theirs: ours for theirs, ours in mapped.items() if theirs != ours},
                )
            )
    return imported, notes


def _differing(variant: str, identities: Sequence[Identity]) -> list[str]:
    """A sentence where runs that are taken for seeds of one variant have different hyperparameters."""
    keys = dict.fromkeys(key for identity in identities for key in identity.settings)
    found = [key for key in keys if len({repr(identity.settings.get(key)) for identity in identities}) > 1]
    if not found:
        return []
    shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    return [f"{variant}: its runs differ in {shown}; --variant '{{{found[0]}}}' would make variants of them"]


def _there(folder: Path) -> dict[str, dict[str, Any]]:
    """The summaries of the runs that lie in a variant's folder, by the names of their folders."""
    found: dict[str, dict[str, Any]] = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            try:
                summary = json.loads((path / SUMMARY).read_bytes())
            except (OSError, ValueError):
                continue
            if isinstance(summary, dict):
                found[path.name] = summary
    return found


def _same_origin(summary: Mapping[str, Any], origin: Mapping[str, str]) -> bool:
    imported = summary.get("imported")
    return isinstance(imported, dict) and all(imported.get(key) == value for key, value in origin.items())


def _place(usual: Path, own: Mapping[str, str], there: Mapping[str, dict[str, Any]], given: set[str]) -> Path:
    """The folder that has this very run, else the usual one, else one with a suffix of where the run is from."""
    suffixed = usual.with_name(f"{usual.name}-{group_hash(*own.values())[:8]}")
    for folder in (usual, suffixed):
        if folder.name in there and _same_origin(there[folder.name], own):
            return folder
    free = usual.name not in given and (not usual.exists() or (usual.is_dir() and not _visible(usual)))
    return usual if free else suffixed


def _visible(folder: Path) -> bool:
    """Whether there is more in the folder than what a lock left."""
    return any(not entry.name.startswith(".") for entry in folder.iterdir())
