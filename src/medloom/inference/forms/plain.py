"""The forms that need no DICOM: JSON, masks and probabilities as arrays and pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medloom.imaging import encode_png
from medloom.imaging.encoding import encode_tiff
from medloom.inference.answers.base import GZIP, JSON, NIFTI, NPY, npy_bytes
from medloom.inference.answers.figures import MaskAnswer
from medloom.inference.answers.masks import MaskPrediction, mask_png
from medloom.inference.forms.base import FormError, Made
from medloom.inference.pictures import heated, overlay
from medloom.inference.postprocess import foreground_probability

__all__ = [
    "to_heatmap",
    "to_json",
    "to_mask_npy",
    "to_nifti",
    "to_nifti_gz",
    "to_npy",
    "to_overlay",
    "to_png",
    "to_tiff",
]


def to_json(made: Made) -> bytes:
    """Return the answer as JSON."""
    return made.prediction.encode(JSON, **made.more)


def to_png(made: Made) -> bytes:
    """Return the mask of an image as PNG."""
    return mask_png(MaskPrediction.of(made.prediction))


def to_tiff(made: Made) -> bytes:
    """Return the mask as TIFF, of a volume with a page for each slice."""
    return encode_tiff(_mask(made))


def to_npy(made: Made) -> bytes:
    """Return the probabilities of an image."""
    return made.prediction.encode(NPY)


def to_mask_npy(made: Made) -> bytes:
    """Return the mask as an array."""
    return npy_bytes(_mask(made))


def to_nifti(made: Made) -> bytes:
    """Return the mask of a volume as NIfTI."""
    return made.prediction.encode(NIFTI)


def to_nifti_gz(made: Made) -> bytes:
    """Return the same, compressed."""
    return made.prediction.encode(GZIP)


def to_overlay(made: Made) -> bytes:
    """Return the image with the outline of the mask."""
    return encode_png(overlay(_pixels(made), MaskPrediction.of(made.prediction).mask))


def to_heatmap(made: Made) -> bytes:
    """Return the image with its foreground probability in red."""
    probability = foreground_probability(MaskPrediction.of(made.prediction).probabilities)
    return encode_png(heated(_pixels(made), probability))


def _mask(made: Made) -> NDArray[np.uint8] | NDArray[np.uint16]:
    return MaskAnswer.of(made.prediction).written_mask


def _pixels(made: Made) -> NDArray[np.generic]:
    if made.image is None:
        raise FormError("the pixels of the image are not at hand to be drawn on")
    return made.image.pixels
