"""Calls of converters and runtimes, which print on every way there is."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator

from nnopt.quiet import quiet

LOGGERS = ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torchao", "executorch", "coremltools")


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Within, neither Python nor the C++ below it writes to the terminal, and no warning is shown."""
    sys.stdout.flush()
    sys.stderr.flush()
    with (
        quiet(LOGGERS, {}),
        tempfile.TemporaryFile() as nowhere,
        _diverted(nowhere.fileno()),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


@contextlib.contextmanager
def _diverted(target: int) -> Iterator[None]:
    """What goes to the process's own stdout and stderr goes to the open file `target`."""
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        for number in kept:
            os.dup2(target, number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
