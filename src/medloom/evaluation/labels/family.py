"""How labels of whole images are measured; what the kinds of labels do differently is in a file for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data import labels_of, meta_of
from medloom.evaluation.calibrate import Fitted
from medloom.evaluation.family import Choice, Facts, Heatmap
from medloom.evaluation.folds import notes_of_folds, rule_of_folds
from medloom.evaluation.gallery import Gallery, Group
from medloom.evaluation.labels.beside import baseline_names, of
from medloom.evaluation.labels.expected import certainty_of, learned, with_expected
from medloom.evaluation.labels.gallery import SHOWN, draw_items, worst_first
from medloom.evaluation.labels.measured import Measured
from medloom.evaluation.labels.sampling import METRICS
from medloom.evaluation.labels.summary import summarise
from medloom.evaluation.metrics import Metric
from medloom.evaluation.parts import Part
from medloom.evaluation.quality import Rated
from medloom.evaluation.reading import Reading, counted_by
from medloom.evaluation.summary import summary_of
from medloom.evaluation.tables import GROUP_PREFIX, UNCALIBRATED
from medloom.evaluation.text import sentence_case
from medloom.inference import Prediction, point_from_plain
from medloom.inference.answers.labels import LabelPrediction
from medloom.recipe import LabelsRecipe, Recipe

__all__ = ["Labels"]

_LOOKS = "The heat map shows {shown}; it does not say that the network was right to look there."


@dataclass(frozen=True)
class Labels(Measured, ABC):
    """Measures labels of whole images: decides, takes the metrics and draws the gallery."""

    # Calibrating and deciding

    def fit(self, cases: pd.DataFrame, recipe: LabelsRecipe) -> Fitted:
        """Fit what corrects the probabilities; nothing for numbers.

        Args:
            cases: Validation rows of the per-case table, with the network's own probabilities.
            recipe: Says how.
        """
        return Fitted()

    def calibrated(self, cases: pd.DataFrame, fitted: Fitted) -> pd.DataFrame:
        """Return a copy of the table with corrected scores, and the network's own beside them.

        Args:
            cases: The per-case table with the network's own scores.
            fitted: What corrects them.
        """
        if fitted.calibration is None:
            return cases
        own = cases[self.score_columns]
        made = fitted.calibration(own.to_numpy(np.float32), self.target.activation)
        scores = dict(zip(self.score_columns, made.astype(float).T, strict=True))
        return cases.assign(**{f"{UNCALIBRATED}{name}": own[name] for name in own}, **scores)

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

    def gallery_note(self, part: Part) -> str:
        """Say what a reader must know of the pictures."""
        return f"{sentence_case(part)} cases, the worst first."

    # What the driver asks for

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Those of labels."""
        return METRICS

    @property
    def case_columns(self) -> Sequence[str]:
        """A row is an image."""
        return ("sample_id",)

    def withheld(self, cases: pd.DataFrame) -> Mapping[str, str]:
        """Return those for which a class has too few cases."""
        return self.basis(cases).lacks

    def ranked(self, cases: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
        """Return the only question; None where there are several, or none."""
        questions = self.questions(cases)
        if len(questions) != 1 or questions[0].places is not None:
            return None
        return questions[0].truth, questions[0].score

    def measure(self, recipe: Recipe, reading: Reading, rows: pd.DataFrame) -> tuple[pd.DataFrame, Choice]:
        """Score every row once, calibrate and choose the thresholds on validation, and decide."""
        labels = LabelsRecipe.of(recipe)
        own = self._scored(reading, rows, labels)
        fitted = self.fit(own[own["split"] == "validation"], labels)
        scored = self.calibrated(own, fitted)
        choice = replace(self.choose(scored[scored["split"] == "validation"], labels), calibrated=fitted)
        table = self.decide(scored, choice.point["thresholds"])
        certainty, rated = learned(table, self, point_from_plain(choice.point, self.target))
        table, choice = with_expected(table, certainty, rated), replace(choice, rated=rated)
        return table if reading.baselines is None else self._beside(table, reading.baselines, labels), choice

    def fixed(self, point: Mapping[str, Any], rule: str) -> Choice:
        """Return thresholds that were chosen elsewhere; see ``medloom.evaluation.family``."""
        return self.chosen(point["thresholds"], rule if self.asked else self.rule)

    def measure_at(self, recipe: Recipe, reading: Reading, rows: pd.DataFrame, choice: Choice) -> pd.DataFrame:
        """Score every row and decide; see ``medloom.evaluation.family``."""
        own = self._scored(reading, rows, LabelsRecipe.of(recipe))
        table = self.decide(self.calibrated(own, choice.calibrated), choice.point["thresholds"])
        certainty = certainty_of(table, self, point_from_plain(choice.point, self.target))
        return with_expected(table, certainty, choice.rated)

    def heat_outputs(self, table: pd.DataFrame) -> NDArray[np.int64] | None:
        """Return the only output; kinds with several say which."""
        return np.zeros(len(table), np.int64)

    def summary(
        self, table: pd.DataFrame, choice: Choice, resamples: int, over: str = "patients", part: Part = "test"
    ) -> Facts:
        """Take every metric from the per-case table; see ``medloom.evaluation.family``."""
        measure = partial(summarise, labels=self, resamples=resamples)
        return summary_of(self.target, choice, table, measure, METRICS, self.headlines, resamples, over, part)

    def tables(self, table: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
        """Return nothing: there is no further table."""
        return {}

    def gallery(
        self,
        recipe: Recipe,
        reading: Reading,
        rows: pd.DataFrame,
        table: pd.DataFrame,
        heatmap: Heatmap | None,
        part: Part = "test",
    ) -> Gallery:
        """Draw the worst cases as the network saw them."""
        chosen = worst_first(self.mistakes(table[table["split"] == part], rows))
        known = rows.set_index("sample_id", drop=False).loc[list(chosen["sample_id"])]
        items = draw_items(chosen, reading.samples(known), heatmap)
        group = Group("worst", self.title, SHOWN, items)
        return Gallery([group], self.gallery_note(part), heatmaps=_LOOKS.format(shown=self.heat_shows))

    def differing(self, one: Prediction, other: Prediction) -> int:
        """Return 1 where the decisions differ, else 0."""
        return int(LabelPrediction.of(one).decision != LabelPrediction.of(other).decision)

    def combine(self, summaries: Sequence[Mapping[str, Any]]) -> Choice:
        """Return the mean of the folds' thresholds."""
        found = [one["operating_point"]["thresholds"] for one in summaries]
        means = [round(sum(values) / len(values), 6) for values in zip(*found, strict=True)]
        notes = notes_of_folds([one["notes"] for one in summaries])
        chosen = self.chosen(means, rule_of_folds(summaries, "their mean"), notes)
        return replace(chosen, calibrated=Fitted.of_folds(summaries), rated=Rated.of_folds(summaries))

    def _beside(self, table: pd.DataFrame, baselines: pd.DataFrame, recipe: LabelsRecipe) -> pd.DataFrame:
        """The table with the scores of the cheap models, and their decisions at points of their own."""
        whole = table.merge(baselines, on="sample_id", how="left", validate="one_to_one")
        for name in baseline_names(whole):
            other = whole.assign(**{column: whole[of(name, column)] for column in self.score_columns})
            point = self.choose(other[other["split"] == "validation"], recipe).point
            decided = self.decide(other, point["thresholds"])
            whole = whole.assign(**{of(name, column): decided[column] for column in self.decision_columns})
        return whole

    def _scored(self, reading: Reading, rows: pd.DataFrame, recipe: LabelsRecipe) -> pd.DataFrame:
        """The per-case table without decisions."""
        count = counted_by(reading.progress, len(rows))
        scores = [answer.output for answer in count(reading.answers(rows))]
        table = rows[["sample_id", "patient_id", "split"]].reset_index(drop=True)
        truth, meta = labels_of(rows), meta_of(rows)
        for index, name in enumerate(self.truth_columns):
            known = not np.isnan(truth[:, index]).any()
            table[name] = truth[:, index].astype(int) if self.probabilities and known else truth[:, index]
        for index, name in enumerate(self.score_columns):
            table[name] = [float(score[index]) for score in scores]
        for group in recipe.data.labels.groups:
            table[f"{GROUP_PREFIX}{group}"] = [row.get(group, "") for row in meta]
        return table
