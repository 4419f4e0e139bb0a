"""`structure.distill`: one or several trained networks that the network learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from nnopt.spec.base import Items, Spec, mistake_at
from nnopt.spec.models import MODELS, ModelSpec
from nnopt.spec.transfer import SourceSpec


class TeacherSpec(SourceSpec):
    """A trained network."""

    model: Annotated[ModelSpec, MODELS] | None = Field(None, description="the model that such a file belongs to")

    @model_validator(mode="after")
    def _file_has_a_model(self) -> TeacherSpec:
        if self.checkpoint is not None and self.model is None:
            raise mistake_at(("model",), "is missing: a file of weights does not say which model they belong to")
        if self.run is not None and self.model is not None:
            raise mistake_at(("model",), "goes with checkpoint: a run knows its own")
        if self.model is not None and self.model.is_transferred:
            raise mistake_at(("model",), "init_from, freeze and unfreeze go with a model that trains")
        return self


class FeatureSpec(Spec):
    """A layer whose outputs should come near to those of a layer of the teacher.

    similarities: d = ‖G_t − G_s‖² / n², G = F·Fᵀ of a batch's n rows F, each row of G divided by its norm; with
    strategy.accumulate of each part of the batch. values: the mean of the squared differences.
    """

    student: str = Field(description="name of the layer in the network that learns (`nnopt show RUN --layers`)")
    teacher: str = Field(description="name of the layer in the teacher")
    weight: float = Field(1.0, gt=0, lt=1e38, description="what their distance counts")
    match: Literal["similarities", "values"] = Field(
        "similarities", description="similarities between the samples of a batch, for layers of any size; or values"
    )


class DistillSpec(Spec):
    """A teacher's answers as targets beside the true ones.

    With loss bce each output is a sigmoid of its own, and KL is their mean. With mse, mae and huber outputs are no
    logits: the distance is the mean squared difference from the teachers' mean answer, and T plays no part. The
    column train_loss is J alone.
    """

    formula: ClassVar[str] = "(1 − α)·J + α·T²·KL(softmax(t/T) ‖ softmax(z/T)) + Σ β·d(f_z, f_t)"
    source: ClassVar[str] = (
        "Hinton et al. 2015, arXiv:1503.02531; values: Romero et al. 2015, arXiv:1412.6550; "
        "similarities: Tung & Mori 2019, arXiv:1907.09682"
    )

    teachers: Items[TeacherSpec] = Field(
        description="their softened answers are averaged", json_schema_extra={"minItems": 1}
    )
    temperature: float = Field(4.0, gt=0, lt=1e4, description="T, by which logits are divided")
    weight: float = Field(0.9, ge=0, le=1, description="α, the share of the teachers in the loss")
    features: Items[FeatureSpec] = Field((), description="layers to match besides; of a single teacher")

    @field_validator("teachers")
    @classmethod
    def _some_teacher(cls, value: tuple[TeacherSpec, ...]) -> tuple[TeacherSpec, ...]:
        if not value:
            raise ValueError("should name at least one teacher")
        return value

    @model_validator(mode="after")
    def _features_are_of_one_teacher(self) -> DistillSpec:
        if self.features and len(self.teachers) > 1:
            raise mistake_at(("features",), f"are those of one teacher, and there are {len(self.teachers)}")
        return self


def circle(of: Mapping[str, Sequence[str]]) -> list[str]:
    """Names each of which learns from the next, the last from the first; none where there is no such circle.

    `of` has for each variant of a file the variants that it learns from.
    """
    over: set[str] = set()

    def follow(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name in over:
            return []
        found = next((found for other in of[name] if (found := follow(other, [*way, name]))), [])
        over.add(name)
        return found

    return next((found for name in of if (found := follow(name, []))), [])
