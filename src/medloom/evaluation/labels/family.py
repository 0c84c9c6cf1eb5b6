"""How labels of whole images are measured; what the kinds of labels do differently is in a file for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from medloom.data import labels_of, meta_of
from medloom.errors import DataError
from medloom.evaluation.family import Choice, Facts, Heatmap
from medloom.evaluation.folds import notes_of_folds, rule_of_folds
from medloom.evaluation.gallery import Gallery, Group
from medloom.evaluation.labels.gallery import SHOWN, draw_items, worst_first
from medloom.evaluation.labels.questions import Question
from medloom.evaluation.labels.sampling import METRICS, Sampler
from medloom.evaluation.labels.statistics import Measure
from medloom.evaluation.labels.summary import summarise
from medloom.evaluation.reading import Reading, counted_by
from medloom.evaluation.summary import summary_of
from medloom.evaluation.tables import GROUP_PREFIX
from medloom.recipe import LabelsRecipe, Recipe
from medloom.targets import Target

__all__ = ["Labels"]

_LOOKS = "The heat map shows {shown}; it does not say that the network was right to look there."


@dataclass(frozen=True)
class Labels(ABC):
    """Measures labels of whole images.

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

    def sizes(self, cases: pd.DataFrame) -> dict[str, int]:
        """Return how many cases count in a metric, where it is not all of them."""
        return {}

    def confusion(self, cases: pd.DataFrame) -> Facts | None:
        """Return the confusion matrix of classes."""
        return None

    def drawn(self, cases: pd.DataFrame, sampler: Sampler) -> Facts:
        """Return ``reliability`` and ``curves`` of the whole table, where there are any."""
        return {}

    def per_target(self, cases: pd.DataFrame, sampler: Sampler) -> Facts:
        """Return the facts of each class or target alone, where there are several."""
        return {}

    def pooled(self, cases: pd.DataFrame) -> pd.DataFrame | None:
        """Return a table with a row for each patient.

        None where no patient has several images, or where pooling has no meaning.
        """
        return None

    # Deciding

    def choose(self, cases: pd.DataFrame, recipe: LabelsRecipe) -> Choice:
        """Choose the operating point.

        Args:
            cases: Validation rows of the per-case table; decisions are not looked at.
            recipe: Says how.
        """
        return self.chosen((), self.rule)

    def chosen(self, thresholds: Sequence[float], rule: str, notes: Sequence[str] = ()) -> Choice:
        """Return an operating point with its sentence.

        Args:
            thresholds: From which probability on each question is answered with yes.
            rule: How they were chosen, in words.
            notes: What a reader should know of them.
        """
        return Choice({"thresholds": list(thresholds)}, rule, self.point_text(thresholds, rule), tuple(notes))

    @abstractmethod
    def point_text(self, thresholds: Sequence[float], rule: str) -> str:
        """Say in one sentence how is decided; nothing for numbers."""

    @abstractmethod
    def decide(self, cases: pd.DataFrame, thresholds: Sequence[float]) -> pd.DataFrame:
        """Return a copy of the table with its decisions made.

        Args:
            cases: The per-case table with its scores.
            thresholds: Of the operating point.
        """

    # Showing

    @abstractmethod
    def mistakes(self, cases: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
        """Return the cases that were answered wrongly.

        Args:
            cases: Rows of the per-case table, of one split.
            catalogue: The catalogue, all splits.

        Returns:
            ``sample_id``, ``caption``, ``by`` (the largest is the worst) and ``output`` (which a heat map is made for).
        """

    @property
    @abstractmethod
    def heat_shows(self) -> str:
        """What a heat map shows."""

    @property
    def gallery_note(self) -> str:
        """What a reader must know of the pictures."""
        return "Test cases, the worst first."

    # What the driver asks for

    def measure(self, recipe: Recipe, reading: Reading, rows: pd.DataFrame) -> tuple[pd.DataFrame, Choice]:
        """Score every row once, choose the thresholds on validation, and decide."""
        labels = LabelsRecipe.of(recipe)
        scored = self._scored(reading, rows, labels.data.labels.groups)
        choice = self.choose(scored[scored["split"] == "validation"], labels)
        return self.decide(scored, choice.point["thresholds"]), choice

    def summary(self, table: pd.DataFrame, choice: Choice, resamples: int, over: str = "patients") -> Facts:
        """Take every metric from the per-case table; see ``medloom.evaluation.family``."""
        measure = partial(summarise, labels=self, resamples=resamples)
        return summary_of(self.target, choice, table, measure, METRICS, self.headlines, resamples, over)

    def tables(self, table: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
        """Return nothing: there is no further table."""
        return {}

    def gallery(
        self, recipe: Recipe, reading: Reading, rows: pd.DataFrame, table: pd.DataFrame, heatmap: Heatmap | None
    ) -> Gallery:
        """Draw the worst test cases as the network saw them."""
        chosen = worst_first(self.mistakes(table[table["split"] == "test"], rows))
        known = rows.set_index("sample_id", drop=False).loc[list(chosen["sample_id"])]
        items = draw_items(chosen, reading.samples(known), heatmap)
        group = Group("worst", self.title, SHOWN, items)
        return Gallery([group], self.gallery_note, heatmaps=_LOOKS.format(shown=self.heat_shows))

    def combine(self, summaries: Sequence[Mapping[str, Any]]) -> Choice:
        """Return the mean of the folds' thresholds."""
        found = [one["operating_point"]["thresholds"] for one in summaries]
        means = [round(sum(values) / len(values), 6) for values in zip(*found, strict=True)]
        notes = notes_of_folds([one["notes"] for one in summaries])
        return self.chosen(means, rule_of_folds(summaries, "their mean"), notes)

    def _scored(self, reading: Reading, rows: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
        """The per-case table without decisions."""
        count = counted_by(reading.progress, len(rows))
        scores = [answer.output for answer in count(reading.answers(rows))]
        table = rows[["sample_id", "patient_id", "split"]].reset_index(drop=True)
        truth, meta = labels_of(rows), meta_of(rows)
        for index, name in enumerate(self.truth_columns):
            table[name] = truth[:, index].astype(int) if self.probabilities else truth[:, index]
        for index, name in enumerate(self.score_columns):
            table[name] = [float(score[index]) for score in scores]
        for group in groups:
            table[f"{GROUP_PREFIX}{group}"] = [row.get(group, "") for row in meta]
        return table

    def _wrong(self, column: pd.Series[Any], name: str) -> list[str]:
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
