"""An operating point and a calibration that a run has from another one, because it has nobody to choose them by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from medloom.errors import UserError
from medloom.evaluation import KINDS, Choice, Part
from medloom.evaluation.calibrate import Fitted
from medloom.files import write_json
from medloom.inference.calibration import Calibration
from medloom.pipeline.runs import Run
from medloom.reports.facts import read_facts
from medloom.reports.kept import KEPT, kept_text

__all__ = ["keep_point", "kept_choice", "kept_note"]


def keep_point(run: Run, summary: Mapping[str, Any], text: str) -> None:
    """Write down that a run keeps the operating point and the calibration of another one.

    Args:
        run: The run.
        summary: ``summary.json`` of the other one.
        text: What readers must know of that.
    """
    fitted = summary["calibration"]["fitted"]
    facts = {"operating_point": summary["operating_point"], "rule": summary["rule"], "calibration": fitted}
    write_json(run.folder / KEPT, {**facts, "text": text})


def kept_choice(run: Run, part: Part) -> Choice | None:
    """Return the operating point and the calibration that a run keeps; None if it chooses its own.

    Raises:
        UserError: If validation is to be measured, on which it was trained.
    """
    facts = read_facts(run.folder / KEPT)
    if not facts:
        return None
    if part == "validation":
        raise UserError(f"{run.folder} was trained on the validation patients, too; they cannot measure it")
    target, fitted = run.recipe.predicts(), facts["calibration"]
    choice = KINDS[target.kind](target).fixed(facts["operating_point"], facts["rule"])
    calibration = None if fitted is None else Calibration.from_plain(fitted)
    text = "Kept from the best trial of the study." if calibration else ""
    return replace(choice, calibrated=Fitted(calibration, text=text))


def kept_note(run: Run) -> str:
    """Return what readers must know of the point that a run keeps; empty if it chooses its own."""
    return kept_text(run.folder)
