"""The fence that servers, functions and batches put around whatever looks into bytes from outside."""

from __future__ import annotations

from dataclasses import replace

from medloom.imaging.fence import DecodeFence
from medloom.inference import Predictor

__all__ = ["behind", "new_fence"]

_VOLUMES = "medloom.data.whole:read_whole"
"""What reads a volume behind the fence."""

_SOURCES = "medloom.data.whole:read_sources"
"""What reads there whose DICOM images they are."""


def new_fence(workers: int, *, limit_s: float = 5.0, growth_bytes: int = 2**30) -> DecodeFence:
    """Return a fence behind which images, volumes and the headers of DICOM are read.

    Args:
        workers: Images decoded at the same time.
        limit_s: Seconds for one.
        growth_bytes: By how much the memory of a worker may grow.
    """
    return DecodeFence(workers, limit_s=limit_s, growth_bytes=growth_bytes, volumes=_VOLUMES, sources=_SOURCES)


def behind(predictor: Predictor, fence: DecodeFence) -> Predictor:
    """Return a predictor that lets everything that looks into bytes from outside do so behind a fence."""
    return replace(predictor, decoder=fence.decode, volume_decoder=fence.read_volume, source_reader=fence.read_sources)
