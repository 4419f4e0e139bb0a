"""Energy: made-up counters are added up over the training account alone, through wrap-arounds and resumptions."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from running import StopAfter, fit, fit_one

from nnopt.errors import Interrupted
from nnopt.train import checkpoint, energy
from nnopt.train.clock import Clock
from nnopt.train.energy import EnergyMeter, Rapl, open_meter

CPU = torch.device("cpu")
LARGEST = 262_143_328_850  # microjoules, of a real package
WATTS = 50


def make_zone(root: Path, zone: str, name: str, count: int, largest: int = LARGEST) -> Path:
    """A zone as Linux shows it; gives the file of its count."""
    folder = root / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    (folder / "energy_uj").write_text(f"{count}\n")
    return folder / "energy_uj"


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    files = [make_zone(tmp_path, f"intel-rapl:{n}", f"package-{n}", 1_000_000) for n in (0, 1)]
    others = [
        make_zone(tmp_path, "intel-rapl:0:0", "core", 0),
        make_zone(tmp_path, "intel-rapl:0:1", "dram", 0),
        make_zone(tmp_path, "intel-rapl:2", "psys", 0),
        make_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    (tmp_path / "intel-rapl").mkdir()
    meter = open_meter(CPU, tmp_path)
    assert (meter.joules, meter.source, meter.reason) == (0.0, "rapl package-0, rapl package-1", "")
    meter.start()
    for file, count in zip(files, (3_500_000, 1_250_000), strict=True):
        file.write_text(str(count))
    for file in others:
        file.write_text("99000000")
    meter.stop()
    assert meter.joules == pytest.approx(2.75)
    files[0].write_text("900000000")  # after `stop`: not ours
    meter.stop()
    assert meter.joules == pytest.approx(2.75)


def test_a_counter_that_wraps_around_goes_on(tmp_path: Path) -> None:
    file = make_zone(tmp_path, "intel-rapl:0", "package-0", LARGEST - 4_000_000)
    meter = open_meter(CPU, tmp_path)
    meter.start()
    file.write_text("1000000")
    meter.stop()
    assert meter.joules == pytest.approx(5.0)


@given(
    spent=st.lists(st.integers(0, 10**6 - 1), min_size=1, max_size=20),
    first=st.integers(0, 10**6),
    largest=st.integers(10**6, 10**9),
)
def test_wherever_it_wraps_the_sum_is_what_was_spent(spent: list[int], first: int, largest: int) -> None:
    counter = Rapl("rapl package-0", Path("none"), largest)
    counts = [first]
    for amount in spent:
        counts.append((counts[-1] + amount) % largest if counts[-1] + amount > largest else counts[-1] + amount)
    total = sum(map(counter.joules, counts, counts[1:]))
    assert total == pytest.approx(sum(spent) / 1e6, abs=1e-9)


def test_where_nothing_counts_there_is_a_reason(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        meter = open_meter(CPU, root)
        assert (meter.joules, meter.source) == (None, None)
        assert meter.reason.startswith("no RAPL counter in")
    assert "mps" in open_meter(torch.device("mps")).reason
    make_zone(tmp_path, "intel-rapl:0", "package-0", 0).write_text("nonsense")
    assert "cannot be read: invalid literal" in open_meter(CPU, tmp_path).reason


def test_who_may_not_read_is_told_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_zone(tmp_path, "intel-rapl:0", "package-0", 0)

    def refuse(self: Rapl) -> int:
        raise PermissionError(13, "Permission denied", str(self.file))

    monkeypatch.setattr(Rapl, "read", refuse)
    meter = open_meter(CPU, tmp_path)
    assert meter.joules is None
    assert f"only root may read {file}" in meter.reason


def test_a_counter_that_fails_leaves_no_number(tmp_path: Path) -> None:
    file = make_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = open_meter(CPU, tmp_path)
    meter.start()
    file.unlink()
    meter.stop()
    meter.start()
    meter.stop()
    assert meter.joules is None
    assert "could not be read any more" in meter.reason


def test_the_clock_counts_the_training_account_alone(tmp_path: Path) -> None:
    file = make_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    clock = Clock(CPU, meter=open_meter(CPU, tmp_path))
    counts = iter(range(1_000_000, 100_000_000, 1_000_000))

    def spend() -> None:
        file.write_text(str(next(counts)))

    spend()
    clock.switch("train")
    spend()
    spend()
    with clock.account("logging"):
        spend()
        with clock.account("checkpoint"):
            spend()
        spend()
    clock.switch("train")
    spend()
    clock.switch("evaluation")
    spend()
    assert clock.meter.joules == pytest.approx(3.0)


def sitting(tmp_path: Path, state: dict[str, Any] | None, joules: int) -> EnergyMeter:
    meter = open_meter(CPU, tmp_path)
    if state is not None:
        meter.load_state_dict(state)
    before = int((tmp_path / "intel-rapl:0" / "energy_uj").read_text())
    meter.start()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text(str(before + 1_000_000 * joules))
    meter.stop()
    return meter


def test_sittings_add_up_and_one_without_a_measurement_leaves_no_number(tmp_path: Path) -> None:
    make_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    first = sitting(tmp_path, None, 3)
    second = sitting(tmp_path, first.state_dict(), 4)
    assert (second.joules, second.source) == (7.0, "rapl package-0")
    elsewhere = open_meter(CPU, tmp_path / "absent")
    elsewhere.load_state_dict(second.state_dict())
    assert elsewhere.joules is None
    assert "a part of the run was trained without a measurement: no RAPL counter" in elsewhere.reason
    back = sitting(tmp_path, elsewhere.state_dict(), 4)
    assert (back.joules, back.reason) == (None, elsewhere.reason)
    old = open_meter(CPU, tmp_path)
    old.load_state_dict(None)  # a checkpoint from before energy was measured
    assert (old.joules, old.reason) == (None, "a part of the run was trained without a measurement")


@pytest.fixture
def powered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes 50 W whatever it does."""
    make_zone(tmp_path / "powercap", "intel-rapl:0", "package-0", 0)
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "powercap")
    monkeypatch.setattr(Rapl, "read", lambda self: int(time.perf_counter() * WATTS * 1e6))


