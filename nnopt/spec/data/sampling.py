"""`data.sampling`: how training samples are drawn into batches."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from nnopt.spec.base import Kinds, KindSpec

if TYPE_CHECKING:
    import torch

    from nnopt.data.batches import Order
    from nnopt.data.dataset import Dataset


class SamplingSpec(KindSpec):
    """Another order of training samples than a fresh shuffle each epoch; a function of the run's seed and the epoch."""

    @abstractmethod
    def build(self, data: Dataset, seed: int, device: torch.device) -> Order:
        """The order of the training part of `data` in the run with this seed.

        Raises:
            DataError: such data cannot be drawn so, in words.
        """


class Balanced(SamplingSpec):
    """Rare classes as often as common ones: with replacement, as many draws an epoch as there are samples."""

    formula: ClassVar[str] = "P(class c) = n_cᵖ / Σ_k n_kᵖ, n_c the training samples of class c; within it all alike"
    source: ClassVar[str] = "Kang et al. 2020, Decoupling Representation and Classifier, arXiv:1910.09217"

    kind: Literal["balanced"]
    power: float = Field(0.0, ge=0, lt=1, description="p: 0 makes all classes equally likely, 0.5 goes half the way")

    @override
    def build(self, data: Dataset, seed: int, device: torch.device) -> Order:
        from nnopt.data.balance import class_counts
        from nnopt.data.sampling import BalancedOrder

        counts = class_counts("data.sampling: balanced", data)
        return BalancedOrder(seed, data.train.all_targets(), counts.double() ** self.power, device)


SAMPLINGS = Kinds("sampling", SamplingSpec, (Balanced,))
