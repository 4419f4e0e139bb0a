"""What a network costs: layers, multiply-adds, bytes and times, against other counters and published numbers."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nnopt.models.resnet import resnet
from nnopt.optim.parameters import FlatParameters
from nnopt.structure.accounts.latency import FEW, LEAST, MOST, SECONDS, WARM_UPS, time_answers
from nnopt.structure.accounts.layers import account_of_layers, count_multiply_adds
from nnopt.structure.accounts.sizes import bytes_on_disk
from nnopt.structure.quantise.conversion import quantised_copy


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)
    )


@pytest.mark.parametrize(("blocks", "millions"), [(9, 125.49), (18, 252.89)])
def test_residual_networks_have_the_published_multiply_adds(blocks: int, millions: float) -> None:
    """ResNet-56 and ResNet-110 on CIFAR-10 as in Lin et al. 2020 (HRank, arXiv:2002.10179), table 3."""
    model = resnet((3, 32, 32), 10, depth=6 * blocks + 2)
    assert round(count_multiply_adds(model, torch.zeros(1, 3, 32, 32)) / 1e6, 2) == millions


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    groups=st.sampled_from([1, 2, 4]),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    transposed=st.booleans(),
    size=st.tuples(st.integers(7, 10), st.integers(7, 10)),
)
def test_convolutions_are_counted_as_torch_counts_them(
    groups: int, kernel: int, stride: int, dilation: int, transposed: bool, size: tuple[int, int]
) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(4, 8, kernel, stride=stride, dilation=dilation, groups=groups)
    model, sample = nn.Sequential(layer, nn.ReLU()), torch.zeros(1, 4, *size)
    with FlopCounterMode(display=False) as counter:
        model(sample)
    assert 2 * count_multiply_adds(model, sample) == counter.get_total_flops()


def test_a_layer_called_twice_counts_twice_and_attention_not_at_all() -> None:
    shared = nn.Linear(6, 6)
    assert count_multiply_adds(nn.Sequential(shared, nn.ReLU(), shared), torch.zeros(1, 6)) == 2 * 36

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.last = nn.Linear(8, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            answer: Tensor = self.last(self.attention(inputs, inputs, inputs)[0].mean(1))
            return answer

    found = {layer.name: layer for layer in account_of_layers(Attending(), torch.zeros(1, 5, 8))}
    assert {name: layer.parameters for name, layer in found.items()} == {
        "attention": 3 * 8 * 8 + 3 * 8,
        "attention.out_proj": 8 * 8 + 8,
        "last": 27,
    }
    assert {name: layer.multiply_adds for name, layer in found.items() if layer.multiply_adds} == {"last": 24}
    assert (found["attention"].input_shape, found["attention"].output_shape) == ((5, 8), None)
    assert found["attention.out_proj"].output_shape is None


def test_layers_have_shapes_parameters_zeros_and_bits() -> None:
    model = small()
    with torch.no_grad():
        model[5].weight[:5] = 0  # type: ignore[index]
        model[5].bias.fill_(1)  # type: ignore[union-attr]
    rows = account_of_layers(quantised_copy(model, ["0"], False), torch.rand(1, 1, 8, 8))
    assert [(row.kind, row.input_shape, row.output_shape) for row in rows] == [
        ("QuantisedConv2d", (1, 8, 8), (4, 8, 8)),
        ("BatchNorm2d", (4, 8, 8), (4, 8, 8)),
        ("ReLU", (4, 8, 8), (4, 8, 8)),
        ("MaxPool2d", (4, 8, 8), (4, 4, 4)),
        ("Flatten", (4, 4, 4), (64,)),
        ("Linear", (64,), (10,)),
    ]
    assert [row.parameters for row in rows] == [40, 8, 0, 0, 0, 650]
    assert [row.bits for row in rows] == [8, 32, None, None, None, 32]
    assert [row.multiply_adds for row in rows] == [36 * 64, 0, 0, 0, 0, 640]
    assert (rows[5].nonzero_parameters, rows[5].multiply_adds_nonzero) == (330, 320)


def test_counting_and_timing_leave_a_model_as_it_was() -> None:
    model = small().train()
    model[1].eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [layer.training for layer in model.modules()]
    inputs = torch.rand(3, 1, 8, 8)
    generator = torch.get_rng_state()
    count_multiply_adds(model, inputs[:1])
    time_answers(model, inputs)
    assert [layer.training for layer in model.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in model.modules())
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bytes_are_those_of_the_file_that_torch_writes() -> None:
    model, file = small(), io.BytesIO()
    torch.save(model.state_dict(), file)
    assert bytes_on_disk(model) == len(file.getvalue())


def test_bytes_are_of_the_tensors_and_not_of_what_they_are_views_of() -> None:
    model = small()
    whole = bytes_on_disk(model)
    parameters = FlatParameters(model, [])
    assert parameters.count == 40 + 8 + 650
    assert bytes_on_disk(model) == whole
    model[5].weight = nn.Parameter(model[5].weight[:5])  # type: ignore[index]
    assert whole - bytes_on_disk(model) == pytest.approx(5 * 64 * 4, abs=64)
    tied = nn.Sequential(nn.Linear(100, 100, bias=False), nn.Linear(100, 100, bias=False))
    apart = bytes_on_disk(tied)
    tied[1].weight = tied[0].weight
    assert apart - bytes_on_disk(tied) >= 40_000


class Slow(nn.Module):
    """A network whose answers take the seconds one wants, by a clock of its own."""

    def __init__(self, seconds: Sequence[float]) -> None:
        super().__init__()
        self.seconds, self.calls, self.now = seconds, 0, 0.0

    def forward(self, inputs: Tensor) -> Tensor:
        self.now += self.seconds[self.calls % len(self.seconds)]
        self.calls += 1
        return inputs


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.floats(1e-5, 0.5), min_size=1, max_size=MOST + WARM_UPS))
def test_median_and_percentile_are_of_the_answers_after_the_first(seconds: list[float]) -> None:
    network = Slow(seconds)
    found = time_answers(network, torch.zeros(8, 1), clock=lambda: network.now)
    taken = sorted(seconds[call % len(seconds)] for call in range(WARM_UPS, network.calls))
    assert found.repeats == len(taken)
    assert found.median == pytest.approx(float(torch.tensor(taken, dtype=torch.float64).quantile(0.5)), rel=1e-6)
    slower = sum(value > found.p95 * (1 + 1e-9) for value in taken)
    assert slower <= 0.05 * len(taken) < slower + sum(math.isclose(value, found.p95) for value in taken)
    assert found.samples_per_second == pytest.approx(8 / found.median)


@pytest.mark.parametrize(
    ("seconds", "repeats"),
    [(1.0, FEW), (0.15, LEAST), (1e-6, MOST), (SECONDS / 40.5, 41), (SECONDS / LEAST / 2, 2 * LEAST)],
)
def test_repeats_are_as_many_as_fit(seconds: float, repeats: int) -> None:
    network = Slow([seconds])
    found = time_answers(network, torch.zeros(1, 1), clock=lambda: network.now)
    assert abs(found.repeats - repeats) <= (0 if repeats in (FEW, LEAST, MOST) else 1)
