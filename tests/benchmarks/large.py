"""Data larger than memory: an epoch over a .npy file of 5 GB by a process that may allocate 2 GB.

Linux only: the limit is RLIMIT_DATA (all private memory that can be written), and what the process holds is read from
/proc. `python tests/benchmarks/large.py --folder DIR` needs room for the file in DIR, and removes it.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from job import BenchError

GB = 10**9
SHAPE = (3, 32, 32)
CLASSES = 10
ROWS_AT_ONCE = 8192
PARTS_SHOWN = 10
SPEC = """\
name: large
data: {{kind: npy, path: {folder}/inputs.npy, targets: {folder}/targets.npy, validation: 0.01, test: 0.01}}
model: {{kind: mlp, hidden: [16]}}
loss: {{kind: cross_entropy}}
optimizer: {{kind: sgd, lr: 0.01}}
strategy: {{batch_size: 256}}
budget: {{epochs: 1}}
evaluation: {{every: {{epochs: 1}}}}
device: cpu
seeds: 1
"""


@dataclass(frozen=True)
class Held:
    """What a process held at one moment: bytes of its own, and bytes of files that are mapped into it."""

    seconds: float
    own: int
    mapped: int


def write_rows(folder: Path, size: int) -> int:
    """Bytes of images whose class is to be seen in a brighter column, `size` bytes of them; gives their number.

    The noise behind it comes again every so many rows: to draw it takes longer than to write it.
    """
    rows = size // int(np.prod(SHAPE))
    noise = np.random.default_rng(0).integers(0, 156, (ROWS_AT_ONCE, *SHAPE), dtype=np.uint8)
    targets = np.arange(rows) % CLASSES
    np.save(folder / "targets.npy", targets)
    with (folder / "inputs.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, ROWS_AT_ONCE):
            labels = targets[start : start + ROWS_AT_ONCE]
            chunk = noise[: len(labels)].copy()
            chunk[np.arange(len(labels)), :, :, 3 * labels] += 100
            file.write(chunk.data)
    return rows


def watched(command: list[str], folder: Path, limit: int) -> tuple[int, list[Held], str]:
    """Runs a command that may allocate `limit` bytes; its exit code, what it held over time, what it reported."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=errors, stderr=errors, preexec_fn=limited)
        start, seen = time.monotonic(), []
        while process.poll() is None:
            own, mapped = _memory_of(process.pid)
            seen.append(Held(time.monotonic() - start, own, mapped))
            time.sleep(0.1)
    return process.returncode, seen, (folder / "errors").read_text()


def _memory_of(pid: int) -> tuple[int, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return 1024 * int(found.get("RssAnon", 0)), 1024 * int(found.get("RssFile", 0))


def main() -> None:
    """Writes, trains, prints, removes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None, help="where there is room; else the system's")
    parser.add_argument("--gigabytes", type=float, default=5.0, help="size of the file")
    parser.add_argument("--limit", type=float, default=2.0, help="GB that the process may allocate")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        rows = write_rows(folder, int(asked.gigabytes * GB))
        (folder / "large.yaml").write_text(SPEC.format(folder=folder))
        size = (folder / "inputs.npy").stat().st_size
        print(f"{rows:,} rows of {'x'.join(map(str, SHAPE))} bytes, {size / GB:.2f} GB; limit {asked.limit:g} GB")
        command = [sys.executable, "-m", "nnopt", "train", "large.yaml", "--quiet", "--runs-dir", "runs"]
        code, _, words = watched([*command, "data.in_memory=true"], folder, int(asked.limit * GB))
        print(f"in_memory: true: exit {code}, {words.strip().splitlines()[-1]}")
        code, seen, words = watched([*command, "data.in_memory=false"], folder, int(asked.limit * GB))
        if code != 0:
            raise BenchError(f"training ended with {code}: {words[-500:]}")
        summary = json.loads(next(folder.glob("runs/large/*/seed-0/summary.json")).read_text())
        print("share of the time   own memory   mapped files (largest in that part)")
        for part in range(PARTS_SHOWN):
            some = seen[part * len(seen) // PARTS_SHOWN : (part + 1) * len(seen) // PARTS_SHOWN]
            own, mapped = max(one.own for one in some), max(one.mapped for one in some)
            print(f"{part * 10:3} to {part * 10 + 10:3} %        {own / 1e6:6.0f} MB      {mapped / 1e6:6.0f} MB")
        seconds = summary["seconds"]["train"]
        print(f"{summary['samples']:,} samples in {seconds:.0f} training seconds, {seen[-1].seconds:.0f} in all")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
