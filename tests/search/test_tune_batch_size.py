"""`nnopt tune batch-size`: which batches fit, on a device that says so and on a CPU that does not; and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from command_line import Ended
from hypothesis import given
from hypothesis import strategies as st

from nnopt import load
from nnopt.errors import Interrupted
from nnopt.plan import Plan, RunSpec
from nnopt.search.steps import Steps
from nnopt.search.tune import batch_sizes, memory
from nnopt.search.tune.batch_sizes import BatchSizes, Timed, find_sizes
from nnopt.search.tune.batches import batch_sentences
from nnopt.train.setup import DataCache, build
from nnopt.train.signals import StopRequest

CACHE = DataCache()
SAMPLES = 1222
DOUBLED = [8, 16, 32, 64, 128, 256, 512, 1024, SAMPLES]

Cli = Callable[..., Ended]
WriteSpec = Callable[..., Path]


def one_run(path: Path, *overrides: str) -> RunSpec:
    """The first run of a spec."""
    return Plan.of(load(path, overrides)).runs[0]


def sizes_of(found: BatchSizes) -> list[int]:
    """The sizes that were timed."""
    return [timed.size for timed in found.timed]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches of no length: one update a repeat."""
    monkeypatch.setattr(batch_sizes, "STRETCH", 1e-9)


# ------------------------------------------------------------------------------------------------------ what fits


