"""A prediction as bytes: mask PNG, probabilities NPY, or JSON with a run-length mask."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.imaging import encode_png
from medloom.inference.labels import LabelPrediction
from medloom.inference.predictor import Prediction

__all__ = ["labels_json", "mask_png", "overlay", "probabilities_npy", "run_lengths", "to_grey", "to_json", "to_plain"]

_RED = np.array([255, 0, 0], np.uint8)
_PERCENTILES = (0.5, 99.5)


def mask_png(prediction: Prediction) -> bytes:
    """Encode the mask as an 8-bit PNG in the input's size.

    Binary masks are 0 and 255, to be seen in any viewer; masks of more classes hold the class index.
    """
    binary = len(prediction.probabilities) == 1
    return encode_png(prediction.mask * np.uint8(255) if binary else prediction.mask)


def probabilities_npy(prediction: Prediction) -> bytes:
    """Encode the probabilities as NPY: ``(K, H, W)`` float32."""
    buffer = io.BytesIO()
    np.save(buffer, prediction.probabilities, allow_pickle=False)
    return buffer.getvalue()


def to_plain(prediction: Prediction, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the prediction as plain JSON types, one run-length mask for each foreground class.

    Args:
        prediction: What the model said.
        classes: Names of the classes, the background first.
    """
    height, width = prediction.mask.shape
    point = prediction.operating_point
    return {
        "height": height,
        "width": width,
        "lesion": prediction.has_lesion,
        "probability": round(prediction.probability, 6),
        "area_px": prediction.area_px,
        "area_mm2": prediction.area_mm2,
        "masks": [_class_mask(prediction.mask == index, index, classes[index]) for index in range(1, len(classes))],
        "operating_point": {"threshold": point.threshold, "min_lesion_px": point.min_lesion_px},
        "classes": list(classes),
    }


def to_json(prediction: Prediction, classes: tuple[str, ...], **more: object) -> bytes:
    """Encode ``to_plain`` and any ``more`` keys as JSON."""
    return json.dumps({**to_plain(prediction, classes), **more}, allow_nan=False).encode()


def run_lengths(mask_hw: NDArray[np.bool_]) -> list[int]:
    """Return COCO's uncompressed run-length code: column by column, the first run counts zeros.

    Example:
        >>> run_lengths(np.array([[True, False], [True, True]]))
        [0, 2, 1, 1]

    Source: https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/mask.py
    """
    flat = mask_hw.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts: list[int] = np.diff(edges).tolist()
    return [0, *counts] if flat[0] else counts


def labels_json(prediction: LabelPrediction, **more: object) -> bytes:
    """Encode labels of a whole image and any ``more`` keys as JSON."""
    return json.dumps({**labels_plain(prediction), **more}, allow_nan=False).encode()


def labels_plain(prediction: LabelPrediction) -> dict[str, Any]:
    """Return labels of a whole image as plain JSON types.

    Of a model that takes metadata they say as well which columns were ``missing`` (left out or blank) and which had a
    category ``unknown`` to it.
    """
    scores = {name: round(score, 6) for name, score in zip(prediction.names, prediction.scores, strict=True)}
    gaps = {} if prediction.gaps is None else {"metadata": {k: list(v) for k, v in vars(prediction.gaps).items()}}
    if prediction.kind == "real":
        return {"values": scores, **gaps}
    one = prediction.kind != "multi-label"
    return {
        "probabilities": scores,
        "decision": prediction.decision[0] if one else list(prediction.decision),
        "operating_point": {"thresholds": list(prediction.thresholds)},
        "classes": list(prediction.names),
        **gaps,
    }


def overlay(pixels_hwc: NDArray[Any], mask_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the outline of the mask in red on the image.

    Args:
        pixels_hwc: ``(H, W, C)``, any dtype; three channels are shown as colours, else the first as grey.
        mask_hw: ``(H, W)`` uint8, 0 = background.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    shown = pixels_hwc if pixels_hwc.shape[2] == 3 else pixels_hwc[..., :1]
    grey = np.stack([to_grey(shown[..., channel]) for channel in range(shown.shape[2])], axis=-1)
    drawn = np.broadcast_to(grey, (*mask_hw.shape, 3)).copy()
    drawn[_outline(mask_hw)] = _RED
    return drawn


def _class_mask(mask_hw: NDArray[np.bool_], index: int, name: str) -> dict[str, Any]:
    return {
        "class": name,
        "index": index,
        "area_px": int(mask_hw.sum()),
        "rle": {"size": list(mask_hw.shape), "counts": run_lengths(mask_hw)},
    }


def to_grey(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Spread intensities over 0..255, without the brightest and darkest few; 8-bit planes stay as they are."""
    if plane.dtype == np.uint8:
        return plane
    wide = plane.astype(np.float64)
    low, high = np.percentile(wide, _PERCENTILES)
    share = (wide - low) / max(high - low, np.finfo(np.float64).tiny)
    stretched: NDArray[np.uint8] = (np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)
    return stretched


def _outline(mask_hw: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Foreground pixels with a neighbour of another class above, below, left or right."""
    padded = np.pad(mask_hw, 1)
    centre = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edge: NDArray[np.bool_] = (centre > 0) & np.logical_or.reduce([centre != one for one in neighbours])
    return edge
