"""`nnopt import` of TensorBoard's event files, written by other programs than ours."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Ended

from nnopt.importing.imports import Wish, import_runs
from nnopt.importing.records import masked_crc, read_records
from nnopt.store.record import RunRecord

Cli = Callable[..., Ended]


def write_events(folder: Path, values: Iterable[tuple[str, int, float]], start: float = 1.7e9, number: int = 0) -> Path:
    """Event files as torch.utils.tensorboard writes them: a value an event, a second between steps."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{int(start)}.host.{number}"
    with path.open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=start, file_version="brain.Event:2").SerializeToString())
        for tag, step, value in values:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.write(Event(wall_time=start + step, step=step, summary=summary).SerializeToString())
    return path


def curve(runs: Path, name: str) -> dict[str, list[float | None]]:
    return RunRecord.read(runs / name).curve()


def test_each_folder_is_a_run(cli: Cli, runs: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        folder = tmp_path / "logs" / "adam" / f"seed={seed}"
        write_events(folder, [("train/loss", 1, 4.0), ("train/loss", 2, 3.0), ("accuracy/val", 2, 0.5)])
    write_events(tmp_path / "logs" / "sgd", [("train/loss", 1, 4.0)])
    cli("import", tmp_path / "logs")
    for seed in (1, 2):
        assert curve(runs, f"logs/adam/seed-{seed}") == {
            "step": [1, 2],
            "train_seconds": [1, 2],
            "train_loss": [4, 3],
            "val_accuracy": [None, 0.5],
        }
    assert RunRecord.read(runs / "logs/sgd/seed-0").summary["imported"] == {
        "from": "tensorboard",
        "path": str(tmp_path / "logs"),
        "run": "sgd",
        "clock": "wall",
    }
    cli("compare", "logs")
    cli("show", "logs/sgd/seed-0")


def test_what_torch_writes(cli: Cli, runs: Path, tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        for step in range(5):
            writer.add_scalar("val/loss", 1 / (step + 1), step)
            writer.add_scalar("val/acc", step / 10, step, new_style=True)
        writer.add_histogram("weights", np.arange(100.0), 3)
        writer.add_text("notes", "hello", 1)
        writer.add_hparams({"lr": 0.1, "opt": "adam", "seed": 5, "fast": True}, {"hp/val_loss": 0.2}, run_name=".")
    cli("import", tmp_path / "run", "--experiment", "e", "--variant", "{opt}")
    record = RunRecord.read(runs / "e/adam/seed-5")
    assert record.curve()["val_accuracy"] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], rel=1e-6)
    assert record.curve()["val_loss"] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], rel=1e-6)
    assert record.summary["spec"] == {"lr": 0.1, "opt": "adam", "fast": True}


def test_keras_writes_one_run_as_two_folders(cli: Cli, runs: Path, tmp_path: Path) -> None:
    for part, value in (("train", 0.9), ("validation", 0.5)):
        write_events(tmp_path / "logs" / "big" / part, [("epoch_accuracy", 0, value), ("epoch_loss", 0, 1 - value)])
    cli("import", tmp_path / "logs")
    found = curve(runs, "logs/big/seed-0")
    assert {name: values for name, values in found.items() if "_" in name} == {
        "train_seconds": [0],
        "train_loss": [pytest.approx(0.1)],
        "train_accuracy": [pytest.approx(0.9)],
        "val_accuracy": [0.5],
        "val_loss": [0.5],
    }


def test_a_variant_may_be_called_test(cli: Cli, runs: Path, tmp_path: Path) -> None:
    write_events(tmp_path / "logs" / "test", [("val_loss", 1, 1.0)])
    cli("import", tmp_path / "logs")
    assert curve(runs, "logs/test/seed-0")["val_loss"] == [1]


def test_a_resumed_run_has_several_files(cli: Cli, runs: Path, tmp_path: Path) -> None:
    write_events(tmp_path / "r", [("val_loss", step, 10 - step) for step in range(1, 5)])
    write_events(tmp_path / "r", [("val_loss", step, 5.0) for step in (3, 4, 5)], start=1.7e9 + 100)
    ended = cli("import", tmp_path / "r", "--experiment", "e")
    found = curve(runs, "e/r/seed-0")
    assert (found["step"], found["val_loss"]) == ([1, 2, 3, 4, 5], [9, 8, 5, 5, 5])
    assert "2 values came again at a step that had one: the last one counts" in ended.errors
    assert found["train_seconds"] == [1, 2, 103, 104, 105]


