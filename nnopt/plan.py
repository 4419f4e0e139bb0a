"""From an experiment to its runs: one RunSpec for each variant and seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from nnopt.spec.experiment import ExperimentSpec, RunSettings
from nnopt.spec.identity import resolved, settings_hash, to_yaml
from nnopt.spec.transfer import SourceSpec

Source = TypeVar("Source", bound=SourceSpec)


@dataclass(frozen=True)
class RunSpec:
    """One variant with one seed: all that a run is made from.

    `order` is the variant's place in its file, from 0: it tells where a table shows it, and no more. A run of a
    search has the number of its `trial` and what that sets, dotted key -> value; it never reads test data.
    """

    experiment: str
    variant: str
    seed: int
    settings: RunSettings
    tags: tuple[str, ...] = ()
    notes: str = ""
    order: int = field(default=0, compare=False)
    track: tuple[str, ...] = field(default=(), compare=False)
    trial: int | None = None
    setting: Mapping[str, Any] = field(default_factory=dict, compare=False)
    # Labels of the runs of the same experiment that it learns from or begins with: they come first.
    learns_from: tuple[str, ...] = field(default=(), compare=False)

    @property
    def label(self) -> str:
        """`experiment/variant[/trial-n]/seed-k`, also the run's usual folder below the runs folder."""
        trial = "" if self.trial is None else f"trial-{self.trial}/"
        return f"{self.experiment}/{self.variant}/{trial}seed-{self.seed}"

    @cached_property
    def hash(self) -> str:
        """Names what is trained: the same for all seeds of a variant."""
        return settings_hash(self.settings)

    @cached_property
    def hash_without_budget(self) -> str | None:
        """Equal for two runs of which the longer can go on from the shorter; None where none can."""
        return settings_hash(self.settings, without_budget=True) if self.settings.horizon_free else None

    @property
    def in_one_process(self) -> RunSpec:
        """The same network and data, for a process by itself that asks them something."""
        return replace(self, settings=self.settings.model_copy(update={"parallel": None}))

    def as_file(self) -> str:
        """A spec file that trains just this run."""
        return to_yaml(
            {
                "name": self.experiment,
                **({"tags": list(self.tags)} if self.tags else {}),
                **({"notes": self.notes} if self.notes else {}),
                **({"track": list(self.track)} if self.track else {}),
                **self.settings_as_keys(),
                "seeds": [self.seed],
                "variants": {self.variant: {}},
            }
        )

    def settings_as_keys(self) -> dict[str, Any]:
        """The settings as plain mappings, all defaults written out."""
        return resolved(self.settings)


@dataclass(frozen=True)
class Plan:
    """The runs of an experiment, seeds outermost: after the first seed all variants can be looked at."""

    experiment: ExperimentSpec
    runs: tuple[RunSpec, ...]

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Plan:
        """Every variant as it stands with every seed; its search is none of its runs' business."""
        variants = _with_sources_named(experiment)
        runs = tuple(
            RunSpec(
                experiment.name,
                variant,
                seed,
                settings.model_copy(update={"search": None}),
                experiment.tags,
                experiment.notes,
                order,
                experiment.track,
                learns_from=_sources_of(experiment, settings, seed),
            )
            for seed in experiment.seeds
            for order, (variant, settings) in enumerate(variants.items())
        )
        return cls(experiment, runs)

    @property
    def in_turn(self) -> tuple[RunSpec, ...]:
        """The same runs, each after those that it learns from."""
        by_label = {run.label: run for run in self.runs}
        found: dict[str, RunSpec] = {}

        def add(run: RunSpec) -> None:
            for label in run.learns_from:
                if label in by_label and label not in found:
                    add(by_label[label])
            found.setdefault(run.label, run)

        for run in self.runs:
            add(run)
        return tuple(found.values())


def _with_sources_named(experiment: ExperimentSpec) -> dict[str, RunSettings]:
    """The variants in their order; runs of the same file are named in full, with the hash of their specs.

    So what a network learns from, or begins with, is part of what it is: with another one of the same name it is
    another run.
    """
    named: dict[str, RunSettings] = {}

    def name(variant: str) -> RunSettings:
        if variant not in named:
            settings = experiment.variants[variant]
            if (distill := settings.structure.distill) is not None:
                teachers = tuple(name_one(teacher) for teacher in distill.teachers)
                if teachers != distill.teachers:
                    distill = distill.model_copy(update={"teachers": teachers})
                    structure = settings.structure.model_copy(update={"distill": distill})
                    settings = settings.model_copy(update={"structure": structure})
            if (source := settings.model.init_from) is not None and (full := name_one(source)) != source:
                model = settings.model.model_copy(update={"init_from": full})
                settings = settings.model_copy(update={"model": model})
            named[variant] = settings
        return named[variant]

    def name_one(source: Source) -> Source:
        found = source.of_file(experiment.name, experiment.variants)
        if found is None:
            return source
        own = {"run": f"{experiment.name}/{found[0]}/{found[1]}", "spec": settings_hash(name(found[0]))}
        return source.model_copy(update=own)

    return {variant: name(variant) for variant in experiment.variants}


def _sources_of(experiment: ExperimentSpec, settings: RunSettings, seed: int) -> tuple[str, ...]:
    return tuple(
        source.name_for(seed) for source in settings.sources if source.of_file(experiment.name, experiment.variants)
    )
