"""What accelerators have of their own: layouts, one-kernel steps, memory, plug-ins, and what they cannot do."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from chosen import chosen
from running import assert_equal, fit, fit_one, open_session, prepare, weights_of
from torch import nn

from nnopt.errors import DeviceError, UsageError
from nnopt.optim import fused, gradient_descent
from nnopt.optim.parameters import FlatParameters
from nnopt.spec.optimizers.union import OPTIMIZERS
from nnopt.train import abilities, devices, loop, memory
from nnopt.train.memory import PeakMemory

CPU = torch.device("cpu")
GPU = torch.device("mps")  # of what no process here has, it is the one whose name needs no index
CNN: dict[str, Any] = {
    "model": {"kind": "cnn", "blocks": [{"channels": 8, "norm": "batch"}, {"channels": 8}], "hidden": [16]},
    "budget": {"steps": 12},
}

# ----------------------------------------------------------------------------------------------- channels_last


@pytest.mark.parametrize("optimizer", [{"kind": "adam", "lr": 0.01}, {"kind": "adafactor", "lr": 0.01}])
def test_channels_last_is_the_same_mathematics(tmp_path: Path, optimizer: dict[str, Any]) -> None:
    sessions = []
    for last in (False, True):
        (tmp_path / str(last)).mkdir()
        strategy = {"channels_last": last, "clip_norm": 1.0, "average": {"kind": "ema"}}
        session = open_session(tmp_path / str(last), CNN | {"optimizer": optimizer, "strategy": strategy})
        loop.train(session)
        sessions.append(session)
    plain, last_ones = (dict(session.state.model.state_dict()) for session in sessions)
    assert plain.keys() == last_ones.keys()
    for name, own in plain.items():
        torch.testing.assert_close(last_ones[name], own, rtol=1e-3, atol=1e-4)


def test_convolutions_lie_so_in_the_flat_tensor_and_pictures_come_so(tmp_path: Path) -> None:
    session = open_session(tmp_path, CNN | {"strategy": {"channels_last": True}})
    model = session.state.model
    kernels = [parameter for parameter in model.parameters() if parameter.ndim == 4 and parameter.shape[1] > 1]
    assert kernels
    seen: list[bool] = []
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    layers[-1].register_forward_pre_hook(
        lambda _layer, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    session.engine.update(session)
    assert seen == [True]
    (flat,) = session.setup.parameters.values
    for kernel in kernels:
        assert kernel.is_contiguous(memory_format=torch.channels_last)
        assert not kernel.is_contiguous()
        assert kernel.grad is not None
        assert kernel.grad.stride() == kernel.stride()
        assert kernel.untyped_storage().data_ptr() == flat.untyped_storage().data_ptr()


def test_names_find_a_convolutions_numbers_wherever_they_lie() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 2), nn.Linear(4, 2)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    parameters = FlatParameters(model)
    assert_equal({name: tensor.contiguous() for name, tensor in before.items()}, _whole(parameters.named()))
    assert_equal(before, {name: parameter.detach() for name, parameter in model.named_parameters()})
    moment = [torch.arange(parameters.count, dtype=torch.float32)]
    found = dict(parameters.named(moment))
    assert found["0.weight"].shape == (5, 3, 2, 2)
    assert found["0.weight"].stride() == model[0].weight.stride()
    assert sorted(torch.cat([part.reshape(-1) for part in found.values()]).tolist()) == moment[0].tolist()


def _whole(named: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in named}


def test_pruning_finds_the_weights_wherever_they_lie(tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [{"amount": 0.5}, {"granularity": "2:4"}, {"granularity": "channels", "amount": 0.5}]
    for number, prune in enumerate(ways):
        (tmp_path / str(number)).mkdir()
        pruned = {"structure": {"prune": {"kind": "magnitude", **prune}}, "strategy": {"channels_last": True}}
        record = fit_one(tmp_path / str(number), CNN | pruned)
        kernels = [tensor for tensor in weights_of(record.folder).values() if tensor.ndim == 4]
        if prune.get("granularity") == "channels":
            assert sum(len(kernel) for kernel in kernels) < 16
        else:
            assert sum(int((kernel == 0).sum()) for kernel in kernels) > 50
            rows = kernels[1].flatten(1)  # by input channel, then place, wherever they lie
            groups = rows[:, : rows.shape[1] // 4 * 4].unflatten(1, (-1, 4))
            assert ((groups != 0).sum(2) <= 2).all() == (prune.get("granularity") == "2:4")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"kind": "wine"}, "strategy": {"batch_size": 16}}, "is for pictures, and wine gives 13 features"),
        ({}, "is for convolutions, and model mlp has none"),
    ],
)
def test_channels_last_without_pictures_is_an_error_in_a_line(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=rf"strategy\.channels_last {words}: leave it out"):
        fit(tmp_path, changes | {"strategy": {"channels_last": True, **changes.get("strategy", {})}})


# ----------------------------------------------------------------------------------------- one-kernel steps


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_fused_momentum_is_the_rule(monkeypatch: pytest.MonkeyPatch, nesterov: bool, as_tensor: bool) -> None:
    """The kernel that accelerators take, by the one that torch has for the CPU."""
    monkeypatch.setattr(gradient_descent, "FUSED_ON", ("cpu",))
    rule = gradient_descent.GradientDescent(0.9, nesterov)
    torch.manual_seed(0)
    value = torch.randn(50)
    gradients = [torch.randn(50) for _ in range(5)]
    rates = [0.1, 0.05, 0.2, 0.1, 0.01]
    expected, velocity = value.clone(), torch.zeros(50)
    state = rule.init([value])
    for gradient, lr in zip(gradients, rates, strict=True):
        velocity = 0.9 * velocity + gradient
        expected = expected - lr * (gradient + 0.9 * velocity if nesterov else velocity)
        assert rule.step_at_once([value], [gradient], state, torch.tensor(lr) if as_tensor else lr)
    torch.testing.assert_close(value, expected)


def test_plain_descent_needs_no_kernel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_descent, "FUSED_ON", ("cpu",))
    value = [torch.zeros(3)]
    assert not gradient_descent.GradientDescent().step_at_once(value, value, {}, 0.1)


def test_adamw_is_fused_where_its_kernel_is_taken_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(4, 3)
    spec = OPTIMIZERS.named()["adamw"].model_validate({"kind": "adamw", "lr": 0.1})
    found = []
    for where in (fused.ADAM_FUSED_ON, fused.FUSED_ON):
        monkeypatch.setattr(fused, "ADAM_FUSED_ON", where)
        built = spec.build(FlatParameters(model))  # type: ignore[attr-defined]
        found.append(built.optimizers[0].param_groups[0]["fused"])
    assert found == [True, False], "this one is on the CPU, which is no accelerator"


# ---------------------------------------------------------------------------------------------- precisions


class Other:
    """An accelerator that is not here, as far as `lacking` asks."""

    def __init__(self, kind: str) -> None:
        self.type = kind

    def __str__(self) -> str:
        return self.type


@pytest.mark.parametrize(
    ("precision", "kind", "words"),
    [
        ("tf32", "mps", "tf32 needs an NVIDIA GPU of the Ampere generation or later, not mps"),
        ("tf32", "cpu", "tf32 needs an NVIDIA GPU"),
        ("fp16", "cpu", "use bf16 or fp32"),
        ("bf16", "vulkan", "torch has no mixed precision on vulkan: use fp32"),
        ("fp32", "mps", None),
        ("bf16", "cpu", None),
    ],
)
def test_what_a_device_lacks_is_said(precision: str, kind: str, words: str | None) -> None:
    found = devices.lacking(precision, Other(kind))  # type: ignore[arg-type]
    assert found is None if words is None else words in str(found)


def test_an_accelerator_is_asked_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no machine here has raises as a device that lacks a precision does."""
    reason = devices.lacking("bf16", GPU) if not torch.backends.mps.is_available() else "bf16"
    assert reason is not None
    assert "bf16" in reason


