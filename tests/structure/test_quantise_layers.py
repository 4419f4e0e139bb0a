"""Rounding to int8 and int8 layers: against torchao, against whole numbers, and against each other."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nnopt.errors import UsageError
from nnopt.structure.layers import weight_layers
from nnopt.structure.network import count_nonzero, count_parameters, record_of, reform
from nnopt.structure.quantise import conversion
from nnopt.structure.quantise.conversion import check_kernels, quantised_copy, show_rounding
from nnopt.structure.quantise.kernels import has_product, int8_weights
from nnopt.structure.quantise.rounding import rounded, scales_of, whole_numbers

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(37, 11), (5, 37)),
    "linear of one input": (nn.Linear(1, 11), (5, 1)),
    "linear without bias": (nn.Linear(37, 11, bias=False), (5, 37)),
    "linear of sequences": (nn.Linear(37, 11), (5, 3, 37)),
    "conv1d": (nn.Conv1d(4, 6, 3, padding=1), (5, 4, 9)),
    "conv2d": (nn.Conv2d(3, 8, 3, stride=2, padding=1), (5, 3, 9, 9)),
    "conv2d of groups": (nn.Conv2d(4, 8, 3, groups=4, dilation=2, bias=False), (5, 4, 9, 9)),
    "conv2d that reflects": (nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), (5, 3, 9, 9)),
    "conv3d": (nn.Conv3d(2, 4, 3), (5, 2, 5, 5, 5)),
}
BOTH = pytest.mark.parametrize("dynamic", [False, True], ids=["weight_only", "dynamic"])


def small_network() -> nn.Sequential:
    """Layers "0", "1" (a norm), "4" and "6" on images [n, 1, 8, 8]."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


@pytest.fixture
def network() -> nn.Sequential:
    """The small network with its seeded weights."""
    torch.manual_seed(4)
    return small_network()


@settings(max_examples=40)
@given(rows=st.integers(1, 9), columns=st.integers(2, 40), size=st.integers(-40, 12), seed=st.integers(0, 2**31))
def test_weights_are_rounded_bit_for_bit_as_torchao_rounds_them(rows: int, columns: int, size: int, seed: int) -> None:
    layer = nn.Linear(columns, rows)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 2.0**size)
    weights = layer.weight.detach()
    numbers, scales = int8_weights(layer)
    own = scales_of(weights, (1,))
    assert torch.equal(own, scales)
    assert torch.equal(whole_numbers(weights, own).to(torch.int8), numbers)
    assert torch.equal(rounded(weights, (1,)), numbers * scales)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_no_number_moves_by_more_than_half_a_step(values: list[float]) -> None:
    row = torch.tensor([values])
    step = scales_of(row, (1,))
    # The largest itself may be 127.5 steps away from 0, where there are but 127.
    assert ((rounded(row, (1,)) - row).abs() <= 0.5001 * step + 1e-12).all()
    assert torch.equal(rounded(torch.zeros_like(row), (1,)), torch.zeros_like(row))


def test_the_gradient_passes_straight_through() -> None:
    values = torch.randn(3, 5, requires_grad=True)
    slope = torch.randn(3, 5)
    rounded(values, (1,)).backward(slope)
    assert values.grad is not None
    assert torch.equal(values.grad, slope)


def by_hand(layer: Any, inputs: Tensor, dynamic: bool) -> Tensor:
    """What an int8 layer should answer, computed in fp64 from rounded numbers."""
    plain = copy.deepcopy(layer).double()
    plain.weight.data = rounded(layer.weight.detach(), range(1, layer.weight.dim())).double()
    rows = (-1,) if isinstance(layer, nn.Linear) else range(1, inputs.dim())
    answer: Tensor = plain((rounded(inputs, rows) if dynamic else inputs).double())
    return answer


@BOTH
@pytest.mark.parametrize("name", LAYERS)
def test_an_int8_layer_answers_as_its_rounded_numbers_say(name: str, dynamic: bool) -> None:
    torch.manual_seed(1)
    layer, shape = LAYERS[name]
    inputs = torch.randn(shape)
    int8 = quantised_copy(layer, [""], dynamic)
    training = copy.deepcopy(layer)
    show_rounding(training, [""], dynamic)
    with torch.no_grad():
        wanted, found, trained = by_hand(layer, inputs, dynamic).float(), int8(inputs), training(inputs)
        plain = layer(inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trained, wanted, rtol=1e-5, atol=1e-6)
    assert 0 < (found - plain).abs().max() < 0.05
    assert isinstance(int8.weight, Tensor)
    assert int8.weight.dtype is torch.int8
    assert type(layer) is type(LAYERS[name][0]), "the original stays what it is"


