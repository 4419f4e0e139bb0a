"""The networks that a run learns from: found, checked against it, and asked once what they know of its data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nnopt.errors import CheckpointError, NnoptError, UsageError
from nnopt.plan import RunSpec
from nnopt.spec.structure.distill import DistillSpec, TeacherSpec
from nnopt.store.folder import runs_folder
from nnopt.structure.distill.answers import answers_named
from nnopt.structure.distill.asked import MOST_BYTES, Asked, ask, bytes_of_features
from nnopt.structure.distill.guide import (
    Computed,
    Distillation,
    Heard,
    Kept,
    Known,
    Match,
    TeacherFeatures,
    TeacherTargets,
)
from nnopt.train.checkpoint import checksum
from nnopt.train.devices import set_matmul_precision
from nnopt.train.initial_model import build_model
from nnopt.train.restoring import load_network, read_file, read_spec
from nnopt.train.setup import DataCache, Setup, build
from nnopt.train.sources import Role, check_is_there, find_source
from nnopt.train.state import TrainState, generator_states, set_generator_states
from nnopt.train.summary import class_names
from nnopt.train.teacher_checks import check_layers, check_outputs, check_same_fold, check_same_question
from nnopt.train.transfer import begin_from_source

ROLE = Role("teacher", "a network learns from one whose training is done")


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network on the run's device, in evaluation mode; `record` is what summary.json tells of it."""

    name: str
    network: nn.Module
    record: dict[str, str | int]


def build_with_teachers(run: RunSpec, cache: DataCache) -> tuple[Setup, TrainState]:
    """As `build`, ready for updates: for those that are measured, with no record kept of them.

    Raises:
        UsageError: as `build`, `begin_from_source` and `teach`.
    """
    setup, state = build(run.in_one_process, cache)
    begin_from_source(run, setup, state, runs_folder(None), cache)
    teach(run, setup, state, runs_folder(None), cache)
    return setup, state


def teach(run: RunSpec, setup: Setup, state: TrainState, runs_dir: Path, cache: DataCache) -> None:
    """Has `setup.backward` learn from the teachers of the spec, where it has any: asks them all that they know.

    A teacher's run lies below `cache.teachers_in`, else `runs_dir`. Answers, and layers' outputs where those fit, stay
    on the device and in `cache` for runs to come. Where samples change with every batch, teachers answer each as it is.

    Raises:
        UsageError: a teacher is missing, not trained to its end, or does not suit this run.
    """
    distill = setup.settings.structure.distill
    if distill is None:
        return
    layers = tuple(dict.fromkeys(feature.teacher for feature in distill.features))
    asked: list[Asked] = []
    networks: list[nn.Module] = []
    records: list[dict[str, str | int]] = []
    features: TeacherFeatures | None = None
    with _undisturbed(setup):
        for spec in distill.teachers:
            teacher = load_teacher(spec, run.seed, setup, cache.teachers_in or runs_dir, cache)
            _check(teacher, distill, setup, state.model)
            torch.set_num_threads(setup.threads)
            records.append(teacher.record)
            if not setup.feed.unchanging:
                networks.append(teacher.network.eval())
                features = Computed(teacher.network, layers) if layers else None
                continue
            train = setup.data.train
            size = bytes_of_features(teacher.network, train.first(1), layers) * len(train)
            kept = layers if size <= MOST_BYTES else ()
            asked.append(_ask(teacher, kept, setup, cache))
            if layers:
                features = Kept(asked[-1].features) if kept else Computed(teacher.network, layers)
    answers = answers_named(setup.settings.loss.answers, distill.temperature)
    targets: TeacherTargets
    if networks:
        targets = Heard(networks, answers, _exact(setup))
    else:
        targets = Known(answers.targets([one.outputs for one in asked]))
    matches = [Match(one.student, one.teacher, one.weight, one.match) for one in distill.features]
    setup.backward.guide = Distillation(answers, targets, distill.weight, matches, features, records)


def check_teachers(
    run: RunSpec, setup: Setup, state: TrainState, planned: Mapping[str, RunSpec], runs_dir: Path, cache: DataCache
) -> None:
    """Looks whether a run's teachers are there and suit it, before anything is trained.

    `planned` has the runs of the same experiment by their labels: a teacher among them need not be trained yet, and
    is known by its spec.

    Raises:
        UsageError: as `teach`.
    """
    distill = setup.settings.structure.distill
    if distill is None:
        return
    with _undisturbed(setup):
        for spec in distill.teachers:
            label = spec.name_for(run.seed)
            if label in run.learns_from and label in planned:
                settings = planned[label].settings
                check_same_question(f"teacher {label}", settings, setup.settings)
                theirs, ours = settings.data.for_seed(planned[label].seed), setup.settings.data.for_seed(setup.seed)
                check_same_fold(f"teacher {label}", theirs, ours)
                teacher = Teacher(f"teacher {label}", build_model(settings, setup.data, 0).to(setup.device), {})
            else:
                teacher = load_teacher(spec, run.seed, setup, runs_dir, cache)
            _check(teacher, distill, setup, state.model)


