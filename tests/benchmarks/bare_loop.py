"""The loop that one would write by hand for a spec of accelerator.py: the same model, rows and optimizer, torch alone.

    python tests/benchmarks/bare_loop.py SPEC.yaml STRETCHES THREADS

Prints, as JSON, the seconds of an update in each stretch. nnopt lends the model and the rows; nothing of it is timed.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from nnopt.plan import Plan
from nnopt.spec.experiment import RunSettings
from nnopt.spec.loading import load
from nnopt.train.devices import find_device, set_matmul_precision
from nnopt.train.initial_model import build_model

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    """Times one loop."""
    run = Plan.of(load(Path(sys.argv[1]))).runs[0]
    stretches, threads = map(int, sys.argv[2:4])
    torch.set_num_threads(threads)
    device = find_device(run.settings.device)
    steps = int(run.settings.budget.steps or 0)
    loop = Loop(run.settings, device)
    seconds = []
    for _ in range(stretches):
        wait(device)
        start = time.perf_counter()
        for _ in range(steps // stretches):
            loop.step()
        wait(device)
        seconds.append((time.perf_counter() - start) / (steps // stretches))
    print(json.dumps(seconds))


def wait(device: torch.device) -> None:
    """Until the device has done all it was asked for."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


class Loop:
    """Batches gathered from rows on the device in a fresh order each epoch; forward, backward, step."""

    def __init__(self, settings: RunSettings, device: torch.device) -> None:
        strategy = settings.strategy
        set_matmul_precision(strategy.precision)
        data = settings.data.load()
        self.model = build_model(settings, data, 0).to(device).train()
        if strategy.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.forward = torch.compile(self.model) if strategy.compile else self.model
        train = data.train.to(device)
        self.inputs, self.targets = train.inputs, train.targets  # type: ignore[attr-defined]
        self.device, self.size = device, int(strategy.batch_size)  # type: ignore[arg-type]
        self.channels_last = strategy.channels_last
        dtype = AUTOCAST.get(strategy.precision)
        self.autocast: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
        if dtype is not None:
            self.autocast = lambda: torch.autocast(device.type, dtype=dtype)
        keys, fused = settings.optimizer, device.type != "cpu"
        if keys.kind == "adam":
            capturable = {"capturable": True} if strategy.graph else {}
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
                self.model.parameters(), lr=keys.lr, fused=fused, **capturable
            )
        else:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=keys.lr, momentum=0.9, fused=fused)
        self.rows = torch.zeros(self.size, dtype=torch.int64, device=device)
        self.order, self.at = torch.empty(0, dtype=torch.int64), 0
        self.update = self.record() if strategy.graph else self.train_on_rows

    def step(self) -> None:
        """The next batch; what is left at an epoch's end is dropped."""
        if self.at + self.size > len(self.order):
            self.order, self.at = torch.randperm(len(self.inputs), device=self.device), 0
        self.rows.copy_(self.order[self.at : self.at + self.size])
        self.at += self.size
        self.update()

    def train_on_rows(self) -> None:
        """One update."""
        inputs = self.inputs.index_select(0, self.rows)
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=False)
        with self.autocast():
            outputs = self.forward(inputs)
        F.cross_entropy(outputs.float(), self.targets.index_select(0, self.rows)).backward()
        self.optimizer.step()

    def record(self) -> Callable[[], None]:
        """The update as a CUDA graph, as torch's notes show it."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.train_on_rows()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.train_on_rows()
        replay: Callable[[], None] = graph.replay
        return replay


if __name__ == "__main__":
    main()
