"""The network for labels of whole images: a backbone, a branch for the table's columns, and a head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medloom.errors import RecipeError, UserError
from medloom.models.backbones import blocks, build_backbone, check_backbone_name, feature_width
from medloom.models.heatmaps import grad_cam
from medloom.models.imagenet import origin_of
from medloom.models.network import BackboneNetwork, Floats32

__all__ = ["Classifier", "Metadata", "TableBranch", "Tune", "build_classifier"]

Metadata = Literal["none", "fused", "only"]
"""Whether the columns of a table go in: not at all, beside the image, or alone."""

Tune = Literal["all", "head", "blocks"]
"""What is trained: everything, the head, or the last blocks and the head."""


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


class Classifier(BackboneNetwork):
    """Images and columns of a table in, logits out; made by ``build_classifier``.

    What is frozen has no gradient, and its batch norms keep their statistics in training too.

    Args:
        name: Of the backbone, for messages.
        backbone: Turns images into features; None where the table goes in alone.
        table: Turns columns into features; None without.
        head: From the features of both to ``outputs`` logits.
        image_width: Features of the backbone.
        outputs: K of the logits.
        dropout: Before the head.
        trained: How many of the backbone's last blocks are trained at most, in any epoch.
        unfreeze_every: Begin with none and add a block after so many epochs; None: all of them at once.
        backbone_rate: Learning rate of the backbone as a share of the head's.
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
        trained: int = 0,
        unfreeze_every: int | None = None,
        backbone_rate: float = 1.0,
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
        self.unfreeze_every = unfreeze_every
        self.backbone_rate = backbone_rate
        self._limit = trained
        self._trained = -1
        self.set_epoch(0)

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

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Answer in the unit of these numbers, so that training need not find their size, whatever it is.

        Args:
            mean: ``(outputs,)``, of each number over the training samples.
            deviation: ``(outputs,)``, above 0.
        """
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def set_epoch(self, epoch: int) -> None:
        """Freeze and unfreeze the backbone's blocks as the recipe says for an epoch.

        It depends on the epoch alone, so that a resumed run is the same. Call it before each epoch, or before each
        step; it costs nothing where nothing changes.

        Args:
            epoch: From 0.
        """
        limit = self._limit
        if self.unfreeze_every is not None:
            limit = min(limit, epoch // self.unfreeze_every)
        if limit == self._trained:  # the usual case, and it may be asked before every step
            return
        self._trained = limit
        parts = [] if self.backbone is None else blocks(self.backbone)
        for index, part in enumerate(parts):
            for parameter in part:
                parameter.requires_grad_(index >= len(parts) - limit)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch training mode on or off; batch norms of frozen blocks stay in evaluation mode."""
        super().train(mode)
        if mode and self.backbone is not None:
            whole = all(parameter.requires_grad for parameter in self.backbone.parameters())
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    own = list(module.parameters())
                    module.train(all(parameter.requires_grad for parameter in own) if own else whole)
        return self

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return the groups for the optimiser: the head with the table's branch, and the backbone.

        Whatever is unfrozen at some time is in a group from the start; without a gradient an optimiser leaves it alone.

        Args:
            lr: Learning rate of the head.

        Returns:
            Groups with ``params``, ``lr``, ``name`` (``head`` or ``backbone``) and ``lr_scale``, the group's rate as a
            share of ``lr``, for schedules that set the rate.
        """
        parts = [] if self.backbone is None else blocks(self.backbone)
        kept = parts[len(parts) - self._limit :]
        groups = [
            ("head", [p for n, p in self.named_parameters() if not n.startswith("backbone.")], 1.0),
            ("backbone", [parameter for part in kept for parameter in part], self.backbone_rate),
        ]
        return [
            {"params": parameters, "lr": lr * scale, "lr_scale": scale, "name": name}
            for name, parameters, scale in groups
            if parameters
        ]

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
    tune: Tune = "all",
    blocks: int = 1,
    backbone_rate: float = 1.0,
    unfreeze_every: int | None = None,
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
        tune: What is trained.
        blocks: For ``tune="blocks"``: how many blocks from the end.
        backbone_rate: Learning rate of the backbone as a share of the head's.
        unfreeze_every: Begin with the head and add a block after so many epochs; None: all at once.
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
    _check(metadata, table_features, unfreeze_every, tune)
    check_backbone_name(name)
    backbone, image_width, count = None, 0, 0
    if metadata != "only":
        backbone = build_backbone(name, in_channels, size, weights=weights, args=args)
        image_width = feature_width(backbone, name, in_channels, size)
        count = _block_count(backbone)
        _check_blocks(name, tune, blocks, count)
    table = None if metadata == "none" else TableBranch(table_features, table_width)
    network = Classifier(
        name,
        backbone,
        table,
        _head(backbone, image_width + (0 if table is None else table_width), table_width, outputs),
        image_width=image_width,
        outputs=outputs,
        dropout=dropout,
        trained={"all": count, "head": 0, "blocks": blocks}[tune],
        unfreeze_every=unfreeze_every,
        backbone_rate=backbone_rate,
    )
    network.origin = None if backbone is None else origin_of(weights, name)
    return network


def _block_count(backbone: nn.Module) -> int:
    return len(blocks(backbone))


def _head(backbone: nn.Module | None, width: int, hidden: int, outputs: int) -> nn.Sequential:
    layers: Callable[[int, int, int], Iterator[nn.Module]] = getattr(backbone, "head_layers", _linear)
    return nn.Sequential(*layers(width, hidden, outputs))


def _linear(width: int, hidden: int, outputs: int) -> Iterator[nn.Module]:
    yield nn.Linear(width, outputs)


def _check_blocks(name: str, tune: Tune, wanted: int, count: int) -> None:
    if tune == "blocks" and wanted > count:
        ways = "take tune: head" if count == 0 else f"take at most {count}, or tune: all"
        raise RecipeError(
            f"model.blocks: {wanted} of the blocks of {name!r} were to be trained, and it has {count}; {ways}"
        )


def _check(metadata: Metadata, table_features: int, unfreeze_every: int | None, tune: Tune) -> None:
    if metadata != "none" and table_features < 1:
        raise RecipeError(
            f"model.metadata: {metadata!r} needs columns; name some in data.labels.metadata, or take none"
        )
    if unfreeze_every is not None and tune == "head":
        raise RecipeError(
            "model.unfreeze_every: expected empty with tune: head, which never unfreezes a block; take tune: all, or "
            "tune: blocks to stop after model.blocks of them"
        )