def assert_power_times_seconds(summary: dict[str, Any]) -> None:
    """Reading the counter lies just outside of the training seconds, where a busy machine may hold it up."""
    seconds = summary["seconds"]
    assert 0.999 * WATTS * seconds["train"] <= summary["energy_joules"] <= WATTS * sum(seconds.values())


@pytest.mark.usefixtures("powered")
def test_a_run_takes_its_power_times_its_training_seconds(tmp_path: Path) -> None:
    summary = fit_one(tmp_path).summary
    assert summary["energy_source"] == "rapl package-0"
    assert summary["energy_reason"] is None
    assert_power_times_seconds(summary)


@pytest.mark.usefixtures("powered")
def test_a_resumed_run_has_the_energy_of_all_its_sittings(tmp_path: Path) -> None:
    changes = {"budget": {"epochs": 6}}
    with pytest.raises(Interrupted):
        fit(tmp_path, changes, StopAfter(3))
    (folder,) = (path.parent for path in tmp_path.glob("runs/*/*/*/summary.json"))
    kept = checkpoint.load(folder / checkpoint.FOLDER / checkpoint.LAST)["state"]["energy"]["joules"]
    assert kept > 0
    (record,) = fit(tmp_path, changes)
    assert record.summary["energy_joules"] > kept
    assert_power_times_seconds(record.summary)


def test_a_run_without_counters_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "absent")
    summary = fit_one(tmp_path).summary
    assert (summary["energy_joules"], summary["energy_source"]) == (None, None)
    assert summary["energy_reason"].startswith("no RAPL counter")


class Gpu:
    """Stands for pynvml: a GPU that has used so many millijoules."""

    class NVMLError(Exception):
        pass

    used = 0

    def nvmlInit(self) -> None:  # noqa: N802 - the library's name
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        assert uuid == "GPU-1234"
        return "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        assert handle == "handle"
        if self.used < 0:
            raise self.NVMLError("Not Supported")
        return self.used


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    made = Gpu()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    properties = types.SimpleNamespace(uuid="1234")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    return made


def test_a_gpu_is_measured_by_nvml(gpu: Gpu) -> None:
    meter = open_meter(torch.device("cuda:1"))
    meter.start()
    gpu.used += 4_500
    meter.stop()
    assert (meter.joules, meter.source) == (4.5, "nvml")


def test_a_gpu_that_counts_nothing_says_so(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu.used = -1
    assert open_meter(torch.device("cuda")).reason == "NVML counts no energy on cuda: Not Supported"
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it fails
    assert "is not installed" in open_meter(torch.device("cuda")).reason
