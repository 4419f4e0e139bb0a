"""Targets that take the whole program as torch.export sees it: ONNX, torch.export's own files, ExecuTorch."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnopt.errors import ExportError, UsageError
from nnopt.export.subject import Subject
from nnopt.export.target import FloatTarget, called
from nnopt.store.files import write_whole
from nnopt.structure.quantise.layers import QuantisedLinear

INPUT, OUTPUT = "input", "output"
EXAMPLES = 2  # of which a program is made: from a single one torch.export might take 1 for a constant


def _dynamic() -> tuple[dict[int, Any]]:
    """The first axis of the one input may have any length."""
    return ({0: torch.export.Dim("batch", min=1)},)


def _product_of_int8(values: Any, weights: Any) -> Any:
    """The product of whole numbers in int8 linear layers, unknown to torch's exporter: [n, k]·[k, m] in int32."""
    from onnxscript import opset18

    return opset18.MatMulInteger(values, weights)


@dataclass(frozen=True)
class OnnxTarget(FloatTarget):
    """An ONNX file, made by torch's exporter and loaded by onnxruntime."""

    name = "onnx"
    file = "model.onnx"
    modules = ("onnx", "onnxscript", "onnxruntime")
    packages = ("torch", "onnx", "onnxscript", "onnxruntime")

    def write(self, subject: Subject, folder: Path) -> None:
        """As the base class says."""

        def work() -> bytes:
            made = torch.onnx.export(
                subject.network,
                (subject.example(EXAMPLES),),
                dynamo=True,
                dynamic_shapes=_dynamic(),
                input_names=[INPUT],
                output_names=[OUTPUT],
                custom_translation_table={torch.ops.aten._int_mm.default: _product_of_int8},
                verbose=False,
            )
            assert made is not None
            content: bytes = made.model_proto.SerializeToString()
            return content

        write_whole(folder / self.file, called("torch.onnx", work))

    def open(self, subject: Subject, folder: Path) -> Callable[[Tensor], Tensor]:
        """As the base class says; onnx's own checker sees the file first."""

        def work() -> Any:
            import onnx
            import onnxruntime

            onnx.checker.check_model(str(folder / self.file), full_check=True)
            return onnxruntime.InferenceSession(str(folder / self.file), providers=["CPUExecutionProvider"])

        session = called("onnxruntime", work)
        return lambda inputs: torch.from_numpy(np.asarray(session.run([OUTPUT], {INPUT: inputs.numpy()})[0]))


@dataclass(frozen=True)
class TorchTarget(FloatTarget):
    """A program of torch.export, which torch runs without the code that made it."""

    name = "torch"
    file = "model.pt2"

    def write(self, subject: Subject, folder: Path) -> None:
        """As the base class says."""

        def work() -> bytes:
            program = torch.export.export(subject.network, (subject.example(EXAMPLES),), dynamic_shapes=_dynamic())
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            return buffer.getvalue()

        write_whole(folder / self.file, called("torch.export", work))

    def open(self, subject: Subject, folder: Path) -> Callable[[Tensor], Tensor]:
        """As the base class says."""
        # torch.export.load unpickles without limits: this file was written a moment ago by this process.
        loaded = called("torch.export", lambda: torch.export.load(folder / self.file).module())

        def answer(inputs: Tensor) -> Tensor:
            with torch.no_grad():
                found: Tensor = loaded(inputs)
            return found

        return answer


@dataclass(frozen=True)
class ExecutorchTarget(FloatTarget):
    """An ExecuTorch program for one sample at a time: XNNPACK's kernels where it has them, else the portable ones."""

    name = "executorch"
    file = "model.pte"
    modules = ("executorch",)
    packages = ("torch", "executorch")
    batch = 1  # a device sees one sample at a time, and memory is planned for it ahead

    def check(self, subject: Subject) -> None:
        """As the base class says."""
        for name, layer in subject.network.named_modules():
            if isinstance(layer, QuantisedLinear) and layer.dynamic:
                raise UsageError(
                    f"--to executorch: layer {name!r} multiplies int8 numbers, for which ExecuTorch has no operator of "
                    "torch's: quantise the weights alone (int8_weight_only), or export to onnx or torch"
                )

    def write(self, subject: Subject, folder: Path) -> None:
        """As the base class says."""

        def work() -> bytes:
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            program = torch.export.export(subject.network, (subject.example(1),))
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            content: bytes = lowered.to_executorch().buffer
            return content

        write_whole(folder / self.file, called("executorch", work))

    def open(self, subject: Subject, folder: Path) -> Callable[[Tensor], Tensor]:
        """As the base class says."""

        def work() -> Any:
            from executorch.runtime import Runtime

            method = Runtime.get().load_program(folder / self.file).load_method("forward")
            if method is None:
                raise ExportError(f"executorch: {self.file} has no method called forward")
            return method

        method = called("executorch", work)

        def answer(inputs: Tensor) -> Tensor:
            # An output lies in memory that the next call writes to.
            found = [method.execute([one])[0].clone() for one in torch.split(inputs, 1)]
            return torch.cat(found)

        return answer
