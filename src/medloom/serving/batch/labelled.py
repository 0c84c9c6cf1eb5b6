"""A finished batch measured against labels, as ``medloom evaluate --labels`` measures the results of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloom.data.layouts.base import is_image
from medloom.errors import UserError
from medloom.evaluation.external import ScoreOptions, evaluate_masks, evaluate_scores
from medloom.inference.writers import TABLE
from medloom.reports import write_evaluation_report
from medloom.serving.batch.folder import EVALUATION
from medloom.targets import KINDS, Target

__all__ = ["Labels", "measure"]

_TARGETS = "targets"


@dataclass(frozen=True)
class Labels:
    """What is true of the inputs.

    Args:
        path: CSV with the labels of images; folder, zip or file with true masks.
        id_column: Column of the CSV with the image's id; None for one with a common name, or the first.
        targets: Columns with the labels; those called as the model's targets, or one with a common name by default.
        patient: Column with the patient.
        groups: Columns by which metrics are also taken.
        patient_pattern: Of masks: finds the patient in a mask's name, as its first group.
        resamples: Resamples of the patients for the 95 % intervals.
    """

    path: Path
    id_column: str | None = None
    targets: tuple[str, ...] = ()
    patient: str | None = None
    groups: tuple[str, ...] = ()
    patient_pattern: str | None = None
    resamples: int = 1000

    def check(self, target: Target) -> None:
        """Refuse labels that a model's answers cannot be measured against.

        Args:
            target: What the model predicts.

        Raises:
            UserError: If they are missing, or of another kind.
        """
        if not self.path.exists():
            raise UserError(f"--labels: there is no {self.path}")
        is_table = self.path.is_file() and self.path.suffix.lower() != ".zip" and not is_image(self.path.name)
        if is_table == target.truth_is_mask:
            wanted = "a folder or zip with true masks" if target.truth_is_mask else "a CSV with a label for each image"
            raise UserError(f"--labels {self.path}: expected {wanted}, for that is what the model predicts")


def measure(
    folder: Path, target: Target, labels: Labels, progress: Callable[[int, int], None] | None = None
) -> tuple[Mapping[str, Any], Path]:
    """Measure what a finished batch has written, and write metrics, cases and a report into ``evaluation``.

    Inputs without a prediction or a label, and labels without an input, are left out with a warning.

    Args:
        folder: Output of the batch.
        target: What the model predicts.
        labels: What is true.
        progress: Called with masks done and masks in all.

    Returns:
        The summary, and the page of the report.

    Raises:
        DataError: With everything that is wrong in the labels.
    """
    made = folder / EVALUATION
    if target.truth_is_mask:
        summary = evaluate_masks(
            labels.path,
            folder / "masks",
            made,
            classes=_classes(target),
            patient_pattern=labels.patient_pattern,
            resamples=labels.resamples,
            partial=True,
            progress=progress,
        )
    else:
        summary = evaluate_scores(labels.path, folder / TABLE, made, _options(target, labels), labels.resamples)
    return summary, write_evaluation_report(made)


def _options(target: Target, labels: Labels) -> ScoreOptions:
    several = KINDS[target.kind].names == _TARGETS
    return ScoreOptions(
        id_column=labels.id_column,
        targets=labels.targets or (target.names if several else ()),
        patient=labels.patient,
        groups=labels.groups,
        classes=() if several else target.names,
        kind=target.kind,
        partial=True,
    )


def _classes(target: Target) -> Sequence[str]:
    """Classes by name; of several also by the values that masks hold."""
    if len(target.foreground) == 1 or not target.values:
        return target.names
    return [f"{name}={value}" for name, value in zip(target.names, target.values, strict=True)]
