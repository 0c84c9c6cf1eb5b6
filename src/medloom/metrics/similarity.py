"""How alike two maps of one image are: by the order of their values, and by their structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["rank_correlation", "structural_similarity"]

Floats = NDArray[np.floating]

_SIGMA, _RADIUS = 1.5, 5
_K1, _K2 = 0.01, 0.03


def rank_correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's rank correlation of two maps of the same shape; NaN where one is the same everywhere.

    Example:
        >>> rank_correlation(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 9.0, 4.0]]))
        0.5
    """
    from scipy import stats  # takes half a second, which a server that draws nothing should not wait for

    ranks = [stats.rankdata(np.asarray(values, float).ravel()) for values in (one, other)]
    centred = [rank - rank.mean() for rank in ranks]
    spread = float(np.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1])))
    return float(centred[0] @ centred[1]) / spread if spread > 0 else float("nan")


def structural_similarity(one: Floats, other: Floats, value_range: float) -> float:
    """Return the mean structural similarity (SSIM) of two maps, 1 for the same ones.

    With a Gaussian window of 11 pixels, where it lies within the maps; NaN of smaller maps.

    Args:
        one: ``(h, w)``.
        other: ``(h, w)``.
        value_range: Largest minus least value that they can have.

    Source:
        Wang et al., Image quality assessment, IEEE Transactions on Image Processing 13 (2004)
    """
    if min(one.shape) <= 2 * _RADIUS:
        return float("nan")
    x, y = np.asarray(one, float), np.asarray(other, float)
    mean_x, mean_y, xx, yy, xy = (_smooth(values) for values in (x, y, x * x, y * y, x * y))
    flat, rough = (_K1 * value_range) ** 2, (_K2 * value_range) ** 2
    luminance = (2 * mean_x * mean_y + flat) / (mean_x**2 + mean_y**2 + flat)
    spread = (xx - mean_x**2) + (yy - mean_y**2) + rough
    return float(np.mean(luminance * (2 * (xy - mean_x * mean_y) + rough) / spread))


def _smooth(values: Floats) -> NDArray[np.float64]:
    """Gaussian means, without the edges."""
    smooth = ndimage.gaussian_filter(np.asarray(values, float), _SIGMA, radius=_RADIUS)
    return np.asarray(smooth[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS])
