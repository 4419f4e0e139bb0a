"""Nothing within an update waits for the device: what would make it wait is counted.

On a CPU, that is every number read from a tensor, every result whose size depends on the values in it, and every tensor
that is brought to another device. On CUDA torch itself ends an update that waits.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from chosen import chosen
from running import open_session
from torch.utils._python_dispatch import TorchDispatchMode

from nnopt.optim.optimizer import TorchOptimizer
from nnopt.spec.data.augment import AUGMENTS
from nnopt.spec.lr_decay import LR_DECAYS
from nnopt.spec.optimizers.union import OPTIMIZERS
from nnopt.train.session import Session

UPDATES = 4
READS = ("_local_scalar_dense", "item", "equal", "is_nonzero", "allclose")
OF_UNKNOWN_SIZE = ("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount")


class Waits(TorchDispatchMode):
    """Counts what makes a host wait for its device. `hosted`: tensors that lie on the host whatever the device."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, keys = func.overloadpacket.__name__, kwargs or {}
        if name in READS and not self._is_on_the_host(args[0]):
            self.found[name] += 1
        if name in OF_UNKNOWN_SIZE or (name in ("index", "index_put_") and _has_mask(args[1])):
            self.found[name] += 1
        if name == "repeat_interleave" and func._overloadname == "Tensor" and keys.get("output_size") is None:
            self.found[name] += 1
        # A literal list of numbers becomes a tensor on the host, which then would have to be brought to the device.
        if name in ("lift_fresh", "lift_fresh_copy", "_pin_memory") or keys.get("device") not in (None, CPU):
            self.found[name] += 1
        return func(*args, **keys)

    def _is_on_the_host(self, tensor: torch.Tensor) -> bool:
        """torch's optimizers count their steps on the host, unless they are told otherwise."""
        optimizer = self.session.state.optimizer
        if not isinstance(optimizer, TorchOptimizer):
            return False
        memories = (memory for one in optimizer.optimizers for memory in one.state.values())
        return any(memory.get(name) is tensor for memory in memories for name in ("step", "mu_product"))


CPU = torch.device("cpu")


def _has_mask(indices: Any) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def waits(folder: Path, changes: dict[str, Any]) -> Counter[str]:
    """What happened in some updates after the first, from which on everything that is made once is there."""
    session = open_session(folder, {"logging": {"every": 1}, **changes})
    session.engine.update(session)
    session.state.clock.switch("train")
    with Waits(session) as counted:
        for _ in range(UPDATES):
            session.engine.update(session)
    return counted.found


# Besides these, no optimizer waits. L-BFGS decides on the host whether to go on; Adafactor compares η with 1/√t; those
# that find their own rate read it; Shampoo reads its count of steps; those of second derivatives look at signs, and
# draw from generators of their own.
WAITING = {
    *("lbfgs", "adafactor"),
    *("prodigy", "dadapt_sgd", "dadapt_adam", "shampoo"),
    *("newton", "newton_cg", "gauss_newton", "kfac", "adahessian", "sophia"),
}


