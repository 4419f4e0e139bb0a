"""The exchange of gradients that torch's DistributedDataParallel carries out within the backward pass."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Exchange:
    """Tells how much of a backward pass was waiting for the other processes, as DDP itself takes the time.

    What it does while gradients are still computed is no waiting. On an accelerator nothing is told, as DDP's clock
    would have to wait for it: the exchange is then in the backward pass, and the trace shows its kernels.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = model if isinstance(model, DistributedDataParallel) and device.type == "cpu" else None
        if self.model is not None:
            self.model._set_ddp_runtime_logging_sample_rate(1)  # type: ignore[no-untyped-call]

    def waited_ms(self) -> float:
        """In the step before the last one: DDP adds up a step when the next begins."""
        if self.model is None:
            return 0.0
        told: dict[str, int] = self.model._get_ddp_logging_data()  # type: ignore[no-untyped-call]
        exchanged = told.get("backward_comm_time", 0) - told.get("backward_compute_comm_overlap_time", 0)
        return max(0.0, exchanged / 1e6)
