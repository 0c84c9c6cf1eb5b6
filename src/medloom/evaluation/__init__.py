"""Measure a predictor: the operating point, the per-case table, the metrics and the gallery.

The names are imported on first use, so that what shows a summary need not load what made it.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
