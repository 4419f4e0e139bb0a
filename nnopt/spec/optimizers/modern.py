"""Optimizers of the last years: by sign, by layer, by reduced variance, by matrices.

Lion and Shampoo are nnopt's own rules; the others are those of the package pytorch-optimizer (Apache-2.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from nnopt.spec.optimizers.base import AnyOptimizerSpec, OptimizerSpec

if TYPE_CHECKING:
    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters

DECOUPLED = "decoupled: θ ← (1 − ηλ)θ at each step"
GRADIENT = "weight of the old average of the gradient, β₁"
SQUARE = "weight of the old average of its square, β₂"
EPS = "ε, keeps the divisor from 0"


class ContributedSpec(OptimizerSpec):
    """One of the package pytorch-optimizer."""

    recordable: ClassVar[bool] = False

    overwrites_gradients: ClassVar[bool] = False
    """Whether the package's class computes its step in the gradients' memory."""

    def _build(self, name: str, parameters: Parameters, **options: Any) -> Optimizer:
        from nnopt.optim.contributed import contributed, keeping_gradients
        from nnopt.optim.optimizer import TorchOptimizer

        # Some of them divide by the number of entries.
        values = parameters.for_torch(lambda value: value.numel() > 0)
        optimizer = contributed(name, self.kind)(values, lr=self.lr, **options)
        return TorchOptimizer(keeping_gradients(optimizer) if self.overwrites_gradients else optimizer)


class Lion(OptimizerSpec):
    """Steps of one length in every weight, along the sign of an average of the gradient."""

    kind: Literal["lion"]
    beta1: float = Field(0.9, ge=0, lt=1, description="weight of the average in the step's direction, β₁")
    beta2: float = Field(0.99, ge=0, lt=1, description="weight of the old average, β₂")
    weight_decay: float = Field(0.0, ge=0, description="decoupled: θ ← (1 − ηλ)θ before each step")

    year: ClassVar[int | None] = 2023
    formula: ClassVar[str] = "θ ← θ − η·sign(β₁m + (1−β₁)g); m ← β₂m + (1−β₂)g"
    source: ClassVar[str] = "Chen et al. 2023, arXiv:2302.06675"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        from nnopt.optim import lion, optimizer

        return optimizer.RuleOptimizer(lion.Lion(self.beta1, self.beta2), parameters, self.weight_decay)


class Adan(ContributedSpec):
    """Adam with Nesterov's momentum, which an average of the gradient's changes stands for."""

    kind: Literal["adan"]
    beta1: float = Field(0.98, ge=0, lt=1, description=f"{GRADIENT}; 1 − β₁ in the paper")
    beta2: float = Field(0.92, ge=0, lt=1, description="weight of the old average of its changes, β₂")
    beta3: float = Field(0.99, ge=0, lt=1, description="weight of the old average of the look-ahead's square, β₃")
    eps: float = Field(1e-8, gt=0, description=EPS)
    weight_decay: float = Field(0.0, ge=0, description=DECOUPLED)

    year: ClassVar[int | None] = 2022
    formula: ClassVar[str] = (
        "m ← β₁m + (1−β₁)g; u ← β₂u + (1−β₂)(g−g'); n ← β₃n + (1−β₃)(g+β₂(g−g'))²; θ ← θ − η(m̂+β₂û)/(√n̂+ε), "
        "g' the gradient before"
    )
    source: ClassVar[str] = "Xie et al. 2022, arXiv:2208.06677; pytorch_optimizer.Adan"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        betas = (self.beta1, self.beta2, self.beta3)
        options = {"betas": betas, "eps": self.eps, "weight_decay": self.weight_decay, "weight_decouple": True}
        return self._build("Adan", parameters, **options)


class Lamb(ContributedSpec):
    """Adam whose step in each layer is as long as the layer's weights: for very large batches."""

    kind: Literal["lamb"]
    beta1: float = Field(0.9, ge=0, lt=1, description=GRADIENT)
    beta2: float = Field(0.999, ge=0, lt=1, description=SQUARE)
    eps: float = Field(1e-6, gt=0, description=EPS)
    weight_decay: float = Field(0.0, ge=0, description="λ, added to the step as λθ before it gets its length")

    flat: ClassVar[bool] = False
    year: ClassVar[int | None] = 2020
    formula: ClassVar[str] = (
        "m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; u = m/(√v+ε) + λθ; θ ← θ − η/(1−β₁ᵗ) · min(‖θ‖, 10)/‖u‖ · u, by layer"
    )
    source: ClassVar[str] = "You et al. 2020, arXiv:1904.00962; pytorch_optimizer.Lamb"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        options = {"betas": (self.beta1, self.beta2), "eps": self.eps, "weight_decay": self.weight_decay}
        return self._build("Lamb", parameters, weight_decouple=False, **options)


