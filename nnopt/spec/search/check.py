"""What is wrong with a search, found before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic_core import PydanticCustomError

from nnopt.errors import UsageError
from nnopt.spec.base import show
from nnopt.spec.experiment import HEADER, RunSettings
from nnopt.spec.nearest import nearest
from nnopt.spec.search.domains import Choice, Space
from nnopt.spec.search.grid import MAX_POINTS, grid_size
from nnopt.spec.search.objective import check_objective, evaluations, is_column, is_of_the_loss, objective_of
from nnopt.spec.search.probe import probe, run_settings
from nnopt.spec.search.pruners import Median, PrunerSpec, SuccessiveHalving
from nnopt.spec.search.samplers import Grid
from nnopt.spec.search.search import SearchSpec
from nnopt.spec.yaml_reader import Path_

NO_NUMBER = "it changes no number of a run"
FIXED = {
    "variants": "it belongs to the whole experiment",
    **dict.fromkeys(HEADER, "it belongs to the whole experiment"),
    **dict.fromkeys(("search", "tuned", "checkpoint", "logging"), NO_NUMBER),
    "device": "all trials of a search run on one device",
    "evaluation": "all trials are judged alike",
    **dict.fromkeys(
        ("data", "data.kind", "data.validation", "data.test", "data.split_seed", "data.root"),
        "all trials are judged on the same data",
    ),
}  # fmt: skip
OUTSIDE_THE_LOSS = {"l1", "l2", "penalise"}  # keys of a loss that its value does not show

TRIAL = re.compile(r"trial-[0-9]+", re.IGNORECASE)

Mistake = tuple[str, Path_, str]  # of which variant, at which key, what is wrong


def check_searches(variants: Mapping[str, RunSettings]) -> Iterator[Mistake]:
    """All mistakes of the searches of an experiment's variants."""
    differences = list(_differences(variants))
    yield from differences
    if differences:
        return
    for name, settings in variants.items():
        if settings.search is None:
            continue
        found = False
        for path, message in _mistakes(settings, settings.search):
            found = True
            yield name, ("search", *path), message
        if not found:
            for path, message in _of_its_runs(settings, settings.search):
                yield name, ("search", *path), message
    yield from _sizes(variants)


def _differences(variants: Mapping[str, RunSettings]) -> Iterator[Mistake]:
    """What is not the same for every variant, though a fair comparison needs it to be."""
    first, *others = variants
    yield from _names_of_fronts(variants)
    for name, settings in variants.items():
        if settings.search and TRIAL.fullmatch(name):
            yield (
                name,
                ("variants", name),
                f"a variant that is searched cannot be called '{name}', as its trials' folders are",
            )
    if len({settings.search is None for settings in variants.values()}) > 1:
        for name, settings in variants.items():
            if settings.search is None:
                yield name, ("search",), "all variants are searched or none: this one has no search"
        return
    one = variants[first].search
    for name in others:
        other = variants[name].search
        if one is None or other is None:
            continue
        for key in type(one).model_fields:
            same = getattr(one, key) == getattr(other, key)
            if key != "space" and not same:
                yield name, ("search", key), f"differs from {first}'s: each variant gets the same but for its space"
        metrics = [objective_of(variants[which])[0] for which in (first, name)]
        if metrics[0] != metrics[1] and one.objective == other.objective:
            yield (
                name,
                ("search", "objective"),
                f"{first} is judged by {metrics[0]} and {name} by {metrics[1]}: write the metric",
            )


def _names_of_fronts(variants: Mapping[str, RunSettings]) -> Iterator[Mistake]:
    """Variants that are called as a member of another one's front would be: mlp.3."""
    for name in variants:
        whole, _, number = name.rpartition(".")
        settings = variants.get(whole)
        if number.isdecimal() and settings and settings.search and settings.search.objective.against:
            yield (
                name,
                ("variants", name),
                f"trial {number} of {whole} would be called so where it lies on the front: take another name",
            )


def _of_two_objectives(search: SearchSpec, metric: str) -> Iterator[tuple[Path_, str]]:
    """What does not go together with a second objective."""
    against = search.objective.against
    if against is None:
        return
    if metric == against:
        yield ("objective", "against"), f"{against} is the objective itself: take a metric to weigh against it"
    if search.sampler.one_objective:
        yield (
            ("sampler",),
            f"{search.sampler.kind} learns from one objective, and objective.against is a second: take tpe",
        )
    if search.prune is not None:
        yield (
            ("prune",),
            "a trial is cut short by one objective, and objective.against is a second: leave prune out",
        )


def _mistakes(settings: RunSettings, search: SearchSpec) -> Iterator[tuple[Path_, str]]:
    """Mistakes that can be told without trying settings."""
    space, metric = search.space, objective_of(settings)[0]
    for key in space:
        yield from ((("space", key), message) for message in _not_searched(key, space, metric))
    for key in space:
        yield from _of_when(key, space)
    if search.sampler.numbers_only:
        yield from _only_numbers(search)
    if isinstance(search.sampler, Grid):
        for key, domain in space.items():
            try:
                domain.grid()
            except PydanticCustomError as error:
                yield ("space", key), str(error)
    yield from _of_two_objectives(search, metric)
    try:
        check_objective(settings)
    except UsageError as error:
        yield ("objective", "metric"), str(error)
    if search.prune is not None and not is_column(metric):
        yield (
            ("prune",),
            f"{metric} is known at the end of a run alone, and a trial is cut short by a column of metrics.csv",
        )


