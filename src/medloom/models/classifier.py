"""The network for labels of whole images: a backbone, a branch for the table's columns, and a head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medloom.errors import RecipeError
from medloom.models.backbones import blocks, build_backbone, check_backbone_name, feature_width
from medloom.recipe import ModelConfig

__all__ = ["Classifier", "TableBranch", "build_classifier", "parameter_groups"]


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


class Classifier(nn.Module):
    """Images and columns of a table in, logits out; made by ``build_classifier``.

    What is frozen has no gradient, and its batch norms keep their statistics in training too.

    Args:
        config: The recipe's ``model``.
        backbone: Turns images into features; None for ``metadata: only``.
        table: Turns columns into features; None for ``metadata: none``.
        image_width: Features of the backbone.
        outputs: K of the logits.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        config: ModelConfig,
        backbone: nn.Module | None,
        table: TableBranch | None,
        image_width: int,
        outputs: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.table = table
        # beside the table the image's features are brought to one scale, so that neither drowns the other
        self.scale = nn.LayerNorm(image_width) if backbone is not None and table is not None else nn.Identity()
        width = (image_width if backbone is not None else 0) + (config.table_width if table is not None else 0)
        self.dropout = nn.Dropout(config.dropout)
        self.head = _head(config, width, outputs)
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))
        self._limit = _most_trained(config, 0 if backbone is None else len(blocks(backbone)))
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
        if self.config.unfreeze_every is not None:
            limit = min(limit, epoch // self.config.unfreeze_every)
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


def build_classifier(
    config: ModelConfig, *, in_channels: int, outputs: int, size: tuple[int, int], table_features: int = 0
) -> Classifier:
    """Build a classifier with a fresh head.

    To rebuild one whose whole state is loaded afterwards, pass ``config`` with ``weights: none``.

    Args:
        config: The recipe's ``model``.
        in_channels: C of the images.
        outputs: K of the logits: 1 for binary, else classes, labels or numbers.
        size: Height and width of the images in pixels.
        table_features: F, how many numbers the columns of ``data.labels.metadata`` make.

    Returns:
        The classifier in training mode, as it is in epoch 0.

    Raises:
        RecipeError: If the name, an argument, the size or the weights are wrong, or two keys contradict each other.

    Example:
        >>> network = build_classifier(ModelConfig(name="perceptron"), in_channels=1, outputs=2, size=(32, 32))
        >>> network(torch.zeros(3, 1, 32, 32)).shape
        torch.Size([3, 2])
    """
    _check(config, table_features)
    check_backbone_name(config.name)
    backbone, width = None, 0
    if config.metadata != "only":
        backbone = build_backbone(config, in_channels, size)
        width = feature_width(backbone, config.name, in_channels, size)
        _check_blocks(config, len(blocks(backbone)))
    table = None if config.metadata == "none" else TableBranch(table_features, config.table_width)
    return Classifier(config, backbone, table, width, outputs)


def parameter_groups(classifier: Classifier, lr: float) -> list[dict[str, Any]]:
    """Return the groups for the optimiser: the head with the table's branch, and the backbone.

    Whatever is unfrozen at some time is in a group from the start; without a gradient an optimiser leaves it alone.

    Args:
        classifier: The network.
        lr: Learning rate of the head.

    Returns:
        Groups with ``params``, ``lr``, ``name`` (``head`` or ``backbone``) and ``lr_scale``, the group's rate as a
        share of ``lr``, for schedules that set the rate.
    """
    parts = [] if classifier.backbone is None else blocks(classifier.backbone)
    kept = parts[len(parts) - _most_trained(classifier.config, len(parts)) :]
    groups = [
        ("head", [p for n, p in classifier.named_parameters() if not n.startswith("backbone.")], 1.0),
        ("backbone", [parameter for part in kept for parameter in part], classifier.config.backbone_rate),
    ]
    return [
        {"params": parameters, "lr": lr * scale, "lr_scale": scale, "name": name}
        for name, parameters, scale in groups
        if parameters
    ]


def _most_trained(config: ModelConfig, count: int) -> int:
    """Return how many of the last blocks are trained at most, in any epoch."""
    return {"all": count, "head": 0, "blocks": config.blocks}[config.tune]


def _head(config: ModelConfig, width: int, outputs: int) -> nn.Sequential:
    if config.metadata == "only":
        return nn.Sequential(nn.Linear(width, outputs))
    return nn.Sequential(*_HEADS.get(config.name, _linear)(config, width, outputs))


def _linear(config: ModelConfig, width: int, outputs: int) -> Iterator[nn.Module]:
    yield nn.Linear(width, outputs)


def _hidden(config: ModelConfig, width: int, outputs: int) -> Iterator[nn.Module]:
    yield from (nn.Linear(width, config.table_width), nn.ReLU(), nn.Linear(config.table_width, outputs))


def _three_layers(config: ModelConfig, width: int, outputs: int) -> Iterator[nn.Module]:
    """AlexNet's own, with new weights and the width that it has for ImageNet's 1000 classes."""
    share = config.args.get("dropout", 0.5)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise RecipeError(f"model.args.dropout: expected a number from 0 to below 1; got {share!r}")
    for inside in (width, 4096):
        yield from (nn.Dropout(share), nn.Linear(inside, 4096), nn.ReLU())
    yield nn.Linear(4096, outputs)


_HEADS = {"alexnet": _three_layers, "perceptron": _hidden}


def _check_blocks(config: ModelConfig, count: int) -> None:
    if config.tune == "blocks" and config.blocks > count:
        ways = "take tune: head" if count == 0 else f"take at most {count}, or tune: all"
        raise RecipeError(
            f"model.blocks: {config.blocks} of the blocks of {config.name!r} were to be trained, and it has {count}; "
            f"{ways}"
        )


def _check(config: ModelConfig, table_features: int) -> None:
    if config.metadata != "none" and table_features < 1:
        raise RecipeError(
            f"model.metadata: {config.metadata!r} needs columns; name some in data.labels.metadata, or take none"
        )
    if config.unfreeze_every is not None and config.tune == "head":
        raise RecipeError(
            "model.unfreeze_every: expected empty with tune: head, which never unfreezes a block; take tune: all, or "
            "tune: blocks to stop after model.blocks of them"
        )
