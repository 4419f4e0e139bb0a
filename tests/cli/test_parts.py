"""What `nnopt parts optimizer` measures: time and memory of a step, of one and of all."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from chosen import wants_whole_batches
from command_line import Ended
from running import fit

from nnopt.bench import conformance, costs
from nnopt.bench.conformance import Outcome
from nnopt.bench.costs import Cost, Unmeasured, measure, state_bytes
from nnopt.bench.kinds import part_of
from nnopt.cli import parts_costs
from nnopt.errors import UsageError
from nnopt.spec.optimizers.base import SelfTuningSpec
from nnopt.spec.optimizers.examples import example
from nnopt.spec.optimizers.union import OPTIMIZERS

pytestmark = pytest.mark.usefixtures("undrawn")

Look = Callable[..., Ended]

OWN = """
import time
from typing import ClassVar
from nnopt.errors import UsageError
from nnopt.optim.gradient_descent import GradientDescent
from nnopt.optim.optimizer import RuleOptimizer
from nnopt.spec.optimizers import OptimizerSpec

class SleepyRule(GradientDescent):
    def direction(self, gradients, state):
        time.sleep(0.01)
        return super().direction(gradients, state)

    def step_at_once(self, values, gradients, state, lr):
        return False

class Sleepy(OptimizerSpec):
    '''Takes ten milliseconds.'''
    kind: str
    def build(self, parameters):
        return RuleOptimizer(SleepyRule(), parameters)

class Small(Sleepy):
    '''Takes small models.'''
    def build(self, parameters):
        if parameters.count > 1000:
            raise UsageError("too many weights")
        return RuleOptimizer(GradientDescent(), parameters)

class Missing(Sleepy):
    '''Needs what is not there.'''
    def build(self, parameters):
        raise UsageError("it is not installed here: pip install 'nnopt[optimizers]'")