def test_the_counter_counts(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    values = torch.arange(4.0)
    with Waits(session) as counted:
        values[2].item()
        float(values[1])
        values[values > 1]
        values.nonzero()
        torch.tensor([1.0, 2.0])
        bool((values > 1).any())
    assert counted.found == {"_local_scalar_dense": 3, "index": 1, "nonzero": 1, "lift_fresh": 1}


@pytest.mark.parametrize("kind", OPTIMIZERS.named())
def test_optimizers_wait_for_nothing(tmp_path: Path, kind: str) -> None:
    strategy = {"batch_size": "full"} if kind == "gd" else {}
    found = waits(tmp_path, {"optimizer": chosen(kind), "strategy": strategy})
    assert bool(found) == (kind in WAITING), found


@pytest.mark.parametrize("kind", LR_DECAYS.named())
def test_rates_are_reckoned_on_the_host(tmp_path: Path, kind: str) -> None:
    decay = {"kind": kind, "every": 0.3} if kind == "step" else {"kind": kind}
    assert not waits(tmp_path, {"strategy": {"lr_decay": decay}})


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": {"clip_norm": 1.0, "clip_value": 0.1}, "loss": {"l1": 1e-4, "l2": 1e-4}},
        {"strategy": {"average": {"kind": "ema"}, "accumulate": 3}},
        {"strategy": {"average": {"kind": "swa", "start": 0.01}}},
        {"strategy": {"precision": "bf16"}, "model": {"dropout": 0.5, "norm": "batch"}},
        {"optimizer": {"kind": "adam", "lr": 0.1, "weight_decay": 0.1}, "model": {"norm": "batch"}},
        {"loss": {"kind": "mse"}},
        {"loss": {"label_smoothing": 0.1, "class_weights": "balanced"}},
        {"data": {"sampling": {"kind": "balanced"}}},
        {"structure": {"prune": {"kind": "magnitude", "amount": 0.5}}},
    ],
    ids=["clipping", "ema", "swa", "dropout", "groups", "mse", "weights", "balanced", "pruning"],
)
def test_what_else_goes_into_an_update_waits_for_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert not waits(tmp_path, changes)


IMAGES = {"model": {"kind": "cnn", "blocks": [{"channels": 4}]}, "strategy": {"batch_size": 32}}
OWN_KEYS: dict[str, dict[str, Any]] = {"colour_jitter": {"brightness": 0.5, "contrast": 0.5}, "cutout": {"size": 2}}


@pytest.mark.parametrize("kind", sorted(set(AUGMENTS.named()) - {"token_masking"}))
def test_changes_of_samples_wait_for_nothing(tmp_path: Path, kind: str) -> None:
    change = {"kind": kind, **OWN_KEYS.get(kind, {})}
    found = waits(tmp_path, IMAGES | {"data": {"augment": [change]}})
    if AUGMENTS.named()[kind].recordable:  # type: ignore[attr-defined]
        assert not found
    else:
        assert kind == "randaugment", "it sorts samples by their change, and the host has to know how many each has"
        assert found["bincount"] == 2 * UPDATES


def test_masked_tokens_wait_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    text = {"kind": "text", "path": str(tmp_path / "text.txt"), "context": 16, "augment": [{"kind": "token_masking"}]}
    for model in ("lstm", "transformer"):
        changes = {"data": text, "model": {"kind": model, "width": 16}, "strategy": {"batch_size": 16}}
        (tmp_path / model).mkdir()
        assert not waits(tmp_path / model, changes)


@pytest.mark.parametrize(("kind", "most"), [("adam", 0), ("sgd", 0), ("adamw", 1)])
def test_loss_scaling_waits_where_an_optimizer_of_torch_asks(
    tmp_path: Path, kind: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnopt.train.setup.check_precision", lambda precision, device: None)
    found = waits(tmp_path, {"optimizer": {"kind": kind, "lr": 0.01}, "strategy": {"precision": "fp16"}})
    assert found.total() == most * UPDATES


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here: torch has nothing to watch")
@pytest.mark.parametrize("kind", sorted(set(OPTIMIZERS.named()) - WAITING - {"gd"}))
def test_torch_sees_no_wait_on_cuda(tmp_path: Path, kind: str) -> None:
    augment = [{"kind": "rotation"}, {"kind": "noise"}]
    changes = {"optimizer": {"kind": kind, "lr": 0.01}, "data": {"augment": augment}, "device": "cuda"}
    session = open_session(tmp_path, {**changes, "strategy": {"clip_norm": 1.0, "average": {"kind": "ema"}}})
    session.engine.update(session)
    torch.cuda.set_sync_debug_mode("error")  # a wait raises
    try:
        for _ in range(UPDATES):
            session.engine.update(session)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert session.state.progress.step == UPDATES + 1
