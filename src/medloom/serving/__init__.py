"""The server: models by name, one prediction path, and HTTP around it. ``http.server`` runs it with uvicorn.

The names are in ``__init__.pyi`` and imported on first use, so that a batch needs no web server.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
