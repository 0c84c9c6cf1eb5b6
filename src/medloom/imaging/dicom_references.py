"""Which DICOM images a segmentation is of: its references to them, and what each of its segments is.

Source: DICOM PS3.3, sections C.7.6.16.2.6 (Derivation Image), C.8.20.2 (Segmentation Image), C.12.1.1 (SOP Common) and
the Common Instance Reference module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from medloom.imaging.checks import check_encoded, guard
from medloom.imaging.dicom_image import OpenImage, open_image
from medloom.imaging.dicom_seg import SEGMENTATION_BUDGET, SEGMENTATIONS
from medloom.imaging.dicom_segments import Segment, segments_of
from medloom.imaging.geometry import Grid
from medloom.imaging.places import grids_of
from medloom.imaging.registry import sniff
from medloom.imaging.types import Budget

__all__ = ["Instance", "read_instance"]


@dataclass(frozen=True, eq=False)
class Instance:
    """A DICOM image, or a segmentation of images.

    Args:
        uid: Its SOPInstanceUID.
        series: Its SeriesInstanceUID.
        frame_of_reference: Its FrameOfReferenceUID; empty where it does not say.
        grids: Where each frame lies; empty where it does not say, and for a segmentation.
        segments: By number; None for an image.
        of_instances: SOPInstanceUIDs of the images that it names.
        of_series: SeriesInstanceUIDs of the series that it names.
    """

    uid: str
    series: str
    frame_of_reference: str
    grids: tuple[Grid, ...] = ()
    segments: dict[int, Segment] | None = None
    of_instances: frozenset[str] = frozenset()
    of_series: frozenset[str] = frozenset()


def read_instance(data: bytes, *, budget: Budget = SEGMENTATION_BUDGET) -> Instance | None:
    """Read what a DICOM file says of itself and, if it is a segmentation, of the images that it is of.

    Args:
        data: The encoded file.
        budget: What it may cost.

    Returns:
        What it says; None for another format.

    Raises:
        DecodeError: If it is damaged, no image, or over the budget.
    """
    check_encoded(data, budget)
    if sniff(data) != "dicom":
        return None
    with guard("dicom"):
        opened = open_image(data, budget)
        top = opened.file.data_set
        known = top.text("SOPInstanceUID"), top.text("SeriesInstanceUID"), top.text("FrameOfReferenceUID")
        if top.text("SOPClassUID") not in SEGMENTATIONS:
            return Instance(*known, grids=grids_of(opened))
        series = {item.text("SeriesInstanceUID") for item in top.items("ReferencedSeriesSequence")}
        return Instance(
            *known,
            segments=segments_of(top),
            of_instances=frozenset(_referenced(opened)) - {""},
            of_series=frozenset(series) - {""},
        )


def _referenced(opened: OpenImage) -> Iterator[str]:
    """Every image that the file names, in its list of series or in that of a frame."""
    for series in opened.file.data_set.items("ReferencedSeriesSequence"):
        for item in series.items("ReferencedInstanceSequence"):
            yield item.text("ReferencedSOPInstanceUID")
    for groups in (*opened.frames, *([opened.shared] if opened.shared else [])):
        for derivation in groups.items("DerivationImageSequence"):
            for source in derivation.items("SourceImageSequence"):
                yield source.text("ReferencedSOPInstanceUID")
