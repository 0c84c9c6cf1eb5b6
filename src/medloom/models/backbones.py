"""Backbones by name: normalised images ``(N, C, H, W)`` in, one row of features ``(N, F)`` for each image out.

Every name of timm is one; ``registry.BACKBONES`` names the others.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import difflib
from collections.abc import Callable
from typing import Any, TypeVar

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights, alexnet

from medloom.errors import RecipeError
from medloom.models.probing import probe
from medloom.models.registry import BACKBONES, check_name
from medloom.models.weights import fit_weights, read_weights
from medloom.recipe import ModelConfig

__all__ = ["AlexNetFeatures", "Summary", "blocks", "build_backbone", "check_backbone_name", "feature_width"]

T = TypeVar("T")

THUMBNAIL = 16
"""Height and width in pixels to which ``perceptron`` reduces an image."""

_OURS = ("in_chans", "num_classes", "checkpoint_path", "cache_dir", "features_only", "out_indices", "feature_cfg")
"""Arguments of timm that the recipe's other keys decide, or that would read files; and all that begin `pretrained`."""


class AlexNetFeatures(nn.Module):
    """AlexNet without its three fully connected layers: 9216 features.

    Args:
        in_channels: C of the images.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        network = alexnet(weights=None)
        self.features: nn.Sequential = network.features
        if in_channels != 3:
            self.features[0] = nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2)
        self.pool: nn.Module = network.avgpool

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(N, 9216)`` features of ``(N, C, H, W)`` images, H and W at least 63."""
        features: Tensor = self.pool(self.features(images)).flatten(1)
        return features


class Summary(nn.Module):
    """A thumbnail of the image, and the mean and deviation of each channel; nothing to train."""

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(N, C * 258)`` float32 features of ``(N, C, H, W)`` images."""
        images = images.float()  # none of what follows is among the operations that autocast runs in half precision
        thumbnail = nn.functional.adaptive_avg_pool2d(images, THUMBNAIL)
        mean = images.mean(dim=(2, 3))
        deviation = (images - mean[:, :, None, None]).square().mean(dim=(2, 3)).sqrt()
        return torch.cat([thumbnail.flatten(1), mean, deviation], dim=1)


def build_backbone(config: ModelConfig, in_channels: int, size: tuple[int, int]) -> nn.Module:
    """Build a backbone with the weights that the recipe asks for.

    Args:
        config: Name, arguments of the network, and weights.
        in_channels: C of the images. Pretrained weights for three channels are adapted: summed for one channel,
            else repeated in turn and scaled, so that the first layer's response keeps its size.
        size: Height and width of the images in pixels.

    Returns:
        The backbone in training mode.

    Raises:
        RecipeError: If the name, an argument or the size is wrong, or the weights cannot be had or do not fit.

    Example:
        >>> backbone = build_backbone(ModelConfig(name="test_resnet"), 1, (64, 64))
        >>> backbone(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 192])
    """
    check_backbone_name(config.name)
    backbone = _BUILDERS.get(config.name, _timm)(config, in_channels, size)
    if config.weights not in ("none", "imagenet"):
        fit_weights(backbone, read_weights(config.weights), name=config.name, in_channels=in_channels)
    return backbone.train()


def check_backbone_name(name: str) -> None:
    """Raise if there is no such backbone.

    Raises:
        RecipeError: Naming the nearest names.
    """
    architecture, dot, _ = name.partition(".")
    if name in BACKBONES or (timm.is_model(architecture) and not dot) or name in timm.list_models(pretrained=True):
        return
    known = [*BACKBONES, *timm.list_models(), *timm.list_models(f"{architecture}.*", pretrained=True)]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    raise RecipeError(
        f"model.name: there is no network {name!r} for classification{hint}; expected {', '.join(BACKBONES)} or a "
        "name of timm, such as resnet18, efficientnet_b0 or densenet121"
    )


def feature_width(backbone: nn.Module, name: str, in_channels: int, size: tuple[int, int]) -> int:
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
    merged: list[list[nn.Parameter]] = []
    for part in parts:
        if merged and not any(parameter.ndim > 1 for parameter in part):
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def _timm(config: ModelConfig, in_channels: int, size: tuple[int, int]) -> nn.Module:
    for key in config.args:
        if key in _OURS or key.startswith("pretrained"):
            raise RecipeError(f"model.args: {key!r} is not for the recipe to say; model.weights names the weights")
    arguments: dict[str, Any] = {"num_classes": 0, "in_chans": in_channels, **config.args}
    known = timm.get_pretrained_cfg(config.name)
    if known is not None and known.fixed_input_size:
        arguments.setdefault("img_size", size)
    try:
        backbone: nn.Module = timm.create_model(config.name, **arguments)
    except Exception as error:  # hundreds of constructors, each with its own way to refuse
        raise RecipeError(f"model.args: the network {config.name!r} cannot be built: {error}") from error
    if config.weights == "imagenet":
        backbone = _from_hub(config.name, lambda: timm.create_model(config.name, pretrained=True, **arguments))
    return backbone


def _alexnet(config: ModelConfig, in_channels: int, size: tuple[int, int]) -> nn.Module:
    for key in config.args:
        check_name("argument of network 'alexnet' named", key, ("dropout",))
    backbone = AlexNetFeatures(in_channels)
    if config.weights == "imagenet":
        # the one file of this network is in torch's own format: tensors only, and only if its hash is right
        state = _from_hub(
            config.name,
            lambda: AlexNet_Weights.DEFAULT.get_state_dict(progress=False, check_hash=True, weights_only=True),
        )
        fit_weights(backbone, state, name=config.name, in_channels=in_channels)
    return backbone


def _perceptron(config: ModelConfig, in_channels: int, size: tuple[int, int]) -> nn.Module:
    if config.args:
        raise RecipeError("model.args: perceptron takes none; model.table_width is the width of its hidden layer")
    if config.weights != "none":
        raise RecipeError("model.weights: perceptron has no pretrained weights; expected none")
    return Summary()


_BUILDERS: dict[str, Callable[[ModelConfig, int, tuple[int, int]], nn.Module]] = {
    "alexnet": _alexnet,
    "perceptron": _perceptron,
}


def _from_hub(name: str, load: Callable[[], T]) -> T:
    """Fetch pretrained weights from where their library keeps them, or from its cache."""
    try:
        return load()
    except Exception as error:  # the hub, the transport, the cache and the libraries share no base
        reason = " ".join(str(error).split()) or "no reason given"
        raise RecipeError(
            f"model.weights: the pretrained weights of {name!r} could not be loaded from the hub. Name a local "
            ".safetensors file in model.weights, or set it to none, or fetch them once where there is a network and "
            "point HF_HOME (TORCH_HOME for alexnet) to that cache. What the library said: "
            f"{type(error).__name__}: {reason}"
        ) from error
