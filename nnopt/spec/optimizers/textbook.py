"""The textbook rules, nnopt's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from nnopt.spec.optimizers.base import DROWNING_EPS, OptimizerSpec, SpecialCase, is_plain

if TYPE_CHECKING:
    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters


class Gd(OptimizerSpec):
    """Gradient descent on the whole training set."""

    kind: Literal["gd"]

    needs_full_batch: ClassVar[bool] = True
    year: ClassVar[int | None] = 1847
    formula: ClassVar[str] = "θ ← θ − η∇J(θ), J over the whole training set"
    source: ClassVar[str] = "Cauchy 1847, Méthode générale pour la résolution des systèmes d'équations simultanées"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import gradient_descent, optimizer

        return optimizer.RuleOptimizer(gradient_descent.GradientDescent(), parameters)


class Sgd(OptimizerSpec):
    """Stochastic gradient descent, with heavy-ball or Nesterov momentum if asked for."""

    kind: Literal["sgd"]
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last step that is kept, μ")
    nesterov: bool = Field(False, description="look ahead along the momentum")
    weight_decay: float = Field(0.0, ge=0, description="decoupled: θ ← (1 − ηλ)θ before each step")

    year: ClassVar[int | None] = 1951
    formula: ClassVar[str] = "v ← μv + g; θ ← θ − ηv, with nesterov θ ← θ − η(g + μv)"
    source: ClassVar[str] = "Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013 (nesterov)"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        SpecialCase("gd", lambda gd: {"lr": gd["lr"]}),
        SpecialCase("momentum", lambda own: {"lr": own["lr"] * (1 - own["beta"]), "momentum": own["beta"]}),
    )

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, such as momentum: 0.9")
        return self

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import gradient_descent, optimizer

        rule = gradient_descent.GradientDescent(self.momentum, self.nesterov)
        return optimizer.RuleOptimizer(rule, parameters, self.weight_decay)


class Momentum(OptimizerSpec):
    """Steps along a moving average of the gradient."""

    kind: Literal["momentum"]
    beta: float = Field(0.9, ge=0, lt=1, description="weight of the old average, β")

    year: ClassVar[int | None] = 1964
    formula: ClassVar[str] = "v ← βv + (1−β)g from v = 0; θ ← θ − ηv"
    source: ClassVar[str] = "Polyak 1964, with the step scaled by 1 − β"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        SpecialCase(
            "sgd",
            lambda sgd: {"lr": sgd["lr"] / (1 - sgd["momentum"]), "beta": sgd["momentum"]},
            where=lambda sgd: not sgd["nesterov"] and not sgd["weight_decay"],
        ),
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import momentum, optimizer

        return optimizer.RuleOptimizer(momentum.Momentum(self.beta), parameters)


class NormAdaptive(OptimizerSpec):
    """Gradient descent whose rate falls with the length of the gradient."""

    kind: Literal["norm_adaptive"]
    beta: float = Field(1.0, ge=0, description="how strongly a long gradient is held back, β")

    sums_over_all: ClassVar[bool] = True
    formula: ClassVar[str] = "θ ← θ − η/(1+β‖g‖²) · g, the norm over all parameters"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        SpecialCase(
            "sgd",
            lambda sgd: {"lr": sgd["lr"], "beta": 0.0},
            where=lambda sgd: is_plain(sgd) and not sgd["weight_decay"],
        ),
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import norm_adaptive, optimizer

        return optimizer.RuleOptimizer(norm_adaptive.NormAdaptive(self.beta), parameters)


class Adagrad(OptimizerSpec):
    """AdaGrad: each parameter's rate falls with the squares of its gradients so far."""

    kind: Literal["adagrad"]
    eps: float = Field(1e-8, gt=0, description="ε, keeps the divisor from 0")
    epsilon: Literal["inside", "outside"] = Field("inside", description="√(G+ε), or outside the root: √G+ε")

    year: ClassVar[int | None] = 2011
    formula: ClassVar[str] = "G ← G + g²; θ ← θ − ηg/√(G+ε), or √G+ε"
    source: ClassVar[str] = "Duchi, Hazan & Singer 2011, JMLR 12:2121–2159"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        SpecialCase(
            "sgd",
            lambda sgd: {"lr": sgd["lr"] * DROWNING_EPS**0.5, "eps": DROWNING_EPS},
            where=lambda sgd: is_plain(sgd) and not sgd["weight_decay"],
        ),
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import adagrad, optimizer

        return optimizer.RuleOptimizer(adagrad.Adagrad(self.eps, self.epsilon), parameters)


