"""The ends of every range built once before the first trial: what only data and model together can refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnopt.compare.search.trial import Trial
from nnopt.errors import UsageError
from nnopt.plan import RunSpec
from nnopt.search.lane import Subject
from nnopt.spec.search.grid import combinations, deciding_keys
from nnopt.spec.search.setting import active_keys, in_short
from nnopt.train.experiment import as_here
from nnopt.train.horizon import Period
from nnopt.train.setup import DataCache, Setup, build
from nnopt.train.teachers import check_teachers
from nnopt.train.transfer import check_source

MOST = 64  # settings a variant: spaces with many conditions are tried in part


def check_space(subject: Subject, space: Any, cache: DataCache, elsewhere: bool = False) -> int:
    """Builds the model, data and optimizer at both ends of each key, others in the middle; the most threads of a run.

    `elsewhere` says that runs train on other machines, whose device need not be on this one.

    Raises:
        UsageError: a value does not go together with data, model, device or precision; it names the key.
    """
    threads = 1
    for number, (key, setting) in enumerate(probes(space)):
        if number >= MOST:
            break
        run: RunSpec = subject.runs(Trial(0, setting, "running"))[0]
        try:
            setup, state = build(as_here(run) if elsewhere else run, cache)
            check_teachers(run, setup, state, {}, subject.runs_dir, cache)
            check_source(run, state.model, {}, subject.runs_dir, cache)
        except UsageError as error:
            where = in_short({key: setting[key]} if key else setting)
            raise type(error)(f"variant {subject.variant} with {where}: {error}") from None
        threads = max(threads, setup.threads)
        if subject.search.prune is not None and not _is_evaluated_on_the_way(setup):
            raise UsageError(
                f"variant {subject.variant}: search.prune ends trials at their evaluations, and with "
                f"{in_short(setting)} the only one is at the end: let evaluation.every be shorter than the budget"
            )
    return threads


def _is_evaluated_on_the_way(setup: Setup) -> bool:
    """Whether a run has an evaluation before its end; True where only the clock could tell."""
    horizon, every = setup.horizon, setup.settings.evaluation.every
    last = (horizon.total_steps or 0) - 1
    if horizon.total_steps is None or every.seconds is not None:
        return True
    samples = last * horizon.batch_size(0.0)
    if horizon.total_samples is not None:
        samples = horizon.total_samples - 1
    return Period(every, horizon.samples).passed(last, samples, 0.0) > 0


def probes(space: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The middle of a space, and each key at the values that stand for its domain: the key, and the setting."""
    for decided in combinations(space, deciding_keys(space)):
        middle: dict[str, Any] = dict(decided)
        for key in active_keys(space, middle):
            middle.setdefault(key, space[key].middle())
        active = active_keys(space, middle)
        middle = {key: middle[key] for key in active}
        yield "", middle
        for key in active:
            if key not in decided:
                yield from ((key, {**middle, key: value}) for value in space[key].probes())
