"""Any of several labels for the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom import metrics
from medloom.evaluation.calibrate import Fitted
from medloom.evaluation.family import Choice, Facts
from medloom.evaluation.labels.cheap import Features, class_scores
from medloom.evaluation.labels.enough import Basis, basis_of_labels, basis_of_question
from medloom.evaluation.labels.gallery import mistakes
from medloom.evaluation.labels.questions import Question
from medloom.evaluation.labels.sampling import Sampler, question_facts
from medloom.evaluation.labels.statistics import Floats64, Measure, mean_of, question_measure
from medloom.evaluation.labels.thresholds import Thresholded
from medloom.recipe import LabelsRecipe
from medloom.recipe.kinds.labels import MultiLabelRecipe

__all__ = ["MultiLabel"]

_MEANS = (
    "roc_auc",
    "average_precision",
    "sensitivity",
    "specificity",
    "precision",
    "npv",
    "f1",
    "balanced_accuracy",
    "mcc",
    "brier",
    "log_loss",
    "ece",
)


@dataclass(frozen=True)
class MultiLabel(Thresholded):
    """Measures several labels: ``truth_0`` …, ``score_0`` …, ``decision_0`` …, one for each label."""

    @property
    def truth_columns(self) -> list[str]:
        """A column for each label, 0 or 1."""
        return self._numbered("truth")

    @property
    def decision_columns(self) -> list[str]:
        """A column for each label, 0 or 1."""
        return self._numbered("decision")

    @property
    def cells(self) -> tuple[str, ...]:
        """A label is there or not."""
        return ("0", "1")

    @property
    def asked(self) -> tuple[str, ...]:
        """Each label."""
        return self.target.names

    def questions(self, cases: pd.DataFrame) -> list[Question]:
        """Return whether each label is there."""
        return [
            Question.asked(name, *(cases[f"{column}_{index}"] for column in ("truth", "score", "decision")))
            for index, name in enumerate(self.target.names)
        ]

    def statistics(self, cases: pd.DataFrame) -> Measure:
        """Return means over the labels that have enough cases for a metric, and how often all labels are right."""
        questions = self.questions(cases)
        measures, lacks = (
            [question_measure(one) for one in questions],
            [basis_of_question(one).lacks for one in questions],
        )
        whole = self._whole(cases)
        right = (cases[self.truth_columns].to_numpy() == cases[self.decision_columns].to_numpy()).all(axis=1)[whole]

        def measure(weights: Floats64) -> dict[str, Floats64]:
            found = [each(weights) for each in measures]
            means = {
                name: mean_of(
                    [one[name] for one, few in zip(found, lacks, strict=True) if name not in few], len(weights)
                )
                for name in _MEANS
            }
            return {**means, "exact_match": metrics.weighted_mean(right.astype(float), weights[:, whole])}

        return measure

    def basis(self, cases: pd.DataFrame) -> Basis:
        """Return how many cases count; a mean is over the labels that have enough of them, and says over how many."""
        return basis_of_labels(self.questions(cases), _MEANS, int(self._whole(cases).sum()), len(cases))

    def constant_answer(self, constant: pd.DataFrame) -> str:
        """Return what a constant answer of several labels is."""
        return "the more frequent answer for each label"

    def per_target(self, cases: pd.DataFrame, sampler: Sampler) -> Facts:
        """Return the facts of each label."""
        return {question.name: question_facts(question, sampler) for question in self.questions(cases)}

    def cheap(self, features: Features, truth: Floats64) -> Floats64 | None:
        """Return the probability of each label, each from a model of its own."""
        found = [class_scores(features, column, 2) for column in truth.T]
        known = [scores[:, 1] for scores in found if scores is not None]
        return np.stack(known, axis=1) if len(known) == len(found) else None

    def fit(self, cases: pd.DataFrame, recipe: LabelsRecipe) -> Fitted:
        """Fit what corrects the probability of each label on validation cases."""
        return self.fit_by(cases, MultiLabelRecipe.of(recipe).evaluate.calibration)

    def choose(self, cases: pd.DataFrame, recipe: LabelsRecipe) -> Choice:
        """Choose the threshold of each label on validation cases."""
        return self.choose_by(cases, MultiLabelRecipe.of(recipe).evaluate)

    def mistakes(self, cases: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
        """Return the labels that were missed or given wrongly; a case comes once for each of them."""
        found = [self._of_label(cases, index, name) for index, name in enumerate(self.target.names)]
        return pd.concat(found, ignore_index=True)

    def heat_outputs(self, table: pd.DataFrame) -> NDArray[np.int64] | None:
        """Return the most probable label."""
        return np.asarray(table[self.score_columns].to_numpy(float).argmax(axis=1))

    @property
    def heat_shows(self) -> str:
        """The heat map is that of the label that was wrong."""
        return "what speaks for the label in question"

    def _whole(self, cases: pd.DataFrame) -> NDArray[np.bool_]:
        """Cases of which every label is known, (N,)."""
        return np.asarray(cases[self.truth_columns].notna().to_numpy().all(axis=1))

    def _of_label(self, cases: pd.DataFrame, index: int, name: str) -> pd.DataFrame:
        """Cases that have one of several labels and were not given it, or the reverse."""
        known = cases[cases[f"truth_{index}"].notna()]
        wrong = known[known[f"truth_{index}"] != known[f"decision_{index}"]]
        given = wrong[f"decision_{index}"].to_numpy(int) == 1
        score = wrong[f"score_{index}"].to_numpy(float)
        truth, decision = np.where(given, f"not {name}", name), np.where(given, name, f"not {name}")
        return mistakes(wrong, truth, decision, np.where(given, score, 1.0 - score), index)