@pytest.mark.usefixtures("quick")
def test_without_a_limit_it_doubles_up_to_the_whole_training_set(write_spec: WriteSpec) -> None:
    tried: list[int] = []
    found = find_sizes(one_run(write_spec()), CACHE, StopRequest(), tick=tried.append)
    assert sizes_of(found) == tried == DOUBLED
    assert (found.largest, found.too_large, found.end) == (SAMPLES, None, "data")
    for timed in found.timed:
        assert 0 < timed.lowest <= timed.samples_per_second <= timed.highest
        assert timed.memory > 1e7
        assert timed.threads == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("most", "error"),
    [
        (8, torch.OutOfMemoryError("CUDA out of memory")),
        (100, MemoryError()),
        (128, RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes")),
        (1221, RuntimeError("MPS backend out of memory")),
    ],
)
def test_a_device_that_says_so_ends_the_doubling(
    write_spec: WriteSpec, monkeypatch: pytest.MonkeyPatch, most: int, error: BaseException
) -> None:
    """An allocator that has room for `most` samples an update."""
    update = Steps.update

    def limited(self: Steps, rows: torch.Tensor | None, lr: float) -> torch.Tensor:
        if (SAMPLES if rows is None else len(rows)) > most:
            raise error
        return update(self, rows, lr)

    monkeypatch.setattr(Steps, "update", limited)
    found = find_sizes(one_run(write_spec()), CACHE, StopRequest(), repeats=2)
    assert sizes_of(found) == [size for size in DOUBLED if size <= most]
    assert found.end == "memory"
    assert found.too_large is not None
    assert found.largest <= most < found.too_large
    assert found.too_large - found.largest <= max(1, most // 16)


@pytest.mark.usefixtures("quick")
def test_on_a_cpu_what_would_swap_is_never_tried(write_spec: WriteSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose updates take a megabyte a sample, of 300 MB that are free: 0.85 of them are for 255 samples."""
    base, taken = 500_000_000, 0

    class Peak:
        def __init__(self, device: torch.device) -> None:
            pass

        def read(self) -> int:
            return base + taken

    update, tried = Steps.update, set()

    def watched(self: Steps, rows: torch.Tensor | None, lr: float) -> torch.Tensor:
        nonlocal taken
        taken = 1_000_000 * (SAMPLES if rows is None else len(rows))
        tried.add(taken // 1_000_000)
        return update(self, rows, lr)

    monkeypatch.setattr(batch_sizes, "PeakMemory", Peak)
    monkeypatch.setattr(batch_sizes, "resident_memory", lambda: base)
    monkeypatch.setattr(Steps, "update", watched)
    found = find_sizes(one_run(write_spec()), CACHE, StopRequest(), available=lambda: 300_000_000)
    assert sizes_of(found) == [8, 16, 32, 64, 128]
    assert max(tried) <= 255
    assert found.too_large is not None
    assert 255 - 128 // 8 <= found.largest <= 255 < found.too_large
    (fits,) = (text for text in batch_sentences([found]) if "largest" in text)
    assert f"the largest that fits is {found.largest}, and {found.too_large} does not" in fits
    assert "predicted from smaller ones; 15% of what is free is kept free" in fits


@pytest.mark.usefixtures("quick")
def test_updates_that_take_too_long_end_it(write_spec: WriteSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_sizes, "LONGEST", 1e-9)
    found = find_sizes(one_run(write_spec()), CACHE, StopRequest())
    assert (sizes_of(found), found.largest, found.end) == ([8], 8, "time")


@pytest.mark.usefixtures("quick")
def test_a_size_that_batch_norm_cannot_train_with_is_passed_over(write_spec: WriteSpec) -> None:
    """Of 1281 training samples, 5 x 256 + 1, each power of two up to 256 leaves a single one."""
    data = {"kind": "digits", "validation": 200, "test": 1797 - 200 - 1281}
    spec = write_spec({"data": data, "model": {"kind": "mlp", "hidden": [16], "norm": "batch"}})
    run = one_run(spec, "strategy.batch_size=100")
    found = find_sizes(run, CACHE, StopRequest(), least=128, repeats=2)
    assert [size for size, _ in found.unfit] == [128, 256]
    assert all("batch norm" in reason for _, reason in found.unfit)
    assert sizes_of(found) == [512, 1024, 1281]


@pytest.mark.usefixtures("quick")
def test_an_error_of_the_model_is_no_lack_of_memory(write_spec: WriteSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Steps, rows: torch.Tensor | None, lr: float) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Steps, "update", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        find_sizes(one_run(write_spec()), CACHE, StopRequest())


def test_a_signal_ends_it_at_once(write_spec: WriteSpec) -> None:
    stop = StopRequest()
    stop.code = 143
    with pytest.raises(Interrupted):
        find_sizes(one_run(write_spec()), CACHE, stop)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_doublings_are_powers_of_two_and_then_all(least: int, samples: int) -> None:
    sizes = batch_sizes._doublings(least, samples)
    assert sizes[-1] == samples
    assert sizes[:-1] == [2**power for power in range(14) if least <= 2**power < samples]


# ------------------------------------------------------------------------------------------- what the numbers are


def timed(size: int, rate: float) -> Timed:
    """A size and its throughput."""
    return Timed(size, rate, rate, rate, 0, 1)


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=10))
def test_enough_is_the_smallest_near_the_best(rates: list[float]) -> None:
    found = BatchSizes("v", 100, "cpu", timed=tuple(timed(2**power, rate) for power, rate in enumerate(rates)))
    enough = found.enough
    assert enough is not None
    assert enough.samples_per_second >= 0.95 * max(rates)
    assert all(one.samples_per_second < 0.95 * max(rates) for one in found.timed if one.size < enough.size)


def test_timing_changes_no_weight_and_counts_whole_batches(write_spec: WriteSpec) -> None:
    run = one_run(write_spec({"optimizer": {"kind": "momentum", "lr": 5.0}}))
    setup, state = build(run, CACHE)
    before = [value.clone() for value in state.model.parameters()]
    steps = Steps(setup, state)
    assert steps.seconds(500, 7) > 0
    assert steps.passes == 7
    for old, new in zip(before, state.model.parameters(), strict=True):
        assert torch.equal(old, new)
    rows = [steps.next_batch(500) for _ in range(5)]
    assert all(chosen is not None and len(chosen) == 500 for chosen in rows)
    assert steps.next_batch(SAMPLES) is not None  # in the middle of an epoch: a fresh one in order


def test_a_container_has_less_memory_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("1000000\n")
    (tmp_path / "current").write_text("400000\n")
    monkeypatch.setattr(memory, "CGROUPS", [(str(tmp_path / "max"), str(tmp_path / "current"))])
    assert memory.available_memory() == 600_000
    (tmp_path / "max").write_text("max\n")
    assert memory.available_memory() > 10_000_000
    assert memory.resident_memory() > 10_000_000


# ------------------------------------------------------------------------------------------------------- the command


@pytest.mark.usefixtures("quick")
def test_one_variant_is_told_in_full(cli: Cli, write_spec: WriteSpec, runs: Path) -> None:
    ended = cli("tune", "batch-size", write_spec(), "--low", 100, "--repeats", 2, COLUMNS="50")
    assert "sgd on cpu (the spec has batch_size 64)" in ended.stdout
    assert "the whole training set of 1,222 samples fits as one batch" in ended.stdout
    folder = runs / "small"
    assert sorted(path.name for path in folder.iterdir()) == ["tune-batch-size.csv", "tune-batch-size.png"]
    table = pandas.read_csv(folder / "tune-batch-size.csv")
    assert list(table.batch_size) == [128, 256, 512, 1024, 1222]
    assert (table.samples_per_second * table.update_seconds).to_numpy() == pytest.approx(table.batch_size.to_numpy())
    rows = ended.stdout.split("\n- ")[0].splitlines()[1:]
    assert max(map(len, rows)) <= 50


@pytest.mark.usefixtures("quick")
def test_variants_without_a_batch_to_choose_are_left_out(cli: Cli, write_spec: WriteSpec, runs: Path) -> None:
    variants: dict[str, Any] = {
        "adam": {"optimizer": {"kind": "adam", "lr": 0.01}},
        "line": {"optimizer": {"kind": "lbfgs", "lr": 1.0}},
        "gd": {"optimizer": {"kind": "gd", "lr": 0.1}, "strategy": {"batch_size": "full"}},
    }
    spec = write_spec({"variants": variants})
    found = json.loads(cli("tune", "batch-size", spec, "--low", 1100, "--repeats", 2, "--json").stdout)
    assert any(note.startswith("gd: left out, as optimizer gd follows the gradient") for note in found["notes"])
    assert "line: an update takes as many passes as the line search needs: the times are of one pass" in found["notes"]
    assert [one["variant"] for one in found["variants"]] == ["adam", "line", "gd"]
    assert [one["largest_that_fits"] for one in found["variants"]] == [SAMPLES, SAMPLES, None]
    assert [[size["batch_size"] for size in one["sizes"]] for one in found["variants"]] == [[SAMPLES], [SAMPLES], []]


@pytest.mark.usefixtures("quick")
def test_variants_of_the_same_work_are_measured_once(cli: Cli, write_spec: WriteSpec, runs: Path) -> None:
    variants: dict[str, Any] = {
        "small": {"strategy": {"batch_size": 16}},
        "growing": {"strategy": {"batch_size": {"start": 16, "at": [0.5]}, "lr_decay": {"kind": "cosine"}}},
        "fast": {"optimizer": {"lr": 1.0}, "budget": {"steps": 7}},
    }
    arguments = ["--low", 1000, "--repeats", 2]
    alone = cli("tune", "batch-size", write_spec({"variants": variants}), *arguments).stdout
    assert "small, growing, fast on cpu (the spec has batch_size 16, growing from 16, 64)" in alone
    variants["clipped"] = {"strategy": {"clip_norm": 1.0}}
    beside = cli("tune", "batch-size", write_spec({"variants": variants}), *arguments).stdout
    assert beside.splitlines()[2].split() == ["batch", "size", "small,", "growing,", "fast", "clipped"]
    table = pandas.read_csv(runs / "small" / "tune-batch-size.csv").set_index("variant")
    rates = {name: tuple(table.loc[name].samples_per_second) for name in variants}
    assert rates["small"] == rates["growing"] == rates["fast"] != rates["clipped"]


def test_where_there_is_no_batch_to_choose_nothing_is_written(cli: Cli, write_spec: WriteSpec, runs: Path) -> None:
    spec = write_spec({"optimizer": {"kind": "gd", "lr": 0.1}, "strategy": {"batch_size": "full"}})
    assert "there is no batch to choose" in cli("tune", "batch-size", spec, code=2).stderr
    assert not runs.exists()
