"""Newton's method by products with the Hessian or the Gauss-Newton matrix, for models of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor

from nnopt.optim.objective import Smooth
from nnopt.optim.parameters import Parameters
from nnopt.optim.second_order.conjugate_gradients import truncated
from nnopt.optim.second_order.products import GaussNewton, Hessian, Products
from nnopt.optim.second_order.stepping import SecondOrder

__all__ = ["ConjugateNewton"]


@final
class ConjugateNewton(SecondOrder):
    """(B + λI)p ≈ −g by truncated conjugate gradients.

    B is the Hessian, or with `gauss_newton` the Gauss-Newton matrix, which never bends down where the loss is convex in
    the outputs.
    """

    def __init__(
        self,
        parameters: Parameters,
        kind: str,
        *,
        gauss_newton: bool,
        damping: float,
        searches: bool,
        tolerance: float,
        max_iterations: int,
    ) -> None:
        super().__init__(parameters, kind, damping, searches)
        self.matrix: type[Products] = GaussNewton if gauss_newton else Hessian
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def solve(self, smooth: Smooth, values: Sequence[Tensor], gradient: Tensor, damping: float) -> tuple[Tensor, float]:
        """As the base class says."""
        product = self.matrix(smooth, values)
        step, bent = truncated(product, gradient, damping, self.tolerance, self.max_iterations)
        return step, float(step @ bent)
