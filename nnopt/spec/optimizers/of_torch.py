"""Optimizers that are torch.optim's own, with their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from nnopt.errors import UsageError
from nnopt.spec.base import Items, mistake_at
from nnopt.spec.optimizers.base import DROWNING_EPS, SEARCHES, OptimizerSpec, SpecialCase, is_plain
from nnopt.spec.transfer import PATTERNS

if TYPE_CHECKING:
    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters


class AdamW(OptimizerSpec):
    """Adam with decoupled weight decay, torch's own."""

    kind: Literal["adamw"]
    beta1: float = Field(0.9, ge=0, lt=1, description="weight of the old average of the gradient, β₁")
    beta2: float = Field(0.999, ge=0, lt=1, description="weight of the old average of its square, β₂")
    eps: float = Field(1e-8, ge=0, description="ε, keeps the divisor from 0")
    weight_decay: float = Field(0.01, ge=0, description="decoupled: θ ← (1 − ηλ)θ before each step")
    amsgrad: bool = Field(False, description="divide by the largest average of the square so far")

    year: ClassVar[int | None] = 2019
    formula: ClassVar[str] = "θ ← (1 − ηλ)θ, then a step of adam"
    source: ClassVar[str] = "Loshchilov & Hutter 2019, arXiv:1711.05101; torch.optim.AdamW"
    contains: ClassVar[tuple[SpecialCase, ...]] = (SpecialCase("adam", dict),)

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        import torch

        from nnopt.optim.fused import has_fused_adam
        from nnopt.optim.optimizer import TorchOptimizer

        return TorchOptimizer(
            torch.optim.AdamW(
                parameters.for_torch(),
                lr=self.lr,
                betas=(self.beta1, self.beta2),
                eps=self.eps,
                weight_decay=self.weight_decay,
                amsgrad=self.amsgrad,
                fused=has_fused_adam(parameters),
            )
        )


class NAdam(OptimizerSpec):
    """Adam with Nesterov's look-ahead, torch's own."""

    kind: Literal["nadam"]
    beta1: float = Field(0.9, ge=0, lt=1, description="weight of the old average of the gradient, β₁")
    beta2: float = Field(0.999, ge=0, lt=1, description="weight of the old average of its square, β₂")
    eps: float = Field(1e-8, ge=0, description="ε, keeps the divisor from 0")
    weight_decay: float = Field(0.0, ge=0, description="λ, added to the gradient as λθ unless decoupled")
    decoupled_weight_decay: bool = Field(False, description="decay as adamw does, θ ← (1 − ηλ)θ")
    momentum_decay: float = Field(0.004, ge=0, description="how fast the momentum rises to β₁, ψ")

    year: ClassVar[int | None] = 2016
    formula: ClassVar[str] = (
        "μₜ = β₁(1 − 0.96^{tψ}/2); m̂ = μₜ₊₁m/(1 − Πμ₁..ₜ₊₁) + (1−μₜ)g/(1 − Πμ₁..ₜ); θ ← θ − ηm̂/(√v̂+ε)"
    )
    source: ClassVar[str] = "Dozat 2016, Incorporating Nesterov Momentum into Adam; torch.optim.NAdam"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        SpecialCase(
            "adam",
            lambda adam: {
                **{key: adam[key] for key in ("lr", "beta1", "beta2", "eps", "weight_decay")},
                "decoupled_weight_decay": adam["weight_decay"] > 0,
            },
            where=lambda adam: not adam["beta1"] and not adam["amsgrad"],
        ),
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        import torch

        from nnopt.optim.optimizer import TorchOptimizer

        return TorchOptimizer(
            torch.optim.NAdam(
                parameters.for_torch(),
                lr=self.lr,
                betas=(self.beta1, self.beta2),
                eps=self.eps,
                weight_decay=self.weight_decay,
                momentum_decay=self.momentum_decay,
                decoupled_weight_decay=self.decoupled_weight_decay,
            )
        )


