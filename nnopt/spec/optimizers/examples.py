"""A spec of each optimizer to begin with: few keys, with which a perceptron of digits learns."""

from __future__ import annotations

from typing import Any

from nnopt.errors import UsageError
from nnopt.spec.optimizers.base import AnyOptimizerSpec

# Kind -> the keys that it requires, or hardly learns without. They are where a search may start, not what is best.
STARTS: dict[str, dict[str, Any]] = {
    "gd": {"lr": 0.5},
    "sgd": {"lr": 0.3},
    "momentum": {"lr": 0.5},
    "norm_adaptive": {"lr": 0.3},
    "adagrad": {"lr": 0.05},
    "rmsprop": {"lr": 0.003},
    "adam": {"lr": 0.01},
    "adamw": {"lr": 0.01},
    "nadam": {"lr": 0.01},
    "radam": {"lr": 0.03},
    "adadelta": {"lr": 1.0},
    "adamax": {"lr": 0.01},
    "adafactor": {"lr": 0.03},
    "lbfgs": {"lr": 0.5},
    "muon": {"lr": 0.02},
    "kfac": {"lr": 0.03},
    "adahessian": {"lr": 0.03},
    "sophia": {"lr": 0.003},
    "lion": {"lr": 0.003},
    "adan": {"lr": 0.01},
    "lamb": {"lr": 0.01},
    "lars": {"lr": 0.1, "trust": 0.1},
    "ademamix": {"lr": 0.01},
    "mars": {"lr": 0.01},
    "soap": {"lr": 0.01},
    "shampoo": {"lr": 0.1},
    "schedule_free_sgd": {"lr": 1.0},
    "schedule_free_adamw": {"lr": 0.01},
    # Without these their guess of the distance grows by so much within the first steps that units die.
    "prodigy": {"bias_correction": True},
    "dadapt_sgd": {"growth_rate": 1.1},
    "dadapt_adam": {"growth_rate": 1.1},
    "sam": {"base": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}},
    "lookahead": {"base": {"kind": "adam", "lr": 0.01}},
}
RATE = 1e-3  # of an optimizer of one's own


def example(part: type[AnyOptimizerSpec], name: str) -> dict[str, Any]:
    """Keys that make an optimizer `name` of the class `part`, with which it learns.

    Raises:
        UsageError: one of another package that requires keys besides `lr`.
    """
    required = [key for key, field in part.model_fields.items() if field.is_required() and key != "kind"]
    known = STARTS.get(part.kind_name() or "", {"lr": RATE})
    unknown = [key for key in required if key not in known]
    if unknown:
        raise UsageError(f"optimizer {name} requires {', '.join(unknown)}: give it a default, so that it can be tried")
    return {"kind": name, **{key: value for key, value in known.items() if key in part.model_fields}}
