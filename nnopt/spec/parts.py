"""All parts that a spec is made of, for `nnopt parts`: each with its keys, defaults, formula and source."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from nnopt.errors import UsageError
from nnopt.spec.averages import AVERAGES
from nnopt.spec.base import Kinds, KindSpec, Spec
from nnopt.spec.cluster import ClusterSpec
from nnopt.spec.data.augment import AUGMENTS
from nnopt.spec.data.sampling import SAMPLINGS
from nnopt.spec.data.splits import SPLITS
from nnopt.spec.data.synthetic import LANDSCAPES, PROBLEMS
from nnopt.spec.data.union import DATA
from nnopt.spec.evaluation import CheckpointSpec, EvaluationSpec, LoggingSpec
from nnopt.spec.experiment import ExperimentSpec
from nnopt.spec.losses import LOSSES
from nnopt.spec.lr_decay import LR_DECAYS
from nnopt.spec.model_shapes import CnnBlock, CnnShape, MlpShape, NinBlockSpec, NinShape
from nnopt.spec.models import MODELS
from nnopt.spec.nearest import nearest
from nnopt.spec.optimizers.union import OPTIMIZERS
from nnopt.spec.parallel import PARALLEL
from nnopt.spec.parameter_groups import ParameterGroupSpec
from nnopt.spec.search.domains import Choice, IntRange, LinearRange, LogRange
from nnopt.spec.search.pruners import PRUNERS
from nnopt.spec.search.samplers import SAMPLERS
from nnopt.spec.search.search import ConfirmSpec, LimitsSpec, ObjectiveSpec, SearchSpec
from nnopt.spec.strategy import StrategySpec
from nnopt.spec.structure.distill import DistillSpec, FeatureSpec, TeacherSpec
from nnopt.spec.structure.low_rank import LowRankSpec
from nnopt.spec.structure.prune import PRUNE_SCHEDULES, PRUNERS_OF_STRUCTURE, RewindSpec
from nnopt.spec.structure.quantise import QUANTISERS
from nnopt.spec.structure.structure import StructureSpec
from nnopt.spec.timing import Budget
from nnopt.spec.transfer import InitFromSpec, Moment, UnfreezeSpec
from nnopt.spec.tuned import TunedSpec

UNIONS: dict[str, Kinds] = {
    "data": DATA,
    "split": SPLITS,
    "augment": AUGMENTS,
    "sampling": SAMPLINGS,
    "problem": PROBLEMS,
    "function": LANDSCAPES,
    "model": MODELS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "lr_decay": LR_DECAYS,
    "average": AVERAGES,
    "parallel": PARALLEL,
    "prune": PRUNERS_OF_STRUCTURE,
    "prune_schedule": PRUNE_SCHEDULES,
    "quantise": QUANTISERS,
    "sampler": SAMPLERS,
    "pruner": PRUNERS,
}
MAPPINGS: dict[str, type[Spec]] = {
    "experiment": ExperimentSpec,
    "cluster": ClusterSpec,
    "hidden": MlpShape,
    "block": CnnBlock,
    "blocks": CnnShape,
    "nin_block": NinBlockSpec,
    "nin_blocks": NinShape,
    "init_from": InitFromSpec,
    "unfreeze": UnfreezeSpec,
    "moment": Moment,
    "group": ParameterGroupSpec,
    "strategy": StrategySpec,
    "structure": StructureSpec,
    "low_rank": LowRankSpec,
    "rewind": RewindSpec,
    "distill": DistillSpec,
    "teacher": TeacherSpec,
    "feature": FeatureSpec,
    "budget": Budget,
    "evaluation": EvaluationSpec,
    "checkpoint": CheckpointSpec,
    "logging": LoggingSpec,
    "tuned": TunedSpec,
    "search": SearchSpec,
    "objective": ObjectiveSpec,
    "limits": LimitsSpec,
    "confirm": ConfirmSpec,
    "log": LogRange,
    "range": LinearRange,
    "int": IntRange,
    "choice": Choice,
}


@dataclass(frozen=True)
class Key:
    """One key of a part."""

    name: str
    type: str
    default: str
    description: str


def find_part(kind: str, name: str) -> type[KindSpec]:
    """The part `name` of the union `kind`; `name` may be a plug-in's path.

    Raises:
        UsageError: no such union or part.
    """
    if kind not in UNIONS:
        known = [*UNIONS, *MAPPINGS]
        raise UsageError(f"no kind of part is called '{kind}'{nearest(kind, known)}; there are {', '.join(known)}")
    try:
        return UNIONS[kind].find(name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def keys_of(part: type[Spec]) -> list[Key]:
    """The keys of a part in their order, `kind` left out."""
    return [
        Key(name, type_in_words(field), default_in_words(field), field.description or "")
        for name, field in part.model_fields.items()
        if name != "kind"
    ]


def first_line(part: type[Spec]) -> str:
    """The description of a part."""
    return (part.__doc__ or "").strip().split("\n")[0]


def default_in_words(field: FieldInfo) -> str:
    """The default as YAML writes it; `required` where there is none."""
    if field.is_required():
        return "required"
    return _as_yaml(field.get_default(call_default_factory=True))


def type_in_words(field: FieldInfo) -> str:
    """The type with its bounds: `number > 0`, `list of whole numbers`, `one of none, batch, layer`."""
    bounds = []
    for item in field.metadata:
        for attribute, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
            limit = getattr(item, attribute, None)
            if limit is not None:
                bounds.append(f"{sign} {limit:g}")
    return " ".join([_type(field.annotation), " and ".join(bounds)]).strip()


def _type(annotation: Any, many: bool = False) -> str:
    plain = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    plural = {int: "whole numbers", float: "numbers", str: "texts"}
    if annotation in plain:
        return plural.get(annotation, plain[annotation]) if many else plain[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}" if len(args) > 1 else str(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_type(item, many) for item in args if item is not type(None))
    if origin is tuple:
        return f"list of {_type(args[0], many=True)}"
    if origin is dict:
        return "mapping of names"
    if isinstance(annotation, type) and issubclass(annotation, KindSpec):
        return "a kind of its own"
    if origin is not None and hasattr(annotation, "__metadata__"):
        return _type(annotation.__origin__, many)
    return "mapping" + ("s" if many else "")


def _as_yaml(value: Any) -> str:
    if isinstance(value, Spec):
        items = {name: getattr(value, name) for name in type(value).model_fields}
        shown = {
            name: item for name, item in items.items() if item is not None and (name == "kind" or _differs(value, name))
        }
        return "{" + ", ".join(f"{name}: {_as_yaml(item)}" for name, item in shown.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_as_yaml, value)) + "]"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"


def _differs(spec: Spec, name: str) -> bool:
    field = type(spec).model_fields[name]
    return field.is_required() or getattr(spec, name) != field.get_default(call_default_factory=True)
