"""Networks of other packages, with weights that were learnt from other images or afresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from nnopt.spec.model_base import ModelSpec

if TYPE_CHECKING:
    from torch import nn

PRETRAINED_HELP = "start from the package's own weights, which it downloads once; else from random ones"


class Torchvision(ModelSpec):
    """A classifier of torchvision by its name, with a new last layer; needs nnopt[backbones]."""

    source: ClassVar[str] = "https://docs.pytorch.org/vision/stable/models.html#classification"

    kind: Literal["torchvision"]
    name: str = Field(min_length=1, description="resnet18, mobilenet_v3_small, efficientnet_b0, vit_b_16, ...")
    pretrained: bool = Field(False, description=PRETRAINED_HELP)

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.backbones import torchvision_model

        return torchvision_model(self.name, self.pretrained, input_shape, outputs)


class Timm(ModelSpec):
    """A model of timm by its name, with a new last layer; needs nnopt[backbones]."""

    source: ClassVar[str] = "Wightman 2019, https://github.com/huggingface/pytorch-image-models"

    kind: Literal["timm"]
    name: str = Field(min_length=1, description="resnet18, convnext_atto, vit_tiny_patch16_224, ...")
    pretrained: bool = Field(False, description=PRETRAINED_HELP)

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.backbones import timm_model

        return timm_model(self.name, self.pretrained, input_shape, outputs)
