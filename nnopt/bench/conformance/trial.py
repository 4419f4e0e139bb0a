"""An optimizer at work on a small network, with the backward pass of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import functional_call

from nnopt.bench.kinds import part_of
from nnopt.data.feed import Batch
from nnopt.losses.loss import Loss
from nnopt.optim.optimizer import Finite, Optimizer
from nnopt.optim.parameters import FlatParameters, Parameters, SeparateParameters
from nnopt.spec.experiment import RunSettings
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.examples import example
from nnopt.train.devices import autocast
from nnopt.train.grouping import named_apart, named_groups
from nnopt.train.parallel.team import Team
from nnopt.train.parallel.together import Together
from nnopt.train.step import Pass

CPU = torch.device("cpu")


@dataclass
class Trial:
    """A network in training."""

    spec: AnyOptimizerSpec
    model: nn.Module
    parameters: Parameters
    optimizer: Optimizer
    backward: Pass

    @classmethod
    def begin(cls, spec: AnyOptimizerSpec, model: nn.Module, loss: Loss, precision: str = "fp32") -> Trial:
        """The optimizer on the parameters of `model`, laid out and grouped as in a run.

        Raises:
            UsageError: it does not take such a model.
        """
        inner = spec.inner
        layout = FlatParameters if inner.flat else SeparateParameters
        groups = [named.group for named in named_groups(inner, model)]
        parameters = layout(model, (), groups, named_apart(inner, model))
        backward = Pass(
            model=model,
            loss_function=loss,
            parameters=parameters,
            autocast=autocast(precision, CPU),
            l1=0.0,
            l2=0.0,
            clip_norm=None,
            clip_value=None,
            accumulate=1,
            scaler=None,
            objective_needed=spec.evaluations_vary,
            curvature_needed=spec.inner.needs_curvature,
            seed=0,
            together=Together(Team()),
        )
        return cls(spec, model, parameters, spec.build(parameters), backward)

    def update(self, inputs: Tensor, targets: Tensor, multiplier: float = 1.0, finite: Finite | None = None) -> None:
        """One step on this batch, at the spec's rate times `multiplier`."""
        self.backward.begin(Batch(inputs, targets, None, len(inputs)), norm_wanted=False)
        self.optimizer.step(self.backward, self.spec.peak_lr * multiplier, finite)

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """What the network answers with the weights that are to be judged."""
        shown = self.optimizer.shown()
        values: list[Tensor] = self.parameters.values if shown is None else shown
        found: Tensor = functional_call(self.model, dict(self.parameters.named(values)), (inputs,))
        return found

    def weights(self) -> list[Tensor]:
        """Copies of the parameters in the order of their names."""
        named = sorted(self.model.named_parameters())
        return [parameter.detach().clone() for _, parameter in named]

    def is_finite(self) -> bool:
        """Whether all weights are, those that train and those that are judged."""
        shown = self.optimizer.shown() or []
        return all(bool(tensor.isfinite().all()) for tensor in (*self.parameters.values, *shown))


def keys_of(kind: str, **inner: Any) -> dict[str, Any]:
    """Keys that make it, as few as there may be, with `inner` for the optimizer that lies on the parameters.

    Raises:
        UsageError: there is no such optimizer, or it requires keys that nothing is known of.
    """
    keys = example(part_of(kind), kind)
    if "base" in keys:
        return {**keys, "base": {**keys["base"], **inner}}
    return {**keys, **inner}


def spec_of(keys: dict[str, Any]) -> AnyOptimizerSpec:
    """The spec of these keys.

    Raises:
        ValidationError: they do not go together.
    """
    found = part_of(keys["kind"]).model_validate(keys)
    assert isinstance(found, AnyOptimizerSpec)
    return found


def in_words(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def refusal(keys: dict[str, Any], loss: str, precision: str = "fp32") -> str | None:
    """Why a run refuses this optimizer with such a loss and precision; None where it takes it."""
    part = part_of(keys["kind"])
    size: str | int = "full" if part.needs_full_batch else 64
    try:
        RunSettings.model_validate(
            {
                "data": {"kind": "digits"},
                "model": {"kind": "mlp", "hidden": [8]},
                "loss": {"kind": loss},
                "optimizer": keys,
                "strategy": {"batch_size": size, "precision": precision},
                "budget": {"epochs": 1},
                "device": "cpu",
            }
        )
    except ValidationError as error:
        return str(error.errors(include_url=False)[0]["msg"])
    return None
