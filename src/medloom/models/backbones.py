"""Backbones by name: normalised images ``(N, C, H, W)`` in, one row of features ``(N, F)`` for each image out.

Every name of timm is one; ``medloom.registry.BACKBONES`` names the builders of the others. A builder takes the
channels of the images, their size in pixels, the recipe's ``model.weights``, of which ``imagenet`` is its to load, and
the arguments that replace its defaults. A backbone with a method ``head_layers`` brings a head of its own.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
from collections.abc import Iterator, Mapping
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn
from torchvision import models as torchvision_models

from medloom.errors import RecipeError
from medloom.models.calling import check_arguments
from medloom.models.imagenet import mirrored_imagenet
from medloom.models.pretrained import load_weights
from medloom.models.probing import probe
from medloom.models.sources import fetched
from medloom.models.weights import fit_weights
from medloom.registry import BACKBONES, load
from medloom.wording import nearest

__all__ = [
    "AlexNetFeatures",
    "Summary",
    "alexnet",
    "blocks",
    "build_backbone",
    "check_backbone_name",
    "feature_width",
    "merge_norms",
    "perceptron",
]

Size = tuple[int, ...]

THUMBNAIL = 16
"""Height and width in pixels to which ``perceptron`` reduces an image."""

_OURS = ("in_chans", "num_classes", "checkpoint_path", "cache_dir", "features_only", "out_indices", "feature_cfg")
"""Arguments of timm that the recipe's other keys decide, or that would read files; and all that begin `pretrained`."""