class RAdam(OptimizerSpec):
    """Adam that waits with adaptive steps until their variance is known, torch's own."""

    kind: Literal["radam"]
    beta1: float = Field(0.9, ge=0, lt=1, description="weight of the old average of the gradient, β₁")
    beta2: float = Field(0.999, ge=0, lt=1, description="weight of the old average of its square, β₂")
    eps: float = Field(1e-8, ge=0, description="ε, keeps the divisor from 0")
    weight_decay: float = Field(0.0, ge=0, description="λ, added to the gradient as λθ unless decoupled")
    decoupled_weight_decay: bool = Field(False, description="decay as adamw does, θ ← (1 − ηλ)θ")

    cannot: ClassVar[Mapping[str, str]] = {
        "rosenbrock": "its first steps are not adaptive: at rates small enough for them the later ones are short"
    }
    year: ClassVar[int | None] = 2020
    formula: ClassVar[str] = (
        "ρ∞ = 2/(1−β₂) − 1; ρ = ρ∞ − 2tβ₂ᵗ/(1−β₂ᵗ); θ ← θ − ηm̂r/√v̂ where ρ > 5, "
        "r = √((ρ−4)(ρ−2)ρ∞/((ρ∞−4)(ρ∞−2)ρ)), else θ ← θ − ηm̂"
    )
    source: ClassVar[str] = "Liu et al. 2020, arXiv:1908.03265; torch.optim.RAdam"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        SpecialCase(
            "sgd",
            # With β₂ = 0.5, ρ∞ = 3: no step is adaptive.
            lambda sgd: {
                "lr": sgd["lr"],
                "beta1": 0.0,
                "beta2": 0.5,
                "weight_decay": sgd["weight_decay"],
                "decoupled_weight_decay": sgd["weight_decay"] > 0,
            },
            where=is_plain,
        ),
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        import torch

        from nnopt.optim.optimizer import TorchOptimizer

        return TorchOptimizer(
            torch.optim.RAdam(
                parameters.for_torch(),
                lr=self.lr,
                betas=(self.beta1, self.beta2),
                eps=self.eps,
                weight_decay=self.weight_decay,
                decoupled_weight_decay=self.decoupled_weight_decay,
            )
        )


class Adadelta(OptimizerSpec):
    """Steps in the units of earlier steps, torch's own; its paper has lr = 1."""

    kind: Literal["adadelta"]
    rho: float = Field(0.9, ge=0, lt=1, description="weight of the old averages, ρ")
    eps: float = Field(1e-6, ge=0, description="ε, keeps the divisor from 0 and lets it start")
    weight_decay: float = Field(0.0, ge=0, description="λ, added to the gradient as λθ")

    year: ClassVar[int | None] = 2012
    formula: ClassVar[str] = "v ← ρv + (1−ρ)g²; d = g·√(u+ε)/√(v+ε); u ← ρu + (1−ρ)d²; θ ← θ − ηd"
    source: ClassVar[str] = "Zeiler 2012, arXiv:1212.5701; torch.optim.Adadelta"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        # Without momentum, λθ added to the gradient is the same as decoupled decay.
        SpecialCase(
            "sgd",
            lambda sgd: {"lr": sgd["lr"], "eps": DROWNING_EPS, "weight_decay": sgd["weight_decay"]},
            where=is_plain,
        ),
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        import torch

        from nnopt.optim.optimizer import TorchOptimizer

        return TorchOptimizer(
            torch.optim.Adadelta(
                parameters.for_torch(), lr=self.lr, rho=self.rho, eps=self.eps, weight_decay=self.weight_decay
            )
        )


