"""Networks of torchvision and timm, with as many outputs as are asked for and for images of any number of channels."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nnopt.errors import DataError, UsageError
from nnopt.models.shapes import describe, image_shape
from nnopt.quiet import quiet

_INSTALL = "pip install 'nnopt[backbones]'"
_COLOURS = 3
# torchvision's own operators, which its build for another torch does not bring; no backbone here calls them.
_ABSENT = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_stubs: list[torch.library.Library] = []  # what a library defines lasts as long as it does


def torchvision_model(name: str, pretrained: bool, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A classifier of torchvision with a new last layer.

    With `pretrained` weights the first convolution of a network for other than three channels gets the sum of the
    colours' weights, shared out among the channels, so that grey images act as such in colour.

    Raises:
        UsageError: torchvision is not installed, has no such model, or cannot get its weights.
        DataError: the model does not take images of this shape.
    """
    channels, height, width = image_shape("torchvision", input_shape)
    models = import_torchvision().models
    _check_known("torchvision", name, models.list_models(module=models))
    sized: dict[str, Any] = {"image_size": height} if name.startswith("vit_") and height == width else {}

    def build(**keys: Any) -> nn.Module:
        if not pretrained:
            if name in ("googlenet", "inception_v3"):
                keys |= {"aux_logits": False, "init_weights": True}
            return in_channels(models.get_model(name, weights=None, num_classes=outputs, **keys), channels)
        model = models.get_model(name, weights="DEFAULT", **keys)
        if hasattr(model, "aux_logits"):  # further heads, which answer in training alone
            model.aux_logits = False
            for auxiliary in ("aux1", "aux2", "AuxLogits"):
                setattr(model, auxiliary, None)
        return in_channels(new_head(model, outputs), channels)

    return _fitting("torchvision", name, build, ({}, sized), input_shape, outputs, pretrained)


def timm_model(name: str, pretrained: bool, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A model of timm with a new last layer.

    Raises:
        UsageError: timm is not installed, has no such model, or cannot get its weights.
        DataError: the model does not take images of this shape.
    """
    channels, height, width = image_shape("timm", input_shape)
    import_torchvision()  # timm imports it
    try:
        with quiet((), {}):
            import timm
    except ImportError as error:
        raise UsageError(f"model.kind timm needs timm: {_INSTALL}") from error
    _check_known("timm", name.partition(".")[0], timm.list_models())

    def build(**keys: Any) -> nn.Module:
        model: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=outputs, in_chans=channels, **keys
        )
        return model

    sized = {"img_size": (height, width)}
    return _fitting("timm", name, build, ({}, sized), input_shape, outputs, pretrained)


def import_torchvision() -> Any:
    """torchvision; where its build does not suit this torch, with stubs in place of its own operators.

    Raises:
        UsageError: it is not installed, or cannot be imported.
    """
    try:
        with quiet((), {}):  # it warns of what it cannot read images with
            try:
                import torchvision
            except RuntimeError as error:
                if "torchvision::" not in str(error):
                    raise
                _stubs.append(torch.library.Library("torchvision", "FRAGMENT"))  # type: ignore[no-untyped-call]
                for operator in _ABSENT:
                    _stubs[-1].define(operator)  # type: ignore[no-untyped-call]
                import torchvision
    except ImportError as error:
        raise UsageError(f"models of torchvision and timm need both packages: {_INSTALL}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"torchvision does not suit this torch ({reason}): {_INSTALL}") from error
    return torchvision


def new_head(model: nn.Module, outputs: int) -> nn.Module:
    """`model` with its last dense layer (or 1x1 convolution, where it has no such) made anew for `outputs`."""
    layers = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    convolutions = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    path, last = (layers or convolutions)[-1]
    bias = last.bias is not None
    if isinstance(last, nn.Linear):
        _replace(model, path, nn.Linear(last.in_features, outputs, bias))
    else:
        _replace(model, path, nn.Conv2d(last.in_channels, outputs, 1, bias=bias))
    return model


def in_channels(model: nn.Module, channels: int) -> nn.Module:
    """`model` for images in colour, for images of `channels` channels.

    The new first convolution has the sum of the colours' weights times 1 / channels for each: grey images give what
    the same images in colour gave.
    """
    path, first = next((path, layer) for path, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
    if first.in_channels == channels:
        return model
    made = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d,
        channels,
        first.out_channels,
        first.kernel_size,
        first.stride,
        first.padding,
        first.dilation,
        bias=first.bias is not None,
    )
    with torch.no_grad():
        made.weight.copy_((first.weight.sum(1, keepdim=True) / channels).expand_as(made.weight))
        if first.bias is not None:
            made.bias.copy_(first.bias)
    _replace(model, path, made)
    return model


def _replace(model: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)


def _check_known(library: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"model.name: {library} has no model '{name}'{meant}")


def _fitting(
    library: str,
    name: str,
    build: Callable[..., nn.Module],
    ways: Iterable[dict[str, Any]],
    input_shape: tuple[int, ...],
    outputs: int,
    pretrained: bool,
) -> nn.Module:
    """What the first of the ways gives that answers images of this shape; all from the same random numbers."""
    state, reason = torch.get_rng_state(), ""
    for keys in ways:
        torch.set_rng_state(state)
        try:
            with quiet(("timm", "huggingface_hub"), {}):
                model = build(**keys)
        except TypeError as error:  # a model that takes no size
            reason = reason or str(error)
            continue
        except Exception as error:
            raise _unbuilt(library, name, pretrained, error) from error
        try:
            answer = _answer(model, input_shape)
        except (RuntimeError, AssertionError, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())[:120]
            continue
        if not isinstance(answer, Tensor) or answer.shape != (1, outputs):
            raise DataError(f"model {library} {name} does not give {outputs} outputs a sample, so it is none to train")
        return model.train()
    raise DataError(f"model {library} {name} does not take {describe(input_shape)} ({reason}): make them larger")


def _unbuilt(library: str, name: str, pretrained: bool, error: Exception) -> UsageError | DataError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if not pretrained:
        return DataError(f"model {library} {name} cannot be built for this data: {reason}")
    return UsageError(
        f"model.pretrained: cannot get the weights of {name} ({reason}): without a network write pretrained: false, "
        "and model.init_from for weights from a file"
    )


@torch.no_grad()
def _answer(model: nn.Module, input_shape: tuple[int, ...]) -> Any:
    """What the model says to a black image."""
    return model.eval()(torch.zeros(1, *input_shape))
