"""What every network of Medloom offers, whatever it predicts; what trains, exports and measures asks for nothing else.

Shapes: N images of a batch, C channels, H height, W width, K outputs, F columns of metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from medloom.models.pretrained import Origin

__all__ = ["BackboneNetwork", "Floats32", "Network", "parameter_count"]

Floats32 = NDArray[np.float32]


class Network(nn.Module):
    """Normalised images, and metadata where it takes some, in; logits out."""

    gives_probabilities: bool = False
    """Whether ``forward`` has applied the activation already, as an ensemble must before it takes the mean."""

    origin: Origin | None = None
    """Where the weights are from that it has begun with; None for fresh ones."""

    def forward(self, images: Tensor, table: Tensor | None = None) -> Tensor:
        """Return logits.

        Args:
            images: ``(N, C, H, W)`` float, normalised.
            table: ``(N, F)`` float, encoded metadata; None for a network that takes none.

        Returns:
            ``(N, K, H, W)``, or ``(N, K)`` for the whole image.
        """
        raise NotImplementedError

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return what is trained, in groups for the optimiser.

        Args:
            lr: The largest learning rate.

        Returns:
            Groups with ``params``; where parts have rates of their own also ``lr``, ``name`` and ``lr_scale``, the
            part's rate as a share of ``lr``.
        """
        return [{"params": list(self.parameters())}]

    def set_epoch(self, epoch: int) -> None:
        """Freeze and unfreeze what an epoch, counted from 0, asks for; asked before every step."""

    def feature_layer(self) -> str:
        """Return the name of the layer whose output describes an image best; empty where there is none."""
        return ""

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Answer in the unit of numbers with this mean and deviation, each ``(K,)``; only for numbers."""

    def heatmap(self, image_nchw: Floats32, table_nf: Floats32 | None, output: int) -> Floats32 | None:
        """Return where in one image the network found evidence for an output.

        Args:
            image_nchw: ``(1, C, H, W)``, normalised.
            table_nf: ``(1, F)`` encoded metadata, or None.
            output: Which output, from 0.

        Returns:
            ``(H, W)`` in 0..1, or None for a network that has no such map.
        """
        return None


class BackboneNetwork(Network):
    """A network with a backbone from images to features, and a head from features to logits."""

    name: str
    """Of the backbone, for messages."""
    backbone: nn.Module | None
    """None where metadata go in alone."""
    head: nn.Sequential
    """Ends in the layer that gives the logits."""


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable numbers in a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
