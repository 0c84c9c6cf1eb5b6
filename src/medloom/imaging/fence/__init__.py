"""A second fence around `medloom.imaging.decode`: processes of their own, with a time and a memory limit.

The checks of the imaging room come first; this is for what they cannot promise about native decoders.
"""

from __future__ import annotations

from medloom.imaging.fence.pool import DecodeFence

__all__ = ["DecodeFence"]
