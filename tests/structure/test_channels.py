"""Channels taken out of networks: what is left computes what it did with them at 0, in every model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nnopt.models.cnn import Block, cnn
from nnopt.models.lenet import lenet
from nnopt.models.nin import NinBlock, nin
from nnopt.models.perceptron import perceptron
from nnopt.models.resnet import resnet
from nnopt.structure.channels import IS_OUTPUT, ChannelGroup, find_channels, least, scores, take_out
from nnopt.structure.network import record_of, reform


class Branches(nn.Module):
    """A depthwise and a grouped convolution, of which the first is read twice, and side by side with another."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.each = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm = nn.BatchNorm2d(6)
        self.to_groups = nn.Conv2d(6, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2)
        self.after = nn.Conv2d(8, 5, 1)
        self.last = nn.Linear(6 + 5, 10)

    def forward(self, images: Tensor) -> Tensor:
        inner = torch.relu(self.norm(self.each(self.first(images))))
        other = self.after(torch.relu(self.grouped(self.to_groups(inner))))
        return self.last(torch.cat([inner.mean((2, 3)), other.mean((2, 3))], dim=1))


IMAGES = (1, 8, 8)
MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: perceptron((64,), 10, (12, 8), norm="batch", dropout=0.5),
    "mlp_residual": lambda: perceptron((64,), 10, (8, 8, 8), connections="residual"),
    "mlp_dense": lambda: perceptron((64,), 10, (7, 5, 6), connections="dense", activation="sigmoid"),
    "mlp_bounded": lambda: perceptron((64,), 10, (7,), output_activation="tanh"),
    "cnn": lambda: cnn(IMAGES, 10, [Block(4, norm="batch"), Block(6, pool="max", norm="batch")], (12,)),
    "cnn_residual": lambda: cnn(IMAGES, 10, [Block(4), Block(4, block="residual"), Block(6, block="residual")]),
    "cnn_separable": lambda: cnn(
        IMAGES, 10, [Block(4, activation="gelu"), Block(6, block="separable", norm="batch", pool="average")]
    ),
    "cnn_bottleneck": lambda: cnn(
        IMAGES, 10, [Block(8, norm="batch"), Block(8, block="bottleneck", norm="batch", expansion=2, stride=2)]
    ),
    "lenet": lambda: lenet((1, 28, 28), 10),
    "nin": lambda: nin(IMAGES, 10, [NinBlock(6, 3, (5, 4), pool="max"), NinBlock(6, 3, (5,), pool="average")], "relu"),
    "resnet": lambda: resnet(IMAGES, 10, 8, 4),
    "resnet_projection": lambda: resnet(IMAGES, 10, 8, 4, shortcut="projection"),
    "resnet_bottleneck": lambda: resnet(IMAGES, 10, 11, 4, block="bottleneck"),
    "branches": Branches,
}


def built(name: str) -> tuple[nn.Module, Tensor]:
    """A model whose norms have something to say, in training mode, and samples for it."""
    torch.manual_seed(3)
    model = MODELS[name]().train()
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.running_mean = torch.randn(layer.num_features)
            layer.running_var = torch.rand(layer.num_features) + 0.5
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    shape = {"branches": (3, 8, 8), "lenet": (1, 28, 28)}.get(name, (64,) if name.startswith("mlp") else IMAGES)
    return model, torch.randn(3, *shape)


def without_being_read(model: nn.Module, taken: list[tuple[ChannelGroup, list[int]]]) -> nn.Module:
    """A copy of `model` in which the weights that read these channels are 0."""
    twin = copy.deepcopy(model)
    for group, channels in taken:
        for part in group.slices:
            gone = [at for at, channel in zip(part.positions, part.channels, strict=True) if channel in channels]
            if part.axis == 1:
                twin.get_submodule(part.layer).weight.data[:, gone] = 0
    return twin


@pytest.mark.parametrize("name", MODELS)
def test_what_is_left_computes_as_if_the_channels_were_0(name: str) -> None:
    model, inputs = built(name)
    random = torch.Generator().manual_seed(1)
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = find_channels(model, inputs).groups
    assert torch.equal(state, torch.get_rng_state())
    assert all(layer.training for layer in model.modules())
    assert groups
    count = sum(group.count for group in groups) // 2
    chosen = least({group.name: torch.rand(group.count, generator=random) for group in groups}, count)
    taken = [(group, chosen[group.name]) for group in groups]
    assert sum(len(channels) for _, channels in taken) == count

    fresh, wanted = MODELS[name](), without_being_read(model, taken).eval()(inputs)
    take_out(model, taken)
    torch.testing.assert_close(model.eval()(inputs), wanted, atol=1e-5, rtol=1e-4)
    for group in groups:
        for maker in group.makers:
            assert len(model.get_submodule(maker).weight) == group.count - len(chosen[group.name])

    again = reform(fresh, record_of(model)).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(inputs), model(inputs))
    assert repr(again) == repr(model), "the sizes that layers know of themselves"
    model.train()(inputs).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_the_outputs_of_the_model_stay(name: str) -> None:
    model, inputs = built(name)
    channels = find_channels(model, inputs)
    last = next(name for name, layer in reversed(list(model.named_modules())) if hasattr(layer, "weight"))
    assert channels.outputs == {last}
    assert not any(last in group.makers for group in channels.groups)


