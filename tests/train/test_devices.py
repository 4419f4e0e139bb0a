"""Devices, precisions and threads that a spec asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from running import fit_one, prepare
from torch import nn

from nnopt.errors import DeviceError
from nnopt.structure.accounts.layers import count_multiply_adds
from nnopt.surroundings import cores
from nnopt.train import devices
from nnopt.train.devices import MULTIPLY_ADDS_FOR_THREADS, choose_threads, find_device


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(DeviceError, match=r"device cuda:7 is not there.*; this machine has .*cpu"):
        find_device("cuda:7")
    with pytest.raises(DeviceError, match="device cpu:1"):
        find_device("cpu:1")


def test_auto_is_the_first_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_devices", lambda: ["cuda", "cuda:1", "cpu"])
    assert find_device("auto") == torch.device("cuda")
    assert find_device("cuda:0") == find_device("cuda") == torch.device("cuda")
    assert find_device("cuda:1") == torch.device("cuda:1")
    monkeypatch.setattr(devices, "available_devices", lambda: ["cpu"])
    assert find_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("precision", "words"), [("fp16", "use bf16 or fp32"), ("tf32", "needs an NVIDIA GPU")])
def test_a_precision_that_the_device_lacks(precision: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        devices.check_precision(precision, torch.device("cpu"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precisions_of_every_cpu(precision: str) -> None:
    devices.check_precision(precision, torch.device("cpu"))


# ------------------------------------------------------------------------------------------------ threads


@given(st.integers(1, 10**9))
def test_threads_depend_on_the_work_and_the_cores_alone(work: int) -> None:
    before = torch.get_num_threads()
    first = choose_threads("auto", work)
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "7"}):
            assert choose_threads("auto", work) == first
    finally:
        torch.set_num_threads(before)
    assert first == (cores() if work >= MULTIPLY_ADDS_FOR_THREADS else 1)
    assert choose_threads(3, work) == 3


CONVOLUTION = {"model": {"kind": "cnn", "blocks": [{"channels": 32}, {"channels": 64}]}}


@pytest.mark.parametrize(
    ("changes", "many"),
    [
        ({}, False),
        ({"model": {"hidden": [1024, 1024]}}, True),
        ({"model": {"hidden": [1024, 1024]}, "strategy": {"batch_size": 1}}, False),
        (CONVOLUTION, True),
    ],
)
def test_small_models_take_one_thread_and_larger_ones_all_cores(
    tmp_path: Path, changes: dict[str, Any], many: bool
) -> None:
    before = torch.get_num_threads()
    try:
        _, setup, _ = prepare(tmp_path, changes)
        assert setup.threads == torch.get_num_threads() == (cores() if many else 1)
    finally:
        torch.set_num_threads(before)


def test_the_choice_is_recorded_and_a_number_is_taken_as_it_is(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        record = fit_one(tmp_path, {"strategy": {"threads": 2}})
        assert torch.get_num_threads() == record.summary["threads"] == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (nn.Linear(784, 128), (784,), 784 * 128),
        (nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 3)), (5,), 5 * 7 + 7 * 3),
        (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 12), 8 * 3 * 9 * 10 * 12),
        (nn.Conv2d(4, 8, 3, groups=2, stride=2), (4, 9, 9), 8 * 2 * 9 * 4 * 4),
    ],
)
def test_multiply_adds_are_those_of_the_textbook(model: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    sample = torch.zeros(1, *shape)
    assert count_multiply_adds(model, sample) == expected
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(sample)
    assert counter.get_total_flops() == 2 * expected
