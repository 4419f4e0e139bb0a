"""Blocks and connections of models against their formulas, and the keys that a search turns."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
import torch.nn.functional as F
from command_line import Ended
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn

from nnopt.models.resnet import BottleneckBlock, ResidualBlock
from nnopt.spec.models import MODELS, ModelSpec

pytestmark = pytest.mark.usefixtures("undrawn")

SPECS: TypeAdapter[Any] = TypeAdapter(Annotated[ModelSpec, MODELS])


def build(kind: str, shape: tuple[int, ...], outputs: int, **keys: Any) -> tuple[nn.Module, list[Tensor]]:
    """A model in double precision and its parameters in the order they were made."""
    torch.manual_seed(0)
    model = SPECS.validate_python({"kind": kind, **keys}).build(shape, outputs).double()
    return model, [parameter.detach() for parameter in model.parameters()]


def test_residual_connections_are_the_formula() -> None:
    model, w = build("mlp", (6,), 2, hidden=[5, 5, 5, 4, 4], activation="tanh", connections="residual")
    x = torch.randn(7, 6, dtype=torch.float64)
    layers = [lambda a, i=i: torch.tanh(a @ w[i].T + w[i + 1]) for i in range(0, 10, 2)]
    a = layers[0](x)
    a = a + layers[1](a)
    a = a + layers[2](a)
    a = layers[3](a)
    a = a + layers[4](a)
    torch.testing.assert_close(model(x), a @ w[10].T + w[11])


def test_dense_connections_are_the_formula() -> None:
    model, w = build("mlp", (2, 3), 2, hidden=[5, 4], activation="sigmoid", connections="dense")
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    seen = x.flatten(1)
    for i in (0, 2):
        seen = torch.cat([seen, torch.sigmoid(seen @ w[i].T + w[i + 1])], dim=1)
    torch.testing.assert_close(model(x), seen @ w[4].T + w[5])


def test_a_residual_cnn_block_is_the_formula() -> None:
    blocks = [{"channels": 4, "kernel": 5, "stride": 2, "block": "residual"}, {"channels": 4, "block": "residual"}]
    model, w = build("cnn", (2, 7, 8), 3, blocks=blocks, hidden=[])
    x = torch.randn(3, 2, 7, 8, dtype=torch.float64)
    inner = F.conv2d(F.conv2d(x, w[0], w[1], stride=2, padding=2).relu(), w[2], w[3], padding=2)
    a = (F.conv2d(x, w[4], w[5], stride=2) + inner).relu()
    a = (a + F.conv2d(F.conv2d(a, w[6], w[7], padding=1).relu(), w[8], w[9], padding=1)).relu()
    torch.testing.assert_close(model(x), a.flatten(1) @ w[10].T + w[11])


def test_a_separable_cnn_block_is_the_formula() -> None:
    model, w = build("cnn", (3, 6, 5), 2, blocks=[{"channels": 4, "block": "separable", "pool": "average"}], hidden=[])
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    each = torch.cat([F.conv2d(x[:, [c]], w[0][[c]], w[1][[c]], padding=1) for c in range(3)], dim=1).relu()
    a = F.avg_pool2d((torch.einsum("nchw,oc->nohw", each, w[2][..., 0, 0]) + w[3][:, None, None]).relu(), 2)
    torch.testing.assert_close(model(x), a.flatten(1) @ w[4].T + w[5])


def test_a_bottleneck_cnn_block_is_the_formula() -> None:
    block = {"channels": 6, "block": "bottleneck", "expansion": 3, "activation": "tanh"}
    model, w = build("cnn", (6, 4, 4), 2, blocks=[block], hidden=[])
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    assert w[0].shape == (2, 6, 1, 1)
    inner = F.conv2d(F.conv2d(x, w[0], w[1]).tanh(), w[2], w[3], padding=1).tanh()
    a = (x + F.conv2d(inner, w[4], w[5])).tanh()
    torch.testing.assert_close(model(x), a.flatten(1) @ w[6].T + w[7])


def test_nin_is_the_formula() -> None:
    blocks = [
        {"channels": 5, "kernel": 5, "inner": [4], "pool": "average"},
        {"channels": 3, "inner": [], "pool": "max"},
    ]
    model, w = build("nin", (2, 9, 8), 4, blocks=blocks)
    x = torch.randn(2, 2, 9, 8, dtype=torch.float64)
    a = F.conv2d(F.conv2d(x, w[0], w[1], padding=2).relu(), w[2], w[3]).relu()
    # 3x3 windows around every second pixel, of what there is of them.
    ones = F.avg_pool2d(torch.ones(1, 1, 9, 8, dtype=torch.float64), 3, 2, padding=1)
    a = F.avg_pool2d(a, 3, 2, padding=1) / ones
    a = F.conv2d(a, w[4], w[5], padding=1).relu()
    a = torch.stack([a[:, :, max(0, r - 1) : r + 2].amax(2) for r in range(0, 5, 2)], dim=2)
    a = torch.stack([a[..., max(0, c - 1) : c + 2].amax(3) for c in range(0, 4, 2)], dim=3)
    torch.testing.assert_close(model(x), F.conv2d(a, w[6], w[7]).mean((2, 3)))


@pytest.mark.parametrize("shortcut", ["pad", "projection"])
def test_a_resnet_block_without_f_is_its_shortcut(shortcut: str) -> None:
    images = torch.randn(3, 2, 7, 5)
    for block in (
        ResidualBlock(2, 6, shortcut),
        BottleneckBlock(2, 2, 2, shortcut),
        BottleneckBlock(2, 2, 1, shortcut),
    ):
        nn.init.zeros_((block.norm3 if isinstance(block, BottleneckBlock) else block.norm2).weight)
        expected = images[:, :, :: block.stride, :: block.stride]
        if block.projection is None:
            beside = torch.zeros(3, block.new_channels // 2, *expected.shape[2:])
            expected = torch.cat([beside, expected, beside], dim=1)
        else:
            expected = block.projection[1](F.conv2d(expected, block.projection[0].weight))
        torch.testing.assert_close(block(images), expected.relu())


def test_a_bottleneck_block_adds_f() -> None:
    block = BottleneckBlock(8, 2, 1).double().eval()
    images = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    scale = (1 + block.norm1.eps) ** -0.5  # of norms that have seen nothing
    inner = (F.conv2d(images, block.convolution1.weight) * scale).relu()
    inner = (F.conv2d(inner, block.convolution2.weight, padding=1) * scale).relu()
    inner = F.conv2d(inner, block.convolution3.weight) * scale
    torch.testing.assert_close(block(images), (images + inner).relu())


@settings(max_examples=40, deadline=None)
@given(
    block=st.sampled_from(["plain", "residual", "separable", "bottleneck"]),
    depth=st.integers(1, 6),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    growth=st.sampled_from([0.3, 1.0, 1.7]),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_blocks_by_their_numbers_fit_every_image(
    block: str, depth: int, kernel: int, stride: int, growth: float, size: tuple[int, int]
) -> None:
    blocks = {"block": block, "depth": depth, "kernel": kernel, "stride": stride, "growth": growth, "channels": 4}
    model, _ = build("cnn", (2, *size), 3, blocks=blocks)
    assert model(torch.randn(2, 2, *size, dtype=torch.float64)).shape == (2, 3)


SPACES: dict[str, dict[str, Any]] = {
    "mlp": {
        "model.hidden.width": {"int": [8, 32]},
        "model.hidden.depth": {"int": [1, 3]},
        "model.connections": {"choice": ["plain", "residual", "dense"]},
    },
    "cnn": {
        "model.blocks.kernel": {"choice": [1, 3]},
        "model.blocks.depth": {"int": [1, 5]},
        "model.blocks.channels": {"int": [2, 4]},
        "model.blocks.block": {"choice": ["plain", "residual", "separable", "bottleneck"]},
    },
    "nin": {"model.blocks.channels": {"int": [2, 4]}, "model.blocks.inner": {"int": [0, 2]}},
}


@pytest.mark.parametrize("kind", SPACES)
def test_a_sweep_searches_the_shape(
    kind: str, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    search = {"space": SPACES[kind], "trials": 4, "sampler": {"kind": "random"}, "confirm": None}
    cli("sweep", write_spec({"model": {"kind": kind}, "budget": {"steps": 2}, "search": search}), "--quiet")
    summaries = [json.loads(path.read_text()) for path in runs.glob("small/*/trial-*/seed-0/summary.json")]
    assert [summary["status"] for summary in summaries] == ["done"] * 4
    for summary in summaries:
        shape = summary["spec"]["model"]["hidden" if kind == "mlp" else "blocks"]
        found = {key.rpartition(".")[2]: value for key, value in summary["setting"].items()}
        found.pop("connections", None)
        assert found.items() <= shape.items()
    assert len({summary["parameters"] for summary in summaries}) > 1


def test_a_list_may_stand_under_a_mapping_of_numbers(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    cli("train", write_spec(), "--quiet", "model.hidden.width=12", "model.hidden.depth=2", "budget={steps: 2}")
    (path,) = runs.glob("small/*/seed-0/metrics.csv")
    assert len(list(csv.DictReader(path.read_text().splitlines()))) == 1
    hidden = json.loads(path.with_name("summary.json").read_text())["spec"]["model"]["hidden"]
    assert hidden == {"width": 12, "depth": 2, "taper": 1.0}
    refused = cli("train", write_spec(), "model.hidden.depth=2", code=2)
    assert "model.hidden.width: this key is missing" in refused.stderr
