"""Where in an image a network for masks found evidence for a class.

Shapes: N images of a batch, C channels, K outputs, H height, W width; h and w are those of a feature map.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medloom.errors import UserError
from medloom.models.heatmaps import copied, scaled

__all__ = ["deepest_layer", "maps_of", "seg_grad_cam"]


def seg_grad_cam(
    network: nn.Module, layer: str, images: Tensor, target_index: int, region: Tensor | None = None
) -> Tensor:
    """Return Seg-Grad-CAM heat maps: where a feature map speaks for a class at the pixels of a region.

    Each channel of the deepest map is weighed by the mean of the gradient of the region's summed logits; what is above
    0 of the weighted sum is shown, coarsely, in the images' size. A map of a single pixel shows nothing: where the
    layer gives maps of several sizes, the next larger one that the answer depends on is taken. The network is left as
    it is.

    Args:
        network: Gives logits ``(N, K, H, W)``; in any mode.
        layer: Name of the layer whose map is looked at; of several that it gives, from the largest to the smallest.
        images: ``(N, C, H, W)`` float, normalised, on the network's device.
        target_index: Which output, from 0.
        region: ``(N, H, W)`` bool, the pixels whose class is asked about. None: those for which the network itself
            finds it more likely than not, or with several outputs most likely; of an image without such pixels, all.

    Returns:
        ``(N, H, W)`` float32 in 0..1: each map's largest value is 1, or all of it is 0 where nothing speaks for the
        class.

    Raises:
        UserError: If the layer gives no map of several pixels that the answer depends on.
        ValueError: If there is no such output.

    Example:
        >>> seg_grad_cam(network, "body.encoder", torch.randn(2, 1, 64, 64), 0).shape  # doctest: +SKIP
        torch.Size([2, 64, 64])

    Source:
        Vinogradova, Dibrov and Myers, Towards Interpretable Semantic Segmentation via Gradient-weighted Class
        Activation Mapping, AAAI 2020, equation 1.
    """
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        asked = copied(network)
        given: list[Any] = []
        asked.get_submodule(layer).register_forward_hook(lambda _module, _given, output: given.append(output))
        images = images.detach().float().clone().requires_grad_()
        logits: Tensor = asked(images)
        chosen = _of_output(logits, target_index)
        pixels = _decided(logits.detach(), target_index) if region is None else region
        pixels = torch.where(pixels.any((1, 2), keepdim=True), pixels, True)
        maps = [one for one in maps_of(given[0]) if one is not images and one.requires_grad]
        gradients = torch.autograd.grad((chosen * pixels).sum(), maps, allow_unused=True)
        activation, gradient = _deepest(asked, list(zip(maps, gradients, strict=True)), layer)
        evidence = (gradient.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True).relu()
        upsampled = functional.interpolate(evidence, images.shape[2:], mode="bilinear", align_corners=False)
    return scaled(upsampled)[:, 0].detach()


def deepest_layer(body: nn.Module, traits: Mapping[str, Any]) -> str:
    """Return the name of the layer of a network that gives its deepest feature map; empty where it is not known.

    Args:
        body: The network.
        traits: Of its entry in ``medloom.registry.NETWORKS``: ``deepest`` is a pattern of the layer's name, and of the
            layers that match the last is meant.
    """
    pattern = traits.get("deepest")
    names = [name for name, _ in body.named_modules() if pattern and re.fullmatch(str(pattern), name)]
    return names[-1] if names else ""


def _of_output(logits: Tensor, target_index: int) -> Tensor:
    if not 0 <= target_index < logits.shape[1]:
        raise ValueError(f"expected an output from 0 to {logits.shape[1] - 1}; got {target_index}")
    return logits[:, target_index]


def _decided(logits: Tensor, target_index: int) -> Tensor:
    """The pixels whose class it is by the network itself, (N, H, W)."""
    return logits[:, 0] >= 0 if logits.shape[1] == 1 else logits.argmax(1) == target_index


def maps_of(output: Tensor | Sequence[Any]) -> list[Tensor]:
    """Return what a layer gives, as maps or rows of tokens; what it gives beside maps or tokens is left."""
    if isinstance(output, Tensor):
        return [output]
    first = output[0]
    return list(output) if isinstance(first, Tensor) and first.ndim == 4 else maps_of(first)


def _deepest(network: nn.Module, found: Sequence[tuple[Tensor, Tensor | None]], layer: str) -> tuple[Tensor, Tensor]:
    """The last map of several pixels that has a gradient, and that gradient."""
    for activation, gradient in reversed(found):
        if gradient is not None:
            both = _laid_out(network, activation), _laid_out(network, gradient)
            if both[0].shape[2] * both[0].shape[3] > 1:
                return both
    raise UserError(
        f"there is no heat map: {layer!r} gives no feature map of several pixels that the answer depends on; with "
        "larger images (preprocess.size) it may"
    )


def _laid_out(network: nn.Module, values: Tensor) -> Tensor:
    """Maps ``(N, C, h, w)``; tokens ``(N, tokens, C)`` of MONAI's UNETR are laid as their patches lie in the image."""
    if values.ndim == 4:
        return values
    body: Any = network.get_submodule("body")
    laid: Tensor = body.proj_feat(values.contiguous())
    return laid