def check_teachers_are_there(runs: Iterable[RunSpec], planned: Container[str], runs_dir: Path) -> None:
    """Looks for the teachers of many runs, of every seed, without reading their weights.

    Raises:
        UsageError: a run or file is missing that is not `planned`, or a run is not trained to its end.
    """
    for run in runs:
        distill = run.settings.structure.distill
        for spec in distill.teachers if distill is not None else ():
            check_is_there(spec, run, planned, runs_dir, ROLE)


def check_same_teachers(setup: Setup, recorded: list[str]) -> None:
    """Raises CheckpointError where a run began to learn from other weights than those its teachers have now."""
    teachers = setup.teachers
    if len(recorded) != len(teachers):
        raise CheckpointError(f"the run began to learn from {len(recorded)} teachers, and has {len(teachers)} now")
    for before, teacher in zip(recorded, teachers, strict=True):
        if teacher["sha256"] != before:
            raise CheckpointError(
                f"teacher {teacher.get('run') or teacher['checkpoint']} has other weights than when the run began to "
                "learn from it: bring those back, or begin anew with `nnopt train --fresh`"
            )


def load_teacher(spec: TeacherSpec, seed: int, setup: Setup, runs_dir: Path, cache: DataCache) -> Teacher:
    """The network that `spec` names for a run with this seed, on the device of `setup`.

    Raises:
        UsageError: it is missing, damaged, not trained to its end, or was trained on other data.
    """
    if spec.checkpoint is not None:
        return _from_file(spec, spec.name_for(seed), setup)
    record = find_source(spec, seed, runs_dir, ROLE)
    name = f"teacher {record.name}"
    try:
        run = read_spec(record.folder)
    except NnoptError as error:
        raise UsageError(f"{name}: {error}") from None
    known = record.summary.get("data") or {}
    check_same_question(name, run.settings, setup.settings)
    check_same_fold(name, run.settings.data.for_seed(run.seed), setup.settings.data.for_seed(setup.seed))
    if known.get("sha256") != setup.data.content_hash or known.get("classes", []) != class_names(setup.data):
        raise UsageError(
            f"{name} learned from {setup.data.name} with other content or classes than it has now: "
            "a teacher should know the same data"
        )
    if spec.weights == "best" and not run.settings.checkpoint.best:
        raise UsageError(f"{name} kept no best weights (checkpoint.best: false): give it weights: last")
    try:
        network, step = load_network(run, record.folder, spec.weights, setup, cache)
    except CheckpointError as error:
        raise UsageError(f"{name}: {error}") from None
    told: dict[str, str | int] = {"run": record.name, "weights": spec.weights, "step": step}
    told["sha256"] = checksum(dict(network.state_dict()))
    return Teacher(name, network, told)


def _from_file(spec: TeacherSpec, path: str, setup: Setup) -> Teacher:
    assert spec.model is not None
    settings = setup.settings.model_copy(update={"model": spec.model})
    name = f"teacher {path}"
    try:
        network = read_file(Path(path), build_model(settings, setup.data, 0)).to(setup.device)
    except NnoptError as error:
        raise UsageError(f"{name}: {error}") from None
    return Teacher(name, network, {"checkpoint": path, "sha256": checksum(dict(network.state_dict()))})


def _check(teacher: Teacher, distill: DistillSpec, setup: Setup, model: nn.Module) -> None:
    sample = setup.data.train.first(2)
    check_outputs(teacher.name, teacher.network, model, sample)
    check_layers(teacher.name, teacher.network, model, distill.features, sample)


def _ask(teacher: Teacher, layers: tuple[str, ...], setup: Setup, cache: DataCache) -> Asked:
    chunk = setup.settings.evaluation.batch_size
    data = cache.key(setup.settings.data.for_seed(setup.seed), setup.device)
    # The order in which sums are added, and so their last bits, depends on the chunks and threads.
    key = (teacher.record["sha256"], data, chunk, setup.threads, layers)
    inputs = (inputs for inputs, _ in setup.data.train.chunks(chunk))
    return cache.asked.get(key, lambda: ask(teacher.network, inputs, layers))


def _exact(setup: Setup) -> Callable[[], AbstractContextManager[object]]:
    """What teachers answer a batch in: fp32, whatever the run trains in."""
    precision = setup.settings.strategy.precision
    if precision != "tf32":  # the others switch by autocast, which does not reach the teachers
        return contextlib.nullcontext

    @contextlib.contextmanager
    def exact() -> Iterator[None]:
        set_matmul_precision("fp32")
        try:
            yield
        finally:
            set_matmul_precision(precision)

    return exact


@contextlib.contextmanager
def _undisturbed(setup: Setup) -> Iterator[None]:
    """Teachers compute in fp32; afterwards generators, threads and precision are those of the run again."""
    generators = generator_states(setup.device)
    set_matmul_precision("fp32")
    try:
        yield
    finally:
        torch.set_num_threads(setup.threads)
        set_matmul_precision(setup.settings.strategy.precision)
        set_generator_states(generators, setup.device)
