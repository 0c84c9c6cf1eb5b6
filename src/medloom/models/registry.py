"""Names of networks and losses, and where they are built. Imports nothing heavy.

A new network is a line here and a function in ``networks.py``. For classification any name of timm is a backbone;
those of ``BACKBONES`` come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from medloom.errors import RecipeError
from medloom.wording import nearest

__all__ = ["BACKBONES", "IMAGE_LOSSES", "LOSSES", "NETWORKS", "LabelKind", "check_name"]

LabelKind = Literal["binary", "multi-class", "multi-label", "real"]
"""What the label of a whole image is: yes or no, one of several classes, any of several labels, or numbers."""

NETWORKS: dict[str, str] = {
    "unet": "U-Net with residual units (Kerfoot et al. 2018)",
    "attention-unet": "U-Net with attention gates (Oktay et al. 2018)",
    "unetr": "Transformer encoder, convolutional decoder (Hatamizadeh et al. 2021)",
    "swin-unetr": "Shifted-window transformer encoder (Hatamizadeh et al. 2022)",
    "segresnet": "Residual encoder-decoder (Myronenko 2018)",
    "dynunet": "nnU-Net's architecture (Isensee et al. 2021)",
    "flexible-unet": "U-Net decoder on an EfficientNet encoder (Tan and Le 2019)",
}

BACKBONES: dict[str, str] = {
    "alexnet": "Five convolutions and three fully connected layers (Krizhevsky 2014), from torchvision",
    "perceptron": "One hidden layer on a 16x16 thumbnail and each channel's mean and deviation; a cheap baseline",
}

LOSSES: dict[str, str] = {
    "dice": "Soft Dice (Milletari et al. 2016)",
    "dice-ce": "Dice plus cross-entropy",
    "dice-focal": "Dice plus focal (Lin et al. 2017)",
    "tversky": "Tversky, which weighs misses and false alarms apart (Salehi et al. 2017)",
}

IMAGE_LOSSES: dict[str, str] = {
    "cross-entropy": "Cross-entropy over classes; binary for one class or several labels",
    "focal": "Focal (Lin et al. 2017)",
    "mse": "Mean squared error",
}


def check_name(kind: str, name: str, valid: Iterable[str]) -> None:
    """Raise if ``name`` is not one of ``valid``.

    Raises:
        RecipeError: Naming the nearest and all valid names.
    """
    names = list(valid)
    if name not in names:
        raise RecipeError(f"there is no {kind} {name!r}{nearest(name, names)}; valid: {', '.join(names)}")
