"""What of a backbone is trained, from when on, and how fast: the same for labels and for masks.

A backbone that has seen something before needs smaller steps than what is new beside it, and what it has seen most
generally, its first blocks, the smallest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medloom.errors import RecipeError
from medloom.models.network import Network

__all__ = ["TunedNetwork", "Tuning"]

Tune = Literal["all", "head", "blocks"]


@dataclass(frozen=True)
class Tuning:
    """How a backbone is trained beside what is new.

    Args:
        tune: What is trained: everything, the head, or the last blocks and the head.
        blocks: For ``tune="blocks"``: how many blocks from the end.
        backbone_rate: Learning rate of the backbone as a share of the head's.
        layer_decay: Learning rate of each block as a share of the next one's, of the last as a share of the backbone's;
            1 for one rate.
        unfreeze_every: Begin with the head and add a block after so many epochs; None: all at once.
        head_epochs: Epochs at the beginning in which the head is trained alone.
        freeze_statistics: Whether the backbone's batch norms keep the statistics that they came with.
    """

    tune: Tune = "all"
    blocks: int = 1
    backbone_rate: float = 1.0
    layer_decay: float = 1.0
    unfreeze_every: int | None = None
    head_epochs: int = 0
    freeze_statistics: bool = False

    def check(self, name: str, count: int) -> None:
        """Raise if a backbone cannot be trained so.

        Args:
            name: Of the backbone.
            count: How many blocks it has.

        Raises:
            RecipeError: Naming the key.
        """
        if self.tune == "blocks" and self.blocks > count:
            ways = "take tune: head" if count == 0 else f"take at most {count}, or tune: all"
            raise RecipeError(
                f"model.blocks: {self.blocks} of the blocks of {name!r} were to be trained, and it has {count}; {ways}"
            )
        if self.unfreeze_every is not None and self.tune == "head":
            raise RecipeError(
                "model.unfreeze_every: expected empty with tune: head, which never unfreezes a block; take tune: all, "
                "or tune: blocks to stop after model.blocks of them"
            )

    def limit(self, count: int) -> int:
        """Return how many of ``count`` blocks are trained at most, in any epoch."""
        return {"all": count, "head": 0, "blocks": self.blocks}[self.tune]

    def trained(self, count: int, epoch: int) -> int:
        """Return how many of the last of ``count`` blocks are trained in an epoch, counted from 0.

        Example:
            >>> [Tuning(unfreeze_every=2).trained(5, epoch) for epoch in range(5)]
            [0, 0, 1, 1, 2]
            >>> [Tuning(head_epochs=2).trained(5, epoch) for epoch in range(4)]
            [0, 0, 5, 5]
        """
        if epoch < self.head_epochs:
            return 0
        return (
            self.limit(count) if self.unfreeze_every is None else min(self.limit(count), epoch // self.unfreeze_every)
        )

    def rates(self, count: int) -> list[float]:
        """Return the learning rate of each of ``count`` blocks, from the image on, as a share of the head's.

        As BEiT does (Bao et al. 2022): the head at 1, the last block at one decay, the one before at two.

        Example:
            >>> Tuning(layer_decay=0.5).rates(3)
            [0.125, 0.25, 0.5]
            >>> Tuning(backbone_rate=0.1).rates(2)
            [0.1, 0.1]
        """
        return [self.backbone_rate * self.layer_decay ** (count - index) for index in range(count)]


class TunedNetwork(Network):
    """A network with a backbone that is trained as a ``Tuning`` says; whoever inherits calls ``tune_backbone``.

    What is frozen has no gradient, and its batch norms keep their statistics in training too.
    """

    name: str
    """Of the backbone, for messages."""
    tuning: Tuning
    _blocks: tuple[tuple[str, ...], ...]
    _inside: str
    _trained: int

    def tune_backbone(self, inside: str, blocks: Sequence[Sequence[nn.Parameter]], tuning: Tuning) -> None:
        """Begin as in epoch 0.

        Args:
            inside: The name of the backbone among the network's modules; ``""`` without one.
            blocks: Its parameters, block by block from the image to the features. Those that are frozen now stay so.
            tuning: How they are trained.

        Raises:
            RecipeError: If it cannot be trained so.
        """
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        open_ones = ([one for one in part if one.requires_grad] for part in blocks)
        self._blocks = tuple(tuple(names[id(one)] for one in part) for part in open_ones if part)
        if inside:
            tuning.check(self.name, len(self._blocks))
        self.tuning, self._inside, self._trained = tuning, inside, -1
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Freeze and unfreeze the backbone's blocks as the recipe says for an epoch.

        It depends on the epoch alone, so that a resumed run is the same. Call it before each epoch, or before each
        step; it costs nothing where nothing changes.

        Args:
            epoch: From 0.
        """
        count = len(self._blocks)
        trained = self.tuning.trained(count, epoch)
        if trained == self._trained:  # the usual case, and it may be asked before every step
            return
        self._trained = trained
        for index, names in enumerate(self._blocks):
            for name in names:
                self.get_parameter(name).requires_grad_(index >= count - trained)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch training mode on or off; batch norms of frozen blocks stay in evaluation mode."""
        super().train(mode)
        if mode and self._inside:
            backbone = self.get_submodule(self._inside)
            whole = self._trained == len(self._blocks)
            for module in backbone.modules():
                if isinstance(module, _BatchNorm):
                    own = list(module.parameters())
                    learns = all(parameter.requires_grad for parameter in own) if own else whole
                    module.train(learns and not self.tuning.freeze_statistics)
        return self

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return the groups for the optimiser: the head with all that is not the backbone's, and the backbone.

        Whatever is unfrozen at some time is in a group from the start; without a gradient an optimiser leaves it alone.

        Args:
            lr: Learning rate of the head.

        Returns:
            Groups with ``params``, ``lr``, ``name`` (``head``, and ``backbone`` or, with several rates, ``block 0``
            and so on) and ``lr_scale``, the group's rate as a share of ``lr``, for schedules that set the rate.
        """
        prefix, count = f"{self._inside}.", len(self._blocks)
        inside = {name for name, _ in self.named_parameters() if self._inside and name.startswith(prefix)}
        groups = [("head", [p for n, p in self.named_parameters() if n not in inside and p.requires_grad], 1.0)]
        kept = range(count - self.tuning.limit(count), count)
        parts = {index: [self.get_parameter(name) for name in self._blocks[index]] for index in kept}
        if self.tuning.layer_decay == 1.0:
            groups.append(("backbone", [one for part in parts.values() for one in part], self.tuning.backbone_rate))
        else:
            rates = self.tuning.rates(count)
            groups += [(f"block {index}", part, rates[index]) for index, part in parts.items()]
        return [
            {"params": parameters, "lr": lr * scale, "lr_scale": scale, "name": name}
            for name, parameters, scale in groups
            if parameters
        ]
