"""When a trial is cut short: the union `search.prune`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nnopt.spec.base import Kinds, KindSpec


class PrunerSpec(KindSpec):
    """A rule that ends trials which fall behind, at their evaluations."""


class SuccessiveHalving(PrunerSpec):
    """After 1, r, r², ... evaluations only the best of every r trials that came so far goes on (asynchronous)."""

    kind: Literal["successive_halving"]
    source = "Li et al. 2020, A system for massively parallel hyperparameter tuning, arXiv:1810.05934"
    reduction: int = Field(3, ge=2, description="r: one of so many goes on")
    first: int = Field(1, ge=1, description="evaluations before the first cut")


class Median(PrunerSpec):
    """A trial ends whose best value so far is worse than the median of finished trials at the same evaluation."""

    kind: Literal["median"]
    source = "Golovin et al. 2017, Google Vizier: a service for black-box optimization, KDD"
    startup_trials: int = Field(5, ge=1, description="trials that are not cut, so that there is a median")
    warmup: int = Field(1, ge=0, description="evaluations of every trial at which it is not cut")


PRUNERS = Kinds("pruner", PrunerSpec, (SuccessiveHalving, Median))
