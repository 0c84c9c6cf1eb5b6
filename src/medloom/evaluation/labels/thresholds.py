"""Labels that a threshold decides: a yes or no for each question."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from medloom.evaluation.calibrate import Asked, Fitted, calibrate_questions
from medloom.evaluation.family import Choice
from medloom.evaluation.labels.family import Labels
from medloom.evaluation.labels.point import Rule, choose_threshold, note_of, thresholds_text
from medloom.recipe.kinds.labels import ClassesEvaluate

__all__ = ["Thresholded"]


@dataclass(frozen=True)
class Thresholded(Labels, ABC):
    """Measures labels that are decided by a threshold for each question."""

    pooling: ClassVar[str] = (
        "positive if one image is, with the highest score of their images and called positive if one was"
    )

    def fit_by(self, cases: pd.DataFrame, asked: Asked) -> Fitted:
        """Fit each question by itself.

        Args:
            cases: Validation rows of the per-case table.
            asked: ``calibration`` of the recipe.
        """
        questions = []
        for name, truth, score in zip(self.asked, self.truth_columns, self.score_columns, strict=True):
            known = cases[cases[truth].notna()]
            questions.append((name, known[truth].to_numpy() == 1, known[score].to_numpy(np.float32)))
        return calibrate_questions(questions, asked)

    def choose_by(self, cases: pd.DataFrame, evaluate: ClassesEvaluate) -> Choice:
        """Choose the threshold of each question on validation cases.

        Args:
            cases: Validation rows of the per-case table; decisions are not looked at.
            evaluate: ``threshold``, ``rule``, ``min_sensitivity`` and ``cost_ratio`` of the recipe.
        """
        pairs = list(zip(self.truth_columns, self.score_columns, strict=True))
        if evaluate.threshold != "auto":
            return self.chosen((evaluate.threshold,) * len(pairs), "fixed in the recipe: threshold")
        rule, thresholds, notes = Rule.of(evaluate), [], []
        for name, columns in zip(self.asked, pairs, strict=True):
            known = cases[cases[columns[0]].notna()]
            truth, score = (known[column].to_numpy(float) for column in columns)
            thresholds.append(choose_threshold(truth, score, rule))
            notes.append(note_of(name, truth, score, thresholds[-1]))
        return self.chosen(thresholds, rule.words, [note for note in notes if note])

    def point_text(self, thresholds: Sequence[float], rule: str) -> str:
        """Say from which probability on each question is answered with yes."""
        return thresholds_text(self.asked, thresholds, rule)

    def decide(self, cases: pd.DataFrame, thresholds: Sequence[float]) -> pd.DataFrame:
        """Answer each question with yes from its threshold on."""
        trio = zip(self.score_columns, self.decision_columns, thresholds, strict=True)
        return cases.assign(**{decision: (cases[score] >= at).astype(int) for score, decision, at in trio})

    def constant(self, cases: pd.DataFrame) -> pd.DataFrame:
        """Give every case the more frequent answer, with the share of positive cases as probability."""
        pairs = zip(self.truth_columns, self.score_columns, strict=True)
        means = {score: cases[truth].mean() for truth, score in pairs}
        decisions = zip(self.decision_columns, means.values(), strict=True)
        return cases.assign(**means, **{name: int(mean > 0.5) for name, mean in decisions})

    def pooled(self, cases: pd.DataFrame) -> pd.DataFrame | None:
        """Pool the images of each patient: positive if one image is, and the highest score."""
        if cases["patient_id"].nunique() == len(cases):
            return None
        pooled = cases.groupby("patient_id", sort=True)[self.columns].max().reset_index()
        return pooled.assign(sample_id=pooled["patient_id"])
