"""What a run was measured on: the test set, or validation alone while the test set stays closed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from medloom.files import read_json

__all__ = [
    "ENSEMBLE_NOT_MEASURED",
    "HELD_BACK",
    "NOT_VALIDATED",
    "ON_VALIDATION",
    "Part",
    "ensemble_note",
    "evaluation_folder",
    "measured",
    "part_of",
    "read_summary",
]

Part = Literal["test", "validation"]

ON_VALIDATION = (
    "These are metrics on the validation patients, by whom the best epoch and the operating point were chosen, so they "
    "are a little too good."
)
"""What is said beside metrics on validation alone."""

HELD_BACK = f"The test set was held back. {ON_VALIDATION}"
"""The same, where the test set was never opened."""

ENSEMBLE_NOT_MEASURED = (
    "The ensemble itself was not measured: every patient trained one of its members. The metrics are those of its "
    "members, each on its own held-out fold."
)
"""What is said beside metrics of cross-validation."""


ENSEMBLE_MEASURED = (
    "The ensemble that is packaged was measured on {cases}, which none of its members saw, at the operating point that "
    "it is packaged with."
)
"""What is said where patients were held out of all folds."""

INSTEAD_MEASURED = (
    "What is packaged was measured on {cases}, which neither it nor the networks of the folds saw, at the operating "
    "point that it is packaged with. {text}"
)
"""The same, where one network was to be packaged in the place of the ensemble."""

NOT_VALIDATED = (
    "Not validated elsewhere: every image that it was measured on is of the source that it learned from. Models that "
    "are excellent at home have been no better than chance in another hospital."
)
"""What is said of a model until it was measured on images of another source."""


def evaluation_folder(run_dir: Path, part: Part = "test") -> Path:
    """Return where the files of an evaluation are; those of validation alone lie beside, never over, those of test.

    Args:
        run_dir: The run directory.
        part: What is measured.
    """
    return run_dir / "evaluation" if part == "test" else run_dir / "evaluation" / part


def read_summary(run_dir: Path, part: Part = "test") -> dict[str, Any]:
    """Return the summary of an evaluation of a run; empty if there is none."""
    path = evaluation_folder(run_dir, part) / "summary.json"
    summary: dict[str, Any] = read_json(path) if path.is_file() else {}
    return summary


def part_of(summary: Mapping[str, Any]) -> Part:
    """Return what the metrics of a summary are of."""
    return "validation" if summary.get("part") == "validation" else "test"


def ensemble_note(summary: Mapping[str, Any]) -> str:
    """Say on what the ensemble of folds, or what is in its place, was measured; empty for a summary without folds."""
    if "folds" not in summary:
        return ""
    if not summary.get("held_out"):
        return ENSEMBLE_NOT_MEASURED
    cases, served = summary["held_out"]["cases_text"], summary.get("served")
    if served:
        return INSTEAD_MEASURED.format(cases=cases, text=served["text"])
    return ENSEMBLE_MEASURED.format(cases=cases)


def measured(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts, metrics and all else of the part that a summary is of; empty for an empty one."""
    facts: dict[str, Any] = summary.get(part_of(summary), {})
    return facts
