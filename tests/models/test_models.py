"""Models: shapes, published parameter counts, slow twins, what a spec refuses."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import nn

from nnopt.errors import DataError
from nnopt.models.layers import smallest_batch
from nnopt.models.resnet import ResidualBlock
from nnopt.spec.models import MODELS, ModelSpec

SPECS: TypeAdapter[Any] = TypeAdapter(Annotated[ModelSpec, MODELS])

# 64x48 pixels become 13x9; three colours.
LARGE_LENET = (75 * 6 + 6) + (25 * 6 * 16 + 16) + (16 * 13 * 9 * 120 + 120) + (120 * 84 + 84) + 850
# 3x3 windows 1 -> 4, 4 -> 4 twice, 4 -> 8 -> 8, 8 -> 16 -> 16; scale and shift a channel; 16 -> 3.
SMALL_RESNET = 9 * (4 + 32 + 32 + 64 + 128 + 256) + 2 * (3 * 4 + 2 * 8 + 2 * 16) + (16 * 3 + 3)
# 3x3 windows 1 -> 4; in three stages 1x1, 3x3 and 1x1 windows, four times wider between them; 64 -> 3.
SMALL_BOTTLENECKS = (9 * 4 + 8) + sum(
    inputs * narrow + 9 * narrow**2 + 4 * narrow**2 + 2 * 6 * narrow for inputs, narrow in ((4, 4), (16, 8), (32, 16))
)  # fmt: skip
SMALL_BOTTLENECKS += 64 * 3 + 3


def one_block(block: str) -> dict[str, Any]:
    """The keys of a cnn of one block of 16 channels, and one dense layer."""
    return {"blocks": [{"channels": 16, "block": block}], "hidden": []}


# Those that read tokens, and those of other packages, have their numbers in test_text_models.py and test_backbones.py.
ELSEWHERE = {"transformer", "lstm", "torchvision", "timm"}
# Every other kind of model: a spec, inputs, outputs, and the number of parameters counted by hand or published.
CASES: dict[str, list[tuple[dict[str, Any], tuple[int, ...], int, int]]] = {
    "point": [({}, (1,), 3, 3), ({"start": [1.0, 2.0]}, (1,), 2, 2)],
    "linear": [({}, (64,), 10, 650), ({}, (1, 8, 8), 10, 650), ({}, (10,), 1, 11)],
    "mlp": [
        ({"hidden": [128]}, (1, 28, 28), 10, 101_770),
        ({"hidden": []}, (64,), 10, 650),
        ({"hidden": [30, 20], "norm": "layer"}, (13,), 3, (13 * 30 + 90) + (30 * 20 + 60) + 63),
        # Without a bias under a batch norm.
        ({"hidden": [30], "norm": "batch", "dropout": 0.5}, (13,), 3, (13 * 30 + 60) + 93),
        # Adding costs nothing, and all that is laid side by side is seen: 13, 33, 53 columns.
        ({"hidden": [20, 20], "connections": "residual"}, (13,), 3, (14 * 20) + (21 * 20) + 63),
        ({"hidden": [20, 20], "connections": "dense"}, (13,), 3, (14 * 20) + (34 * 20) + (54 * 3)),
        ({"hidden": {"width": 40, "depth": 3, "taper": 0.5}}, (13,), 3, (14 * 40) + (41 * 20) + (21 * 10) + 33),
    ],
    "cnn": [
        # 8x8 -> 4x4 -> 2x2: two convolutions, then 32·4 -> 64 -> 10.
        ({}, (1, 8, 8), 10, (9 * 16 + 16) + (9 * 16 * 32 + 32) + (128 * 64 + 64) + 650),
        (
            {"blocks": [{"channels": 4, "kernel": 5, "stride": 2, "norm": "batch"}], "hidden": []},
            (3, 9, 7),
            2,
            (25 * 3 * 4 + 8) + (4 * 5 * 4 * 2 + 2),
        ),
        # By its numbers: the default, and five blocks of 8, 12, 18 channels ... 40 channels, of which
        # the last two find one pixel and pool nothing.
        ({"blocks": {}}, (1, 8, 8), 10, (9 * 16 + 16) + (9 * 16 * 32 + 32) + (128 * 64 + 64) + 650),
        (
            {"blocks": {"channels": 8, "depth": 5, "growth": 1.5}, "hidden": []},
            (1, 8, 8),
            10,
            sum(9 * a * b + b for a, b in ((1, 8), (8, 12), (12, 18), (18, 27), (27, 40))) + 410,
        ),
        # Two 3x3 and a 1x1 past them; 1 channel by itself, then 1x1; 1x1 to 4, 3x3, 1x1 back and one past them.
        (one_block("residual"), (1, 8, 8), 10, (9 * 16 + 16) + (9 * 256 + 16) + (16 + 16) + 10_250),
        (one_block("separable"), (1, 8, 8), 10, (9 + 1) + (16 + 16) + 10_250),
        (one_block("bottleneck"), (1, 8, 8), 10, (4 + 4) + (9 * 16 + 4) + (4 * 16 + 16) + (16 + 16) + 10_250),
    ],
    # The network of the paper as its authors published it, and as few as three blocks of 4 channels.
    "nin": [
        ({}, (3, 32, 32), 10, 966_986),
        (
            {"blocks": {"channels": 4}, "norm": "batch"},
            (1, 8, 8),
            3,
            (9 * 4 + 2 * 16) + (9 * 16 + 2 * 16) + (9 * 16 + 16) + 8 * 8 + 15,
        ),
    ],
    # The count that LeNet-5's many implementations agree on.
    "lenet": [
        ({}, (1, 28, 28), 10, 61_706),
        ({}, (1, 32, 32), 10, 61_706),
        ({}, (3, 64, 48), 10, LARGE_LENET),
    ],
    # He et al. 2015, table 6: 0.27M, 0.46M, 0.85M; all digits: github.com/akamaster/pytorch_resnet_cifar10.
    "resnet": [
        ({}, (3, 32, 32), 10, 269_722),
        ({"depth": 32}, (3, 32, 32), 10, 464_154),
        ({"depth": 56}, (3, 32, 32), 10, 853_018),
        ({"depth": 8, "width": 4}, (1, 8, 8), 3, SMALL_RESNET),
        # Option B: 1x1 convolutions 16 -> 32 -> 64 with norms, where option A has none.
        ({"shortcut": "projection"}, (3, 32, 32), 10, 269_722 + (512 + 64) + (2048 + 128)),
        # He et al. 2016, arXiv:1603.05027, table 4: 1.7M.
        ({"depth": 164, "block": "bottleneck", "shortcut": "projection"}, (3, 32, 32), 10, 1_704_154),
        ({"depth": 11, "width": 4, "block": "bottleneck"}, (1, 8, 8), 3, SMALL_BOTTLENECKS),
    ],
}
ALL = [(kind, *case) for kind, cases in CASES.items() for case in cases]
FIRST = [(kind, *cases[0][:3]) for kind, cases in CASES.items()]


def build(kind: str, input_shape: tuple[int, ...], outputs: int, seed: int = 0, **keys: Any) -> nn.Module:
    spec = SPECS.validate_python({"kind": kind, **keys})
    torch.manual_seed(seed)
    model: nn.Module = spec.build(input_shape, outputs)
    return model


def test_every_kind_has_a_row_here() -> None:
    assert set(CASES) | ELSEWHERE == set(MODELS.named())


@pytest.mark.parametrize(("kind", "keys", "shape", "outputs", "parameters"), ALL)
def test_outputs_and_parameter_count(
    kind: str, keys: dict[str, Any], shape: tuple[int, ...], outputs: int, parameters: int
) -> None:
    model = build(kind, shape, outputs, **keys)
    assert model(torch.randn(3, *shape)).shape == (3, outputs)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(("kind", "keys", "shape", "outputs"), FIRST)
def test_the_gradient_reaches_every_parameter_and_the_seed_gives_the_weights(
    kind: str, keys: dict[str, Any], shape: tuple[int, ...], outputs: int
) -> None:
    model = build(kind, shape, outputs, seed=3, **keys)
    F.cross_entropy(model(torch.randn(16, *shape)), torch.arange(16) % outputs).backward()
    assert all(bool(p.grad is not None and p.grad.abs().sum() > 0) for p in model.parameters())

    same, other = (build(kind, shape, outputs, seed=seed, **keys) for seed in (3, 4))
    first, again, different = (next(m.parameters()) for m in (model, same, other))
    assert torch.equal(first, again)
    assert not torch.equal(first, different)


def test_mlp_is_the_formula() -> None:
    model = build("mlp", (2, 3), 2, hidden=[5, 4], activation="sigmoid", output_activation="tanh").double()
    w = [p.detach().numpy() for p in model.parameters()]
    x = np.random.default_rng(0).normal(size=(7, 2, 3))
    a = x.reshape(7, 6)
    for weight, bias in ((w[0], w[1]), (w[2], w[3])):
        a = 1 / (1 + np.exp(-(a @ weight.T + bias)))
    expected = np.tanh(a @ w[4].T + w[5])
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-12)


def slow_convolution(images: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Stride 1 without padding, one output pixel at a time."""
    n, _, height, width = images.shape
    k = weight.shape[-1]
    out = np.empty((n, len(weight), height - k + 1, width - k + 1))
    for row in range(height - k + 1):
        for column in range(width - k + 1):
            window = images[:, :, row : row + k, column : column + k]
            out[:, :, row, column] = np.einsum("ncij,ocij->no", window, weight) + bias
    return out


