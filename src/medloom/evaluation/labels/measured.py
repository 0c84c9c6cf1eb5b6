"""What the metrics of labels are made of; the kinds of labels say it in a file for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from medloom.errors import DataError
from medloom.evaluation.family import Facts
from medloom.evaluation.labels.cheap import Features
from medloom.evaluation.labels.enough import Basis
from medloom.evaluation.labels.questions import Question
from medloom.evaluation.labels.sampling import Sampler
from medloom.evaluation.labels.statistics import Floats64, Measure
from medloom.evaluation.quality import Achieved
from medloom.targets import Target

__all__ = ["Measured"]


@dataclass(frozen=True)
class Measured(ABC):
    """The per-case table of labels of whole images, and what the metrics are made of.

    The per-case table has a row for each image: ``sample_id``, ``patient_id``, ``split``, the columns below, any
    ``group_…`` columns and perhaps ``weight``.

    Args:
        target: What is predicted.
    """

    target: Target

    headlines: ClassVar[tuple[str, ...]] = ("roc_auc", "average_precision", "sensitivity", "specificity")
    """The metrics that a report begins with."""

    rule: ClassVar[str] = ""
    """How is decided where there is no threshold to choose; empty where there is one."""

    probabilities: ClassVar[bool] = True
    """Whether scores are probabilities and truths are classes; else both are numbers of any size."""

    add_up: ClassVar[bool] = False
    """Whether the scores of a case are probabilities that add up to 1."""

    pooling: ClassVar[str] = ""
    """How the images of a patient are put together for the metrics over patients."""

    title: ClassVar[str] = "Most confident mistakes"
    """Title of the gallery."""

    # The per-case table

    @property
    def truth_columns(self) -> list[str]:
        """Columns of the truth."""
        return ["truth"]

    @property
    def score_columns(self) -> list[str]:
        """Columns of the probabilities, or of the predicted numbers."""
        return self._numbered("score")

    @property
    def decision_columns(self) -> list[str]:
        """Columns of the decisions; none for numbers."""
        return ["decision"]

    @property
    def columns(self) -> list[str]:
        """All of these, in the order of the table."""
        return [*self.truth_columns, *self.score_columns, *self.decision_columns]

    @property
    def cells(self) -> tuple[str, ...]:
        """What a column of the truth may hold, by index; nothing for numbers."""
        return self.target.names

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of the questions that a threshold answers; none where there is no threshold."""
        return ()

    @property
    def positive(self) -> str | None:
        """The positive class, where there is exactly one."""
        return None

    def check(self, cases: pd.DataFrame) -> None:
        """Check that a per-case table is what the target says.

        Raises:
            DataError: With every column that is missing or holds what it must not.
        """
        wanted = ["sample_id", "patient_id", *self.columns]
        problems = [f"column {name} is missing" for name in wanted if name not in cases]
        if not problems:
            problems = [text for name in self.columns for text in self._wrong(cases[name], name)]
            if cases["patient_id"].isna().any():
                problems.append("column patient_id has blanks")
        if problems:
            raise DataError(f"this is no per-case table of a {self.target.kind} target", problems)

    @abstractmethod
    def cheap(self, features: Features, truth: Floats64) -> Floats64 | None:
        """Return what a cheap model would answer, in the order of ``score_columns``.

        Args:
            features: What it sees.
            truth: Of every sample, (N, T), as `labels_of` gives it.

        Returns:
            (N, scores); None where there is too little to learn from.
        """

    # What the metrics are made of

    @abstractmethod
    def questions(self, cases: pd.DataFrame) -> list[Question]:
        """Return the yes-or-no questions: one, or one for each class or target; none for numbers."""

    @abstractmethod
    def statistics(self, cases: pd.DataFrame) -> Measure:
        """Return the metrics of a whole table: of its only question, over its classes, or over its targets."""

    @abstractmethod
    def constant(self, cases: pd.DataFrame) -> pd.DataFrame:
        """Return the table as it would be if every case got the same answer; it has at least one row."""

    @abstractmethod
    def constant_answer(self, constant: pd.DataFrame) -> str:
        """Say which answer ``constant`` gave."""

    @abstractmethod
    def basis(self, cases: pd.DataFrame) -> Basis:
        """Return how many cases count in the metrics of a whole table, and which of them have too few."""

    def confusion(self, cases: pd.DataFrame) -> Facts | None:
        """Return the confusion matrix of classes."""
        return None

    def drawn(self, cases: pd.DataFrame, sampler: Sampler) -> Facts:
        """Return ``reliability`` and ``curves`` of the whole table, where there are any."""
        return {}

    def achieved(self, cases: pd.DataFrame) -> Achieved | None:
        """Return whether each case was decided rightly, in all labels whose truth is known; None for numbers."""
        if not self.decision_columns:
            return None
        truth, decision = (cases[names].to_numpy(float) for names in (self.truth_columns, self.decision_columns))
        right = ((truth == decision) | np.isnan(truth)).all(axis=1)
        return Achieved(right.astype(float), ~right, cases["patient_id"].to_numpy(), "decided wrongly")

    def per_target(self, cases: pd.DataFrame, sampler: Sampler) -> Facts:
        """Return the facts of each class or target alone, where there are several."""
        return {}

    def pooled(self, cases: pd.DataFrame) -> pd.DataFrame | None:
        """Return a table with a row for each patient; ``pooling`` says how.

        None where no patient has several images, or where pooling has no meaning.
        """
        return None

    def averaged(self, cases: pd.DataFrame) -> pd.DataFrame | None:
        """Return the mean scores of each patient's images; None where the images of a patient differ in their truth."""
        by_patient = cases.groupby("patient_id", sort=True)
        if by_patient.ngroups == len(cases) or (by_patient[self.truth_columns].nunique(dropna=False) > 1).any(
            axis=None
        ):
            return None
        pooled = pd.concat([by_patient[self.truth_columns].first(), by_patient[self.score_columns].mean()], axis=1)
        return pooled.reset_index().assign(sample_id=pooled.index.to_numpy())

    def _wrong(self, column: pd.Series[Any], name: str) -> list[str]:
        if name in self.truth_columns:
            column = column.dropna()  # a truth that is not known
        values = pd.to_numeric(column, errors="coerce").to_numpy(float)
        if not np.isfinite(values).all():
            return [f"column {name} has {np.count_nonzero(~np.isfinite(values))} blanks or values that are no numbers"]
        if not self.probabilities:
            return []
        if name in self.score_columns:
            outside = np.count_nonzero((values < 0) | (values > 1))
            return [f"column {name} has {outside} values outside 0 to 1; expected probabilities"] if outside else []
        strange = np.count_nonzero(~np.isin(values, np.arange(len(self.cells))))
        return [f"column {name} has {strange} values other than 0 to {len(self.cells) - 1}"] if strange else []

    def _numbered(self, name: str) -> list[str]:
        return [f"{name}_{index}" for index in range(len(self.target.names))]
