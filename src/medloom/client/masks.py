"""A mask of an image or volume from JSON, with its pixels and probabilities as arrays beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.client.ratings import novelty, rating, slice_novelties, slice_ratings
from medloom.inference.answers import point_from_plain
from medloom.inference.answers.figures import count_classes
from medloom.inference.answers.mask_volume import VolumePrediction
from medloom.inference.answers.masks import MaskPoint, MaskPrediction
from medloom.targets import Target

__all__ = ["read"]


def read(
    target: Target, plain: Mapping[str, Any], parts: Mapping[str, NDArray[Any]]
) -> MaskPrediction | VolumePrediction:
    """Return the mask that ``MaskPrediction.plain`` or ``VolumePrediction.plain`` described.

    Args:
        target: What the model predicts.
        plain: The JSON.
        parts: ``mask-npy``: ``(H, W)`` or ``(D, H, W)`` in the values of the training masks; of an image also ``npy``:
            ``(K, H, W)`` float32.

    Raises:
        KeyError: If something is missing.
        ValueError: If a value is impossible.
        TypeError: If it is of another type.
    """
    mask = _classes(parts["mask-npy"], target)
    point = MaskPoint.of(point_from_plain(plain["operating_point"], target))
    said = {name: tuple(plain.get(name, ())) for name in ("warnings", "notes")}
    if mask.ndim == 2:
        return MaskPrediction(
            target=target,
            probabilities=np.asarray(parts["npy"], np.float32),
            mask=mask,
            point=point,
            pixel_mm2=plain["pixel_mm2"],
            quality=rating(plain.get("quality")),
            novelty=novelty(plain.get("out_of_distribution")),
            **said,
        )
    return VolumePrediction(
        target=target,
        mask=mask,
        affine=np.array(plain["affine"], np.float64),
        point=point,
        slice_px=np.array([count_classes(plane, target) for plane in mask]),
        probability=float(plain["probability"]),
        probabilities=np.array([float(one["probability"]) for one in plain["masks"]]),
        voxel_ml=plain["voxel_ml"],
        ratings=slice_ratings(plain.get("quality")),
        novelties=slice_novelties(plain.get("out_of_distribution")),
        **said,
    )


def _classes(written: NDArray[Any], target: Target) -> NDArray[np.uint8]:
    """Turn the values of a written mask into the index of each class; the other way round than ``in_values``."""
    if not target.values:
        return (written > 0).astype(np.uint8) if len(target.names) == 2 else np.asarray(written, np.uint8)
    classes = np.zeros(written.shape, np.uint8)
    for index, value in enumerate(target.values):
        classes[written == value] = index
    return classes
