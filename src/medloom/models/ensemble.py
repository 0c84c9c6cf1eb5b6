"""From logits to what the user gets, for one network or the mean over several.

Shapes: N images of a batch, C channels, H height, W width, K outputs, F columns of metadata.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medloom.models.answers import probabilities
from medloom.models.registry import LabelKind

__all__ = ["Ensemble", "Probabilities", "answering"]


class Probabilities(nn.Module):
    """A network that answers with probabilities in float32, or with numbers where the labels are numbers.

    Args:
        network: Gives logits ``(N, K, H, W)`` or ``(N, K)``.
        kind: What a label of the whole image is; None for masks: sigmoid for one plane, softmax for more.
    """

    def __init__(self, network: nn.Module, kind: LabelKind | None = None) -> None:
        super().__init__()
        self.network = network
        self.kind = kind

    def forward(self, images: Tensor, table: Tensor | None = None) -> Tensor:
        """Return the answer, shaped as the logits."""
        logits: Tensor = self.network(images) if table is None else self.network(images, table)
        if self.kind is not None:
            return probabilities(logits, self.kind)
        logits = logits.float()
        return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


class Ensemble(nn.Module):
    """The mean of several networks' answers.

    Args:
        networks: Each gives logits.
        kind: What a label of the whole image is; None for masks.
        table_features: F of each network; the metadata of all of them come side by side.
    """

    def __init__(
        self, networks: Sequence[nn.Module], kind: LabelKind | None = None, table_features: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.kind = kind
        self.widths = tuple(table_features or [0] * len(networks))

    def forward(self, images: Tensor, table: Tensor | None = None) -> Tensor:
        """Return the mean of the answers."""
        parts = [None] * len(self.widths) if table is None else torch.split(table, list(self.widths), dim=1)
        members = zip(self.networks, parts, strict=True)
        answers = [Probabilities(network, self.kind)(images, part) for network, part in members]
        return torch.stack(answers).mean(dim=0)


def answering(network: nn.Module, kind: LabelKind | None = None) -> nn.Module:
    """Return what answers with probabilities, in evaluation mode: an ensemble does, a network gives logits."""
    return (network if isinstance(network, Ensemble) else Probabilities(network, kind)).eval()
