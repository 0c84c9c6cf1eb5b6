"""Labels of whole images in a split: what is balanced, and what a report must say about it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.splits.given import SPLITS

__all__ = ["label_counts", "label_warnings", "strata"]

FloatArray = npt.NDArray[np.float64]

_QUANTILES = 5
_FEWEST_PATIENTS = 2
_SHARE_TOLERANCE = 0.05


def strata(labels: FloatArray, kind: str) -> list[str]:
    """Return the stratum that each sample is balanced by.

    Args:
        labels: ``(N, T)``, as ``labels_of`` returns them.
        kind: ``binary``, ``multi-class``, ``multi-label`` or ``real``.

    Returns:
        The class; of several labels the rarest that is positive, or none; of numbers the fifth of all samples in which
        the first of them lies.
    """
    if kind == "multi-label":
        rarest = np.argsort(labels.sum(axis=0), kind="stable")
        positive = labels[:, rarest] > 0
        found = np.where(positive.any(axis=1), rarest[positive.argmax(axis=1)], -1)
        return [str(label) for label in found]
    if kind == "real":
        borders = np.quantile(labels[:, 0], np.arange(1, _QUANTILES) / _QUANTILES)
        return [str(place) for place in np.searchsorted(borders, labels[:, 0], side="right")]
    return [str(int(label)) for label in labels[:, 0]]


def label_counts(
    labels: FloatArray, kind: str, classes: tuple[str, ...], targets: tuple[str, ...]
) -> dict[str, object]:
    """Return what some samples' labels are, as JSON facts.

    Args:
        labels: ``(N, T)``.
        kind: As for ``strata``.
        classes: Names of the classes.
        targets: Names of the targets.

    Returns:
        ``classes`` with the number of samples of each (of several labels, of positive ones); or ``targets`` with mean,
        deviation, least and greatest of each, None where there is no sample.
    """
    if kind != "real":
        return {"classes": dict(zip(classes, _members(labels, kind, len(classes)).sum(axis=0).tolist(), strict=True))}
    facts = {}
    for name, column in zip(targets, labels.T, strict=True):
        figures = (column.mean(), column.std(), column.min(), column.max()) if len(column) else (None,) * 4
        facts[name] = {
            key: None if figure is None else round(float(figure), 6)
            for key, figure in zip(("mean", "std", "min", "max"), figures, strict=True)
        }
    return {"targets": facts}


def label_warnings(frame: pd.DataFrame, labels: FloatArray, kind: str, classes: tuple[str, ...]) -> list[str]:
    """Return one sentence for each part that is empty, lacks a class, or has another share of it than the whole.

    Args:
        frame: With ``patient_id`` and ``split``.
        labels: ``(N, T)`` of its rows.
        kind: As for ``strata``.
        classes: Names of the classes; none for ``real``.
    """
    warnings = []
    splits, patients = frame["split"].to_numpy(), frame["patient_id"].to_numpy()
    members = _members(labels, kind, len(classes)) if classes else np.zeros((len(frame), 0), dtype=np.bool_)
    shares = members.mean(axis=0) if len(frame) else members.sum(axis=0)
    for split in SPLITS:
        here = splits == split
        if not here.any():
            warnings.append(f"No sample is in {split}.")
            continue
        for index, name in enumerate(classes):
            has = here & members[:, index]
            count, samples = len(np.unique(patients[has])), int(has.sum())
            share = samples / int(here.sum())
            if count < _FEWEST_PATIENTS:
                which = "No patient" if count == 0 else "Only one patient"
                warnings.append(f"{which} in {split} has the label {name}: figures on it say nothing there.")
            # Of two classes the second says it for both.
            elif abs(share - shares[index]) > _SHARE_TOLERANCE and (kind != "binary" or index == 1):
                warnings.append(
                    f"{share:.0%} of the samples in {split} have the label {name}, {shares[index]:.0%} of all."
                )
    return warnings


def _members(labels: FloatArray, kind: str, classes: int) -> npt.NDArray[np.bool_]:
    """Which sample has which label (N, K)."""
    if kind == "multi-label":
        return np.asarray(labels > 0)
    return np.asarray(labels[:, :1] == np.arange(classes))
