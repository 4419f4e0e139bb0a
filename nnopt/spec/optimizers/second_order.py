"""Optimizers whose steps follow from second derivatives, at a length that is searched for: they have no rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from nnopt.errors import UsageError
from nnopt.spec.optimizers.base import AnyOptimizerSpec

if TYPE_CHECKING:
    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters

DAMPING = (
    "λ of (B + λI)p = −g at the start; it halves where the objective falls as predicted, and rises where it does not"
)
LINE_SEARCH = (
    "armijo: back from the full step until the objective has fallen enough; none: always the full step, unless the "
    "objective is not finite there"
)


class SecondOrderSpec(AnyOptimizerSpec):
    """What they have in common; strategy.lr_decay multiplies the length that is tried first, which is 1."""

    damping: float = Field(0.0, ge=0, le=1e10, description=DAMPING)
    line_search: Literal["armijo", "none"] = Field("armijo", description=LINE_SEARCH)

    recordable: ClassVar[bool] = False
    evaluations_vary: ClassVar[bool] = True
    needs_curvature: ClassVar[bool] = True
    is_second_order: ClassVar[bool] = True
    refused: ClassVar[Mapping[str, str]] = {
        "lr": "the length of its step follows from the curvature: leave lr out; strategy.lr_decay shortens steps",
        "groups": "its step follows from the curvature of all parameters together: leave groups out",
        "weight_decay": "it follows the gradient of one objective and has no weight decay: take loss.l2",
    }


class Newton(SecondOrderSpec):
    """Newton's method with the exact Hessian, for models of some thousand parameters."""

    kind: Literal["newton"]
    max_parameters: int = Field(
        10_000, gt=0, description="a model with more is refused: the Hessian has this number squared of entries"
    )

    year: ClassVar[int | None] = 2006
    formula: ClassVar[str] = "θ ← θ − tΣvᵢ(vᵢ·g)/(|hᵢ| + λ), H = Σhᵢvᵢvᵢᵀ the Hessian, t ≤ 1 by backtracking"
    source: ClassVar[str] = (
        "Nocedal & Wright 2006, Numerical Optimization, sections 3.3, 3.4 (|hᵢ|) and 10.3 (λ); "
        "Dauphin et al. 2014, arXiv:1406.2572"
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`.

        Raises:
            UsageError: the model has more than `max_parameters` trainable parameters.
        """
        from nnopt.optim.second_order import newton

        if parameters.count > self.max_parameters:
            raise UsageError(
                f"optimizer newton holds the Hessian of all {parameters.count:,} parameters, and "
                f"optimizer.max_parameters is {self.max_parameters:,}: take newton_cg, which needs its products alone"
            )
        return newton.Newton(parameters, damping=self.damping, searches=self.line_search == "armijo")


class _ByProducts(SecondOrderSpec):
    """What solves for its step by conjugate gradients."""

    tolerance: float = Field(
        0.5, gt=0, lt=1, description="conjugate gradients stop at ‖(B + λI)p + g‖ ≤ min(tolerance, √‖g‖)·‖g‖"
    )
    max_iterations: int = Field(
        50, gt=0, description="the most products with B a step; each costs about two forward and backward passes"
    )

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        from nnopt.optim.second_order import newton_cg

        return newton_cg.ConjugateNewton(
            parameters,
            self.kind,
            gauss_newton=isinstance(self, GaussNewton),
            damping=self.damping,
            searches=self.line_search == "armijo",
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )


class NewtonCg(_ByProducts):
    """Newton's method without the Hessian: conjugate gradients on its products, for models of any size."""

    kind: Literal["newton_cg"]

    year: ClassVar[int | None] = 2010
    formula: ClassVar[str] = "θ ← θ + tp, (H + λI)p ≈ −g by conjugate gradients that end at negative curvature"
    source: ClassVar[str] = (
        "Martens 2010, Deep learning via Hessian-free optimization; Pearlmutter 1994 (products); "
        "Nocedal & Wright 2006, Numerical Optimization, Algorithm 7.1"
    )


class GaussNewton(_ByProducts):
    """Newton's method with the loss's curvature alone, JᵀLJ in place of the Hessian, by conjugate gradients."""

    kind: Literal["gauss_newton"]

    year: ClassVar[int | None] = 2002
    formula: ClassVar[str] = (
        "θ ← θ + tp, (JᵀLJ + λI)p ≈ −g by conjugate gradients, J = ∂outputs/∂θ, L the loss's Hessian in the outputs"
    )
    source: ClassVar[str] = (
        "Schraudolph 2002, Fast curvature matrix-vector products for second-order gradient descent, Neural "
        "Computation 14:1723–1738; Martens 2010, Deep learning via Hessian-free optimization (λ)"
    )


MEMBERS: tuple[type[AnyOptimizerSpec], ...] = (Newton, NewtonCg, GaussNewton)
