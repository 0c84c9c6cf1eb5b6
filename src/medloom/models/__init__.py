"""Networks and losses by name.

``registry`` holds the names and imports nothing heavy; ``networks`` and ``losses`` import torch and MONAI,
so their builders are imported from there.
"""

from __future__ import annotations

from medloom.models.registry import LOSSES, NETWORKS, check_name

__all__ = ["LOSSES", "NETWORKS", "check_name"]
