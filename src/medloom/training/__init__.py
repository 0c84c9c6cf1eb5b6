"""Training: a network from pixels, killed and continued at any moment with the same result."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
from medloom.training.loop import load_best, train
from medloom.training.progress import TrainProgress
from medloom.training.result import TrainResult

__all__ = ["TrainProgress", "TrainResult", "load_best", "train"]
