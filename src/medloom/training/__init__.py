"""Training: a network from pixels, killed and continued at any moment with the same result."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
from medloom.training.heat import heatmap_of
from medloom.training.loop import Network, load_best, train
from medloom.training.progress import TrainProgress
from medloom.training.result import TrainResult
from medloom.training.tasks import check_network

__all__ = ["Network", "TrainProgress", "TrainResult", "check_network", "heatmap_of", "load_best", "train"]
