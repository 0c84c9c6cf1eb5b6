"""The network for masks: a body from images to a map of logits, and what is the same for all of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medloom.errors import UserError
from medloom.models.mask_heatmaps import seg_grad_cam
from medloom.models.network import Floats32, Network

__all__ = ["MaskNetwork"]


class MaskNetwork(Network):
    """A network that gives a map of logits for each class.

    Args:
        body: Images to logits.
        deepest: Name of the layer of the body that gives its deepest feature map, for heat maps; empty where there is
            none, and then there are no heat maps.
    """

    def __init__(self, body: nn.Module, deepest: str = "") -> None:
        super().__init__()
        self.body = body
        self.deepest = deepest

    def forward(self, images: Tensor, table: Tensor | None = None) -> Tensor:
        """Return logits ``(N, K, H, W)``; such a network takes no metadata."""
        logits: Tensor = self.body(images)
        return logits

    def feature_layer(self) -> str:
        """Return the name of the layer that gives its deepest feature map; empty where that is not known."""
        return f"body.{self.deepest}" if self.deepest else ""

    def heatmap(self, image_nchw: Floats32, table_nf: Floats32 | None, output: int) -> Floats32 | None:
        """Return the Seg-Grad-CAM map of one image and output; None where the network has no map of several pixels."""
        if not self.deepest:
            return None
        images = torch.from_numpy(image_nchw).to(next(self.parameters()).device)
        try:
            map_hw: Floats32 = seg_grad_cam(self, f"body.{self.deepest}", images, output)[0].cpu().numpy()
        except UserError:  # its deepest map is a single pixel, as for very small images
            return None
        return map_hw
