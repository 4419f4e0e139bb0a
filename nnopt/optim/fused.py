"""Where torch has a whole step of an optimizer as one kernel, and what such kernels want."""

from __future__ import annotations

from torch import Tensor

from nnopt.optim.parameters import Parameters

__all__ = ["ADAM_FUSED_ON", "FUSED_ON", "has_fused_adam", "rate_for"]

# Accelerators with such kernels. The CPU has some too, which round otherwise than the plain form: Adam's is taken.
FUSED_ON = ("cuda", "mps", "xpu")
ADAM_FUSED_ON = ("cpu", *FUSED_ON)


def has_fused_adam(parameters: Parameters) -> bool:
    """Whether a step of torch's Adam or AdamW on these parameters is to be one kernel."""
    return all(value.device.type in ADAM_FUSED_ON for value in parameters.values)


def rate_for(lr: float | Tensor) -> float | Tensor:
    """A rate as fused kernels take it: on an accelerator they read 32 bits."""
    return lr if not isinstance(lr, Tensor) or lr.is_cpu else lr.float()
