"""Search the settings of a recipe: spaces, studies, and trials, each of which is a training.

A study never looks at the test patients. What it knows is in Optuna's SQLite file, so it survives everything, and any
number of processes can share it.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
