"""Measuring a bundle on images of another source, at its own operating point and with its own calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from medloom.data import Source
from medloom.evaluation.calibrate import Fitted
from medloom.evaluation.driver import write_measured
from medloom.evaluation.elsewhere.compare import beside, findings
from medloom.evaluation.elsewhere.heat import heat_facts
from medloom.evaluation.elsewhere.recalibration import recalibration_facts
from medloom.evaluation.elsewhere.shift import shift_facts, shift_findings
from medloom.evaluation.family import Heatmap
from medloom.evaluation.gallery import write_gallery
from medloom.evaluation.kinds import KINDS
from medloom.evaluation.quality import Rated
from medloom.evaluation.reading import Progress, Reading
from medloom.inference import Predictor
from medloom.recipe import Recipe

__all__ = ["evaluate_elsewhere"]

_POINT = "the bundle's, chosen on validation patients of its own source"
_RATED = "as the bundle expects, learned on validation patients of its own source."
_CALIBRATION = "the bundle's, fitted on validation patients of its own source."


def evaluate_elsewhere(
    recipe: Recipe,
    catalogue: pd.DataFrame,
    source: Source,
    predictor: Predictor,
    folder: Path,
    *,
    internal: Mapping[str, Any],
    over: str,
    heatmap: Heatmap | None = None,
    measured_with: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a bundle on every sample of another source; nothing is chosen or fitted.

    Writes into ``folder``: ``cases.csv``, ``summary.json``, ``gallery.json`` and ``gallery/*.png``; for masks also
    ``patients.csv``.

    Args:
        recipe: Says how to read the files.
        catalogue: Every sample, all of the split ``test``.
        source: Where the files are.
        predictor: That of the bundle, with its operating point and its calibration.
        folder: Where to write.
        internal: Estimates by name on held-out patients of the bundle's own source.
        over: What the intervals are over: ``patients``, or ``images`` where it is not known whose they are.
        heatmap: Shows where the network looked; None for no heat maps.
        measured_with: With what the network is computed; kept in the summary.
        progress: Called with images done and images in all.

    Returns:
        The summary, as in ``summary.json``: that of any evaluation, and in ``elsewhere`` the metrics ``beside`` the
        internal ones, ``shift`` of the images, ``recalibration``, ``heat`` and ``findings`` in sentences.

    Raises:
        DataError: If a file cannot be read any more.
    """
    target = predictor.target
    family = KINDS[target.kind](target)
    calibrated = Fitted(predictor.calibration, text=_CALIBRATION if predictor.calibration else "")
    rated = Rated(predictor.quality, _RATED if predictor.quality else "")
    choice = replace(family.fixed(predictor.point.plain(), _POINT), calibrated=calibrated, rated=rated)
    reading = Reading(recipe, source, replace(predictor, calibration=None), progress, catalogue=catalogue)
    table = family.measure_at(recipe, reading, catalogue, choice)
    summary = family.summary(table, choice, recipe.evaluate.bootstrap, over)
    summary["measured_with"] = dict(measured_with or {})
    compared = beside(summary["test"]["metrics"], internal)
    shift = shift_facts(reading, catalogue, predictor.appearance)
    worse = findings(compared, summary["meanings"], summary["headlines"])
    summary["elsewhere"] = {
        "beside": compared,
        "shift": shift,
        "recalibration": recalibration_facts(table, target),
        "heat": heat_facts(family, reading, catalogue, table, heatmap) if heatmap else {},
        "findings": [*worse, *shift_findings(shift)],
    }
    write_measured(folder, family, table, summary)
    seen = replace(reading, predictor=predictor, progress=None)
    write_gallery(folder, family.gallery(recipe, seen, catalogue, table, heatmap))
    return summary
