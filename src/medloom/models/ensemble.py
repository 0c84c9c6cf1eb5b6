"""From logits to what the user gets, for one network or the mean over several.

Shapes: N images of a batch, C channels, H height, W width, K outputs, F columns of metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from medloom.models.network import Floats32, Network
from medloom.targets import Activation

__all__ = ["ACTIVATIONS", "Ensemble", "MeanAndMembers", "Probabilities", "answering"]

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda logits: logits.softmax(dim=1),
    "identity": lambda logits: logits,
}
"""What is applied to float32 logits, by the name that ``Target.activation`` gives."""


class Probabilities(nn.Module):
    """A network that answers with probabilities in float32, or with numbers where numbers are predicted.

    Args:
        network: Gives logits ``(N, K, H, W)`` or ``(N, K)``.
        activation: What is applied to them.

    Example:
        >>> Probabilities(nn.Identity(), "sigmoid")(torch.tensor([[0.0]]))
        tensor([[0.5000]])
    """

    def __init__(self, network: nn.Module, activation: Activation) -> None:
        super().__init__()
        self.network = network
        self.activation = activation

    def forward(self, images: Tensor, table: Tensor | None = None) -> Tensor:
        """Return the answer, float32, shaped as the logits."""
        logits: Tensor = self.network(images) if table is None else self.network(images, table)
        return ACTIVATIONS[self.activation](logits.float())


class Ensemble(Network):
    """The mean of several networks' answers.

    Args:
        networks: Each gives logits.
        activation: What is applied to them.
        table_features: F of each network; the metadata of all of them come side by side.
    """

    gives_probabilities = True

    def __init__(
        self, networks: Sequence[nn.Module], activation: Activation, table_features: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.activation = activation
        self.widths = tuple(table_features or [0] * len(networks))

    def forward(self, images: Tensor, table: Tensor | None = None) -> Tensor:
        """Return the mean of the answers."""
        return self.answers(images, table).mean(dim=0)

    def answers(self, images: Tensor, table: Tensor | None = None) -> Tensor:
        """Return the answer of each network, with one dimension more in front."""
        parts = [None] * len(self.widths) if table is None else torch.split(table, list(self.widths), dim=1)
        members = zip(self.networks, parts, strict=True)
        answers = [Probabilities(network, self.activation)(images, part) for network, part in members]
        return torch.stack(answers)

    def feature_layer(self) -> str:
        """Return the name of the layer of the first network: those of the others say the same once more."""
        layer = cast("Network", self.networks[0]).feature_layer()
        return f"networks.0.{layer}" if layer else ""

    def heatmap(self, image_nchw: Floats32, table_nf: Floats32 | None, output: int) -> Floats32 | None:
        """Return the mean of the networks' maps, its largest value 1; None where one of them has no such map."""
        ends = np.cumsum(self.widths)[:-1]
        parts = [None] * len(self.widths) if table_nf is None else np.split(table_nf, ends, axis=1)
        members = zip(self.networks, parts, strict=True)
        maps = [cast("Network", network).heatmap(image_nchw, part, output) for network, part in members]
        known = [one for one in maps if one is not None]
        if len(known) < len(maps):
            return None
        mean: Floats32 = np.mean(known, axis=0, dtype=np.float32)
        return mean / max(float(mean.max()), float(np.finfo(np.float32).tiny))


class MeanAndMembers(nn.Module):
    """The mean of several networks' answers, and the answers themselves.

    Args:
        ensemble: An ``Ensemble``.
    """

    def __init__(self, ensemble: nn.Module) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, images: Tensor, table: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean ``(N, K, ...)`` and the answers ``(M, N, K, ...)``."""
        answers: Tensor = cast("Ensemble", self.ensemble).answers(images, table)
        return answers.mean(dim=0), answers


def answering(network: nn.Module, activation: Activation) -> nn.Module:
    """Return what answers with probabilities, in evaluation mode.

    Args:
        network: Gives logits, or probabilities already, as an ensemble does.
        activation: What is applied to logits.
    """
    ready = getattr(network, "gives_probabilities", False)
    return (network if ready else Probabilities(network, activation)).eval()
