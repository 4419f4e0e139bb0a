"""`structure.distill`: one or several trained networks that the network learns from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nnopt.spec.base import Items, Spec
from nnopt.spec.models import MODELS, ModelSpec


class TeacherSpec(Spec):
    """A trained network."""

    run: str | None = Field(
        None, description="a RUN: folder, experiment/variant/seed-k, or a tail of it; {seed} stands for the run's seed"
    )
    weights: str = Field("best", pattern="^(best|last)$", description="which weights of the run: best or last")
    checkpoint: str | None = Field(None, description="a file of weights instead, as torch.save writes a state_dict")
    model: Annotated[ModelSpec, MODELS] | None = Field(None, description="the model that such a file belongs to")


class FeatureSpec(Spec):
    """A layer whose outputs should come near to those of a layer of the teacher."""

    student: str = Field(description="name of the layer in the network that learns (`nnopt show RUN --layers`)")
    teacher: str = Field(description="name of the layer in the teacher")
    weight: float = Field(1.0, gt=0, description="what their distance counts")
    match: Literal["similarities", "values"] = Field(
        "similarities", description="similarities between the samples of a batch, for layers of any size; or values"
    )


class DistillSpec(Spec):
    """A teacher's answers as targets beside the true ones."""

    formula: ClassVar[str] = "(1 − α)·J + α·T²·KL(softmax(t/T) ‖ softmax(z/T)) + Σ β·d(f_z, f_t)"
    source: ClassVar[str] = (
        "Hinton et al. 2015, arXiv:1503.02531; values: Romero et al. 2015, arXiv:1412.6550; "
        "similarities: Tung & Mori 2019, arXiv:1907.09682"
    )

    teachers: Items[TeacherSpec] = Field(min_length=1, description="their softened answers are averaged")
    temperature: float = Field(4.0, gt=0, lt=1e4, description="T, by which logits are divided")
    weight: float = Field(0.9, ge=0, le=1, description="α, the share of the teachers in the loss")
    features: Items[FeatureSpec] = Field((), description="layers to match besides; of a single teacher")
