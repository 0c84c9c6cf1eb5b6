"""Where a trained classifier looked, as plain arrays, for what measures it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medloom.errors import UserError
from medloom.models.classifier import Classifier
from medloom.models.heatmaps import grad_cam

__all__ = ["heatmap_of"]

Floats = NDArray[np.float32]


def heatmap_of(network: nn.Module) -> Callable[[Floats, Floats | None, int], Floats | None] | None:
    """Return a function from an image, its metadata and an output's number to a heat map.

    Args:
        network: As ``load_best`` returns it.

    Returns:
        From ``(1, C, h, w)``, ``(1, F)`` or None, and the number to ``(h, w)`` in 0..1, or None if the network has
        no feature map; None for a network without a backbone to look into.
    """
    if not isinstance(network, Classifier) or network.backbone is None:
        return None

    def heat(image_nchw: Floats, table_nf: Floats | None, output: int) -> Floats | None:
        table = None if table_nf is None else torch.from_numpy(table_nf)
        try:
            map_hw: Floats = grad_cam(network, torch.from_numpy(image_nchw), table, output)[0].numpy()
        except UserError:  # it has no feature map, as a perceptron
            return None
        return map_hw

    return heat