class Lars(ContributedSpec):
    """Momentum whose step in each layer is in proportion to the layer's weights: for very large batches."""

    kind: Literal["lars"]
    momentum: float = Field(0.9, ge=0, lt=1, description="share of the last step that is kept, μ")
    nesterov: bool = Field(False, description="look ahead along the momentum")
    trust: float = Field(1e-3, gt=0, description="how far the weights of a layer trust its gradient, ρ")
    weight_decay: float = Field(0.0, ge=0, description="λ, added to the gradients of matrices and kernels as λθ")

    overwrites_gradients: ClassVar[bool] = True
    flat: ClassVar[bool] = False
    year: ClassVar[int | None] = 2017
    formula: ClassVar[str] = (
        "r = ρ‖θ‖/(‖g‖+λ‖θ‖) of matrices and kernels, 1 of vectors; v ← μv + r(g+λθ); θ ← θ − ηv, by layer"
    )
    source: ClassVar[str] = "You, Gitman & Ginsburg 2017, arXiv:1708.03888; pytorch_optimizer.LARS"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        options = {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}
        return self._build("LARS", parameters, trust_coefficient=self.trust, **options)


class AdEMAMix(ContributedSpec):
    """Adam with a second, much slower average of the gradient beside the first."""

    kind: Literal["ademamix"]
    beta1: float = Field(0.9, ge=0, lt=1, description=GRADIENT)
    beta2: float = Field(0.999, ge=0, lt=1, description=SQUARE)
    beta3: float = Field(0.9999, ge=0, lt=1, description="weight of the slow average, β₃")
    alpha: float = Field(5.0, ge=0, description="how much the slow average counts, α")
    rise: int | None = Field(None, gt=0, description="steps over which α and β₃ rise to their values; null: at once")
    eps: float = Field(1e-8, gt=0, description=EPS)
    weight_decay: float = Field(0.0, ge=0, description=DECOUPLED)

    year: ClassVar[int | None] = 2024
    formula: ClassVar[str] = "m ← β₁m + (1−β₁)g; s ← β₃s + (1−β₃)g; v ← β₂v + (1−β₂)g²; θ ← θ − η(m̂ + αs)/(√v̂+ε)"
    source: ClassVar[str] = "Pagliardini, Ablin & Grangier 2024, arXiv:2409.03137; pytorch_optimizer.AdEMAMix"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        options = {"eps": self.eps, "weight_decay": self.weight_decay, "weight_decouple": True, "alpha": self.alpha}
        betas = (self.beta1, self.beta2, self.beta3)
        return self._build("AdEMAMix", parameters, betas=betas, t_alpha_beta3=self.rise, **options)