@BOTH
def test_a_linear_layer_answers_as_torchao_does(dynamic: bool) -> None:
    torch.manual_seed(2)
    layer, inputs = nn.Linear(64, 24), torch.randn(40, 64)
    found = quantised_copy(layer, [""], dynamic)(inputs)  # also makes torchao be imported without its noise
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

    theirs = copy.deepcopy(layer)
    quantize_(theirs, Int8DynamicActivationInt8WeightConfig() if dynamic else Int8WeightOnlyConfig())
    torch.testing.assert_close(found, theirs(inputs), rtol=1e-6, atol=1e-6)


def test_an_answer_does_not_depend_on_the_other_samples_of_a_batch(network: nn.Sequential) -> None:
    inputs = torch.randn(6, 1, 8, 8) * torch.tensor([1, 100, 1, 1, 0.01, 1]).reshape(6, 1, 1, 1)
    int8 = quantised_copy(network, weight_layers(network), dynamic=True)
    alone = torch.cat([int8(inputs[row : row + 1]) for row in range(6)])
    torch.testing.assert_close(int8(inputs), alone, rtol=1e-4, atol=1e-5)


@BOTH
def test_a_network_is_built_again_from_its_record_and_plain_tensors(network: nn.Sequential, dynamic: bool) -> None:
    int8 = quantised_copy(network, ["0", "6"], dynamic)
    tensors = int8.state_dict()
    assert {type(tensor) for tensor in tensors.values()} == {Tensor}
    assert [str(tensors[f"{name}.weight"].dtype) for name in "046"] == ["torch.int8", "torch.float32", "torch.int8"]
    again = reform(small_network(), record_of(int8))
    again.load_state_dict(tensors)
    inputs = torch.randn(3, 1, 8, 8)
    assert torch.equal(again.eval()(inputs), int8(inputs))
    assert count_parameters(int8) == count_parameters(network)
    assert count_nonzero(int8) <= count_nonzero(network)


def test_training_with_the_rounding_in_sight_keeps_parameters_and_whoever_watches(network: nn.Sequential) -> None:
    before = {name: id(parameter) for name, parameter in network.named_parameters()}
    seen: list[object] = []
    network[4].register_forward_hook(lambda *_: seen.append(None))
    show_rounding(network, ["4"], dynamic=True)
    network(torch.randn(2, 1, 8, 8)).sum().backward()
    assert {name: id(parameter) for name, parameter in network.named_parameters()} == before
    assert seen == [None]
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_parts_of_a_layer_that_was_cut_since_are_meant() -> None:
    network = nn.Sequential(nn.Sequential(nn.Linear(8, 2), nn.Linear(2, 8)), nn.Linear(8, 4))
    int8 = quantised_copy(network, ["0"], dynamic=False)
    assert record_of(int8)["int8"] == {"0.0": False, "0.1": False}


def test_a_layer_without_an_int8_form_is_named() -> None:
    attention = nn.MultiheadAttention(8, 2)
    with pytest.raises(UsageError, match=r"layer 'out_proj' is a NonDynamicallyQuantizableLinear, and only Linear"):
        check_kernels(weight_layers(attention), False, torch.device("cpu"), "structure.quantise")


def test_a_device_without_the_product_is_named(network: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    layers, device = weight_layers(network), torch.device("cpu")
    check_kernels(layers, True, device, "structure.quantise")
    monkeypatch.setattr(conversion, "has_product", lambda device, inputs, outputs: outputs % 8 == 0)
    with pytest.raises(UsageError, match=r"cpu has no int8 product for layer '6' of 32 inputs and 10 outputs: add it"):
        check_kernels(layers, True, device, "structure.quantise")
    check_kernels(layers, False, device, "structure.quantise")  # weight-only needs no product


def test_a_product_that_overflows_or_fails_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_product(torch.device("cpu"), 700, 3)
    assert has_product(torch.device("cpu"), 1, 3)

    def saturating(values: Tensor, weights: Tensor) -> Tensor:
        return (values.float() @ weights.float()).clamp(min=-32768).to(torch.int32)

    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert not has_product(torch.device("cpu"), 700, 3)

    def missing(values: Tensor, weights: Tensor) -> Tensor:
        raise NotImplementedError("aten::_int_mm")

    monkeypatch.setattr(torch, "_int_mm", missing)
    assert not has_product(torch.device("cpu"), 700, 3)


def test_torchao_says_nothing_where_warnings_are_errors() -> None:
    code = (
        "import torch\n"
        "from nnopt.structure.quantise.conversion import quantised_copy\n"
        "quantised_copy(torch.nn.Linear(8, 8), [''], True)(torch.randn(2, 8))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""
