"""Checkpoints on disk: whole, checked, and where one is damaged the one before is used."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from running import (
    Starter,
    StopAfter,
    Told,
    assert_equal,
    assert_same_bits,
    fit,
    fit_one,
    state_of,
    summary_of,
    weights_of,
    write_digits,
)

from nnopt.errors import CheckpointError, DiskError, Interrupted
from nnopt.train import checkpoint

CONTENT: dict[str, Any] = {
    "identity": {"run": "a/b/seed-0", "spec_hash": "0", "seed": 0},
    "state": {
        "weights": torch.arange(6.0).reshape(2, 3),
        "counts": torch.tensor([1, 2]),
        "scalar": torch.tensor(0.5),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "empty": torch.empty(0),
        "numbers": [1, 2.5, None, "text", True],
    },
}


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_a_byte_of_a_tensor(path: Path) -> None:
    """A change that the archive's reader does not see: one bit of a weight, all else well-formed."""
    content = torch.load(path, weights_only=True)
    name, tensor = next(iter(content["state"]["model"].items()))
    bits = tensor.clone().view(torch.int32)
    bits.view(-1)[0] ^= 1
    content["state"]["model"][name] = bits.view(torch.float32)
    torch.save(content, path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip_a_byte,
    "flipped tensor": flip_a_byte_of_a_tensor,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a checkpoint"),
    "other archive": lambda path: torch.save({"weights": torch.ones(2)}, path),
}


# ----------------------------------------------------------------------------------------------- one file


def test_what_is_saved_is_loaded_and_plain_torch_reads_it(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.pt", CONTENT)
    assert_equal(checkpoint.load(tmp_path / "a.pt"), CONTENT)
    read = torch.load(tmp_path / "a.pt", weights_only=True)
    assert torch.equal(read["state"]["weights"], CONTENT["state"]["weights"])


def test_weights_in_a_checkpoint_have_the_models_names(tmp_path: Path) -> None:
    record = fit_one(tmp_path)
    assert list(weights_of(record.folder)) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert weights_of(record.folder, checkpoint.BEST).keys() == weights_of(record.folder).keys()


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.pt"
    checkpoint.save(path, CONTENT)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    with contextlib.suppress(CheckpointError):
        assert_equal(checkpoint.load(path), CONTENT)  # a byte of the archive's own padding or dates


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        max_leaves=8,
    ),
    st.integers(0, 1),
)
def test_the_checksum_tells_values_apart_by_type_name_and_nesting(value: Any, number: int) -> None:
    assert checkpoint.checksum(value) == checkpoint.checksum(value)
    assert checkpoint.checksum({"a": value}) != checkpoint.checksum({"b": value})
    assert checkpoint.checksum([value]) != checkpoint.checksum([value, value])
    assert checkpoint.checksum([value, number]) != checkpoint.checksum([value, str(number)])
    assert checkpoint.checksum([number]) != checkpoint.checksum([torch.tensor(number)])


def test_the_checksum_sees_dtype_shape_and_bytes() -> None:
    tensors = [torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32), -torch.zeros(4), torch.ones(4)]
    assert len({checkpoint.checksum(tensor) for tensor in tensors}) == len(tensors)
    assert checkpoint.checksum(torch.ones(2, 3).T) == checkpoint.checksum(torch.ones(3, 2)), "layout is no content"


def test_a_refused_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, CONTENT)
    before = path.read_bytes()

    def full(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="the disk is full: make room and run the same command again"):
        checkpoint.save(path, {"other": 1})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


# --------------------------------------------------------------------------------------- last and previous


def test_previous_is_the_one_before_last(tmp_path: Path) -> None:
    for number in range(4):
        checkpoint.save_last(tmp_path, {"number": number})
    assert checkpoint.load(tmp_path / checkpoint.LAST) == {"number": 3}
    assert checkpoint.load(tmp_path / checkpoint.PREVIOUS) == {"number": 2}


def test_a_disk_without_hard_links_keeps_both_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_paths: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    for number in range(3):
        checkpoint.save_last(tmp_path, {"number": number})
    assert checkpoint.load(tmp_path / checkpoint.LAST) == {"number": 2}
    assert checkpoint.load(tmp_path / checkpoint.PREVIOUS) == {"number": 1}


@pytest.mark.parametrize("step", ["os.link", "os.replace", "nnopt.train.checkpoint.write_whole"])
def test_a_whole_checkpoint_is_there_wherever_saving_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_args: object) -> None:
        raise Killed

    checkpoint.save_last(tmp_path, {"number": 0})
    checkpoint.save_last(tmp_path, {"number": 1})
    with monkeypatch.context() as patch:
        patch.setattr(step, kill)
        with pytest.raises(Killed):
            checkpoint.save_last(tmp_path, {"number": 2})
    assert checkpoint.load_latest(tmp_path) == ({"number": 1}, [])
    checkpoint.save_last(tmp_path, {"number": 2})
    assert checkpoint.load_latest(tmp_path) == ({"number": 2}, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]


def test_no_checkpoint_at_all_is_a_beginning(tmp_path: Path) -> None:
    assert checkpoint.load_latest(tmp_path) == (None, [])


