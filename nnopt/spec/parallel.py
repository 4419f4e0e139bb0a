"""Several processes that train one run together."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from nnopt.spec.base import NOT_IDENTITY, Kinds, KindSpec, show

MOST = 4096  # more than any machine that this was thought for; a slip of the finger starts no million processes


def _count_or_auto(value: Any, _handler: ValidatorFunctionWrapHandler) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value == "auto" or (whole and 1 <= value <= MOST):
        return value
    raise PydanticCustomError("form", f"should be a whole number from 1 to {MOST}, or auto, not {show(value)}")


Processes = Annotated[int | Literal["auto"], WrapValidator(_count_or_auto)]


class ParallelSpec(KindSpec):
    """How several processes train one run.

    `in_step`: they take every update together; `exact`: and so that their number does not change the mathematics.
    """

    in_step: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def disorder(self) -> str | None:
        """Why two runs of one spec differ in their bits, None where they do not."""
        return None

    @property
    def asked(self) -> int | None:
        """The number of processes that the file asks for; None: as many as there are accelerators."""
        count = getattr(self, "processes", None)
        return count if isinstance(count, int) else None


class _Exact(ParallelSpec):
    processes: Processes = Field(
        "auto",
        description="processes of this machine: auto is one an accelerator; torchrun's number goes before",
        json_schema_extra=NOT_IDENTITY,
    )

    in_step: ClassVar[bool] = True
    exact: ClassVar[bool] = True


class Ddp(_Exact):
    """Each process takes its share of every batch; gradients are averaged before the update."""

    kind: Literal["ddp"]

    formula: ClassVar[str] = "g = Σₚ (nₚ/n)·gₚ over processes p with nₚ of the batch's n samples"
    source: ClassVar[str] = "Li et al. 2020, PyTorch Distributed, arXiv:2006.15704 (torch.nn.parallel)"


class Fsdp(_Exact):
    """As ddp, and each process keeps a part of the weights, gradients and optimizer state alone."""

    kind: Literal["fsdp"]

    formula: ClassVar[str] = "as ddp, with weights gathered a layer at a time"
    source: ClassVar[str] = "Zhao et al. 2023, PyTorch FSDP, arXiv:2304.11277 (torch.distributed.fsdp.fully_shard)"


class LocalSgd(ParallelSpec):
    """Each process updates weights of its own on its share of every batch; now and then the weights are averaged."""

    kind: Literal["local_sgd"]
    processes: int = Field(gt=0, le=MOST, description="processes, each with weights of its own")
    period: int = Field(gt=0, description="updates after which the weights are averaged")

    in_step: ClassVar[bool] = True
    formula: ClassVar[str] = "θₚ ← θₚ − ηdₚ; θₚ ← (1/N)·Σ θ every H updates (H = 1 and plain sgd: ddp)"
    source: ClassVar[str] = "Stich 2019, Local SGD Converges Fast and Communicates Little, arXiv:1805.09767"


class Hogwild(ParallelSpec):
    """Processes of one machine update weights in shared memory, without waiting for each other."""

    kind: Literal["hogwild"]
    processes: int = Field(gt=0, le=MOST, description="processes that share the weights")

    formula: ClassVar[str] = "θ ← θ − ηd(θ̂), where θ̂ was read while others wrote"
    source: ClassVar[str] = "Recht et al. 2011, Hogwild!, arXiv:1106.5730"

    @property
    def disorder(self) -> str | None:
        """As ParallelSpec says."""
        return "processes write the weights in no fixed order" if self.processes > 1 else None


class ParameterServer(ParallelSpec):
    """Ray actors compute gradients of weights that may be some updates old; the run's process applies them."""

    kind: Literal["parameter_server"]
    workers: int = Field(gt=0, le=MOST, description="actors that compute gradients")
    staleness: int = Field(ge=0, description="most updates between a gradient's weights and its own update")

    formula: ClassVar[str] = "θₜ₊₁ = θₜ − ηd(θₜ₋τ), τ ≤ staleness"
    source: ClassVar[str] = "Ho et al. 2013, Stale Synchronous Parallel; Li et al. 2014, Parameter Server (OSDI)"

    @property
    def in_flight(self) -> int:
        """How many gradients are computed at once: more would be too old as their turn comes."""
        return min(self.workers, self.staleness + 1)

    @property
    def disorder(self) -> str | None:
        """As ParallelSpec says."""
        return "workers answer in no fixed order" if self.in_flight > 1 else None


PARALLEL = Kinds("parallel", ParallelSpec, (Ddp, Fsdp, LocalSgd, Hogwild, ParameterServer))
