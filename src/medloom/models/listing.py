"""Names of timm and of segmentation_models_pytorch, for lists of what a recipe may name."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import timm

from medloom.models.encoders import own_encoders
from medloom.registry import BACKBONES, Entry

__all__ = ["backbones", "encoders"]


def backbones() -> dict[str, Entry]:
    """Return what ``model.name`` may be where whole images have labels."""
    return {**BACKBONES, **_of_timm()}


def encoders() -> dict[str, Entry]:
    """Return what ``model.encoder`` may be."""
    return {**{name: Entry("from segmentation_models_pytorch") for name in own_encoders()}, **_of_timm()}


def _of_timm() -> dict[str, Entry]:
    """Each architecture, with the tags of its published weights."""
    tags: dict[str, list[str]] = {}
    for name in timm.list_models(pretrained=True):
        architecture, _, tag = name.partition(".")
        tags.setdefault(architecture, []).append(tag)
    return {
        name: Entry(f"timm; weights: {', '.join(tags[name])}" if name in tags else "timm; no published weights")
        for name in timm.list_models()
    }