def test_an_old_gpu_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    with pytest.raises(DeviceError, match=r"strategy\.precision: this GPU has no bf16: use fp16 or fp32"):
        devices.check_precision("bf16", torch.device("cuda"))


# ------------------------------------------------------------------------------------------------- plug-ins


def test_a_tpu_that_is_asked_for_and_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setitem(devices.PLUG_INS, "tpu", ("no_such_module_of_torch", "pip install 'nnopt[tpu]'"))
    with pytest.raises(DeviceError, match=r"device tpu is not there; .*is not installed: pip install 'nnopt\[tpu\]'"):
        devices.find_device("tpu")


@pytest.mark.parametrize("works", [True, False])
def test_a_plug_in_is_imported_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    (tmp_path / "made_up_tpu.py").write_text("registered = True\n" if works else "raise OSError('no driver')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(devices.PLUG_INS, "tpu", ("made_up_tpu", "pip install made_up_tpu"))
    there = torch.accelerator.is_available()
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: there or "made_up_tpu" in sys.modules)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: types.SimpleNamespace(type="tpu"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    try:
        if works:
            assert devices.available_devices() == ["tpu", "tpu:1", "cpu"]
        else:
            assert devices.available_devices() == ["cpu"]
            assert devices.import_plug_ins() == {"tpu": "made_up_tpu does not start here: OSError: no driver"}
    finally:
        sys.modules.pop("made_up_tpu", None)


# --------------------------------------------------------------------------------------------------- memory


def test_an_allocator_that_keeps_marks_is_asked_for_its_highest(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.accelerator, "reset_peak_memory_stats", lambda device: calls.append(str(device)))
    monkeypatch.setattr(torch.accelerator, "max_memory_allocated", lambda device: 300)
    assert PeakMemory(GPU).read() == 300
    assert calls == ["mps"]


def test_an_allocator_that_keeps_none_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_device: torch.device) -> int:
        raise RuntimeError("this allocator keeps no statistics")

    monkeypatch.setattr(torch.accelerator, "reset_peak_memory_stats", refuse)
    now = [100, 700, 200]
    monkeypatch.setattr(memory, "_allocated", lambda device: now.pop(0))
    peak = PeakMemory(GPU)
    assert [peak.read(), peak.read(), peak.read()] == [100, 700, 700]


