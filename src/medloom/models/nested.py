"""Answers of the shallower networks that are nested in a U-Net++: from them it learns too, in training alone.

Shapes: N images of a batch, S answers, K outputs, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medloom.errors import RecipeError

__all__ = ["NestedHeads"]


class NestedHeads(nn.Module):
    """Heads on the ends of the shallower paths of a decoder, from which they hear in training.

    A U-Net++ of depth 4 has one of depth 3, 2 and 1 in it, which end beside it on its finest level with a skip; a layer
    of 1x1 turns the features there into logits, brought to the size of the answer.

    Args:
        decoder: Of segmentation_models_pytorch's ``UnetPlusPlus``; its blocks are listened to from now on.
        outputs: K of the logits.

    Raises:
        RecipeError: If there is no shallower network in it.

    Source:
        Zhou et al., UNet++: A Nested U-Net Architecture for Medical Image Segmentation, DLMIA 2018, section 3.2.
    """

    def __init__(self, decoder: Any, outputs: int) -> None:  # noqa: ANN401 - the library has no types
        super().__init__()
        widths: Sequence[int] = decoder.skip_channels[: decoder.depth]
        finest = max((level for level, width in enumerate(widths) if width), default=0)
        if finest == 0:
            raise RecipeError(
                "model.deep_supervision: there is no shallower network within this one; take a larger "
                "model.args.encoder_depth, or an encoder with more levels"
            )
        self.heads = nn.ModuleList(_Head(widths[finest], outputs) for _ in range(finest))
        # Blocks are named by where their path begins, 0 at the bottom, and by their level.
        for start, head in enumerate(self.heads, start=1):
            decoder.blocks[f"x_{start}_{finest}"].register_forward_hook(head.hear)

    def forward(self, logits: Tensor) -> Tensor:
        """Return ``(N, S, K, H, W)``: the network's logits ``(N, K, H, W)``, then those of the deepest to the least."""
        size = logits.shape[2:]
        heard = [functional.interpolate(head(), size, mode="bilinear", align_corners=False) for head in self.heads]
        return torch.stack([logits, *heard], dim=1)


class _Head(nn.Module):
    """Logits of the features that a block gave last.

    The hook is a method, not a closure, so that a copy of the network listens to its own blocks.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(width, outputs, kernel_size=1)
        self.heard: Tensor | None = None

    def hear(self, block: nn.Module, given: object, output: Tensor) -> None:
        """Keep what a block gave, in training."""
        if self.training:
            self.heard = output

    def forward(self) -> Tensor:
        """Return the logits, and forget the features: the graph of a step would stay in memory with them."""
        features, self.heard = self.heard, None
        logits: Tensor = self.layer(features)
        return logits
