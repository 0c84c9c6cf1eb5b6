"""Distance between the outlines of two masks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medloom.metrics.masks import Bits, Mask, both_set
from medloom.metrics.outlines import outline

__all__ = ["hausdorff95"]


def hausdorff95(truth: Mask, predicted: Mask, spacing: tuple[float, ...] | None = None) -> float:
    """95th-percentile Hausdorff distance between the outlines of two masks.

    For each direction the 95th percentile of the distances from every outline pixel to the nearest one of
    the other mask; then the larger of the two. It is not defined when a mask is empty: NaN if one or both
    are, to be left out of means and counted beside them.

    Args:
        truth: True mask, 2-D or 3-D; non-zero is set.
        predicted: Predicted mask of the same shape.
        spacing: Size of a pixel along each axis in mm; None measures in pixels.

    Returns:
        Distance in mm, or in pixels without a spacing; NaN if a mask is empty.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> a, b = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
        >>> a[4, 2] = b[4, 5] = True
        >>> hausdorff95(a, b), hausdorff95(a, b, (1.0, 0.5))
        (3.0, 1.5)

    Source:
        Maier-Hein, Reinke et al., Metrics reloaded, Nature Methods 21 (2024), doi:10.1038/s41592-023-02151-z
    """
    true, guess = both_set(truth, predicted)
    if not true.any() or not guess.any():
        return float("nan")
    window = ndimage.find_objects((true | guess).astype(np.uint8))[0]
    # the outline is taken inside the window: what lies beyond it is empty, as it is beyond the image
    a, b = outline(true[window]), outline(guess[window])
    return max(_percentile_distance(a, b, spacing), _percentile_distance(b, a, spacing))


def _percentile_distance(from_outline: Bits, to_outline: Bits, spacing: tuple[float, ...] | None) -> float:
    distance = ndimage.distance_transform_edt(~to_outline, sampling=spacing)
    return float(np.percentile(distance[from_outline], 95))
