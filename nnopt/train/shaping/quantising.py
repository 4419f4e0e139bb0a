"""`structure.quantise`: training with the rounding in sight, and the int8 network that comes out."""

from __future__ import annotations

import contextlib
from typing import Any

from nnopt.spec.structure.quantise import QuantiseSpec
from nnopt.structure.layers import chosen_layers
from nnopt.structure.quantise.conversion import check_kernels, quantised_copy, show_rounding
from nnopt.train.shaping.operation import Bench, Operation

KEY = "structure.quantise"


class Quantising(Operation):
    """After the last update the network that is evaluated and saved is an int8 copy (of averaged weights, if any).

    Where the spec says so, training computes with rounded weights from a share of the budget on.

    Raises:
        UsageError: a pattern matches no layer, or a layer or the device has no kernel.
    """

    name = "quantise"
    recompiles = True

    def __init__(self, spec: QuantiseSpec, bench: Bench) -> None:
        self.bench = bench
        self.dynamic = spec.rounds_inputs
        chosen = chosen_layers(bench.model, spec.layers, spec.leave_out, KEY)
        check_kernels(chosen, self.dynamic, bench.device, KEY)
        self.names = tuple(chosen)
        self.shares = (1.0,) if spec.starts is None else (spec.starts, 1.0)
        self.trains_rounded = False
        self.is_delivered = False

    def change(self, index: int) -> str:
        """As the base class says."""
        layers = f"{len(self.names)} layer{'s' if len(self.names) > 1 else ''}"
        if index < len(self.shares) - 1:
            self._train_rounded()
            return f"quantise: from here on training computes with {layers} rounded to int8"
        self._deliver()
        inputs = "weights and inputs" if self.dynamic else "weights"
        return f"quantise: {inputs} of {layers} are int8"

    def state_dict(self) -> dict[str, Any]:
        """As the base class says."""
        return {"trains_rounded": self.trains_rounded, "is_delivered": self.is_delivered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the base class says."""
        if state["trains_rounded"]:
            self._train_rounded()
        self.is_delivered = bool(state["is_delivered"])

    def restored(self) -> None:
        """As the base class says."""
        if self.is_delivered:
            self._deliver()

    def _train_rounded(self) -> None:
        show_rounding(self.bench.model, self.names, self.dynamic)
        self.trains_rounded = True

    def _deliver(self) -> None:
        state = self.bench.state
        with contextlib.nullcontext() if state.average is None else state.average.in_place():
            state.delivered = quantised_copy(state.model, self.names, self.dynamic)
        self.is_delivered = True