def _not_searched(key: str, space: Space, metric: str) -> Iterator[str]:
    first, _, rest = key.partition(".")
    fixed = FIXED.get(first) if first != "data" else FIXED.get(key)
    if fixed:
        yield f"cannot be searched: {fixed}"
    if first == "loss" and rest not in OUTSIDE_THE_LOSS and is_of_the_loss(metric):
        yield (
            f"{metric} means something else for each {key}, so trials cannot be ranked by it: "
            "write another objective.metric"
        )
    for other in space:
        if other.startswith(f"{key}."):
            yield f"is searched whole, and {other} within it too: leave one of them out"


def _of_when(key: str, space: Space) -> Iterator[tuple[Path_, str]]:
    for other, values in space[key].when.items():
        at: Path_ = ("space", key, "when", other)
        domain = space.get(other)
        if domain is None:
            choices = [name for name, known in space.items() if isinstance(known, Choice) and name != key]
            has = f"; searched choices are {', '.join(choices)}" if choices else ""
            yield at, f"{other} is not searched{nearest(other, choices) or has}"
        elif not isinstance(domain, Choice):
            yield at, f"{other} is a range: a condition names a searched choice"
        elif _depends(other, key, space):
            yield at, f"{key} and {other} wait for each other" if other != key else "waits for itself"
        else:
            for value in values:
                if value not in domain.choice:
                    yield at, f"{show(value)} is none of the choices of {other}"


def _depends(key: str, on: str, space: Space) -> bool:
    """Whether the conditions of `key` lead to the key `on`."""
    seen: set[str] = set()
    waiting = [key]
    while waiting:
        next_one = waiting.pop()
        if next_one == on:
            return True
        if next_one not in seen and next_one in space:
            seen.add(next_one)
            waiting += space[next_one].when
    return False


def _only_numbers(search: SearchSpec) -> Iterator[tuple[Path_, str]]:
    kind = search.sampler.kind
    for key, domain in search.space.items():
        if isinstance(domain, Choice):
            yield ("space", key), f"{kind} moves numbers and knows no choices: take tpe, or leave the choice out"
        elif domain.when:
            yield ("space", key, "when"), f"{kind} moves all keys together and knows no conditions: take tpe"
    if len(search.space) < 2:
        yield ("sampler",), f"{kind} needs two keys or more: take tpe or quasi_random for one"


def _of_its_runs(settings: RunSettings, search: SearchSpec) -> Iterator[tuple[Path_, str]]:
    """Settings that the search may come to and that are refused; pruning that would never cut."""
    yield from ((("space", key), message) for key, message in probe(settings, search))
    if search.prune is not None:
        known = [evaluations(one) for one in run_settings(settings, search)]
        rows = [count for count in known if count is not None]
        if rows and len(rows) == len(known):
            yield from _cuts(search.prune, max(rows))


def _cuts(prune: PrunerSpec, rows: int) -> Iterator[tuple[Path_, str]]:
    """Whether a trial of `rows` evaluations can be cut before its last."""
    runs = f"a run has {rows} evaluation{'s' if rows > 1 else ''}, the last at its end"
    if rows < 2:
        yield ("prune",), f"{runs}: make evaluation.every shorter, or leave prune out"
    elif isinstance(prune, SuccessiveHalving) and prune.first >= rows:
        yield ("prune", "first"), f"should be less than {rows}, not {prune.first}: {runs}"
    elif isinstance(prune, Median) and prune.warmup >= rows - 1:
        yield ("prune", "warmup"), f"should be less than {rows - 1}, not {prune.warmup}: {runs}"


def _sizes(variants: Mapping[str, RunSettings]) -> Iterator[Mistake]:
    """Grids that are not of one size, or not of the size that `trials` says."""
    sizes: dict[str, int] = {}
    for name, settings in variants.items():
        search = settings.search
        if search is None or not isinstance(search.sampler, Grid):
            return
        try:
            sizes[name] = size = grid_size(search.space)
        except PydanticCustomError:
            return  # told above
        if size > MAX_POINTS:
            yield (
                name,
                ("search", "space"),
                f"the grid has more than {MAX_POINTS:,} points: take fewer, or another sampler",
            )
        elif search.trials not in (None, size):
            yield (
                name,
                ("search", "trials"),
                f"the grid has {size} points, not {search.trials}: leave trials out",
            )
    first = next(iter(sizes))
    for name, size in sizes.items():
        if size != sizes[first]:
            yield (
                name,
                ("search", "space"),
                f"the grid of {name} has {size} points, that of {first} {sizes[first]}: all need the same number",
            )
