"""Networks and losses, with plain arguments.

``medloom.registry`` holds the names. ``kinds`` is the table by which the network and the loss of a recipe are found;
``masks`` and ``labels`` take what they need out of it, and everything else takes plain arguments. What is imported
from here is loaded on first use, since it brings torch.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
