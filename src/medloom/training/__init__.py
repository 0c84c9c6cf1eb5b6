"""Training: a network from pixels, killed and continued at any moment with the same result.

``kinds`` is the table of what differs between kinds of answers. What is imported from here is loaded on first use:
some rooms need much less than all of it.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
