"""How settings are proposed: the union `search.sampler`. Every default is written out, as libraries change theirs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from nnopt.spec.base import Kinds, KindSpec


class SamplerSpec(KindSpec):
    """A way to propose settings.

    `learns`: proposals depend on the results of earlier trials; `numbers_only`: of no use for choices and conditions;
    `one_objective`: learns from one number a trial alone.
    """

    learns: ClassVar[bool] = False
    numbers_only: ClassVar[bool] = False
    one_objective: ClassVar[bool] = False


class Grid(SamplerSpec):
    """Every combination of the `points` of each key, in the order of the file: the last key changes fastest."""

    kind: Literal["grid"]


class Random(SamplerSpec):
    """Independent draws, uniform over each key's values."""

    kind: Literal["random"]
    source = "Bergstra and Bengio 2012, Random search for hyper-parameter optimization, JMLR 13"
    seed: int = Field(0, ge=0, description="of the draws; trial n of every variant lies at the same place")


class QuasiRandom(SamplerSpec):
    """Points that fill the space more evenly than chance: the first n of them are spread well for every n."""

    kind: Literal["quasi_random"]
    source = "Sobol 1967; Owen 1998, Scrambling Sobol' and Niederreiter-Xing points; Halton 1960"
    sequence: Literal["sobol", "halton"] = Field("sobol", description="which points")
    scramble: bool = Field(
        True, description="shuffle their digits by the seed; without it all begin at the same corner"
    )
    seed: int = Field(0, ge=0, description="of the scrambling")


class Tpe(SamplerSpec):
    """Tree-structured Parzen estimator: draws where good trials lie densely and bad ones do not (Optuna's)."""

    kind: Literal["tpe"]
    learns = True
    source = "Bergstra et al. 2011, Algorithms for hyper-parameter optimization; Watanabe 2023, arXiv:2304.11127"
    startup_trials: int = Field(10, ge=1, description="trials at random before results are used")
    candidates: int = Field(24, ge=1, description="draws of which the most promising is proposed")
    prior_weight: float = Field(1.0, gt=0, description="weight of the uniform law beside one of each trial")
    multivariate: bool = Field(True, description="keys together, and not each for itself")
    seed: int = Field(0, ge=0, description="of the draws")


class CmaEs(SamplerSpec):
    """Covariance matrix adaptation: a normal law over the whole space that moves and stretches by generations."""

    kind: Literal["cma_es"]
    learns = True
    numbers_only = True
    one_objective = True
    source = "Hansen 2016, The CMA evolution strategy: a tutorial, arXiv:1604.00772"
    sigma: float = Field(0.25, gt=0, le=1, description="width at the beginning, as a share of each range")
    population: int | None = Field(None, ge=4, description="trials a generation; default 4 + 3 log(keys)")
    seed: int = Field(0, ge=0, description="of the draws")


SAMPLERS = Kinds("sampler", SamplerSpec, (Grid, Random, QuasiRandom, Tpe, CmaEs))