class AlexNetFeatures(nn.Module):
    """AlexNet without its three fully connected layers: 9216 features.

    Args:
        in_channels: C of the images.
        dropout: Of the head, in 0..1.
    """

    def __init__(self, in_channels: int, dropout: float = 0.5) -> None:
        super().__init__()
        network = torchvision_models.alexnet(weights=None)
        self.features: nn.Sequential = network.features
        if in_channels != 3:
            self.features[0] = nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2)
        self.pool: nn.Module = network.avgpool
        self.dropout = dropout

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(N, 9216)`` features of ``(N, C, H, W)`` images, H and W at least 63."""
        features: Tensor = self.pool(self.features(images)).flatten(1)
        return features

    def head_layers(self, width: int, hidden: int, outputs: int) -> Iterator[nn.Module]:
        """Yield AlexNet's own head, with new weights and the width that it has for ImageNet's 1000 classes."""
        for inside in (width, 4096):
            yield from (nn.Dropout(self.dropout), nn.Linear(inside, 4096), nn.ReLU())
        yield nn.Linear(4096, outputs)


class Summary(nn.Module):
    """A thumbnail of the image, and the mean and deviation of each channel; nothing to train."""

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(N, C * 258)`` float32 features of ``(N, C, H, W)`` images."""
        images = images.float()  # none of what follows is among the operations that autocast runs in half precision
        thumbnail = nn.functional.adaptive_avg_pool2d(images, THUMBNAIL)
        mean = images.mean(dim=(2, 3))
        deviation = (images - mean[:, :, None, None]).square().mean(dim=(2, 3)).sqrt()
        return torch.cat([thumbnail.flatten(1), mean, deviation], dim=1)

    def head_layers(self, width: int, hidden: int, outputs: int) -> Iterator[nn.Module]:
        """Yield a head with one hidden layer."""
        yield from (nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def build_backbone(
    name: str, in_channels: int, size: Size, *, weights: str = "none", args: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build a backbone.

    Args:
        name: A name in ``medloom.registry.BACKBONES``, or one of timm.
        in_channels: C of the images. Pretrained weights for three channels are adapted: summed for one channel,
            else repeated in turn and scaled, so that the first layer's response keeps its size.
        size: Height and width of the images in pixels.
        weights: ``none``, ``imagenet``, or what ``pretrained.load_weights`` takes.
        args: Arguments that replace the network's defaults.

    Returns:
        The backbone in training mode.

    Raises:
        RecipeError: If the name, an argument or the size is wrong, or the weights cannot be had or do not fit.

    Example:
        >>> backbone = build_backbone("test_resnet", 1, (64, 64))
        >>> backbone(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 96])
    """
    check_backbone_name(name)
    if name in BACKBONES:
        backbone: nn.Module = load(BACKBONES[name])(in_channels, size, weights, **(args or {}))
    else:
        backbone = _timm(name, in_channels, size, weights, args or {})
    if weights not in ("none", "imagenet"):
        fit_weights(backbone, load_weights(weights, name), name=name, in_channels=in_channels)
    return backbone.train()


def check_backbone_name(name: str) -> None:
    """Raise if there is no such backbone.

    Raises:
        RecipeError: Naming the nearest name.
    """
    architecture, dot, _ = name.partition(".")
    if name in BACKBONES or (timm.is_model(architecture) and not dot) or name in timm.list_models(pretrained=True):
        return
    known = [*BACKBONES, *timm.list_models(), *timm.list_models(f"{architecture}.*", pretrained=True)]
    raise RecipeError(
        f"model.name: there is no backbone {name!r}{nearest(name, known)}; expected {', '.join(BACKBONES)} or a name "
        "of timm, such as resnet18, efficientnet_b0 or densenet121"
    )


def feature_width(backbone: nn.Module, name: str, in_channels: int, size: Size) -> int:
    """Return F, and find out now whether the backbone takes this size, not in the first step of the training.

    Raises:
        RecipeError: If it does not.
    """
    features = probe(backbone, name, in_channels, size)
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise RecipeError(f"model.name: {name!r} does not turn an image into one row of features; take another")
    return int(features.shape[1])


def blocks(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters of a backbone, block by block from the image to the features; each is in one block.

    timm's own coarse grouping says what a block is: the stem, then each stage of a convolutional network
    (``layer1`` to ``layer4`` of a ResNet, the seven groups of an EfficientNet, a dense block with its transition) or
    each layer of a transformer. AlexNet's blocks are its five convolutions. A group without a matrix or a kernel,
    such as a last norm, belongs to the block before it. ``perceptron`` has none.

    Example:
        >>> len(blocks(timm.create_model("resnet18", num_classes=0)))
        5
    """
    matcher = getattr(backbone, "group_matcher", None)
    if matcher is not None:
        groups = group_parameters(backbone, matcher(coarse=True), return_values=True)
        parts = [list(groups[index]) for index in sorted(groups)]
    else:
        leaves = [list(m.parameters(recurse=False)) for m in backbone.modules()]
        parts = [part for part in leaves if part]
    return merge_norms(parts)


def merge_norms(parts: list[list[nn.Parameter]]) -> list[list[nn.Parameter]]:
    """Let what has no matrix or kernel, such as a norm, belong to the block before it."""
    merged: list[list[nn.Parameter]] = []
    for part in parts:
        if merged and not any(parameter.ndim > 1 for parameter in part):
            merged[-1] += part
        elif part:
            merged.append(part)
    return merged


def _timm(name: str, in_channels: int, size: Size, weights: str, args: Mapping[str, Any]) -> nn.Module:
    for key in args:
        if key in _OURS or key.startswith("pretrained"):
            raise RecipeError(f"model.args: {key!r} is not for the recipe to say; model.weights names the weights")
    arguments: dict[str, Any] = {"num_classes": 0, "in_chans": in_channels, **args}
    known = timm.get_pretrained_cfg(name)
    if known is not None and known.fixed_input_size:
        arguments.setdefault("img_size", size)
    try:
        backbone: nn.Module = timm.create_model(name, **arguments)
    except Exception as error:  # hundreds of constructors with errors of their own
        raise RecipeError(f"model.args: the network {name!r} cannot be built: {error}") from error
    if weights == "imagenet" and (file := mirrored_imagenet(name)) is not None:
        fit_weights(backbone, load_weights(str(file), name), name=name, in_channels=in_channels)
    elif weights == "imagenet":
        backbone = fetched(name, lambda: timm.create_model(name, pretrained=True, **arguments))
    return backbone


def alexnet(in_channels: int, size: Size, weights: str, /, **given: Any) -> AlexNetFeatures:  # noqa: ANN401 - checked
    """Build AlexNet, whose head takes the argument ``dropout``."""
    check_arguments("model.args", "network 'alexnet'", given, ("dropout",))
    share = given.get("dropout", 0.5)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise RecipeError(f"model.args.dropout: expected a number from 0 to below 1; got {share!r}")
    backbone = AlexNetFeatures(in_channels, share)
    if weights == "imagenet":
        # the one file of this network is in torch's own format: tensors only, and only if its hash is right
        source = torchvision_models.AlexNet_Weights.DEFAULT
        state = fetched("alexnet", lambda: source.get_state_dict(progress=False, check_hash=True, weights_only=True))
        fit_weights(backbone, state, name="alexnet", in_channels=in_channels)
    return backbone


def perceptron(in_channels: int, size: Size, weights: str, /, **given: Any) -> Summary:  # noqa: ANN401 - there are none
    """Build what the perceptron sees; its hidden layer is in its head."""
    if given:
        raise RecipeError("model.args: perceptron takes none; model.table_width is the width of its hidden layer")
    if weights != "none":
        raise RecipeError("model.weights: perceptron has no pretrained weights; expected none")
    return Summary()
