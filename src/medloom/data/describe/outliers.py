"""Images that are unlike the training images, by a robust z-score of what was measured of each.

Source: B. Iglewicz, D. C. Hoaglin, How to detect and handle outliers, ASQC Quality Press 1993
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.describe.statistics import STATISTICS, ImageStatistics

__all__ = ["LIMIT", "image_outliers", "outlier_facts", "robust_z"]

LIMIT = 5.0
"""From which robust z-score on an image counts as unlike the others: of normal ones 1 in 1.7 million is."""

_LEAST, _LEAST_SHARE = 0.02, 0.1
"""Share of a channel's range that it must differ by as well, and share of the image for the share of zeros."""

_LISTED = 50
_NORMAL_MAD, _NORMAL_MEAN = 1.4826, 1.2533
"""Standard deviation of a normal distribution by its median and its mean absolute deviation."""

_RULE = (
    "the difference from the median of the training images, divided by 1.4826 times their median absolute deviation "
    "(1.2533 times the mean one where half of them are equal), is {limit:g} or more, and it is at least 2 % of the "
    "channel's range (10 % of the image for the share of zero pixels)"
)

FloatArray = npt.NDArray[np.float64]


def robust_z(values: FloatArray, reference: FloatArray) -> FloatArray:
    """Return how far values lie from the middle of others, in robust standard deviations; 0 where those are all equal.

    Args:
        values: ``(N, ...)``.
        reference: ``(M, ...)``.

    Example:
        >>> robust_z(np.array([3.0, 30.0]), np.array([1.0, 2.0, 3.0, 4.0, 5.0])).round(2).tolist()
        [0.0, 18.21]
    """
    middle = np.median(reference, axis=0)
    apart = np.abs(reference - middle)
    median, mean = np.median(apart, axis=0), apart.mean(axis=0)
    spread = np.where(median > 0, _NORMAL_MAD * median, _NORMAL_MEAN * mean)
    return np.divide(
        values - middle, spread, out=np.zeros_like(values), where=np.broadcast_to(spread > 0, values.shape)
    )


def image_outliers(
    catalogue: pd.DataFrame, channels: Sequence[str], found: ImageStatistics, train: npt.NDArray[np.bool_]
) -> pd.DataFrame:
    """Return a row for each image that is unlike the training images, the most unlike first.

    Args:
        catalogue: In the order of ``found``, with ``sample_id`` and ``split``.
        channels: Name of each channel.
        found: What was measured of these images.
        train: Which of them train; what is usual comes from them alone.

    Returns:
        ``sample_id``, ``split``, and where it is the most unlike: ``channel``, ``statistic``, ``value``, ``median`` of
        the training images and ``z``.
    """
    usual = found.values[train]
    middle = np.median(usual, axis=0)
    span = np.maximum(usual[:, :, 1].max(axis=0) - usual[:, :, 0].min(axis=0), 1e-12)
    least = np.where(np.array(STATISTICS) == "zero_share", _LEAST_SHARE, _LEAST * span[:, None])
    z = np.where(np.abs(found.values - middle) >= least, robust_z(found.values, usual), 0.0).reshape(len(catalogue), -1)
    worst = np.abs(z).argmax(axis=1)
    score = z[np.arange(len(z)), worst]
    unlike = np.flatnonzero(np.abs(score) >= LIMIT)
    unlike = unlike[np.argsort(-np.abs(score[unlike]), kind="stable")]
    channel, statistic = np.divmod(worst[unlike], len(STATISTICS))
    return pd.DataFrame(
        {
            "sample_id": catalogue["sample_id"].to_numpy()[unlike],
            "split": catalogue["split"].to_numpy()[unlike],
            "channel": [channels[place] for place in channel],
            "statistic": [STATISTICS[place] for place in statistic],
            "value": found.values[unlike, channel, statistic],
            "median": middle[channel, statistic],
            "z": score[unlike],
        }
    )


def outlier_facts(unlike: pd.DataFrame) -> dict[str, Any]:
    """Return the ``rule``, the ``limit``, the ``count`` of images by part and the first 50 of them, ``listed``."""
    return {
        "rule": _RULE.format(limit=LIMIT),
        "limit": LIMIT,
        "count": {str(part): int(count) for part, count in unlike["split"].value_counts().sort_index().items()},
        "listed": unlike.head(_LISTED).to_dict("records"),
    }