def test_a_loss_that_is_not_finite_is_a_diverged_run(cli: Cli, runs: Path, tmp_path: Path) -> None:
    write_events(tmp_path / "r", [("val_loss", 1, 1.0), ("val_loss", 2, float("inf")), ("x", 3, 1.0)])
    cli("import", tmp_path / "r", "--experiment", "e")
    record = RunRecord.read(runs / "e/r/seed-0")
    assert (record.status, record.summary["diverged"]) == ("diverged", {"step": 2, "last_loss": 1.0})
    assert record.summary["metrics"]["val_loss"] == {"last": None, "best": 1.0, "best_step": 1}
    cli("compare", "e")
    cli("show", "e/r/seed-0")


def test_a_file_cut_short_is_read_as_far_as_it_goes(cli: Cli, runs: Path, tmp_path: Path) -> None:
    path = write_events(tmp_path / "r", [("val_loss", step, 1.0) for step in range(1, 10)])
    whole = path.read_bytes()
    for cut in (1, 5, 17, 30):
        path.write_bytes(whole[:-cut])
        ended = cli("import", tmp_path / "r", "--experiment", "e")
        assert len(curve(runs, "e/r/seed-0")["step"]) == (8 if cut < 30 else len(curve(runs, "e/r/seed-0")["step"]))
        assert not any("damaged" in line for line in ended.errors)


def test_a_flipped_bit_is_no_value(cli: Cli, runs: Path, tmp_path: Path) -> None:
    path = write_events(tmp_path / "r", [("val_loss", step, 1.0) for step in range(1, 10)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    ended = cli("import", tmp_path / "r", "--experiment", "e")
    (line,) = [line for line in ended.errors if "damaged" in line]
    assert "what follows is left out" in line
    assert 0 < len(curve(runs, "e/r/seed-0")["step"]) < 9


@pytest.mark.parametrize("content", [b"", b"no event file at all", struct.pack("<Q", 2**60) + b"\0" * 20])
def test_what_is_no_event_file_is_refused_in_a_line(cli: Cli, runs: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "events.out.tfevents.1.x").write_bytes(content)
    (line,) = cli("import", tmp_path / "events.out.tfevents.1.x", code=2).errors
    assert line.startswith("error: ")
    assert "is no event file of TensorBoard" in line or "holds no curves" in line
    assert not runs.exists()


def test_a_missing_extra_is_named(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_events(tmp_path / "r", [("val_loss", 1, 1.0)])
    find: Any = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else find(name))
    (line,) = cli("import", tmp_path / "r", code=2).errors
    assert line.endswith("pip install 'nnopt[tensorboard]'")


def test_sums_of_records_are_tensorboards() -> None:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    rows = np.random.default_rng(0).integers(0, 256, (50, 33), np.uint8)
    assert masked_crc(rows).tolist() == [masked_crc32c(row.tobytes()) for row in rows]
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 0x8A9136AA; unmasked as TFRecord says.
    masked = int(masked_crc(np.zeros((1, 32), np.uint8))[0])
    rotated = (masked - 0xA282EAD8) % 2**32
    assert ((rotated >> 17) | (rotated << 15)) % 2**32 == 0x8A9136AA


def test_records_are_those_that_tensorboard_reads(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    path = write_events(tmp_path, [(f"tag{step % 7}" * (step % 5), step, step / 3) for step in range(300)])
    records, problem = read_records(path)
    assert problem is None
    assert records == list(RawEventFileLoader(str(path)).Load())


def test_a_large_file_is_read(tmp_path: Path) -> None:
    write_events(tmp_path / "r", ((f"m{tag}", step, 1.0) for step in range(2_000) for tag in range(10)))
    (one,), _ = import_runs(str(tmp_path / "r"), tmp_path / "runs", Wish())
    assert one.rows == 2_000
