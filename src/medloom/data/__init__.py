"""From files to a catalogue, patient-safe splits and a pixel store.

The names are imported on first use, so that commands which need one of them do not pay for all.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
