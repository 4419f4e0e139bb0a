"""The whole spec: what one YAML file describes, its variants resolved."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, WrapValidator, field_validator, model_validator

from nnopt.errors import DataError, UsageError
from nnopt.spec.base import NOT_IDENTITY, Items, Spec, mistake_at, show
from nnopt.spec.cluster import ClusterSpec
from nnopt.spec.data.base import DataSpec
from nnopt.spec.data.union import DATA
from nnopt.spec.evaluation import CheckpointSpec, EvaluationSpec, LoggingSpec
from nnopt.spec.losses import LOSSES, LossSpec, Multitask
from nnopt.spec.lr_decay import Plateau
from nnopt.spec.metric_names import Metric, default_metrics, parse_column, parse_metric
from nnopt.spec.models import MODELS, ModelSpec
from nnopt.spec.nearest import nearest
from nnopt.spec.optimizer_checks import first_misfit
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.union import OPTIMIZERS
from nnopt.spec.parallel import PARALLEL, ParallelSpec
from nnopt.spec.parallel_checks import first_mistake
from nnopt.spec.recording import refusal
from nnopt.spec.search.search import SearchSpec
from nnopt.spec.seeds import counted_seeds
from nnopt.spec.strategy import StrategySpec
from nnopt.spec.structure.distill import circle
from nnopt.spec.structure.structure import StructureSpec
from nnopt.spec.timing import Budget
from nnopt.spec.transfer import SourceSpec
from nnopt.spec.tuned import TunedSpec, check_ranges
from nnopt.spec.yaml_reader import Path_

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
DEVICE = re.compile(r"[a-z]+(:[0-9]+)?")
RESERVED = {
    *("comparison.csv", "comparison.md", "convergence.png", "trajectories.png"),
    *("study.db", "search.json", "trials.csv", "search.csv", "search.md", "search.png"),
    *("sensitivity.csv", "importance.csv", "expected_best.csv"),
    *("tune-lr.csv", "tune-lr.png", "tune-batch-size.csv", "tune-batch-size.png"),
}
TRACKERS = ("tensorboard", "mlflow", "wandb")
TRAINING_COLUMNS = ("train_loss", "generalisation_gap")


class RunSettings(Spec):
    """Everything that decides how one variant trains, all defaults resolved."""

    data: Annotated[DataSpec, DATA] = Field(description="the data set and its split")
    model: Annotated[ModelSpec, MODELS] = Field(description="the network")
    loss: Annotated[LossSpec, LOSSES] = Field(description="the objective")
    optimizer: Annotated[AnyOptimizerSpec, OPTIMIZERS] = Field(description="the update rule and its learning rate")
    strategy: StrategySpec = Field(StrategySpec(), description="batches, precision, rate decay, ...")
    structure: StructureSpec = Field(StructureSpec(), description="what makes the network smaller")
    parallel: Annotated[ParallelSpec, PARALLEL] | None = Field(None, description="several processes train one run")
    budget: Budget = Field(description="how long a run trains")
    evaluation: EvaluationSpec = Field(EvaluationSpec(), description="when and by what a run is judged")
    checkpoint: CheckpointSpec = Field(
        CheckpointSpec(), description="state kept on disk", json_schema_extra=NOT_IDENTITY
    )
    logging: LoggingSpec = Field(LoggingSpec(), description="rows of steps.csv", json_schema_extra=NOT_IDENTITY)
    tuned: TunedSpec | None = Field(None, description="how the settings were found", json_schema_extra=NOT_IDENTITY)
    search: SearchSpec | None = Field(
        None, description="which settings `nnopt sweep` tries", json_schema_extra=NOT_IDENTITY
    )
    device: str = Field(
        "auto",
        description="auto, cpu, cuda, cuda:1, mps, ...",
        json_schema_extra={"pattern": f"^({DEVICE.pattern})$"},
    )

    @property
    def horizon_free(self) -> bool:
        """Whether the first steps are the same whatever the budget, so that a larger one can go on from them."""
        in_shares = any(unfrozen.at.share for unfrozen in self.model.unfreeze)
        return self.strategy.horizon_free and not self.structure.changes_network and not in_shares

    @property
    def sources(self) -> tuple[SourceSpec, ...]:
        """The trained weights that a run needs: of its teachers, and those that it begins with."""
        teachers = self.structure.distill.teachers if self.structure.distill is not None else ()
        return teachers if self.model.init_from is None else (*teachers, self.model.init_from)

    @property
    def select(self) -> str:
        """The column of metrics.csv that names the best weights."""
        usual = "val_accuracy" if self.data.asks == "classification" else "val_loss"
        return self.evaluation.select or usual

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that every evaluation computes besides the loss, those asked for anywhere included."""
        names = list(self.evaluation.metrics or default_metrics(self.data.asks))
        for _, column in self._columns_used():
            name = column.removeprefix("val_")
            if column.startswith("val_") and name != "loss" and name not in names:
                names.append(name)
        return tuple(names)

    def _columns_used(self) -> list[tuple[Path_, str]]:
        """Columns of metrics.csv that keys name, with those keys."""
        stopping, target = self.strategy.early_stopping, self.evaluation.target
        decay = self.strategy.lr_decay
        return [
            (("evaluation", "select"), self.select),
            *([(("strategy", "lr_decay", "metric"), decay.metric)] if isinstance(decay, Plateau) else []),
            *([(("strategy", "early_stopping", "metric"), stopping.metric)] if stopping else []),
            *([(("evaluation", "target", "metric"), target.metric)] if target else []),
        ]

    @field_validator("device")
    @classmethod
    def _device_is_a_name(cls, device: str) -> str:
        if not DEVICE.fullmatch(device):
            raise ValueError(f"should be auto, or a device such as cpu, cuda, cuda:1 or mps, not {show(device)}")
        return device

    @model_validator(mode="after")
    def _metrics_exist(self) -> RunSettings:
        for index, name in enumerate(self.evaluation.metrics):
            _check(lambda name=name: self._metric(name), ("evaluation", "metrics", index))  # type: ignore[misc]
        for key, column in self._columns_used():
            if column not in TRAINING_COLUMNS:
                _check(lambda column=column: self._validation_metric(column), key)  # type: ignore[misc]
        target = self.evaluation.target
        if target and target.metric not in TRAINING_COLUMNS:
            _check_reachable(target.metric, target.value, self.data)
        return self

    def _metric(self, name: str) -> Metric:
        """The metric that `name` stands for.

        Raises:
            UsageError: as parse_metric, or one of probabilities where the loss gives none.
        """
        metric = parse_metric(name, self.data.asks, questions=self.data.questions)
        if metric.of_probabilities and self.loss.answers == "values":
            raise UsageError(
                f"metric '{name}' needs probabilities, which loss {self.loss.kind} does not give: take cross_entropy "
                "or bce"
            )
        return metric

    def _validation_metric(self, column: str) -> None:
        """Refuses a column that no evaluation fills.

        Raises:
            UsageError: as parse_column and _metric, or a metric of the training or the test data.
        """
        part, metric = parse_column(column, self.data.asks, questions=self.data.questions)
        self._metric(metric.name)
        if part != "val":
            known = ", ".join(TRAINING_COLUMNS)
            raise UsageError(f"'{column}' is measured at no evaluation: take val_{metric.name}, or one of {known}")

    @model_validator(mode="after")
    def _questions_are_known(self) -> RunSettings:
        if self.data.questions and isinstance(self.loss, Multitask):
            try:
                self.loss.check_names([*self.data.questions])
            except DataError as error:
                raise mistake_at(("loss", "weights"), str(error).removeprefix("loss.weights: ")) from None
        if self.structure.distill is not None and self.loss.answers == "questions":
            raise mistake_at(
                ("structure", "distill"), "teachers are asked one question, and loss multitask answers several"
            )
        if self.structure.distill is not None and self.data.asks == "function":
            raise mistake_at(
                ("structure", "distill"), "teachers are asked about samples, and data function has none: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _copies_can_be_drawn(self) -> RunSettings:
        if self.evaluation.test_time and all(change.mixes for change in self.data.augment):
            raise mistake_at(
                ("evaluation", "test_time"),
                "copies of a sample are drawn by data.augment, which has no change that leaves targets as they are: "
                "name one there, such as horizontal_flip, or leave test_time out",
            )
        return self

    @model_validator(mode="after")
    def _model_reads_the_data(self) -> RunSettings:
        gives = "tokens" if self.data.asks == "language" else "values"
        if self.model.reads != gives:
            why = {
                "tokens": "reads numbers, and this data gives tokens: take transformer or lstm",
                "values": "reads tokens: take data text, or another model",
            }[gives]
            raise mistake_at(("model", "kind"), f"model {self.model.kind} {why}")
        if self.model.kind == "point" and self.data.asks != "function":
            raise mistake_at(
                ("model", "kind"), "model point answers every sample alike: take data function, or another model"
            )
        prune = self.structure.prune
        if gives == "tokens" and prune is not None and prune.granularity == "channels":
            raise mistake_at(
                ("structure", "prune", "granularity"),
                f"channels cannot be taken out of a {self.model.kind}, whose heads and gates belong together: "
                "take weights, or structure.low_rank",
            )
        return self

    @model_validator(mode="after")
    def _optimizer_has_what_it_needs(self) -> RunSettings:
        mistake = first_misfit(self)
        if mistake is not None:
            raise mistake_at(*mistake)
        return self

    @model_validator(mode="after")
    def _several_processes_can_train_it(self) -> RunSettings:
        mistake = first_mistake(self)
        if mistake is not None:
            raise mistake_at(*mistake)
        return self

    @model_validator(mode="after")
    def _update_can_be_recorded(self) -> RunSettings:
        reason = refusal(self) if self.strategy.graph else None
        if reason is not None:
            raise mistake_at(("strategy", "graph"), f"{reason}: leave graph out")
        return self

    @model_validator(mode="after")
    def _unfreezes_within_the_budget(self) -> RunSettings:
        for place, unfrozen in enumerate(self.model.unfreeze):
            for unit in ("steps", "epochs"):
                at, budget = getattr(unfrozen.at, unit), getattr(self.budget, unit)
                if at is not None and budget is not None and at >= budget:
                    raise mistake_at(
                        ("model", "unfreeze", place, "at", unit), f"{at:g} does not lie within the budget of {budget:g}"
                    )
        return self

    @model_validator(mode="after")
    def _features_can_be_watched(self) -> RunSettings:
        distill, prune = self.structure.distill, self.structure.prune
        if distill is None or not distill.features:
            return self
        if self.strategy.compile:
            raise mistake_at(
                ("strategy", "compile"),
                "a compiled network does not show its layers' outputs, which structure.distill.features matches: "
                "leave one of the two out",
            )
        if prune is not None and prune.granularity == "channels":
            for index, feature in enumerate(distill.features):
                if feature.match == "values":
                    raise mistake_at(
                        ("structure", "distill", "features", index, "match"),
                        "values need layers of one size, and structure.prune takes channels out: take similarities",
                    )
        return self

    @model_validator(mode="after")
    def _searched_keys_exist(self) -> RunSettings:
        if self.tuned:
            check_ranges(self.tuned, self)
        return self


def _check(parse: Callable[[], object], key: Path_) -> None:
    """Places what `parse` finds wrong at `key`."""
    try:
        parse()
    except UsageError as error:
        raise mistake_at(key, str(error)) from None


def _check_reachable(column: str, value: float, data: DataSpec) -> None:
    """Refuses a target that lies outside the metric's range, such as an accuracy of 97."""
    _, metric = parse_column(column, data.asks, questions=data.questions)
    if metric.lowest <= value <= metric.highest:
        return
    hint = f"; for {value:g} % write {value / 100:g}" if metric.highest == 1 and value > 1 else ""
    highest = "" if metric.highest == math.inf else f" and at most {metric.highest:g}"
    raise mistake_at(
        ("evaluation", "target", "value"),
        f"{column} is at least {metric.lowest:g}{highest}, so {value:g} cannot be reached{hint}",
    )


class ExperimentSpec(Spec):
    """One experiment: named variants, each trained with each seed."""

    name: str = Field(description="name of the experiment and of its folder: letters, digits, . _ -")
    seeds: Annotated[tuple[int, ...], WrapValidator(counted_seeds)] = Field(
        (0, 1, 2), description="a count (3 is 0, 1, 2) or a list of different whole numbers from 0"
    )
    tags: Items[str] = Field((), description="words to find the experiment by")
    notes: str = Field("", description="what you want to remember of it")
    track: Items[str] = Field(
        (),
        description=f"tools that show the runs as they train: {', '.join(TRACKERS)}",
        json_schema_extra={"items": {"enum": list(TRACKERS)}, "uniqueItems": True},
    )
    cluster: ClusterSpec = Field(ClusterSpec(), description="what a run takes with --on ray and --on slurm")
    variants: dict[str, RunSettings] = Field(description="the alternatives by name, each merged over the keys above")

    @property
    def search(self) -> SearchSpec | None:
        """What all variants' searches have in common (its `space` is the first variant's); None where there is none."""
        return next((settings.search for settings in self.variants.values()), None)

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        return check_name(name, "name")

    @field_validator("track")
    @classmethod
    def _trackers_are_known(cls, track: tuple[str, ...]) -> tuple[str, ...]:
        for name in track:
            if name not in TRACKERS:
                raise ValueError(
                    f"no tracker is called '{name}'{nearest(name, TRACKERS)}; known: {', '.join(TRACKERS)}"
                )
            if track.count(name) > 1:
                raise ValueError(f"{name} is named twice")
        return track

    @field_validator("variants")
    @classmethod
    def _variants_are_folders(cls, variants: dict[str, RunSettings]) -> dict[str, RunSettings]:
        if not variants:
            raise ValueError("no variant is given; leave the key out to train the keys above as they are")
        check_variant_names(variants)
        return variants

    @model_validator(mode="after")
    def _nobody_teaches_himself(self) -> ExperimentSpec:
        names = circle(
            {
                name: [found[0] for source in settings.sources if (found := source.of_file(self.name, self.variants))]
                for name, settings in self.variants.items()
            }
        )
        if names:
            way = ", which learns from ".join([*names, names[0]])
            begins = self.variants[names[0]].structure.distill is None
            key = ("model", "init_from") if begins else ("structure", "distill", "teachers")
            raise mistake_at(("variants", names[0], *key), f"{way}: none of them can be trained first")
        return self


HEADER = tuple(name for name in ExperimentSpec.model_fields if name != "variants")


def check_name(name: str, what: str) -> str:
    """`name`, after checking that it can be the name of a folder."""
    if name in RESERVED:
        raise ValueError(f"a {what} cannot be '{name}', as nnopt writes a file of that name")
    if not NAME.fullmatch(name):
        raise ValueError(
            f"a {what} is made of at most 100 letters, digits, . _ - and begins with a letter, a digit or _, "
            f"not {show(name)}"
        )
    return name


def check_variant_names(names: Any) -> None:
    """Checks the names of variants, alone and against each other (some disks do not tell upper from lower case)."""
    seen: dict[str, str] = {}
    for name in names:
        check_name(name, "variant's name")
        if name.lower() in seen:
            raise ValueError(f"the variants '{seen[name.lower()]}' and '{name}' would share a folder on some disks")
        seen[name.lower()] = name
