"""Optimizers that measure curvature part by part: of layers, or of single weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from nnopt.spec.optimizers.base import OptimizerSpec

if TYPE_CHECKING:
    from torch import nn

    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters

WEIGHT_DECAY = "decoupled: θ ← (1 − ηλ)θ before each step"
PROBE = "the random z of the estimate z ⊙ Hz of the Hessian's diagonal: signs, or normal numbers"
PROBES = "how many z an estimate is the mean of; each costs about two passes"


class Kfac(OptimizerSpec):
    """Natural gradient, the Fisher matrix of each layer a Kronecker product.

    The layers are dense ones and convolutions without groups, whose weights belong to no other layer; all other
    parameters (norms, embeddings, recurrent layers) take SGD's step with the same rate and momentum. The Fisher matrix
    is the true one: of targets drawn from the model's answers. A layer that works at several places (of an image, of
    a text) has the mean over the places in its factors.
    """

    kind: Literal["kfac"]
    momentum: float = Field(0.9, ge=0, lt=1, description="share of the last step that is kept, μ")
    damping: float = Field(
        0.03, gt=0, le=1e10, description="λ, added to each layer's Fisher matrix, parted between its factors"
    )
    average: float = Field(0.95, ge=0, lt=1, description="the most that the factors' old averages weigh, ρ")
    kl_clip: float | None = Field(
        1e-3,
        gt=0,
        description="κ: steps are shortened to where they are predicted to change the model's distribution so much; "
        "none: not at all",
    )
    update_every: int = Field(
        10, ge=1, description="steps from one measurement of the factors to the next; each costs a pass"
    )
    invert_every: int = Field(10, ge=1, description="steps from one inversion of the factors to the next")
    weight_decay: float = Field(0.0, ge=0, description=WEIGHT_DECAY)

    flat: ClassVar[bool] = False
    evaluations_vary: ClassVar[bool] = True
    needs_curvature: ClassVar[bool] = True
    recordable: ClassVar[bool] = False
    draws_targets: ClassVar[bool] = True
    losses: ClassVar[tuple[str, ...] | None] = ("cross_entropy", "bce", "mse")
    cannot: ClassVar[Mapping[str, str]] = {"rosenbrock": "it is for layers, and two numbers are none"}
    year: ClassVar[int | None] = 2015
    formula: ClassVar[str] = (
        "U = (G + √λ/π I)⁻¹ ∇W (A + π√λ I)⁻¹, A = mean aaᵀ, G = mean ggᵀ, π² = (tr A/dim A)/(tr G/dim G); "
        "ν = min(1, √(κ/(η² Σ U·∇W))); v ← μv + νU; W ← W − ηv"
    )
    source: ClassVar[str] = (
        "Martens & Grosse 2015, arXiv:1503.05671; Grosse & Martens 2016, arXiv:1602.01407 (convolutions); "
        "Ba, Grosse & Martens 2017 (κ)"
    )

    def check_network(self, network: nn.Module, parameters: Parameters) -> None:
        """As `AnyOptimizerSpec.check_network`."""
        from nnopt.optim import kfac

        kfac.layers_in(network, parameters)

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import kfac

        settings = kfac.KfacSettings(
            damping=self.damping,
            momentum=self.momentum,
            average=self.average,
            kl_clip=self.kl_clip,
            update_every=self.update_every,
            invert_every=self.invert_every,
            weight_decay=self.weight_decay,
        )
        return kfac.Kfac(parameters, settings)


class AdaHessian(OptimizerSpec):
    """Adam with an estimate of the Hessian's diagonal in place of the gradient in the second moment."""

    kind: Literal["adahessian"]
    beta1: float = Field(0.9, ge=0, lt=1, description="weight of the old average of the gradient, β₁")
    beta2: float = Field(0.999, ge=0, lt=1, description="weight of the old average of the diagonal's square, β₂")
    eps: float = Field(1e-4, gt=0, description="ε, keeps the divisor from 0; its authors' code has 1e-4")
    power: float = Field(1.0, gt=0, le=1, description="how far the diagonal is heeded, k")
    spatial_averaging: bool = Field(True, description="one curvature for all entries of a convolution's kernel")
    update_every: int = Field(1, ge=1, description="steps from one estimate of the diagonal to the next")
    probe: Literal["rademacher", "gaussian"] = Field("rademacher", description=PROBE)
    probes: int = Field(1, ge=1, le=1000, description=PROBES)
    weight_decay: float = Field(0.0, ge=0, description=WEIGHT_DECAY)

    evaluations_vary: ClassVar[bool] = True
    needs_curvature: ClassVar[bool] = True
    recordable: ClassVar[bool] = False
    # A mean absolute error curves in no weight of a last layer: ε alone would set how far it goes there.
    losses: ClassVar[tuple[str, ...] | None] = ("mse", "huber", "cross_entropy", "bce", "multitask", "objective")
    year: ClassVar[int | None] = 2021
    formula: ClassVar[str] = (
        "D ≈ diag H from z ⊙ Hz; m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)D²; m̂ = m/(1−β₁ᵗ); v̂ = v/(1−β₂ˢ) after s "
        "estimates; θ ← θ − ηm̂/(v̂^{k/2}+ε)"
    )
    source: ClassVar[str] = "Yao et al. 2021, arXiv:2006.00719"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import adahessian, hutchinson

        return hutchinson.HutchinsonOptimizer(
            adahessian.AdaHessian(self.beta1, self.beta2, self.eps, self.power),
            parameters,
            self.kind,
            update_every=self.update_every,
            probes=self.probes,
            probe=self.probe,
            weight_decay=self.weight_decay,
            averages_kernels=self.spatial_averaging,
        )


