"""The recipe: one YAML that says everything about a run.

The names are imported on first use: listing recipes needs none of pydantic's work on the schema.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
