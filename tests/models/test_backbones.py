"""Networks of torchvision and timm: their published sizes, new heads, grey images, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import Ended
from torch import nn

from nnopt.errors import DataError, UsageError
from nnopt.models.backbones import import_torchvision, in_channels, new_head, timm_model, torchvision_model

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_a_model_of_torchvision_has_its_published_parameters(name: str) -> None:
    published = import_torchvision().models.get_model_weights(name).DEFAULT.meta["num_params"]
    model = torchvision_model(name, False, (3, 32, 32), 1000)
    assert sum(parameter.numel() for parameter in model.parameters()) == published
    assert model.training


def test_the_same_seed_gives_the_same_weights_and_any_outputs_and_channels() -> None:
    def made() -> nn.Module:
        torch.manual_seed(3)
        return timm_model("test_vit", False, (1, 32, 48), 7)  # built a second time, for this size

    first, second = made(), made()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first(torch.zeros(2, 1, 32, 48)).shape == (2, 7)


def test_grey_images_give_what_the_same_images_in_colour_gave() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(80, 4))
    grey = torch.randn(6, 1, 8, 8)
    wanted = model(grey.expand(-1, 3, -1, -1))
    for channels in (1, 2, 4):
        again = in_channels(nn.Sequential(*model), channels)
        torch.testing.assert_close(again(grey.expand(-1, channels, -1, -1)), wanted)


def test_a_new_head_leaves_all_other_weights() -> None:
    models = import_torchvision().models
    for name in ("squeezenet1_1", "shufflenet_v2_x0_5"):
        model = models.get_model(name, weights=None).eval()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        after = new_head(model, 6).state_dict()
        changed = {key.rpartition(".")[0] for key, value in after.items() if value.shape != before[key].shape}
        assert changed == {"classifier.1" if name.startswith("squeeze") else "fc"}
        assert all(
            torch.equal(value, before[key]) for key, value in after.items() if key.rpartition(".")[0] not in changed
        )
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 6)


def test_pretrained_weights_keep_their_features_and_get_a_new_head(monkeypatch: pytest.MonkeyPatch) -> None:
    models = import_torchvision().models
    get_model = models.get_model
    source = get_model("shufflenet_v2_x0_5", weights=None)
    monkeypatch.setattr(models, "get_model", lambda name, weights, **keys: source if weights else get_model(name))
    middle = source.stage2[0].branch1[0].weight.clone()
    model = torchvision_model("shufflenet_v2_x0_5", True, (1, 32, 32), 3)
    assert torch.equal(model.stage2[0].branch1[0].weight, middle)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 3)


def test_what_cannot_be_built_is_one_line(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = cli("train", write_spec({"model": {"kind": "timm", "name": "resnet19"}}), code=2)
    assert len(ended.errors) == 1
    assert "timm has no model 'resnet19'; did you mean resnet1" in ended.errors[0]
    with pytest.raises(DataError, match=r"squeezenet1_1 does not take 1x8x8 images .*: make them larger"):
        torchvision_model("squeezenet1_1", False, (1, 8, 8), 10)
    with pytest.raises(DataError, match="torchvision needs images"):
        torchvision_model("squeezenet1_1", False, (12,), 10)

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr(import_torchvision().models, "get_model", unreachable)
    with pytest.raises(UsageError, match=r"cannot get the weights of squeezenet1_1 \(Name or .*pretrained: false"):
        torchvision_model("squeezenet1_1", True, (3, 32, 32), 10)


def test_without_the_packages_the_line_to_install_them_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UsageError, match=r"pip install 'nnopt\[backbones\]'"):
        torchvision_model("squeezenet1_1", False, (3, 32, 32), 10)
