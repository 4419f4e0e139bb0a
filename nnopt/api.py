"""The same from Python: `load` a spec, `train` it, `sweep` its settings, `compare` runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nnopt.plan import Plan
from nnopt.spec.experiment import ExperimentSpec
from nnopt.spec.loading import load
from nnopt.store.find import read_named_runs
from nnopt.store.folder import runs_folder
from nnopt.store.record import RunRecord

if TYPE_CHECKING:
    from nnopt.compare.comparison import Comparison
    from nnopt.search.sweep import Swept

__all__ = ["compare", "load", "sweep", "train"]


def train(
    experiment: ExperimentSpec | str | Path,
    *overrides: str,
    runs_dir: str | Path | None = None,
    jobs: int | None = None,
    fresh: bool = False,
    fail_fast: bool = False,
    profile: bool = False,
    on: str | None = None,
    max_restarts: int | None = None,
) -> list[RunRecord]:
    """Trains what is left of an experiment, as `nnopt train` does, and returns the records of its runs.

    `experiment` is a spec from `load`, or a file, over which `overrides` ("optimizer.lr=0.01") are laid. With
    `profile` each run's folder says where the time of its steps goes (profile.csv). `on` names a cluster and
    `max_restarts` how often a run is taken up whose process was lost, as the flags of the same names do.

    Raises:
        NnoptError: as the command line reports; runs that failed or diverged are in the records instead.
    """
    from nnopt.scale.on import restarts
    from nnopt.scale.processes import train_runs
    from nnopt.train.experiment import Options
    from nnopt.train.listener import Listener
    from nnopt.train.report import write_report

    spec = _loaded(experiment, overrides)
    plan = Plan.of(spec)
    folder, lives = runs_folder(Path(runs_dir) if runs_dir else None), restarts(on, max_restarts)
    options = Options(folder, fresh, fail_fast, profile=profile, max_restarts=lives)
    records = train_runs(plan, options, Listener(), jobs, on)
    write_report(plan, records, options.runs_dir)
    return records


def sweep(
    experiment: ExperimentSpec | str | Path,
    *overrides: str,
    runs_dir: str | Path | None = None,
    jobs: int | None = None,
    fresh: bool = False,
    extend: bool = False,
    on: str | None = None,
    max_restarts: int | None = None,
) -> Swept:
    """Searches settings as `nnopt sweep` does: what was found, and the comparison of the winners on fresh seeds.

    The arguments are those of `train`; `extend` searches beyond the edges at which the best values lie.

    Raises:
        NnoptError: as the command line reports; trials that failed or diverged are in the summary instead.
    """
    from nnopt.search.sweep import SweepOptions
    from nnopt.search.sweep import sweep as carry_out
    from nnopt.train.listener import Listener

    folder = runs_folder(Path(runs_dir) if runs_dir else None)
    options = SweepOptions(folder, jobs, fresh, extend, on, max_restarts)
    return carry_out(_loaded(experiment, overrides), options, Listener())


def _loaded(experiment: ExperimentSpec | str | Path, overrides: tuple[str, ...]) -> ExperimentSpec:
    if not isinstance(experiment, ExperimentSpec):
        return load(experiment, overrides)
    if overrides:
        raise TypeError("overrides go with a file: give them to `load`")
    return experiment


def compare(
    *runs: str | RunRecord,
    metric: str | None = None,
    target: float | None = None,
    baseline: str | None = None,
    interpolate: bool = False,
    force: bool = False,
    runs_dir: str | Path | None = None,
) -> Comparison:
    """Compares runs, given as records or as `nnopt compare` takes them; the keywords are its flags.

    Raises:
        NnoptError: nothing of that name, no such metric or baseline, or a target that cannot be.
    """
    from nnopt.compare.comparison import Question, answer

    folder = runs_folder(Path(runs_dir) if runs_dir else None)
    records: list[RunRecord] = []
    unread: list[str] = []
    trials: set[Path] = set()
    for run in runs:
        if isinstance(run, RunRecord):
            records.append(run)
            continue
        named = read_named_runs([run], folder)
        records.extend(named.records)
        unread.extend(named.problems)
        trials |= named.trials
    return answer(records, Question(metric, target, baseline, interpolate, force), unread, trials)