def test_only_the_channels_within_the_blocks_of_a_padded_shortcut_can_go() -> None:
    channels = find_channels(*built("resnet"))
    assert [group.makers for group in channels.groups] == [(f"{block}.convolution1",) for block in (3, 4, 5)]
    assert channels.kept.pop("8") == IS_OUTPUT
    assert channels.kept == dict.fromkeys(
        ["0", *(f"{block}.convolution2" for block in (3, 4, 5))], "tied by something that mixes or pads channels"
    )


def test_with_projections_whole_stages_can_go() -> None:
    makers = [group.makers for group in find_channels(*built("resnet_projection")).groups]
    assert ("0", "3.convolution2") in [tuple(sorted(names)) for names in makers]
    assert ("4.convolution2", "4.projection.0") in [tuple(sorted(names)) for names in makers]


def test_grouped_convolutions_and_the_inputs_are_left_alone() -> None:
    channels = find_channels(*built("branches"))
    assert {group.name: group.makers for group in channels.groups} == {"first": ("first", "each"), "after": ("after",)}
    assert channels.kept["to_groups"] == channels.kept["grouped"] == "tied by a convolution of several groups"

    class OnInputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.added, self.each, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 2, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.last(self.each(images + self.added(images))).mean((2, 3))

    kept = find_channels(OnInputs(), torch.randn(2, 3, 8, 8)).kept
    assert kept == {"added": "tied to the inputs", "each": "tied to the inputs", "last": IS_OUTPUT}


def test_a_layer_norm_is_taken_over_the_channels_that_are_left() -> None:
    torch.manual_seed(0)
    model, inputs = perceptron((6,), 3, (40,), norm="layer"), torch.randn(4, 6)
    norm = model[2]
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    gone, keep = list(range(5, 33)), [*range(5), *range(33, 40)]
    linear, last = copy.deepcopy(model[1]), copy.deepcopy(model[4])
    inner = nn.functional.layer_norm(linear(inputs)[:, keep], (12,), norm.weight[keep], norm.bias[keep])
    wanted = torch.relu(inner) @ last.weight[:, keep].T + last.bias
    take_out(model, [(find_channels(model, inputs).groups[0], gone)])
    torch.testing.assert_close(model(inputs), wanted)


def test_scores_add_up_all_that_goes_with_a_channel() -> None:
    model, inputs = built("cnn")
    values = {name: torch.randn_like(parameter) for name, parameter in model.named_parameters()}
    group = find_channels(model, inputs).groups[1]
    assert (group.name, group.count) == ("3", 6)
    for channel, found in enumerate(scores(model, group, values).tolist()):
        wanted = float(values["3.weight"][channel].double().sum())
        wanted += float(values["4.weight"][channel]) + float(values["4.bias"][channel])
        for pixel in range(16):  # 4x4 after pooling
            wanted += float(values["8.weight"][:, 16 * channel + pixel].double().sum())
        assert found == pytest.approx(wanted, abs=1e-5)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_the_least_are_exactly_so_many_and_one_of_each_stays(sizes: list[int], share: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    scored = {str(at): torch.randint(0, 4, (size,), generator=random).double() for at, size in enumerate(sizes)}
    count = round(share * sum(sizes))
    chosen = least(scored, count)
    assert sum(map(len, chosen.values())) == min(count, sum(sizes) - len(sizes))
    gone = [scored[name][at].item() for name, places in chosen.items() for at in places]
    for name, places in chosen.items():
        left = [scored[name][at].item() for at in range(len(scored[name])) if at not in places]
        assert left, "one stays"
        assert max(left) >= max((scored[name][at].item() for at in places), default=0.0), "the best stays"
        if len(left) > 1 and gone:
            assert sorted(left)[0] >= max(gone), "no other has less than what is gone"


def test_a_group_may_not_become_empty() -> None:
    model, inputs = built("mlp")
    group = find_channels(model, inputs).groups[0]
    with pytest.raises(AssertionError, match="no channel left"):
        take_out(model, [(group, range(group.count))])
