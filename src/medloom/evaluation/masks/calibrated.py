"""Calibrating the probabilities of pixels, and what that changed, on the network's own grid.

Of every validation image so many pixels are drawn, evenly and the same each time; all of them would fit no better, for
neighbours say the same. The calibration error of a whole part needs no more of each image than how far probabilities
and truth are apart in each bin, added up: it is the mean over all pixels, most of them background.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.calibrate import Asked, Fitted, calibrate_classes, calibrate_questions
from medloom.evaluation.tables import UNCALIBRATED
from medloom.metrics import bootstrap_interval
from medloom.metrics.calibration import calibration_bins
from medloom.targets import IGNORED, Target

__all__ = ["GAP", "calibration_facts", "fit_pixels", "gaps"]

Floats32 = NDArray[np.float32]
Floats64 = NDArray[np.float64]
Mask = NDArray[np.uint8]

GAP = "calibration_gap_"
"""Columns of the per-case table: probability minus truth, added up over the pixels of a bin of probabilities."""

KNOWN = "calibration_px"
"""Column of the per-case table: pixels of the network's image that count there."""

_BINS = 10
_PIXELS = 2000
_SEED = 0
_OF = "pixels of the validation images"


def fit_pixels(cases: Iterable[tuple[Mask, Floats32, str]], target: Target, asked: Asked) -> Fitted:
    """Fit the probabilities of pixels, of several classes together, each with a temperature of its own.

    Args:
        cases: True class index (h, w), probabilities (K, h, w) and patient of each validation image, on the network's
            grid; read once and not kept.
        target: The classes.
        asked: How.
    """
    if asked == "none":
        return Fitted()
    rng = np.random.default_rng(_SEED)
    drawn = [_drawn(truth, probabilities, rng) for truth, probabilities, _ in cases]
    if not drawn:
        return Fitted(notes=("not calibrated, for there is no validation image",))
    truth, scores = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    if target.outputs == 1:
        return calibrate_questions([(target.foreground[0], truth == 1, scores[:, 0])], asked, of=_OF)
    return calibrate_classes(target.names, truth.astype(np.int64), scores, asked, each=asked == "temperature", of=_OF)


def gaps(truth: Mask, own: Floats32, calibrated: Floats32) -> list[dict[str, float]]:
    """Return for each foreground class how far probabilities and truth are apart, bin by bin, before and after.

    Args:
        truth: True class index, (h, w), on the network's grid.
        own: Probabilities of the network, (K, h, w).
        calibrated: The same after the calibration.
    """
    known = truth != IGNORED
    classes = range(1, max(2, len(own)))
    return [
        {
            KNOWN: int(known.sum()),
            **_apart(truth[known] == index, calibrated[index - (len(own) == 1)][known], GAP),
            **_apart(truth[known] == index, own[index - (len(own) == 1)][known], f"{UNCALIBRATED}{GAP}"),
        }
        for index in classes
    ]


def calibration_facts(table: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """Return the calibration error of pixels without the calibration and with it, and the difference.

    Args:
        table: Rows of ``cases.csv``, of one split.
        resamples: Resamples of the patients for the intervals.

    Returns:
        ``before``, ``after`` and ``change``, and with several classes the same of each in ``per_target``; nothing where
        nothing was calibrated.
    """
    if KNOWN not in table or not len(table):
        return {}
    classes = list(dict.fromkeys(table["class"]))
    each = {name: _facts(table[table["class"] == name], resamples) for name in classes}
    return {**_facts(table, resamples), "per_target": each if len(classes) > 1 else {}}


def _facts(table: pd.DataFrame, resamples: int) -> dict[str, Any]:
    patients, size = table["patient_id"].to_numpy(), table[KNOWN].to_numpy(float)
    after, before = (_columns(table, prefix) for prefix in (GAP, f"{UNCALIBRATED}{GAP}"))

    def error(values: Floats64, weights: Floats64) -> Floats64:
        """The error by the first bins of the values, minus that by the others where there are others."""
        parts = [
            np.abs(weights @ part).sum(axis=1) for part in np.split(values[:, 1:], values.shape[1] // _BINS, axis=1)
        ]
        apart = parts[0] - (parts[1] if len(parts) > 1 else 0.0)
        return np.asarray(apart / np.maximum(weights @ values[:, 0], 1.0))

    found = {"before": [before], "after": [after], "change": [after, before]}
    return {
        name: {
            "ece": bootstrap_interval(
                np.concatenate([size[:, None], *parts], axis=1), patients, error, resamples, _SEED
            ).plain()
        }
        for name, parts in found.items()
    }


def _columns(table: pd.DataFrame, prefix: str) -> Floats64:
    return table[[f"{prefix}{number}" for number in range(_BINS)]].to_numpy(float)


def _drawn(truth: Mask, probabilities: Floats32, rng: np.random.Generator) -> tuple[Mask, Floats32]:
    """Some pixels whose truth is known: their class, (n,), and probabilities, (n, K)."""
    known = np.flatnonzero(truth.ravel() != IGNORED)
    places = rng.choice(known, _PIXELS, replace=False) if len(known) > _PIXELS else known
    return truth.ravel()[places], probabilities.reshape(len(probabilities), -1)[:, places].T


def _apart(truth: NDArray[np.bool_], score: Floats32, prefix: str) -> dict[str, float]:
    edges = calibration_bins(score, _BINS)
    group = np.searchsorted(edges[1:-1], score, side="left")
    sums = np.bincount(group, score.astype(float) - truth, minlength=_BINS)
    return {f"{prefix}{number}": round(float(value), 4) for number, value in enumerate(sums)}
