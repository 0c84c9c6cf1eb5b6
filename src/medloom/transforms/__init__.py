"""What happens to pixels between the file and the network.

``preprocess`` is deterministic and numpy; ``augment`` is random, works on whole batches on the device,
and imports torch, so it is not re-exported here.
"""

from __future__ import annotations

from medloom.transforms.normalise import Normalise
from medloom.transforms.preprocess import Preprocess

__all__ = ["Normalise", "Preprocess"]
