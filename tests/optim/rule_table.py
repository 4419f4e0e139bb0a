"""The table of the project's own rules: each with its twin and hyperparameters that hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from nnopt.optim.adagrad import Adagrad, adagrad_slowly
from nnopt.optim.adam import Adam, adam_slowly
from nnopt.optim.gradient_descent import GradientDescent, gradient_descent_slowly
from nnopt.optim.momentum import Momentum, momentum_slowly
from nnopt.optim.norm_adaptive import NormAdaptive, norm_adaptive_slowly
from nnopt.optim.optimizer import Rule
from nnopt.optim.rmsprop import RmsProp, rmsprop_slowly

BETA = st.sampled_from([0.0, 0.5, 0.9, 0.999])
EPS = st.sampled_from([1e-8, 1e-3])
EPSILON = st.sampled_from(["inside", "outside"])


@dataclass(frozen=True)
class Row:
    """A rule, its twin, and what both are built with; `kinds` are the specs that build it."""

    rule: Callable[..., Rule]
    twin: Callable[..., Iterator[Any]]
    options: dict[str, st.SearchStrategy[Any]]
    kinds: tuple[str, ...]


RULES = (
    Row(
        GradientDescent,
        gradient_descent_slowly,
        {"momentum": BETA, "nesterov": st.booleans()},
        ("gd", "sgd"),
    ),
    Row(Momentum, momentum_slowly, {"beta": BETA}, ("momentum",)),
    Row(NormAdaptive, norm_adaptive_slowly, {"beta": st.sampled_from([0.0, 0.1, 10.0])}, ("norm_adaptive",)),
    Row(Adagrad, adagrad_slowly, {"eps": EPS, "epsilon": EPSILON}, ("adagrad",)),
    Row(
        RmsProp,
        rmsprop_slowly,
        {"beta": BETA, "eps": EPS, "epsilon": EPSILON, "centered": st.booleans(), "momentum": BETA},
        ("rmsprop",),
    ),
    Row(Adam, adam_slowly, {"beta1": BETA, "beta2": BETA, "eps": EPS, "amsgrad": st.booleans()}, ("adam",)),
)