class Adamax(OptimizerSpec):
    """Adam with the largest gradient in place of the mean square, torch's own."""

    kind: Literal["adamax"]
    beta1: float = Field(0.9, ge=0, lt=1, description="weight of the old average of the gradient, β₁")
    beta2: float = Field(0.999, ge=0, lt=1, description="what the largest gradient shrinks by a step, β₂")
    eps: float = Field(1e-8, ge=0, description="ε, keeps the divisor from 0")
    weight_decay: float = Field(0.0, ge=0, description="λ, added to the gradient as λθ")

    year: ClassVar[int | None] = 2015
    formula: ClassVar[str] = "m ← β₁m + (1−β₁)g; u ← max(β₂u, |g|+ε); θ ← θ − ηm/((1−β₁ᵗ)u)"
    source: ClassVar[str] = "Kingma & Ba 2015, arXiv:1412.6980, section 7.1; torch.optim.Adamax"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        SpecialCase(
            "sgd",
            lambda sgd: {
                "lr": sgd["lr"] * DROWNING_EPS,
                "beta1": 0.0,
                "eps": DROWNING_EPS,
                "weight_decay": sgd["weight_decay"],
            },
            where=is_plain,
        ),
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        import torch

        from nnopt.optim.optimizer import TorchOptimizer

        return TorchOptimizer(
            torch.optim.Adamax(
                parameters.for_torch(),
                lr=self.lr,
                betas=(self.beta1, self.beta2),
                eps=self.eps,
                weight_decay=self.weight_decay,
            )
        )


class Adafactor(OptimizerSpec):
    """Adam's second moment kept as sums over rows and columns, to save memory, torch's own."""

    kind: Literal["adafactor"]
    beta2_decay: float = Field(-0.8, le=0, description="exponent of the step count in β₂ = 1 − t^beta2_decay")
    eps1: float | None = Field(None, ge=0, description="ε₁, keeps the divisor from 0; null: machine epsilon")
    eps2: float = Field(1e-3, ge=0, description="ε₂, lowest scale of a step, relative to the weights")
    d: float = Field(1.0, ge=1, description="longest root-mean-square of a step before scaling")
    weight_decay: float = Field(0.0, ge=0, description="decoupled: θ ← (1 − ηλ)θ before each step")

    recordable: ClassVar[bool] = False
    flat: ClassVar[bool] = False
    year: ClassVar[int | None] = 2018
    formula: ClassVar[str] = (
        "α = max(ε₂, RMS(θ))·min(η, 1/√t); V̂ from row and column means of g²; u = g/√V̂; θ ← θ − αu/max(1, RMS(u)/d)"
    )
    source: ClassVar[str] = "Shazeer & Stern 2018, arXiv:1804.04235; torch.optim.Adafactor"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        import torch

        from nnopt.optim.optimizer import TorchOptimizer

        return TorchOptimizer(
            torch.optim.Adafactor(
                parameters.for_torch(lambda value: value.numel() > 0),  # it divides by the number of entries
                lr=self.lr,
                beta2_decay=self.beta2_decay,
                eps=(self.eps1, self.eps2),
                d=self.d,
                weight_decay=self.weight_decay,
            )
        )


class Lbfgs(OptimizerSpec):
    """L-BFGS: Newton's method with curvature guessed from earlier gradients, torch's own."""

    kind: Literal["lbfgs"]
    max_iter: int = Field(20, gt=0, description="iterations in a step, all on one batch")
    max_eval: int | None = Field(None, gt=0, description="forward and backward passes in a step; null: 5/4 of max_iter")
    tolerance_grad: float = Field(1e-7, ge=0, description="a step ends where no entry of g is larger")
    tolerance_change: float = Field(1e-9, ge=0, description="a step ends where θ or the loss changes less")
    history_size: int = Field(100, gt=0, le=100_000, description="earlier gradients that are kept")
    line_search_fn: Literal["strong_wolfe"] | None = Field(
        None, description="how the length of an iteration is found; null: it is the learning rate"
    )

    recordable: ClassVar[bool] = False
    evaluations_vary: ClassVar[bool] = True
    extra_passes: ClassVar[str] = SEARCHES
    year: ClassVar[int | None] = 1989
    formula: ClassVar[str] = "θ ← θ − ηHg, H the inverse curvature seen in the last history_size iterations"
    source: ClassVar[str] = "Liu & Nocedal 1989, Mathematical Programming 45:503–528; torch.optim.LBFGS"

    @model_validator(mode="after")
    def _groups_have_rates_alone(self) -> Lbfgs:
        for place, group in enumerate(self.groups):
            if group.weight_decay is not None:
                raise mistake_at(
                    ("groups", place, "weight_decay"),
                    "lbfgs follows the gradient of one objective and has no weight decay: take loss.l2",
                )
        return self

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        import torch

        from nnopt.optim.optimizer import ClosureOptimizer
        from nnopt.optim.scaled import Scaled

        scaled = None if parameters.is_even else Scaled(parameters)
        return ClosureOptimizer(
            torch.optim.LBFGS(
                parameters.values if scaled is None else scaled.values,
                lr=self.lr,
                max_iter=self.max_iter,
                max_eval=self.max_eval,
                tolerance_grad=self.tolerance_grad,
                tolerance_change=self.tolerance_change,
                history_size=self.history_size,
                line_search_fn=self.line_search_fn,
            ),
            scaled,
        )