class RmsProp(OptimizerSpec):
    """RMSprop: the gradient over the root of a moving average of its square."""

    kind: Literal["rmsprop"]
    beta: float = Field(0.9, ge=0, lt=1, description="weight of the old average, β")
    eps: float = Field(1e-8, gt=0, description="ε, keeps the divisor from 0")
    epsilon: Literal["inside", "outside"] = Field("inside", description="√(G+ε), or outside the root: √G+ε")
    centered: bool = Field(False, description="divide by the root of the variance instead of the square")
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last step that is kept")
    weight_decay: float = Field(0.0, ge=0, description="decoupled: θ ← (1 − ηλ)θ before each step")

    year: ClassVar[int | None] = 2012
    formula: ClassVar[str] = "G ← βG + (1−β)g²; θ ← θ − ηg/√(G+ε), or √G+ε"
    source: ClassVar[str] = "Tieleman & Hinton 2012, lecture 6.5; Graves 2013, arXiv:1308.0850 (centered)"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        SpecialCase(
            "sgd",
            lambda sgd: {
                "lr": sgd["lr"] * DROWNING_EPS**0.5,
                "eps": DROWNING_EPS,
                "momentum": sgd["momentum"],
                "weight_decay": sgd["weight_decay"] / DROWNING_EPS**0.5,
            },
            where=lambda sgd: not sgd["nesterov"],
        ),
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import optimizer, rmsprop

        rule = rmsprop.RmsProp(self.beta, self.eps, self.epsilon, self.centered, self.momentum)
        return optimizer.RuleOptimizer(rule, parameters, self.weight_decay)


class Adam(OptimizerSpec):
    """Adam: moving averages of the gradient and of its square, corrected for their start at 0."""

    kind: Literal["adam"]
    beta1: float = Field(0.9, ge=0, lt=1, description="weight of the old average of the gradient, β₁")
    beta2: float = Field(0.999, ge=0, lt=1, description="weight of the old average of its square, β₂")
    eps: float = Field(1e-8, gt=0, description="ε, keeps the divisor from 0")
    amsgrad: bool = Field(False, description="divide by the largest average of the square so far")
    weight_decay: float = Field(0.0, ge=0, description="decoupled: θ ← (1 − ηλ)θ before each step")

    year: ClassVar[int | None] = 2015
    formula: ClassVar[str] = "m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; m̂ = m/(1−β₁ᵗ); v̂ = v/(1−β₂ᵗ); θ ← θ − ηm̂/(√v̂+ε)"
    source: ClassVar[str] = "Kingma & Ba 2015, arXiv:1412.6980; Reddi et al. 2018, arXiv:1904.09237 (amsgrad)"
    contains: ClassVar[tuple[SpecialCase, ...]] = (
        SpecialCase(
            "sgd",
            lambda sgd: {
                "lr": sgd["lr"] * DROWNING_EPS,
                "beta1": 0.0,
                "eps": DROWNING_EPS,
                "weight_decay": sgd["weight_decay"] / DROWNING_EPS,
            },
            where=is_plain,
        ),
        SpecialCase("adamw", dict, where=lambda adamw: adamw["eps"] > 0),
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `OptimizerSpec.build`."""
        from nnopt.optim import adam, optimizer

        rule = adam.Adam(self.beta1, self.beta2, self.eps, self.amsgrad)
        return optimizer.RuleOptimizer(rule, parameters, self.weight_decay)


MEMBERS: tuple[type[OptimizerSpec], ...] = (Gd, Sgd, Momentum, NormAdaptive, Adagrad, RmsProp, Adam)
