"""Where torch has a whole step of an optimizer as one kernel, and what such kernels want."""

from __future__ import annotations

from torch import Tensor

from nnopt.optim.parameters import Parameters

__all__ = ["FUSED_ON", "has_fused", "rate_for"]

# Accelerators with such kernels. The CPU has some too: where they are taken there, a rule says so itself, as they round
# otherwise than the plain form.
FUSED_ON = ("cuda", "mps", "xpu")


def has_fused(parameters: Parameters) -> bool:
    """Whether steps of torch.optim on these parameters are to be one kernel."""
    return all(value.device.type in FUSED_ON for value in parameters.values)


def rate_for(lr: float | Tensor) -> float | Tensor:
    """A rate as fused kernels take it: on an accelerator they read 32 bits."""
    return lr if not isinstance(lr, Tensor) or lr.is_cpu else lr.float()
