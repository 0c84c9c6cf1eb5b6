"""What it costs to compute a network in fewer bits, on the validation patients, and whether that is let through.

Each is measured as it would be served: calibrated, and at the operating point that is chosen with it. The test patients
are not looked at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from medloom.errors import MedloomError
from medloom.evaluation.comparison import paired_headlines
from medloom.evaluation.family import Facts
from medloom.evaluation.kinds import KINDS
from medloom.evaluation.metrics import worse_by
from medloom.evaluation.reading import Reading
from medloom.evaluation.text import loss_text
from medloom.inference import Predictor
from medloom.wording import counted

__all__ = ["PrecisionError", "check_loss", "measure_loss"]


class PrecisionError(MedloomError):
    """A network loses too much in fewer bits, or how much cannot be measured."""


def measure_loss(reading: Reading, exact: Predictor, reduced: Predictor, *, over: str = "patients") -> Facts:
    """Measure a network in float32 and in fewer bits on the validation patients.

    Args:
        reading: Reads the samples of ``reading.catalogue``; its predictor is not used.
        exact: The network in float32.
        reduced: The same in fewer bits.
        over: What the interval is over: ``patients``, or ``images`` where it is not known whose they are.

    Returns:
        ``metric`` (the first headline), ``label``, ``cases`` in words, ``exact``, ``reduced``,
        ``difference`` (the second minus the first, with a paired interval) and ``loss``, which is positive where it is
        worse.

    Raises:
        PrecisionError: If it is not defined on these patients.
    """
    recipe, family = reading.recipe, KINDS[reading.recipe.target.kind](reading.recipe.predicts())
    tables, metrics, meanings = list[pd.DataFrame](), list[Facts](), Facts()
    for predictor in (exact, reduced):
        rows = _validation(reading.catalogue)
        one = replace(reading, predictor=replace(predictor, calibration=None))
        table, choice = family.measure(recipe, one, rows)
        summary = family.summary(table, choice, recipe.evaluate.bootstrap, over, "validation")
        tables.append(_validation(table))
        metrics.append(summary["validation"]["metrics"])
        meanings = summary["meanings"]
    apart = paired_headlines(family, tables[1], tables[0], recipe.evaluate.bootstrap)
    name = family.headlines[0]
    if not all(_known(found.get(name)) for found in (*metrics, apart)):
        raise PrecisionError(
            f"{meanings[name]['label']} is not defined on {_cases(tables[0], over)}, so what fewer bits cost is not "
            "known; nothing was packaged, keep fp32"
        )
    return {
        "metric": name,
        "label": meanings[name]["label"],
        "cases": _cases(tables[0], over),
        "exact": metrics[0][name],
        "reduced": metrics[1][name],
        "difference": apart[name],
        "loss": worse_by(apart[name]["value"], metrics[0][name]["value"], meanings[name]),
    }


def check_loss(found: Facts, precision: str, limit: float) -> None:
    """Raise if a loss is above the limit.

    Args:
        found: As from ``measure_loss``.
        precision: In what it was computed.
        limit: The largest loss that is let through.

    Raises:
        PrecisionError: With both figures.
    """
    if not found["loss"] <= limit:
        raise PrecisionError(
            f"package.precision={precision}: {loss_text(found, precision)}, a loss of {found['loss']:.4f}; at most "
            f"{limit:g} is let through (package.precision_limit). Nothing was packaged; keep fp32, or try another "
            "precision or package.runtime"
        )


def _validation(table: pd.DataFrame | None) -> pd.DataFrame:
    if table is None:
        raise ValueError("expected a reading that knows the catalogue")
    return table[table["split"] == "validation"]


def _known(metric: Any) -> bool:  # noqa: ANN401 - a metric as it is in a summary, or nothing
    return metric is not None and metric["value"] is not None and not np.isnan(metric["value"])


def _cases(table: pd.DataFrame, over: str) -> str:
    images = counted(table["sample_id"].nunique(), "validation image")
    return images if over != "patients" else f"{images} of {counted(table['patient_id'].nunique(), 'patient')}"