# --------------------------------------------------------------------------------------------------- doctor


def test_abilities_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities.shutil, "which", lambda name: None)
    assert str(abilities.Abilities.of(CPU)) == "can bf16; not tf32, fp16, graph, compile"
    assert "C++ compiler" in str(abilities.missing_for_compile(CPU))
    monkeypatch.setattr(abilities.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setenv("CXX", "my++")
    assert abilities.compiler() == "/bin/my++"
    assert str(abilities.Abilities.of(CPU)) == "can bf16, compile; not tf32, fp16, graph"


# ------------------------------------------------------------------------------------------------- hardware


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("way", [{}, {"channels_last": True}, {"graph": True}, {"compile": True, "graph": True}])
def test_ways_to_train_on_cuda(tmp_path: Path, precision: str, way: dict[str, bool]) -> None:
    strategy = {"precision": precision, **way}
    record = fit_one(
        tmp_path, CNN | {"device": "cuda", "strategy": strategy, "optimizer": {"kind": "adamw", "lr": 0.01}}
    )
    assert record.summary["memory_peak_bytes"] > 0
    assert record.summary["metrics"]["train_loss"]["last"] < 2.4


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU here")
@pytest.mark.parametrize("kind", sorted(set(OPTIMIZERS.named()) - {"gd"}))
def test_optimizers_on_mps(tmp_path: Path, kind: str) -> None:
    record = fit_one(tmp_path, CNN | {"device": "mps", "optimizer": chosen(kind)})
    assert record.summary["device"] == "mps"


def test_a_run_on_the_accelerator_that_is_there(tmp_path: Path) -> None:
    names = devices.available_devices()
    if names == ["cpu"]:
        pytest.skip("this machine has no accelerator")
    _, setup, _ = prepare(tmp_path, {"device": "auto"})
    assert setup.device.type == names[0]