def slow_pool(images: np.ndarray, how: Any) -> np.ndarray:
    """2x2 windows, a last odd row and column dropped."""
    n, c, h, w = images.shape
    whole = images[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)
    return np.asarray(how(how(whole, 5), 3))


def test_cnn_is_its_slow_twin() -> None:
    block = {"channels": 3, "kernel": 3, "activation": "tanh", "pool": "max"}
    model = build("cnn", (2, 5, 7), 4, blocks=[block], hidden=[6], activation="tanh").double()
    w = [p.detach().numpy() for p in model.parameters()]
    x = np.random.default_rng(1).normal(size=(2, 2, 5, 7))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    a = slow_pool(np.tanh(slow_convolution(padded, w[0], w[1])), np.max).reshape(2, -1)
    expected = np.tanh(a @ w[2].T + w[3]) @ w[4].T + w[5]
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("size", [28, 32])
def test_lenet_is_its_slow_twin(size: int) -> None:
    model = build("lenet", (1, size, size), 10).double()
    w = [p.detach().numpy() for p in model.parameters()]
    x = np.random.default_rng(2).normal(size=(2, 1, size, size))
    a = np.pad(x, ((0, 0), (0, 0), *[((32 - size) // 2,) * 2] * 2))
    for weight, bias in ((w[0], w[1]), (w[2], w[3])):
        a = slow_pool(np.tanh(slow_convolution(a, weight, bias)), np.mean)
    a = a.reshape(2, 400)
    for weight, bias in ((w[4], w[5]), (w[6], w[7])):
        a = np.tanh(a @ weight.T + bias)
    expected = a @ w[8].T + w[9]
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-9)


def test_a_residual_block_without_f_is_its_shortcut() -> None:
    block = ResidualBlock(2, 6)
    nn.init.zeros_(block.norm2.weight)
    images = torch.randn(3, 2, 7, 5)
    expected = torch.zeros(3, 6, 4, 3)
    expected[:, 2:4] = images.relu()[:, :, [0, 2, 4, 6]][..., [0, 2, 4]]
    assert torch.equal(block(images), expected)
    same = ResidualBlock(2, 2)
    nn.init.zeros_(same.norm2.weight)
    assert torch.equal(same(images), images.relu())


def test_a_residual_block_adds_f() -> None:
    block = ResidualBlock(2, 2).double().eval()
    images = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    f = images.numpy()
    for convolution, norm in ((block.convolution1, block.norm1), (block.convolution2, block.norm2)):
        padded = np.pad(f, ((0, 0), (0, 0), (1, 1), (1, 1)))
        f = slow_convolution(padded, convolution.weight.detach().numpy(), np.zeros(2)) / np.sqrt(1 + norm.eps)
        f = np.maximum(f, 0) if norm is block.norm1 else f
    np.testing.assert_allclose(block(images).detach().numpy(), np.maximum(images.numpy() + f, 0), rtol=1e-10)


def test_dropout_acts_in_training_only() -> None:
    model = build("mlp", (20,), 5, hidden=[50], dropout=0.5)
    inputs = torch.randn(4, 20)
    assert not torch.equal(model(inputs), model(inputs))
    model.eval()
    assert torch.equal(model(inputs), model(inputs))


@pytest.mark.parametrize(
    ("kind", "keys", "shape", "words"),
    [
        ("cnn", {}, (30,), "model cnn needs images (channels x height x width); data gives 30 features"),
        ("lenet", {}, (64,), "model lenet needs images (channels x height x width); data gives 64 features"),
        ("lenet", {}, (1, 8, 8), "at least 28x28 pixels; data gives 1x8x8 images"),
        ("resnet", {}, (3, 8, 4), "at least 8x8 pixels; data gives 3x8x4 images"),
        ("resnet", {}, (20, 30), "data gives 20x30 arrays"),
        ("nin", {}, (3, 7, 9), "at least 8x8 pixels; data gives 3x7x9 images"),
        ("cnn", {"blocks": [{"channels": 2, "pool": "max"}] * 4}, (1, 8, 8), "block 4 pools an image"),
        (
            "cnn",
            {"blocks": [{"channels": 2, "kernel": 8, "stride": 9}] * 2},
            (1, 8, 8),
            "block 2 has a kernel",
        ),
    ],
)
def test_a_model_that_does_not_fit_says_so(kind: str, keys: dict[str, Any], shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(DataError) as error:
        build(kind, shape, 10, **keys)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"kind": "mlp", "hidden": [0]}, "greater than 0"),
        ({"kind": "mlp", "hidden": 128}, "tuple"),
        ({"kind": "mlp", "dropout": 1.0}, "less than 1"),
        ({"kind": "mlp", "activation": "rely"}, "relu"),
        ({"kind": "mlp", "hiden": [3]}, "did you mean 'hidden'?"),
        ({"kind": "linear", "hidden": [3]}, "the keys of linear are kind, init"),
        ({"kind": "cnn", "blocks": []}, "at least one block"),
        ({"kind": "cnn", "blocks": [{"chanels": 3}]}, "did you mean 'channels'?"),
        ({"kind": "resnet", "depth": 21}, "as 20 or 26, not 21"),
        ({"kind": "resnet", "depth": 20, "block": "bottleneck", "shortcut": "pads"}, "projection"),
        ({"kind": "resnet", "depth": 26, "block": "bottleneck"}, "9n + 2 with bottleneck blocks, as 20 or 29, not 26"),
        ({"kind": "resnet", "depth": 8, "block": "bottleneck"}, "as 11, not 8"),
        ({"kind": "mlp", "hidden": {"depth": 2}}, "Field required"),
        ({"kind": "mlp", "hidden": {"width": 4, "dept": 2}}, "did you mean 'depth'?"),
        ({"kind": "mlp", "hidden": {"width": 4, "depth": 101}}, "less than or equal to 100"),
        ({"kind": "mlp", "hidden": [8, 4], "connections": "residual"}, "no two neighbouring hidden layers"),
        ({"kind": "cnn", "blocks": {"kernel": 4}}, "kernel should be odd, not 4"),
        ({"kind": "cnn", "blocks": [{"channels": 4, "kernel": 2, "block": "residual"}]}, "odd in a residual block"),
        ({"kind": "cnn", "blocks": [{"channels": 4, "expansion": 2}]}, "this is a plain one"),
        ({"kind": "nin", "blocks": []}, "at least one block"),
        ({"kind": "nin", "blocks": {"channels": 4, "kernel": 2}}, "kernel should be odd, not 2"),
        ({"kind": "resnets"}, "did you mean 'resnet'?"),
    ],
)
def test_a_spec_refuses(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        SPECS.validate_python(spec)
    assert words in str(error.value)


BLOCKS = st.lists(
    st.fixed_dictionaries(
        {
            "channels": st.integers(1, 3),
            "kernel": st.integers(1, 5),
            "stride": st.integers(1, 3),
            "norm": st.sampled_from(["none", "batch", "layer"]),
            "pool": st.sampled_from(["none", "max", "average"]),
        }
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(blocks=BLOCKS, height=st.integers(1, 12), width=st.integers(1, 12))
def test_any_cnn_fits_or_says_why_not(blocks: list[dict[str, Any]], height: int, width: int) -> None:
    """A cnn that is built runs, and one that is refused would have failed in torch."""
    images = torch.zeros(2, 1, height, width)
    try:
        model = build("cnn", (1, height, width), 3, blocks=blocks, hidden=[])
    except DataError:
        # An even kernel may leave images of 1x1, which a batch norm in training refuses only for one sample.
        layers: list[nn.Module] = []
        channels = 1
        for b in blocks:
            padding = (b["kernel"] - 1) // 2
            layers.append(nn.Conv2d(channels, b["channels"], b["kernel"], b["stride"], padding))
            layers.append(nn.Identity() if b["pool"] == "none" else nn.MaxPool2d(2))
            channels = b["channels"]
        with pytest.raises(RuntimeError, match=r"too small|greater than actual input size"):
            nn.Sequential(*layers)(images)
    else:
        assert model(images).shape == (2, 3)


def test_smallest_batch_is_what_torch_demands() -> None:
    for norm, fewest in (("none", 1), ("layer", 1), ("batch", 2)):
        model = build("mlp", (4,), 2, norm=norm)
        assert smallest_batch(model) == fewest
        model(torch.randn(fewest, 4))
        if fewest == 2:
            with pytest.raises(ValueError, match="more than 1 value"):
                model(torch.randn(1, 4))


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("linear", {}), ("mlp", {"norm": "layer"}), ("cnn", {}), ("resnet", {"depth": 8, "width": 8})],
)
def test_models_learn_real_digits(kind: str, keys: dict[str, Any]) -> None:
    """Sixty full-batch steps of Adam on 900 digits, read on 897 others; chance is 0.1."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    targets = torch.tensor(data.target)
    model = build(kind, (1, 8, 8), 10, **keys)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(images[:900]), targets[:900]).backward()
        optimizer.step()
    with torch.no_grad():
        model.eval()
        accuracy = (model(images[900:]).argmax(1) == targets[900:]).float().mean()
    assert accuracy > 0.8


def test_specs_of_models_losses_and_metrics_come_without_torch() -> None:
    program = (
        "import sys, nnopt.spec.models, nnopt.spec.losses, nnopt.spec.metric_names;"
        "print([name for name in ('torch', 'sklearn', 'pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
