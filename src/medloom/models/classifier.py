"""The network for labels of whole images: a backbone, a branch for the table's columns, and a head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medloom.errors import RecipeError, UserError
from medloom.models.backbones import blocks, build_backbone, check_backbone_name, feature_width
from medloom.models.heatmaps import grad_cam
from medloom.models.imagenet import origin_of
from medloom.models.network import BackboneNetwork, Floats32
from medloom.models.tuning import TunedNetwork, Tuning

__all__ = ["Classifier", "Metadata", "TableBranch", "build_classifier"]

Metadata = Literal["none", "fused", "only"]
"""Whether the columns of a table go in: not at all, beside the image, or alone."""


class TableBranch(nn.Module):
    """Two layers on the columns of a table.

    LayerNorm rather than BatchNorm, so that a batch of one image works.

    Args:
        features: F, how many numbers the columns make.
        width: Width of both layers.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )

    def forward(self, table: Tensor) -> Tensor:
        """Return ``(N, width)`` features of ``(N, F)`` columns."""
        features: Tensor = self.layers(table)
        return features


class Classifier(TunedNetwork, BackboneNetwork):
    """Images and columns of a table in, logits out; made by ``build_classifier``.

    Args:
        name: Of the backbone, for messages.
        backbone: Turns images into features; None where the table goes in alone.
        table: Turns columns into features; None without.
        head: From the features of both to ``outputs`` logits.
        image_width: Features of the backbone.
        outputs: K of the logits.
        dropout: Before the head.
        tuning: How the backbone is trained.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        name: str,
        backbone: nn.Module | None,
        table: TableBranch | None,
        head: nn.Sequential,
        *,
        image_width: int,
        outputs: int,
        dropout: float = 0.0,
        tuning: Tuning | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.backbone = backbone
        self.table = table
        # beside the table the image's features are brought to one scale, so that neither dominates
        self.scale = nn.LayerNorm(image_width) if backbone is not None and table is not None else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = head
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))
        parts = [] if backbone is None else blocks(backbone)
        self.tune_backbone("" if backbone is None else "backbone", parts, tuning or Tuning())

    def forward(self, images: Tensor | None, table: Tensor | None = None) -> Tensor:
        """Return logits.

        Args:
            images: ``(N, C, H, W)`` float, normalised; ignored with ``metadata: only``.
            table: ``(N, F)`` float, standardised columns; ignored with ``metadata: none``.

        Returns:
            ``(N, outputs)`` float32.

        Raises:
            ValueError: If what the network needs is None.
        """
        parts: list[Tensor] = []
        if self.backbone is not None:
            if images is None:
                raise ValueError("this network needs images; only metadata: only goes without")
            parts.append(self.scale(self.backbone(images)))
        if self.table is not None:
            if table is None:
                raise ValueError("this network needs the columns of data.labels.metadata beside the image")
            parts.append(self.table(table))
        logits: Tensor = self.head(self.dropout(torch.cat(parts, dim=1)))
        return torch.addcmul(self.mean, self.deviation, logits.float())

    def feature_layer(self) -> str:
        """Return the name of the backbone; empty where the table goes in alone."""
        return "" if self.backbone is None else "backbone"

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Answer in the unit of these numbers, so that training need not find their size, whatever it is.

        Args:
            mean: ``(outputs,)``, of each number over the training samples.
            deviation: ``(outputs,)``, above 0.
        """
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def heatmap(self, image_nchw: Floats32, table_nf: Floats32 | None, output: int) -> Floats32 | None:
        """Return the Grad-CAM map of one image and output; None where the backbone has no feature map."""
        table = None if table_nf is None else torch.from_numpy(table_nf)
        try:
            map_hw: Floats32 = grad_cam(self, torch.from_numpy(image_nchw), table, output)[0].numpy()
        except UserError:  # it has no feature map, as a perceptron
            return None
        return map_hw


def build_classifier(
    name: str,
    *,
    in_channels: int,
    outputs: int,
    size: tuple[int, ...],
    table_features: int = 0,
    args: Mapping[str, Any] | None = None,
    weights: str = "none",
    tuning: Tuning | None = None,
    dropout: float = 0.0,
    metadata: Metadata = "none",
    table_width: int = 32,
) -> Classifier:
    """Build a classifier with a fresh head.

    To rebuild one whose whole state is loaded afterwards, leave ``weights`` at ``none``.

    Args:
        name: Of the backbone.
        in_channels: C of the images.
        outputs: K of the logits: 1 for binary, else classes, labels or numbers.
        size: Height and width of the images in pixels.
        table_features: F, how many numbers the columns of metadata make.
        args: Arguments that replace the backbone's defaults.
        weights: What the backbone begins with: ``none``, ``imagenet``, or the path of a safetensors file.
        tuning: How the backbone is trained; by default all of it at one rate.
        dropout: Before the head.
        metadata: Whether the columns go in.
        table_width: Width of the branch for the columns, and of the perceptron's hidden layer.

    Returns:
        The classifier in training mode, as it is in epoch 0.

    Raises:
        RecipeError: If the name, an argument, the size or the weights are wrong, or two arguments contradict each
            other.

    Example:
        >>> network = build_classifier("perceptron", in_channels=1, outputs=2, size=(32, 32))
        >>> network(torch.zeros(3, 1, 32, 32)).shape
        torch.Size([3, 2])
    """
    _check(metadata, table_features)
    check_backbone_name(name)
    backbone, image_width = None, 0
    if metadata != "only":
        backbone = build_backbone(name, in_channels, size, weights=weights, args=args)
        image_width = feature_width(backbone, name, in_channels, size)
    table = None if metadata == "none" else TableBranch(table_features, table_width)
    network = Classifier(
        name,
        backbone,
        table,
        _head(backbone, image_width + (0 if table is None else table_width), table_width, outputs),
        image_width=image_width,
        outputs=outputs,
        dropout=dropout,
        tuning=tuning,
    )
    network.origin = None if backbone is None else origin_of(weights, name)
    return network


def _head(backbone: nn.Module | None, width: int, hidden: int, outputs: int) -> nn.Sequential:
    layers: Callable[[int, int, int], Iterator[nn.Module]] = getattr(backbone, "head_layers", _linear)
    return nn.Sequential(*layers(width, hidden, outputs))


def _linear(width: int, hidden: int, outputs: int) -> Iterator[nn.Module]:
    yield nn.Linear(width, outputs)


def _check(metadata: Metadata, table_features: int) -> None:
    if metadata != "none" and table_features < 1:
        raise RecipeError(
            f"model.metadata: {metadata!r} needs columns; name some in data.labels.metadata, or take none"
        )
