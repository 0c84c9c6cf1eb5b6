"""What a classification run answers, and the columns of its per-case table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.errors import DataError
from medloom.models import LabelKind

__all__ = ["GROUP_PREFIX", "TargetInfo", "View", "check_cases", "views"]

Floats = NDArray[np.float64]

GROUP_PREFIX = "group_"
"""Columns of the per-case table by which figures are also taken."""


@dataclass(frozen=True)
class TargetInfo:
    """What is predicted for an image.

    The per-case table has a row for each image: ``sample_id``, ``patient_id``, ``split``, the columns below, any
    ``group_…`` columns and perhaps ``weight``.

    - ``binary``: ``truth`` 0 or 1, ``score`` the probability of the second name, ``decision`` 0 or 1;
    - ``multi-class``: ``truth`` and ``decision`` class indices, ``score_0`` … the probability of each class;
    - ``multi-label``: ``truth_0`` …, ``score_0`` …, ``decision_0`` …, one for each target;
    - ``real``: ``truth_0`` … and ``score_0`` …, the predicted values.

    Args:
        kind: Which of these.
        names: Names of the classes (``binary``: the negative one first) or of the targets.

    Raises:
        ValueError: If the number of names does not fit the kind.
    """

    kind: LabelKind
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        fits = {"binary": len(self.names) == 2, "multi-class": len(self.names) >= 2}
        if not fits.get(self.kind, bool(self.names)):
            raise ValueError(f"a {self.kind} target with {len(self.names)} names")

    @property
    def truth_columns(self) -> list[str]:
        """Columns of the truth."""
        return self._numbered("truth") if self.kind in ("multi-label", "real") else ["truth"]

    @property
    def score_columns(self) -> list[str]:
        """Columns of the probabilities, or of the predicted values."""
        return ["score"] if self.kind == "binary" else self._numbered("score")

    @property
    def decision_columns(self) -> list[str]:
        """Columns of the decisions; none for real values."""
        if self.kind == "real":
            return []
        return self._numbered("decision") if self.kind == "multi-label" else ["decision"]

    @property
    def columns(self) -> list[str]:
        """All of these, in the order of the table."""
        return [*self.truth_columns, *self.score_columns, *self.decision_columns]

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"kind": self.kind, "names": list(self.names)}

    def _numbered(self, name: str) -> list[str]:
        return [f"{name}_{index}" for index in range(len(self.names))]


@dataclass(frozen=True, eq=False)
class View:
    """One yes-or-no question about every case: the only one, one of several, or one class against the rest.

    Args:
        name: The positive class, or the target.
        truth: Whether each case is positive, (N,) bool.
        score: Its probability, (N,) 0 to 1.
        decision: Whether it was called positive, (N,) bool.
    """

    name: str
    truth: NDArray[np.bool_]
    score: Floats
    decision: NDArray[np.bool_]

    def constant(self) -> View:
        """Return the best answer that never looks: the more frequent class, and its frequency as probability."""
        share = float(self.truth.mean()) if len(self.truth) else 0.0
        return View(
            self.name, self.truth, np.full(len(self.truth), share), np.full(len(self.truth), share > 0.5, dtype=bool)
        )


def views(cases: pd.DataFrame, target: TargetInfo) -> list[View]:
    """Return the yes-or-no questions of a per-case table: one, or one for each class or target; none if real."""
    if target.kind == "real":
        return []
    if target.kind == "binary":
        truth, score, decision = (cases[name].to_numpy() for name in target.columns)
        return [View(target.names[1], truth == 1, score.astype(float), decision == 1)]
    found = []
    for index, name in enumerate(target.names):
        score = cases[f"score_{index}"].to_numpy(float)
        if target.kind == "multi-class":
            truth, decision = (cases[column].to_numpy() == index for column in ("truth", "decision"))
        else:
            truth, decision = (cases[f"{column}_{index}"].to_numpy() == 1 for column in ("truth", "decision"))
        found.append(View(name, truth, score, decision))
    return found


def check_cases(cases: pd.DataFrame, target: TargetInfo) -> None:
    """Check that a per-case table is what its target says.

    Args:
        cases: The table.
        target: What it should hold.

    Raises:
        DataError: With every column that is missing or holds what it must not.
    """
    wanted = ["sample_id", "patient_id", *target.columns]
    problems = [f"column {name} is missing" for name in wanted if name not in cases]
    if not problems:
        problems = [text for name in target.columns for text in _wrong(cases[name], name, target)]
        if cases["patient_id"].isna().any():
            problems.append("column patient_id has blanks")
    if problems:
        raise DataError(f"this is no per-case table of a {target.kind} target", problems)


def _wrong(column: pd.Series[Any], name: str, target: TargetInfo) -> list[str]:
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    if not np.isfinite(values).all():
        return [f"column {name} has {np.count_nonzero(~np.isfinite(values))} blanks or values that are no numbers"]
    if target.kind == "real":
        return []
    if name.startswith("score"):
        outside = np.count_nonzero((values < 0) | (values > 1))
        return [f"column {name} has {outside} values outside 0 to 1; expected probabilities"] if outside else []
    classes = len(target.names) if target.kind == "multi-class" else 2
    strange = np.count_nonzero(~np.isin(values, np.arange(classes)))
    return [f"column {name} has {strange} values other than 0 to {classes - 1}"] if strange else []
