"""Metrics on arrays: pure functions that know nothing of files, tables or networks.

The names are in ``__init__.pyi`` and imported on first use, so that a server, which fits nothing, needs no SciPy.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
