"""The one table that all metrics come from: a row for each case and class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.inference import to_mask
from medloom.metrics import count_regions, dice_from_counts, hausdorff95, iou_from_counts
from medloom.targets import IGNORED

__all__ = ["CASE_COLUMNS", "CONFUSED", "PLAIN_THRESHOLD", "Case", "evaluate_cases"]

Mask = NDArray[np.uint8]
Row = dict[str, str | int | float | None]

PLAIN_THRESHOLD = 0.5
"""Threshold of the columns ``plain_…``: what the model would give without an operating point."""

CASE_COLUMNS = {
    "sample_id": "pseudonym of the sample",
    "patient_id": "pseudonym of the patient",
    "split": "train, validation or test",
    "class": "name of the class",
    "pixels": "pixels of the image, or voxels of the volume, that count",
    "truth_px": "pixels of the class in the truth",
    "predicted_px": "pixels of the class in the prediction, at the operating point",
    "overlap_px": "pixels of the class in both",
    "dice": "Dice coefficient; 1 if truth and prediction are empty",
    "iou": "intersection over union; 1 if both are empty",
    "hd95": "95th-percentile Hausdorff distance; empty if truth or prediction is",
    "hd95_unit": "mm, or px where the pixel size is not known",
    "regions": "connected components in the truth",
    "regions_found": "those of them that the prediction touches",
    "regions_false": "connected components of the prediction that touch no true region",
    "false_positive": "for an empty truth: 1 if anything was predicted, else 0; empty where there is foreground",
    "probability": "largest probability of the class in the image",
    "plain_predicted_px": "as predicted_px, at threshold 0.5 and without a smallest region",
    "plain_overlap_px": "as overlap_px, at threshold 0.5 and without a smallest region",
}
"""Columns of ``cases.csv`` and what they hold."""

CONFUSED = "predicted_as_"
"""With several classes: columns that hold how many pixels of the row's class were predicted as each class."""

_TEXT = ("sample_id", "patient_id", "split", "class", "hd95_unit")
_NUMBERS = ("dice", "iou", "hd95", "false_positive", "probability")
_TYPES = dict.fromkeys(_TEXT, "str") | dict.fromkeys(_NUMBERS, "float64")


@dataclass(frozen=True, eq=False)
class Case:
    """Truth and prediction of one image or volume, in its own geometry.

    Args:
        sample_id: Pseudonym of the sample.
        patient_id: Pseudonym of the patient.
        split: ``train``, ``validation`` or ``test``.
        truth: True class index of each pixel, (H, W) or (D, H, W) uint8, 0 = background, ``IGNORED`` where it counts
            nowhere.
        predicted: Predicted class index at the operating point, the same shape.
        probabilities: (K, H, W) float32: the foreground's (K = 1), or one for each class, the background first. None
            where there is a mask alone: what it holds then is certain.
        spacing_mm: Distance of neighbours along the axes of ``truth`` in mm, or None.
        further: Further columns of the rows of each foreground class, in their order; empty where there are none.
        certainty: How sure the prediction is, in a few numbers; empty where that is not asked.
    """

    sample_id: str
    patient_id: str
    split: str
    truth: Mask
    predicted: Mask
    probabilities: NDArray[np.float32] | None = None
    spacing_mm: tuple[float, ...] | None = None
    further: Sequence[Mapping[str, float]] = ()
    certainty: tuple[float, ...] = ()

    @property
    def plain(self) -> Mask:
        """Predicted class index at ``PLAIN_THRESHOLD``, every region kept."""
        return self.predicted if self.probabilities is None else to_mask(self.probabilities, PLAIN_THRESHOLD)

    def known(self) -> Case:
        """Return what is measured: truth and prediction are certain background where the truth is ignored.

        So no outline, region or largest probability is taken from there, and an outline that runs into an ignored part
        ends at its edge on both sides. What is cut away can split a region.
        """
        ignored = self.truth == IGNORED
        if not ignored.any():
            return self
        return replace(
            self,
            truth=np.where(ignored, 0, self.truth).astype(np.uint8),
            predicted=np.where(ignored, 0, self.predicted).astype(np.uint8),
            probabilities=None if self.probabilities is None else _without(self.probabilities, ignored),
        )

    def probability(self, index: int) -> float:
        """Return the largest probability of a foreground class."""
        if self.probabilities is None:
            return float((self.predicted == index).any())
        return float(self.probabilities[index - (len(self.probabilities) == 1)].max())


def evaluate_cases(cases: Iterable[Case], classes: Sequence[str]) -> pd.DataFrame:
    """Measure each case, one at a time, so that no more than one is held.

    Args:
        cases: Truth and prediction; may be a generator.
        classes: Names of the classes, the background first.

    Returns:
        One row for each case and class other than the background; see ``CASE_COLUMNS``, ``CONFUSED`` and ``further`` of
        the cases.

    Raises:
        ValueError: If truth and prediction of a case differ in size.
    """
    rows = [row for case in cases for row in _rows(case, classes)]
    columns = [*CASE_COLUMNS, *(f"{CONFUSED}{name}" for name in classes if len(classes) > 2)]
    further = [name for name in rows[0] if name not in columns] if rows else []
    table = pd.DataFrame(rows, columns=[*columns, *further])
    return table.astype({name: _TYPES.get(name, "int64") for name in columns})


def _rows(case: Case, classes: Sequence[str]) -> Iterator[Row]:
    pixels = int(np.count_nonzero(case.truth != IGNORED))
    case = case.known()
    plain = case.plain
    for index, name in enumerate(classes[1:], start=1):
        yield {
            "sample_id": case.sample_id,
            "patient_id": case.patient_id,
            "split": case.split,
            "class": name,
            "pixels": pixels,
            **_measure(case.truth == index, case.predicted == index, case.spacing_mm),
            "hd95_unit": "mm" if case.spacing_mm else "px",
            "probability": case.probability(index),
            "plain_predicted_px": int(np.count_nonzero(plain == index)),
            "plain_overlap_px": int(np.count_nonzero((plain == index) & (case.truth == index))),
            **_confused(case, index, classes),
            **(case.further[index - 1] if case.further else {}),
        }


def _without(probabilities: NDArray[np.float32], ignored: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Probabilities that are certain of the background in ignored pixels."""
    changed = probabilities.copy()
    changed[:, ignored] = 0.0
    if len(changed) > 1:
        changed[0, ignored] = 1.0
    return changed


def _confused(case: Case, index: int, classes: Sequence[str]) -> Row:
    """What the pixels of a class were taken for; with one class, the other columns say it."""
    if len(classes) == 2:
        return {}
    counts = np.bincount(case.predicted[case.truth == index], minlength=len(classes))
    return {f"{CONFUSED}{name}": int(count) for name, count in zip(classes, counts, strict=True)}


def _measure(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], spacing: tuple[float, ...] | None) -> Row:
    regions = count_regions(truth, predicted)  # refuses masks of different size
    counts = (np.count_nonzero(truth & predicted), np.count_nonzero(truth), np.count_nonzero(predicted))
    overlap_px, truth_px, predicted_px = (int(count) for count in counts)
    return {
        "truth_px": truth_px,
        "predicted_px": predicted_px,
        "overlap_px": overlap_px,
        "dice": float(dice_from_counts(overlap_px, truth_px, predicted_px)),
        "iou": float(iou_from_counts(overlap_px, truth_px, predicted_px)),
        "hd95": hausdorff95(truth, predicted, spacing),
        "regions": regions.regions,
        "regions_found": regions.found,
        "regions_false": regions.false,
        "false_positive": None if truth_px else float(predicted_px > 0),
    }