class Sophia(OptimizerSpec):
    """The mean gradient over an estimate of the Hessian's diagonal, each entry at most ρ (Sophia-H)."""

    kind: Literal["sophia"]
    beta1: float = Field(0.96, ge=0, lt=1, description="weight of the old average of the gradient, β₁")
    beta2: float = Field(0.99, ge=0, lt=1, description="weight of the old average of the diagonal, β₂")
    gamma: float = Field(0.01, gt=0, description="what the curvature is multiplied by, γ: more clips less")
    eps: float = Field(1e-12, gt=0, description="ε, the least divisor")
    clip: float = Field(1.0, gt=0, description="the longest step of a weight in units of η, ρ")
    update_every: int = Field(10, ge=1, description="steps from one estimate of the diagonal to the next, k")
    probe: Literal["rademacher", "gaussian"] = Field("gaussian", description=PROBE)
    probes: int = Field(1, ge=1, le=1000, description=PROBES)
    weight_decay: float = Field(0.0, ge=0, description=WEIGHT_DECAY)

    evaluations_vary: ClassVar[bool] = True
    needs_curvature: ClassVar[bool] = True
    recordable: ClassVar[bool] = False
    year: ClassVar[int | None] = 2023
    formula: ClassVar[str] = (
        "D ≈ diag H from z ⊙ Hz every k steps; m ← β₁m + (1−β₁)g; h ← β₂h + (1−β₂)D; θ ← θ − η·clip(m/max(γh, ε), ρ)"
    )
    source: ClassVar[str] = "Liu et al. 2023, arXiv:2305.14342, Algorithm 3 with Hutchinson's estimate"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import hutchinson, sophia

        return hutchinson.HutchinsonOptimizer(
            sophia.Sophia(self.beta1, self.beta2, self.gamma, self.eps, self.clip),
            parameters,
            self.kind,
            update_every=self.update_every,
            probes=self.probes,
            probe=self.probe,
            weight_decay=self.weight_decay,
        )


MEMBERS: tuple[type[OptimizerSpec], ...] = (Kfac, AdaHessian, Sophia)
