"""Training: a network from pixels, killed and continued at any moment with the same result.

Its modules are imported when they are used: some need much less than all of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
if TYPE_CHECKING:
    from medloom.training.heat import heatmap_of
    from medloom.training.loop import Network, load_best, train
    from medloom.training.progress import TrainProgress
    from medloom.training.result import TrainResult
    from medloom.training.tasks import check_network

__all__ = ["Network", "TrainProgress", "TrainResult", "check_network", "heatmap_of", "load_best", "train"]

_HOMES = {
    "Network": "loop",
    "TrainProgress": "progress",
    "TrainResult": "result",
    "check_network": "tasks",
    "heatmap_of": "heat",
    "load_best": "loop",
    "train": "loop",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"medloom.training.{_HOMES[name]}"), name)
