"""The lines by which the tables know the kind of ``support.angle``."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest

import medloom.data.kinds
import medloom.evaluation.kinds
import medloom.inference.answers
import medloom.inference.writers
import medloom.models.kinds
import medloom.recipe.kinds
import medloom.reports.sections
import medloom.training.kinds
from medloom import registry, targets
from medloom.data.labels import Numbers
from medloom.evaluation.labels.sampling import METRICS as SUMMARY_METRICS
from medloom.evaluation.metrics import Metric
from medloom.inference.writers.labels import LabelWriter
from medloom.reports.sections.labels import LABELS as LABELS_SECTION
from medloom.targets import Kind
from medloom.training.labels import LabelTraining

__all__ = ["install"]

KIND = "angle"


def install(patch: pytest.MonkeyPatch) -> None:
    """Add a line to each table; first the names, which the recipe of the kind reads when it is made."""
    patch.setitem(registry.LOSSES, "periodic", registry.Entry("1 - cos", "support.angle:periodic", (KIND,)))
    error = registry.Metric("mean circular error", (KIND,), larger_is_better=False)
    patch.setitem(registry.METRICS, "angle_error", error)
    csv = registry.LAYOUTS["csv"]
    patch.setitem(registry.LAYOUTS, "csv", replace(csv, kinds=(*csv.kinds, KIND)))
    patch.setitem(
        SUMMARY_METRICS, "circular_error", Metric("Circular error", "Mean distance, in degrees.", "deg", "lower")
    )
    angle = importlib.import_module("support.angle")
    lines = [
        (targets.KINDS, Kind("angles in degrees", "targets", outputs=int, activation=lambda outputs: "identity")),
        (medloom.recipe.kinds.KINDS, angle.AngleRecipe),
        (medloom.data.kinds.KINDS, Numbers(KIND)),
        (medloom.models.kinds.KINDS, angle.AngleModels()),
        (medloom.training.kinds.KINDS, LabelTraining(angle.circular)),
        (medloom.evaluation.kinds.KINDS, angle.Angle),
        (medloom.inference.answers.KINDS, angle.ANSWERS),
        (medloom.inference.writers.KINDS, LabelWriter("angle")),
        (medloom.reports.sections.KINDS, LABELS_SECTION),
    ]
    for table, line in lines:
        patch.setitem(table, KIND, line)
