"""Networks and losses by name.

``registry`` holds the names and imports nothing heavy. The builders import torch, so they are imported from their
modules: ``networks`` and ``losses`` for segmentation; ``classifier``, ``image_losses``, ``answers`` and ``heatmaps``
for labels of whole images.
"""

from __future__ import annotations

from medloom.models.registry import BACKBONES, IMAGE_LOSSES, LOSSES, NETWORKS, LabelKind, check_name

__all__ = ["BACKBONES", "IMAGE_LOSSES", "LOSSES", "NETWORKS", "LabelKind", "check_name"]
