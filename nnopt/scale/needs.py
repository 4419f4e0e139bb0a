"""What a run takes of a machine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from nnopt.errors import UsageError
from nnopt.spec.cluster import ClusterSpec
from nnopt.spec.experiment import RunSettings


@dataclass(frozen=True)
class Needs:
    """CPU cores, GPUs and memory of a run; `threads` is the most that one of its processes takes by itself."""

    threads: int = 1
    cpus: int = 1
    gpus: float = 0.0
    memory_bytes: int | None = None
    may_use_gpu: bool = False  # as many as it has processes, where nothing was said of GPUs
    processes: int = 1

    @classmethod
    def of(cls, cluster: ClusterSpec, settings: Iterable[RunSettings], threads: int) -> Needs:
        """The most of what several variants take, one of which has so many threads.

        Raises:
            UsageError: a device is named by a number, where GPUs are handed out.
        """
        processes, may_use_gpu = 1, False
        for one in settings:
            kind, _, number = one.device.partition(":")
            if number and number != "0" and kind != "cpu":
                raise UsageError(
                    f"device: {one.device} names one GPU of this machine, and a cluster hands them out: write {kind}"
                )
            may_use_gpu = may_use_gpu or kind in ("auto", "cuda")
            if one.parallel is not None:
                processes = max(processes, one.parallel.asked or 1)
            if isinstance(one.strategy.threads, int):
                threads = max(threads, one.strategy.threads)
        return cls(
            threads=threads if cluster.cpus is None else max(1, cluster.cpus // processes),
            cpus=cluster.cpus or threads * processes,
            gpus=cluster.gpus or 0.0,
            memory_bytes=None if cluster.memory is None else round(cluster.memory * 10**9),
            may_use_gpu=may_use_gpu and cluster.gpus is None,
            processes=processes,
        )

    def on(self, has_gpus: bool) -> Needs:
        """The same where it is known whether there are GPUs."""
        return replace(self, gpus=float(self.processes)) if has_gpus and self.may_use_gpu else self

    def fit_into(self, resources: Mapping[str, float]) -> int:
        """How many such runs a machine with Ray's `resources` has room for."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes or 0}
        return min(math.floor(resources.get(name, 0.0) / much + 1e-6) for name, much in wanted.items() if much)

    def in_words(self) -> str:
        """What it takes."""
        parts = [f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"]
        if self.gpus:
            parts.append(f"{self.gpus:g} GPU{'s' if self.gpus > 1 else ''}")
        if self.memory_bytes:
            parts.append(f"{self.memory_bytes / 1e9:g} GB")
        return ", ".join(parts)
