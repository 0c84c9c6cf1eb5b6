"""One of two classes for the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medloom.evaluation.calibrate import Fitted
from medloom.evaluation.family import Choice, Facts
from medloom.evaluation.labels.cheap import Features, class_scores
from medloom.evaluation.labels.enough import Basis, basis_of_question
from medloom.evaluation.labels.gallery import mistakes
from medloom.evaluation.labels.questions import Question
from medloom.evaluation.labels.sampling import Sampler, drawn_facts, matrix_facts
from medloom.evaluation.labels.statistics import Floats64, Measure, question_measure
from medloom.evaluation.labels.thresholds import Thresholded
from medloom.recipe import LabelsRecipe
from medloom.recipe.kinds.labels import BinaryRecipe

__all__ = ["Binary"]


@dataclass(frozen=True)
class Binary(Thresholded):
    """Measures two classes: ``truth`` 0 or 1, ``score`` the probability of the second name, ``decision`` 0 or 1."""

    @property
    def score_columns(self) -> list[str]:
        """The column of the probability."""
        return ["score"]

    @property
    def asked(self) -> tuple[str, ...]:
        """The positive class."""
        return self.target.names[1:]

    @property
    def positive(self) -> str:
        """The positive class."""
        return self.target.names[1]

    def questions(self, cases: pd.DataFrame) -> list[Question]:
        """Return the only question: whether a case is positive."""
        return [Question.asked(self.positive, *(cases[name] for name in self.columns))]

    def statistics(self, cases: pd.DataFrame) -> Measure:
        """Return the metrics of the question."""
        return question_measure(self.questions(cases)[0])

    def basis(self, cases: pd.DataFrame) -> Basis:
        """Return how many cases count in the metrics of the question."""
        return basis_of_question(self.questions(cases)[0])

    def constant_answer(self, constant: pd.DataFrame) -> str:
        """Return the more frequent class."""
        return self.target.names[int(constant["decision"].iloc[0])] if len(constant) else "the same"

    def confusion(self, cases: pd.DataFrame) -> Facts:
        """Return the confusion matrix of both classes."""
        return matrix_facts(cases["truth"].to_numpy(), cases["decision"].to_numpy(), self.target.names)

    def drawn(self, cases: pd.DataFrame, sampler: Sampler) -> Facts:
        """Return the curves and the reliability of the question."""
        return drawn_facts(self.questions(cases)[0], sampler)

    def cheap(self, features: Features, truth: Floats64) -> Floats64 | None:
        """Return the probability of the second class."""
        scores = class_scores(features, truth[:, 0], 2)
        return None if scores is None else scores[:, 1:]

    def fit(self, cases: pd.DataFrame, recipe: LabelsRecipe) -> Fitted:
        """Fit what corrects the probability on validation cases."""
        return self.fit_by(cases, BinaryRecipe.of(recipe).evaluate.calibration)

    def choose(self, cases: pd.DataFrame, recipe: LabelsRecipe) -> Choice:
        """Choose the threshold on validation cases."""
        return self.choose_by(cases, BinaryRecipe.of(recipe).evaluate)

    def mistakes(self, cases: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
        """Return the cases of the other class than was decided, with the probability of the decision."""
        wrong = cases[cases["truth"] != cases["decision"]]
        decision, names = wrong["decision"].to_numpy(int), self.target.names
        score = np.where(decision == 1, wrong["score"], 1.0 - wrong["score"])
        truth = [names[index] for index in wrong["truth"].to_numpy(int)]
        return mistakes(wrong, truth, [names[index] for index in decision], score, 0)

    @property
    def heat_shows(self) -> str:
        """The network has one output, that of the second class."""
        return f"what speaks for {self.positive}"