# --------------------------------------------------------------------------------------------- whole runs

STEPS = {"checkpoint": {"every": {"steps": 6}}, "budget": {"epochs": 3}, "optimizer": {"kind": "adam", "lr": 0.01}}


def interrupt(folder: Path, changes: dict[str, Any]) -> Path:
    """Stops a run after its second row; its checkpoints' folder."""
    with pytest.raises(Interrupted):
        fit(folder, changes, StopAfter(2))
    return folder / "runs" / "small" / "adam" / "seed-0" / checkpoint.FOLDER


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(tmp_path: Path, damage: str) -> None:
    (tmp_path / "whole").mkdir()
    whole = fit_one(tmp_path / "whole", STEPS)
    checkpoints = interrupt(tmp_path, STEPS)
    DAMAGES[damage](checkpoints / checkpoint.LAST)
    told = Told()
    fit_one(tmp_path, STEPS, told)
    (note,) = [words[2] for words in told.words if words[0] == "note"]
    assert note.startswith(f"{checkpoints / checkpoint.LAST} is ")
    assert note.endswith("going on from the one before")
    log = (checkpoints.parent / "run.log").read_text()
    assert note in log
    assert "resumed at step 36" in log
    assert_same_bits(whole.folder, checkpoints.parent)


def test_even_a_quiet_program_names_a_damaged_checkpoint(tmp_path: Path, starter: Starter) -> None:
    checkpoints = interrupt(tmp_path, STEPS)
    flip_a_byte(checkpoints / checkpoint.LAST)
    process = starter.run(tmp_path, "train", write_digits(tmp_path, STEPS), "--quiet")
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"small/adam/seed-0: {checkpoints / checkpoint.LAST} is damaged")


def test_a_damaged_checkpoint_never_takes_the_place_of_the_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = interrupt(tmp_path, STEPS)
    flip_a_byte(checkpoints / checkpoint.LAST)

    def full(*_args: object) -> None:
        raise DiskError("the disk is full")

    with monkeypatch.context() as patch:  # the first checkpoint after the resume cannot be written
        patch.setattr(checkpoint, "save", full)
        with pytest.raises(DiskError):
            fit(tmp_path, STEPS)
    saved, problems = checkpoint.load_latest(checkpoints)
    assert saved is not None
    assert problems == []
    assert fit_one(tmp_path, STEPS).status == "done"


def test_where_both_are_damaged_the_run_fails_with_a_way_out_and_the_others_go_on(
    tmp_path: Path, starter: Starter
) -> None:
    changes = STEPS | {"seeds": 2}
    checkpoints = interrupt(tmp_path, changes)
    for name in (checkpoint.LAST, checkpoint.PREVIOUS):
        flip_a_byte(checkpoints / name)
    process = starter.run(tmp_path, "train", write_digits(tmp_path, changes), code=1)
    failed, other = (summary_of(checkpoints.parents[1] / f"seed-{seed}") for seed in (0, 1))
    assert failed["status"] == "failed"
    assert str(checkpoints / checkpoint.LAST) in failed["reason"]
    assert str(checkpoints / checkpoint.PREVIOUS) in failed["reason"]
    assert "`nnopt train --fresh` begins again" in failed["reason"]
    assert failed["reason"] in process.stderr
    assert "Traceback" not in process.stderr
    assert other["status"] == "done"
    assert "1 of 2 failed" in (tmp_path / "runs" / "small" / "comparison.md").read_text()

    starter.run(tmp_path, "train", "spec.yaml", "--fresh")
    assert summary_of(checkpoints.parent)["status"] == "done"


def test_damaged_best_weights_are_said_to_be_untested(tmp_path: Path) -> None:
    changes = STEPS | {
        "optimizer": {"kind": "adam", "lr": 30.0},  # much too high: the best loss is that of the initial weights
        "evaluation": {"select": "val_loss", "at_start": True},
    }
    checkpoints = interrupt(tmp_path, changes)
    flip_a_byte(checkpoints / checkpoint.BEST)
    record = fit_one(tmp_path, changes)
    assert record.summary["metrics"]["val_loss"]["best_step"] == 0
    assert record.summary["test"]["last"]["loss"] > 0
    assert record.summary["test"]["best"] is None
    log = (record.folder / "run.log").read_text()
    assert f"the best weights are not tested: {checkpoints / checkpoint.BEST} is damaged" in log


@pytest.mark.parametrize(
    ("every", "steps"),
    [(None, [20, 40]), ({"steps": 15}, [15, 30, 40]), ({"epochs": 0.7}, [14, 28, 40]), ({"seconds": 1000}, [40])],
)
def test_a_checkpoint_is_written_at_every_evaluation_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: dict[str, Any] | None, steps: list[int]
) -> None:
    save = checkpoint.save_last
    seen: list[int] = []

    def noting(folder: Path, content: dict[str, Any]) -> None:
        seen.append(content["state"]["progress"]["step"])
        save(folder, content)

    monkeypatch.setattr(checkpoint, "save_last", noting)
    record = fit_one(tmp_path, {"checkpoint": {"every": every}} if every else {})
    assert seen == steps, "and always at the end"
    assert state_of(record.folder)["progress"]["step"] == 40
