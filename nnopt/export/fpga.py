"""An hls4ml project: C++ for a vendor's synthesis, here compiled with g++ and run bit by bit as the circuit would."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, fx

from nnopt.errors import ExportError, UsageError
from nnopt.export.agreement import Agreement
from nnopt.export.fpga_network import readable
from nnopt.export.subject import Subject
from nnopt.export.target import Target, called
from nnopt.spec.nearest import nearest
from nnopt.store.files import refusals, write_whole

PROJECT = "network"
CONFIG = "hls4ml_config.yml"  # what hls4ml reads a project by
# Those of hls4ml whose C++ compiles with g++ alone, so that the emulation can be had here.
BACKENDS = ("Vitis", "Vivado", "Catapult", "Quartus")
FIXED = re.compile(r"(?:ap_|ac_)?(u?)fixed<\s*(\d+)\s*,\s*(-?\d+)\s*(?:,\s*[A-Z_]+\s*){0,2}>")
WIDEST = 64  # bits of a number
# Below this width hls4ml counts multipliers as logic, not as DSPs (its own estimators, optimization/dsp_aware_pruning).
DSP_WIDTH = 9
BRAM_WIDTH = 36
NEEDS_SYNTHESIS = (
    "LUTs, flip-flops, DSPs and block RAM as they will be used, latency in cycles and the clock that is reached: "
    "the vendor's synthesis alone gives them, and it was not run"
)


@dataclass(frozen=True)
class FpgaTarget(Target):
    """An hls4ml project of the network in fixed-point numbers.

    Attributes:
        precision: of inputs, weights and what activations give; sums are as wide as they need.
        reuse: how often a multiplier is used for one sample.
        backend: whose synthesis the C++ is for.
        io: parallel (a sample at once) or stream (a pixel after the other).
        part: the chip, None for the backend's usual one.
        clock: the period in nanoseconds.
        least: the share of answers that have to be equal, or R² of numbers.
    """

    name = "fpga"
    modules = ("hls4ml",)
    packages = ("torch", "hls4ml")
    batch = 1

    precision: str = "fixed<16,6>"
    reuse: int = 1
    backend: str = "Vitis"
    io: str = "parallel"
    part: str | None = None
    clock: float = 5.0
    least: float = 0.99
    _found: dict[str, Any] = field(default_factory=dict)

    OPTIONS: ClassVar[str] = "--precision, --reuse, --backend, --io, --part, --clock and --least-agreement"

    def __post_init__(self) -> None:
        """Raises UsageError where an option has no meaning."""
        match = FIXED.fullmatch(self.precision)
        if match is None or not 1 <= int(match[2]) <= WIDEST:
            raise UsageError(
                f"--precision {self.precision}: write fixed<16,6>, which is 16 bits of which 6 are before the point "
                f"(at most {WIDEST}); fixed<16,6,RND,SAT> rounds, and stops at the largest number"
            )
        if self.backend not in BACKENDS:
            raise UsageError(
                f"--backend {self.backend}: choose one of {', '.join(BACKENDS)}{nearest(self.backend, BACKENDS)}"
            )

    def check_installed(self) -> None:
        """As the base class says; the emulation takes a compiler."""
        super().check_installed()
        if shutil.which("g++") is None:
            raise UsageError("--to fpga: the emulation needs g++, which is not on the PATH: install it (apt: g++)")

    def check(self, subject: Subject) -> None:
        """As the base class says."""
        if subject.raw:
            raise UsageError(
                "--to fpga takes no --raw-inputs: scale them before the chip, as fixed-point numbers hold no wide range"
            )
        if subject.reads_tokens:
            raise UsageError(
                "--to fpga: the model reads tokens, and hls4ml's PyTorch front end has no Embedding: "
                "export to onnx, torch or executorch"
            )
        readable(subject.network, subject.example(1))

    def write(self, subject: Subject, folder: Path) -> None:
        """As the base class says."""
        network, flat = readable(subject.network, subject.example(1))
        last = self.io == "stream" and len(subject.data.input_shape) == 3 and not flat
        self._found.update(flat=flat, channels_last=last, largest=_largest(network, _laid(subject.example(1000), flat)))
        shape = (math.prod(subject.data.input_shape),) if flat else subject.data.input_shape

        def work() -> Any:
            import hls4ml

            settings = hls4ml.utils.config_from_pytorch_model(
                network,
                tuple(shape),
                granularity="name",
                backend=self.backend,
                default_precision=self.precision,
                default_reuse_factor=self.reuse,
                channels_last_conversion="internal" if last else "full",
            )
            settings["InputShape"] = [list(shape)]  # a tuple in the project's YAML cannot be read again
            # Written out layer by layer, thousands of multipliers that take turns are more than synthesis unrolls.
            settings["Model"]["Strategy"] = "Latency" if self.reuse == 1 else "Resource"
            made = hls4ml.converters.convert_from_pytorch_model(
                network,
                output_dir=str(folder),
                project_name=PROJECT,
                backend=self.backend,
                hls_config=settings,
                io_type=f"io_{self.io}",
                clock_period=self.clock,
                **({} if self.part is None else {"part": self.part}),
            )
            del made.config.config["PytorchModel"]  # nor can the network, pickled into it
            made.write()
            return made

        with refusals(folder):
            made = called("hls4ml", work)
        self._found["part"] = str(made.config.get_config_value("Part"))
        self._found["layers"] = [_account(layer) for layer in made.get_layers() if "weight" in layer.weights]

    def open(self, subject: Subject, folder: Path) -> Callable[[Tensor], Tensor]:
        """As the base class says: the project as it lies there is compiled and linked."""

        def work() -> Any:
            import hls4ml

            linked = hls4ml.converters.link_existing_project(folder)
            linked.compile()
            return linked

        linked = called("hls4ml", work)
        flat, last = self._found["flat"], self._found["channels_last"]

        def answer(inputs: Tensor) -> Tensor:
            laid = _laid(inputs, flat)
            values = np.ascontiguousarray((laid.movedim(1, -1) if last else laid).numpy())
            return torch.from_numpy(np.asarray(linked.predict(values), dtype=np.float32).reshape(len(inputs), -1))

        return answer

    def judge(self, subject: Subject, agreement: Agreement) -> None:
        """As the base class says."""
        if agreement.share >= self.least:
            return
        what = (
            "R² of its answers against torch's is"
            if _numbers(subject)
            else "the share of answers that equal torch's is"
        )
        raise ExportError(
            f"{self.backend} at {self.precision}: {what} {agreement.share:.4g} on {agreement.samples:,} test samples, "
            f"and --least-agreement asks for {self.least:g}; nothing was kept. {self._advice()}"
        )

    def _advice(self) -> str:
        match = FIXED.fullmatch(self.precision)
        assert match is not None
        holds = 2.0 ** (int(match[3]) - (0 if match[1] else 1))
        where, largest = max(self._held().items(), key=lambda item: item[1])
        if largest >= holds:
            return (
                f"It holds numbers below {holds:g}, and {where} reaches {largest:.3g}: take more bits before the point"
            )
        return f"Numbers are rounded to {2.0 ** (int(match[3]) - int(match[2])):g}: take more bits"

    def _held(self) -> dict[str, float]:
        """The largest of the values that have to fit the precision: sums are wider."""
        sums = tuple(layer["layer"] for layer in self._found["layers"])
        return {name: value for name, value in self._found["largest"].items() if name not in sums}

    def asked(self) -> dict[str, Any]:
        """As the base class says."""
        return {
            "precision": self.precision,
            "reuse": self.reuse,
            "backend": self.backend,
            "io": self.io,
            "part": self.part,
            "clock_nanoseconds": self.clock,
            "least_agreement": self.least,
        }

    def details(self) -> dict[str, Any]:
        """As the base class says."""
        layers = self._found["layers"]
        totals = {name: sum(layer[name] for layer in layers) for name in ("weights", "multipliers", "dsps", "brams")}
        return {
            "inputs": "flat"
            if self._found["flat"]
            else "channels_last"
            if self._found["channels_last"]
            else "as in torch",
            "part": self._found["part"],
            "largest_values": self._found["largest"],
            "layers": layers,
            "total": totals,
            "needs_synthesis": NEEDS_SYNTHESIS,
        }

    def finish(self, folder: Path, place: Path) -> None:
        """The compiled emulation knows the weights by the folder that it was made in: build_lib.sh makes it anew."""
        for library in folder.glob("firmware/*.so"):
            library.unlink()
        config = folder / CONFIG
        text = config.read_text()
        write_whole(config, text.replace(str(folder), str(place)))


def _numbers(subject: Subject) -> bool:
    return not subject.data.classes and not subject.data.questions


def _laid(inputs: Tensor, flat: bool) -> Tensor:
    return inputs.flatten(1) if flat else inputs


def _account(layer: Any) -> dict[str, Any]:
    """What hls4ml's design says of a layer with weights: what its generated code and its own estimators count.

    Multipliers are ⌈weights / reuse⌉ less the zeros among them / reuse (`multiplier_limit` in parameters.h); in a
    convolution those of one pixel, which all pixels share where there is one partition.
    """
    weight = layer.weights["weight"]
    count, width = int(np.prod(weight.data.shape)), int(weight.type.precision.width)
    reuse = int(layer.get_attr("reuse_factor", 1))
    strategy = str(layer.get_attr("strategy", "latency")).lower()
    multipliers = -(-count // reuse) - int(weight.nzeros) // reuse
    in_memory = strategy == "resource" and reuse > 1
    return {
        "layer": str(layer.name),
        "weights": count,
        "zeros": int(weight.nzeros),
        "weight_precision": _plainly(weight.type.precision),
        "result_precision": _plainly(layer.get_output_variable().type.precision),
        "strategy": strategy,
        "reuse": reuse,
        "multipliers": multipliers,
        "dsps": multipliers if width >= DSP_WIDTH else 0,
        "brams": -(-count * width // (reuse * BRAM_WIDTH)) if in_memory else 0,
    }


def _plainly(precision: Any) -> str:
    """fixed<16,6> for fixed<16,6,TRN,WRAP,0>, which is the usual way to round and overflow."""
    return str(precision).removeprefix("ap_").removeprefix("ac_").replace(",TRN,WRAP,0>", ">")


def _largest(network: fx.GraphModule, inputs: Tensor) -> dict[str, float]:
    """The largest absolute value of the inputs, of each layer's outputs and of its parameters, on these samples."""
    found = {"inputs": float(inputs.abs().max())}

    class Watching(fx.Interpreter):
        def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
            outputs = super().call_module(target, args, kwargs)
            layer = network.get_submodule(target)
            found[str(target)] = float(outputs.abs().max())
            for name, values in layer.named_parameters(recurse=False):
                found[f"{target}.{name}"] = float(values.abs().max())
            return outputs

    with torch.no_grad():
        Watching(network).run(inputs)
    return found