class Demanding(Sleepy):
    '''Requires more than a rate.'''
    radius: float
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module with optimizers that behave oddly."""
    (tmp_path / "odd_ones.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "odd_ones"
    monkeypatch.delitem(__import__("sys").modules, "odd_ones", raising=False)


def cost_of(kind: str, seconds: float = 5.0) -> Cost:
    (cost,) = measure([kind], seconds)
    assert isinstance(cost, Cost), cost
    return cost


@pytest.mark.parametrize(
    ("kind", "wanted"), [("sgd", 0.0), ("momentum", 4.0), ("adam", 8.0), ("adamw", 8.0), ("lookahead", 12.0)]
)
def test_memory_is_that_of_the_state(kind: str, wanted: float) -> None:
    cost = cost_of(kind)
    assert cost.parameters == 784 * 128 + 128 + 128 * 2 + 2
    assert cost.state_bytes == pytest.approx(wanted, abs=0.01)


def test_a_piece_of_memory_counts_once() -> None:
    whole = torch.zeros(10)
    assert state_bytes({"a": [whole, whole[:5]], "b": {"c": (torch.zeros(2, dtype=torch.float64),), "d": 3}}) == 40 + 16


def test_time_is_split_into_gradients_and_its_own(own: str) -> None:
    sleepy = cost_of(f"{own}:Sleepy")
    assert 0.01 <= sleepy.own_seconds <= sleepy.seconds
    assert sleepy.low <= sleepy.seconds <= sleepy.high
    assert sleepy.ratio > 2
    assert sleepy.passes == 1
    sam = cost_of("sam")
    assert (sam.passes, sam.base) == (2, "sgd")


def test_it_keeps_to_its_time(own: str) -> None:
    """Loosely: other work may share the machine."""
    start = time.perf_counter()
    slow = cost_of(f"{own}:Sleepy", 0.03)
    assert slow.model == "16-8-2"  # the larger one takes longer than its share
    assert slow.blocks == 1
    cost_of("adam", 0.5)
    assert time.perf_counter() - start < 6


def test_what_refuses_the_large_model_is_measured_on_the_small(own: str) -> None:
    small = cost_of(f"{own}:Small")
    assert (small.model, small.parameters) == ("16-8-2", 16 * 8 + 8 + 8 * 2 + 2)


def test_what_cannot_be_measured_says_why(own: str) -> None:
    missing, demanding, sgd = measure([f"{own}:Missing", f"{own}:Demanding", "sgd"], 0.3)
    assert isinstance(missing, Unmeasured)
    assert "pip install 'nnopt[optimizers]'" in missing.reason
    assert isinstance(demanding, Unmeasured)
    assert "requires radius" in demanding.reason
    assert isinstance(sgd, Cost)
    with pytest.raises(UsageError, match="did you mean 'adam'"):
        measure(["adm"], 0.1)


def test_measuring_leaves_the_count_of_threads_as_it_was() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        cost_of("sgd", 0.05)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_one_part_tells_what_it_costs(cli: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_costs, "ONE_TAKES", 5.0)
    printed = cli("parts", "optimizer", "adam").stdout
    assert "begin with: optimizer: {kind: adam, lr: 0.01}" in printed
    assert re.search(r"a step here: [\d.]+ ms \([\d.]+ to [\d.]+, n = \d\), [\d.]+ times that of sgd", printed)
    assert "memory: 8 bytes a parameter" in printed
    shown = json.loads(cli("parts", "optimizer", "lookahead", "--json").stdout)
    assert shown["year"] == 2019
    assert shown["begin_with"] == "optimizer: {kind: lookahead, base: {kind: adam, lr: 0.01}}"
    assert shown["cost"]["base"] == "adam"
    assert shown["cost"]["state_bytes"] == pytest.approx(12, abs=0.01)
    assert "cost" not in json.loads(cli("parts", "optimizer", "adam", "--json", "--no-measure").stdout)
    assert "cost" not in json.loads(cli("parts", "model", "mlp", "--json").stdout)


def test_a_part_of_ones_own_tells_what_it_costs(cli: Look, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_costs, "ONE_TAKES", 5.0)
    assert "pip install 'nnopt[optimizers]'" in cli("parts", "optimizer", f"{own}:Missing").stdout
    printed = cli("parts", "optimizer", f"{own}:Demanding").stdout
    assert "begin with" not in printed
    assert "not measured: optimizer odd_ones:Demanding requires radius" in printed


FOUND = [
    Outcome("quadratic", "passed", "1e-4 of the first loss"),
    Outcome("rosenbrock", "declared", "its steps have one length"),
    Outcome("digits", "failed", "40% of the digits wrong"),
]


@pytest.mark.parametrize(("outcomes", "code"), [(FOUND, 1), (FOUND[:2], 0)])
def test_checks_are_told_and_a_failed_one_is_an_exit_code(
    outcomes: list[Outcome], code: int, cli: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(conformance, "run", lambda kind, progress: asked.append(kind) or outcomes)
    printed = cli("parts", "optimizer", "adam", "--check", code=code).stdout.splitlines()
    assert [line.split()[:2] for line in printed[:-1]] == [[one.check, one.status] for one in outcomes]
    assert printed[1].endswith("its steps have one length")
    assert printed[-1] == "adam: 1 passed, 1 declared" + (", 1 failed" if code else "")
    shown = json.loads(cli("parts", "optimizer", "adam", "--check", "--json", code=code).stdout)
    assert [one["status"] for one in shown] == [one.status for one in outcomes]
    assert asked == ["adam", "adam"]


def test_all_side_by_side(cli: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_costs, "ALL_TAKE", 2.0)
    monkeypatch.setattr(costs, "ROUNDS", 1)
    shown = json.loads(cli("parts", "optimizer", "--compare", "--json").stdout)
    rows = shown["measured"]
    assert {row["kind"] for row in (*rows, *shown["not_measured"])} == set(OPTIMIZERS.named())
    keys = [(-row["parameters"], row["seconds"]) for row in rows]
    assert keys == sorted(keys)
    assert {"sgd", "adam", "sam", "lookahead"} <= {row["kind"] for row in rows}


def test_the_comparison_is_a_table_a_model(cli: Look, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure(["sgd", "sam", f"{own}:Small", f"{own}:Missing"], 0.2)
    monkeypatch.setattr(costs, "measure", lambda *_: found)
    printed = cli("parts", "optimizer", "--compare").stdout
    assert "Perceptron 784-128-2, 100738 weights, batch 128" in printed
    assert "Perceptron 16-8-2, 154 weights" in printed
    assert re.search(r"^sam of sgd +[\d.]+ +[\d.]+ to [\d.]+ +\d", printed, re.MULTILINE)
    assert "not measured: odd_ones:Missing: it is not installed here: pip install 'nnopt[optimizers]'" in printed


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["data", "--compare"], "nnopt parts optimizer --compare"),
        (["optimizer", "adam", "--compare"], "nnopt parts optimizer --compare"),
        (["optimizer", "--check"], "nnopt parts optimizer NAME --check"),
        (["model", "mlp", "--check"], "nnopt parts optimizer NAME --check"),
        (["optimizer", "adam", "--check", "--compare"], "take one of the two"),
        (["optimizer", "adm", "--check"], "did you mean 'adam'?"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(cli: Look, args: list[str], message: str) -> None:
    (line,) = cli("parts", *args, code=2).errors
    assert message in line


@pytest.mark.parametrize("kind", OPTIMIZERS.named())
def test_what_one_begins_with_learns(kind: str, tmp_path: Path) -> None:
    part = part_of(kind)
    steps = 20 if part.is_second_order else 600 if issubclass(part, SelfTuningSpec) else 200
    keys: dict[str, Any] = {"optimizer": example(part, kind), "budget": {"steps": steps}}
    keys["evaluation"] = {"every": {"steps": steps}, "at_start": True}
    keys["strategy"] = {"batch_size": "full" if wants_whole_batches(kind) else 64}
    (record,) = fit(tmp_path, keys)
    assert record.status == "done", record.summary["reason"]
    rows = (record.folder / "metrics.csv").read_text().splitlines()
    names = rows[0].split(",")
    first, last = (float(row.split(",")[names.index("val_loss")]) for row in (rows[1], rows[-1]))
    assert last < 0.5 * first, (first, last)