class Muon(OptimizerSpec):
    """Momentum made orthogonal for matrices, AdamW for all other parameters, both torch's own."""

    kind: Literal["muon"]
    momentum: float = Field(0.95, ge=0, lt=1, description="share of the last momentum that is kept, μ")
    nesterov: bool = Field(True, description="look ahead along the momentum")
    ns_steps: int = Field(5, gt=0, lt=100, description="Newton–Schulz iterations that make it orthogonal")
    eps: float = Field(1e-7, gt=0, description="shortest momentum that is scaled to length 1")
    adjust_lr_fn: Literal["original", "match_rms_adamw"] = Field(
        "original", description="rate of a matrix [a, b]: η√max(1, a/b), or match_rms_adamw: 0.2η√max(a, b)"
    )
    weight_decay: float = Field(0.1, ge=0, description="of matrices, decoupled: θ ← (1 − ηλ)θ before each step")
    adamw_for: Items[str] = Field(
        (), description=f"matrices that AdamW trains: embeddings and the last layer, say its authors; {PATTERNS}"
    )
    adamw_lr: float = Field(1e-3, gt=0, description="learning rate of what is not a matrix, decays as lr does")
    adamw_beta1: float = Field(0.9, ge=0, lt=1, description="β₁ of AdamW")
    adamw_beta2: float = Field(0.999, ge=0, lt=1, description="β₂ of AdamW")
    adamw_eps: float = Field(1e-8, ge=0, description="ε of AdamW")
    adamw_weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay of what is not a matrix")

    recordable: ClassVar[bool] = False
    flat: ClassVar[bool] = False
    apart: ClassVar[str | None] = "adamw_for"
    cannot: ClassVar[Mapping[str, str]] = {"rosenbrock": "it is for matrices, and two numbers are none"}
    year: ClassVar[int | None] = 2024
    formula: ClassVar[str] = "B ← μB + g; θ ← (1 − ηλ)θ − η·NS(g + μB), NS the nearest orthogonal matrix, about"
    source: ClassVar[str] = "Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; torch.optim.Muon"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`.

        Raises:
            UsageError: the model has no matrix among its parameters.
        """
        import torch

        from nnopt.optim.fused import has_fused_adam
        from nnopt.optim.optimizer import TorchOptimizer

        named = zip(parameters.names, parameters.values, strict=True)
        taken = {id(value) for name, value in named if value.ndim == 2 and name not in parameters.apart}
        matrices = parameters.for_torch(lambda value: id(value) in taken)
        others = parameters.for_torch(lambda value: id(value) not in taken)
        if not matrices:
            left = ", or adamw_for names them all" if self.adamw_for else ""
            raise UsageError(f"optimizer muon is for matrices, and the model has none{left}: take adamw")
        muon = torch.optim.Muon(
            matrices,
            lr=self.lr,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
            eps=self.eps,
            ns_steps=self.ns_steps,
            adjust_lr_fn=self.adjust_lr_fn,
        )
        if not others:
            return TorchOptimizer(muon)
        adamw = torch.optim.AdamW(
            others,
            lr=self.adamw_lr,
            betas=(self.adamw_beta1, self.adamw_beta2),
            eps=self.adamw_eps,
            weight_decay=self.adamw_weight_decay,
            fused=has_fused_adam(parameters),
        )
        return TorchOptimizer(muon, adamw, scales=(1.0, self.adamw_lr / self.lr))


MEMBERS: tuple[type[OptimizerSpec], ...] = (AdamW, NAdam, RAdam, Adadelta, Adamax, Adafactor, Lbfgs, Muon)
