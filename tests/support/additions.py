"""What someone would write to add a network, a loss, a layout or a runtime: the builders that a line names."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from medloom.data.layouts import Item, Listing
from medloom.models.losses import MaskLoss


def one_convolution(in_channels: int, outputs: int, size, /, *, width: int = 1) -> nn.Module:
    return nn.Conv2d(in_channels, outputs, width, padding="same")


class Absolute(nn.Module):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return (logits.sigmoid() - target).abs().mean()


def absolute(outputs: int, /) -> MaskLoss:
    return MaskLoss(Absolute())


class Flat:
    """Every PNG is a patient; its mask has the same name in another folder."""

    def find(self, names, read) -> Listing:
        images = sorted(name for name in names if name.startswith("in/"))
        return Listing(tuple(Item(name, name, (name,), name.replace("in/", "out/")) for name in images))

    def rules(self):
        return {"layout": "flat"}


def build_flat(recipe) -> Flat:
    return Flat()


class AlwaysHalf:
    """A runtime that is never sure."""

    name = "half"

    @classmethod
    def open(cls, model_path, *, threads=None, providers=None, network=None, precision="fp32"):
        return cls()

    def run(self, batch_nchw, table_nf=None):
        return np.full((len(batch_nchw), 1, *batch_nchw.shape[2:]), 0.5, np.float32)
