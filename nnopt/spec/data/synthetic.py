"""Data sets that are made up: regression with a known answer, spirals, and the test functions of optimisation."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from nnopt.data.task import Task
from nnopt.spec.base import Kinds, KindSpec
from nnopt.spec.data.base import NORMALISE_HELP, DataSpec, Normalise, TestSplitSpec

if TYPE_CHECKING:
    from nnopt.data.dataset import Dataset
    from nnopt.data.landscapes import Landscape
    from nnopt.data.raw import Raw

_DRAW_SEED = "seed of what is made up; the same for all seeds of an experiment"
_CONDITION = "condition number of the inputs' second moments: how much steeper the objective is in one direction"


class ProblemSpec(KindSpec):
    """A made-up question about rows."""

    task: ClassVar[Task] = "classification"

    rows: int = Field(1000, ge=10, le=10_000_000, description="how many rows, those for validation and test included")

    @abstractmethod
    def draw(self, seed: int) -> Raw:
        """The rows, the same for the same seed."""


class LinearProblem(ProblemSpec):
    """Linear regression: numbers with a known linear answer."""

    formula: ClassVar[str] = "y = Σ wᵢxᵢ + b + noise"
    task: ClassVar[Task] = "regression"

    kind: Literal["linear"]
    features: int = Field(10, ge=1, le=100_000, description="how many features")
    condition: float = Field(1.0, ge=1, le=1e12, description=_CONDITION)
    noise: float = Field(0.1, ge=0, lt=1e6, description="standard deviation of what no model can know")

    def draw(self, seed: int) -> Raw:
        """As `ProblemSpec.draw`."""
        from nnopt.data.sources import synthetic

        return synthetic.linear(self.rows, self.features, self.condition, self.noise, seed)


class LogisticProblem(ProblemSpec):
    """Logistic regression: two classes with a known logit."""

    formula: ClassVar[str] = "P(y = 1) = σ(scale · (Σ wᵢxᵢ + b)), ‖w‖ = 1"

    kind: Literal["logistic"]
    features: int = Field(10, ge=1, le=100_000, description="how many features")
    condition: float = Field(1.0, ge=1, le=1e12, description=_CONDITION)
    scale: float = Field(3.0, gt=0, lt=1e6, description="the larger, the fewer rows lie on the wrong side")

    def draw(self, seed: int) -> Raw:
        """As `ProblemSpec.draw`."""
        from nnopt.data.sources import synthetic

        return synthetic.logistic(self.rows, self.features, self.condition, self.scale, seed)


class SpiralsProblem(ProblemSpec):
    """Points on spirals wound into each other, a class an arm: no line divides them."""

    kind: Literal["spirals"]
    arms: int = Field(2, ge=2, le=100, description="how many spirals, and so classes")
    turns: float = Field(1.5, gt=0, le=100, description="how often an arm winds around the middle")
    noise: float = Field(0.03, ge=0, lt=1e6, description="standard deviation of the points' distance from their arm")

    def draw(self, seed: int) -> Raw:
        """As `ProblemSpec.draw`."""
        from nnopt.data.sources import synthetic

        return synthetic.spirals(self.rows, self.arms, self.turns, self.noise, seed)


PROBLEMS = Kinds("problem", ProblemSpec, (LinearProblem, LogisticProblem, SpiralsProblem))


class Synthetic(TestSplitSpec):
    """Rows that are made up, so that the right answer is known."""

    source: ClassVar[str] = "made up here"

    kind: Literal["synthetic"]
    problem: Annotated[ProblemSpec, PROBLEMS] = Field(description="what is made up (`nnopt parts problem`)")
    draw_seed: int = Field(0, ge=0, lt=2**32, description=_DRAW_SEED)
    normalise: Normalise = Field("none", description=NORMALISE_HELP)

    @property
    def asks(self) -> Task:
        """As `DataSpec.asks`."""
        return self.problem.task

    def read(self) -> Raw:
        """The made-up rows."""
        return self.problem.draw(self.draw_seed)


class LandscapeSpec(KindSpec):
    """A function of some numbers that is to be made small."""

    @abstractmethod
    def build(self) -> Landscape:
        """The function and its minima."""


class Quadratic(LandscapeSpec):
    """A bowl, as steep in one direction as its condition number says, and of slope 1 in another."""

    formula: ClassVar[str] = "½ Σ λᵢxᵢ², λ from 1 to the condition number in equal ratios"

    kind: Literal["quadratic"]
    dimensions: int = Field(2, ge=1, le=100_000, description="how many numbers it is a function of")
    condition: float = Field(10.0, ge=1, le=1e12, description="the largest curvature by the smallest")
    turned: bool = Field(False, description="whether its axes lie across those of the coordinates")

    def build(self) -> Landscape:
        """As `LandscapeSpec.build`."""
        from nnopt.data.landscapes import quadratic

        return quadratic(self.dimensions, self.condition, self.turned)


class Rosenbrock(LandscapeSpec):
    """A bent, narrow valley with a nearly flat floor; lowest at (1, ..., 1)."""

    formula: ClassVar[str] = "Σ 100(xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)²"
    source: ClassVar[str] = "Rosenbrock 1960, An Automatic Method for Finding the Greatest or Least Value of a Function"

    kind: Literal["rosenbrock"]
    dimensions: int = Field(2, ge=2, le=100_000, description="how many numbers it is a function of")

    def build(self) -> Landscape:
        """As `LandscapeSpec.build`."""
        from nnopt.data.landscapes import rosenbrock

        return rosenbrock(self.dimensions)


class Beale(LandscapeSpec):
    """Flat around the origin with steep corners; two numbers, lowest at (3, 0.5)."""

    formula: ClassVar[str] = "(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²"
    source: ClassVar[str] = "Beale 1958, On an Iterative Method for Finding a Local Minimum"

    kind: Literal["beale"]

    def build(self) -> Landscape:
        """As `LandscapeSpec.build`."""
        from nnopt.data.landscapes import beale

        return beale()


class Himmelblau(LandscapeSpec):
    """Two numbers and four minima, all of height 0."""

    formula: ClassVar[str] = "(x² + y − 11)² + (x + y² − 7)²"
    source: ClassVar[str] = "Himmelblau 1972, Applied Nonlinear Programming"

    kind: Literal["himmelblau"]

    def build(self) -> Landscape:
        """As `LandscapeSpec.build`."""
        from nnopt.data.landscapes import himmelblau

        return himmelblau()


class Rastrigin(LandscapeSpec):
    """A bowl full of dents, each a local minimum; lowest at the origin."""

    formula: ClassVar[str] = "10d + Σ xᵢ² − 10 cos 2πxᵢ"
    source: ClassVar[str] = "Rastrigin 1974, Systems of Extremal Control"

    kind: Literal["rastrigin"]
    dimensions: int = Field(2, ge=1, le=100_000, description="how many numbers it is a function of")

    def build(self) -> Landscape:
        """As `LandscapeSpec.build`."""
        from nnopt.data.landscapes import rastrigin

        return rastrigin(self.dimensions)


LANDSCAPES = Kinds("function", LandscapeSpec, (Quadratic, Rosenbrock, Beale, Himmelblau, Rastrigin))


class Function(DataSpec):
    """No samples, but a function whose lowest place is looked for: with model point and loss objective."""

    formula: ClassVar[str] = "J(θ) = f(θ) + mean over the batch of εᵢ·θ, Σ εᵢ = 0"
    source: ClassVar[str] = "Surjanovic and Bingham, Virtual Library of Simulation Experiments: Test Functions"
    task: ClassVar[Task] = "function"

    kind: Literal["function"]
    function: Annotated[LandscapeSpec, LANDSCAPES] = Field(description="which one (`nnopt parts function`)")
    noise: float = Field(0.0, ge=0, lt=1e6, description="standard deviation of the gradient of a batch of one row")
    rows: int = Field(
        1, ge=1, le=10_000_000, description="rows of noise, an even count with noise; strategy.batch_size takes of them"
    )
    draw_seed: int = Field(0, ge=0, lt=2**32, description=_DRAW_SEED)

    def load(self) -> Dataset:
        """The function, and the noise of its gradients."""
        from nnopt.data.sources.synthetic import descent

        return descent(self.kind, self.function.build(), self.rows, self.noise, self.draw_seed)
