"""What several processes cannot do is one clear line before anything trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Ended
from running import prepare

from nnopt.errors import UsageError
from nnopt.surroundings import cores
from nnopt.train.parallel.kinds import device_of_team, threads_of_each
from nnopt.train.parallel.team import Team

FSDP = {"kind": "fsdp", "processes": 2}
LOCAL = {"kind": "local_sgd", "processes": 2, "period": 4}
DDP = {"kind": "ddp", "processes": 2}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"strategy": {"batch_size": 3}, "parallel": {**DDP, "processes": 4}},
            "a batch of 3 cannot be divided among 4",
        ),
        # 1222 samples in batches of 111 leave one.
        ({"strategy": {"batch_size": 111}, "parallel": DDP}, "leaves a last batch of 1, which 2 processes cannot"),
        ({"strategy": {"batch_size": 94}, "parallel": {**FSDP, "processes": 47}}, "the model is too small for fsdp"),
        ({"parallel": {"kind": "ddp", "processes": 0}}, "parallel.processes: should be a whole number from 1"),
        ({"parallel": {"kind": "ddp", "processes": "many"}}, "should be a whole number from 1 to 4096, or auto"),
        ({"parallel": {"kind": "dpp"}}, "'ddp'"),
        ({"parallel": {"kind": "local_sgd", "processes": 2}}, "period"),
        ({"parallel": {**DDP, "period": 3}}, "unknown key 'period'"),
        ({"optimizer": {"kind": "muon", "lr": 0.1}, "parallel": FSDP}, "optimizer muon looks at whole matrices"),
        ({"optimizer": {"kind": "prodigy"}, "parallel": FSDP}, "optimizer prodigy adds up over all weights"),
        (
            {"optimizer": {"kind": "lookahead", "base": {"kind": "norm_adaptive", "lr": 0.1}}, "parallel": FSDP},
            "optimizer norm_adaptive adds up over all weights",
        ),
        (
            {"optimizer": {"kind": "sam", "base": {"kind": "sgd", "lr": 0.1}}, "parallel": FSDP},
            "optimizer sam adds up over all weights",
        ),
        ({"optimizer": {"kind": "lbfgs", "lr": 0.1}, "parallel": LOCAL}, "optimizer lbfgs searches along a line"),
        ({"structure": {"prune": {"kind": "magnitude", "amount": 0.5}}, "parallel": FSDP}, "needs whole tensors"),
        ({"structure": {"prune": {"kind": "magnitude", "amount": 0.5}}, "parallel": LOCAL}, "weights of their own"),
        ({"strategy": {"average": {"kind": "ema"}}, "parallel": LOCAL}, "averages the weights over its processes"),
        ({"strategy": {"average": {"kind": "ema"}}, "parallel": FSDP}, "strategy.average needs whole tensors"),
        (
            {
                "model": {"kind": "cnn", "blocks": [{"channels": 2, "norm": "batch"}]},
                "strategy": {"batch_size": 2},
                "parallel": LOCAL,
            },
            "batch norm cannot train on one sample",
        ),
    ],
)
def test_one_line_before_training(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, changes: dict[str, Any], words: str
) -> None:
    ended = cli("train", write_spec(changes), code=2)
    assert len(ended.errors) == 1
    assert words in ended.stderr
    assert not runs.exists()


def test_a_team_needs_as_many_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert device_of_team(torch.device("cuda"), Team(1, 2, 1), 2) == torch.device("cuda", 1)
    with pytest.raises(UsageError, match="4 processes need a cuda device each, and this machine has 2"):
        device_of_team(torch.device("cuda"), Team(), 4)
    assert device_of_team(torch.device("cpu"), Team(1, 2, 1), 2) == torch.device("cpu")


def test_processes_share_the_cores() -> None:
    assert threads_of_each(None, 1) is None
    assert threads_of_each(3, 1) == 3
    assert threads_of_each(None, 10 * cores()) == 1


def test_the_number_of_processes_is_no_part_of_what_is_trained(tmp_path: Path) -> None:
    two, four, alone = (prepare(tmp_path, {"parallel": keys})[0] for keys in (DDP, {**DDP, "processes": 4}, None))
    assert two.hash == four.hash != alone.hash
    apart = [prepare(tmp_path, {"parallel": {**LOCAL, "processes": count}})[0].hash for count in (2, 4)]
    assert apart[0] != apart[1]