class Mars(ContributedSpec):
    """AdamW on gradients whose noise is lowered by those of the step before."""

    kind: Literal["mars"]
    beta1: float = Field(0.95, ge=0, lt=1, description=GRADIENT)
    beta2: float = Field(0.99, ge=0, lt=1, description=SQUARE)
    gamma: float = Field(0.025, ge=0, description="how much of the change since the step before is added, γ")
    eps: float = Field(1e-8, gt=0, description=EPS)
    weight_decay: float = Field(0.0, ge=0, description=DECOUPLED)

    flat: ClassVar[bool] = False
    year: ClassVar[int | None] = 2024
    formula: ClassVar[str] = (
        "c = g + γβ₁/(1−β₁)·(g−g'), no longer than 1 in each layer, g' the gradient before; m ← β₁m + (1−β₁)c; "
        "v ← β₂v + (1−β₂)c²; θ ← θ − ηm̂/(√v̂+ε)"
    )
    source: ClassVar[str] = "Yuan et al. 2024, arXiv:2411.10438; pytorch_optimizer.MARS, vectors treated as matrices"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        options = {"eps": self.eps, "weight_decay": self.weight_decay, "gamma": self.gamma, "optimize_1d": True}
        return self._build("MARS", parameters, betas=(self.beta1, self.beta2), **options)


class Soap(ContributedSpec):
    """Adam in the eigenvectors of Shampoo's matrices."""

    kind: Literal["soap"]
    beta1: float = Field(0.95, ge=0, lt=1, description=GRADIENT)
    beta2: float = Field(0.95, ge=0, lt=1, description=f"{SQUARE}, and of Shampoo's matrices")
    eps: float = Field(1e-8, gt=0, description=EPS)
    update_every: int = Field(10, gt=0, description="steps from one turn of the eigenvectors to the next")
    max_size: int = Field(10_000, gt=0, description="a dimension that is longer is not turned")
    weight_decay: float = Field(0.01, ge=0, description=DECOUPLED)

    flat: ClassVar[bool] = False
    year: ClassVar[int | None] = 2024
    formula: ClassVar[str] = (
        "L ← β₂L + (1−β₂)GGᵀ, R likewise of GᵀG; Q their eigenvectors; G' = Q_LᵀGQ_R; a step of adam on G', turned "
        "back; vectors as they are; the first gradient only begins L and R"
    )
    source: ClassVar[str] = "Vyas et al. 2024, arXiv:2409.11321; pytorch_optimizer.SOAP"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        options = {"eps": self.eps, "weight_decay": self.weight_decay, "max_precondition_dim": self.max_size}
        betas = (self.beta1, self.beta2)
        return self._build("SOAP", parameters, betas=betas, precondition_frequency=self.update_every, **options)


class Shampoo(OptimizerSpec):
    """AdaGrad with a matrix for each dimension of a weight, in place of a number for each entry."""

    kind: Literal["shampoo"]
    momentum: float = Field(0.9, ge=0, lt=1, description="share of the last step that is kept, μ")
    eps: float = Field(1e-4, gt=0, description="ε, what the matrices begin with on their diagonals")
    decay: float = Field(1.0, gt=0, le=1, description="weight of the matrices' old sums; the paper's 1 adds for ever")
    update_every: int = Field(10, gt=0, description="steps from one computation of the roots to the next")
    max_size: int = Field(2048, gt=0, description="a dimension that is longer is left as it is")
    graft: bool = Field(True, description="keep the length of the gradient, and take its direction alone from matrices")
    weight_decay: float = Field(0.0, ge=0, description="decoupled: θ ← (1 − ηλ)θ before each step")

    flat: ClassVar[bool] = False
    recordable: ClassVar[bool] = False
    year: ClassVar[int | None] = 2018
    formula: ClassVar[str] = (
        "Lᵢ ← Lᵢ + GᵢGᵢᵀ for each of k dimensions; D = G ×₁ L₁^(−1/2k) ... ×ₖ Lₖ^(−1/2k), grafted D‖G‖/‖D‖; "
        "v ← μv + D; θ ← θ − ηv"
    )
    source: ClassVar[str] = (
        "Gupta, Koren & Singer 2018, arXiv:1802.09568; Agarwal et al. 2020, arXiv:2002.11803 (graft)"
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        from nnopt.optim import optimizer, shampoo

        rule = shampoo.Shampoo(self.momentum, self.eps, self.decay, self.update_every, self.max_size, self.graft)
        return optimizer.RuleOptimizer(rule, parameters, self.weight_decay)


MEMBERS: tuple[type[AnyOptimizerSpec], ...] = (Lion, Adan, Lamb, Lars, AdEMAMix, Mars, Soap, Shampoo)
