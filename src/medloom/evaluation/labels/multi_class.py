"""One of several classes for the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom import metrics
from medloom.evaluation.calibrate import Fitted, calibrate_classes
from medloom.evaluation.family import Facts
from medloom.evaluation.labels.cheap import Features, class_scores
from medloom.evaluation.labels.enough import Basis, basis_of_classes
from medloom.evaluation.labels.family import Labels
from medloom.evaluation.labels.gallery import mistakes
from medloom.evaluation.labels.point import thresholds_text
from medloom.evaluation.labels.questions import Question
from medloom.evaluation.labels.sampling import Sampler, drawn_facts, matrix_facts, question_facts
from medloom.evaluation.labels.statistics import Floats64, Measure, calibration_measure, decision_metrics, mean_of
from medloom.recipe import LabelsRecipe
from medloom.recipe.kinds.labels import MultiClassRecipe

__all__ = ["MultiClass"]


@dataclass(frozen=True)
class MultiClass(Labels):
    """Measures several classes: ``truth`` and ``decision`` class indices, ``score_0`` … the probability of each."""

    headlines: ClassVar[tuple[str, ...]] = ("balanced_accuracy", "roc_auc", "average_precision", "accuracy")
    rule: ClassVar[str] = "the most probable class; of equally probable ones the first"
    add_up: ClassVar[bool] = True
    pooling: ClassVar[str] = "the most probable class by the mean probabilities of their images"

    def questions(self, cases: pd.DataFrame) -> list[Question]:
        """Return each class against the rest."""
        truth, decision = (cases[name].to_numpy() for name in ("truth", "decision"))
        return [
            Question(name, truth == index, cases[f"score_{index}"].to_numpy(float), decision == index)
            for index, name in enumerate(self.target.names)
        ]

    def statistics(self, cases: pd.DataFrame) -> Measure:
        """Return the metrics over the classes: means of those that each class has, and those of all decisions."""
        truth, decision = (cases[name].to_numpy().astype(np.int64) for name in ("truth", "decision"))
        scores, questions = cases[self.score_columns].to_numpy(float), self.questions(cases)
        calibration = calibration_measure(self._most_probable(cases))
        present = [question for question in questions if question.truth.any()]
        seen = [index for index, one in enumerate(questions) if one.truth.any() or one.decision.any()]

        def measure(weights: Floats64) -> dict[str, Floats64]:
            matrix = metrics.confusion_matrix(truth, decision, len(self.target.names), weights)
            areas = [metrics.roc_auc(one.truth, one.score, weights) for one in present]
            precisions = [metrics.average_precision(one.truth, one.score, weights) for one in present]
            return {
                "roc_auc": mean_of(areas, len(weights)),
                "average_precision": mean_of(precisions, len(weights)),
                "f1": mean_of(list(metrics.f1_score(matrix)[:, seen].T), len(weights)),
                **decision_metrics(matrix),
                "brier": metrics.brier_score(truth, scores, weights),
                "log_loss": metrics.log_loss(truth, scores, weights),
                **calibration(weights),
            }

        return measure

    def basis(self, cases: pd.DataFrame) -> Basis:
        """Return how many cases count: where each class counts alike, there must be enough of each."""
        return basis_of_classes(self.questions(cases))

    def constant(self, cases: pd.DataFrame) -> pd.DataFrame:
        """Give every case the most frequent class, with the share of each class as its probability."""
        truth = cases["truth"].to_numpy().astype(int)
        shares = np.bincount(truth, minlength=len(self.target.names)) / len(truth)
        scores = dict(zip(self.score_columns, shares, strict=True))
        return cases.assign(decision=int(shares.argmax()), **scores)

    def constant_answer(self, constant: pd.DataFrame) -> str:
        """Return the most frequent class."""
        return self.target.names[int(constant["decision"].iloc[0])] if len(constant) else "the same"

    def confusion(self, cases: pd.DataFrame) -> Facts:
        """Return the confusion matrix of the classes."""
        return matrix_facts(cases["truth"].to_numpy(), cases["decision"].to_numpy(), self.target.names)

    def drawn(self, cases: pd.DataFrame, sampler: Sampler) -> Facts:
        """Return the reliability of the most probable class."""
        return {"reliability": drawn_facts(self._most_probable(cases), sampler)["reliability"]}

    def per_target(self, cases: pd.DataFrame, sampler: Sampler) -> Facts:
        """Return the facts of each class against the rest."""
        return {question.name: question_facts(question, sampler) for question in self.questions(cases)}

    def pooled(self, cases: pd.DataFrame) -> pd.DataFrame | None:
        """Pool the images of each patient by their mean probabilities."""
        pooled = self.averaged(cases)
        return None if pooled is None else self.decide(pooled, ())

    def cheap(self, features: Features, truth: Floats64) -> Floats64 | None:
        """Return the probability of each class."""
        return class_scores(features, truth[:, 0], len(self.target.names))

    def point_text(self, thresholds: Sequence[float], rule: str) -> str:
        """Say the rule: there is no threshold."""
        return thresholds_text((), (), rule)

    def fit(self, cases: pd.DataFrame, recipe: LabelsRecipe) -> Fitted:
        """Fit what corrects the probabilities of all classes, together, on validation cases."""
        asked = MultiClassRecipe.of(recipe).evaluate.calibration
        truth, scores = cases["truth"].to_numpy(np.int64), cases[self.score_columns].to_numpy(np.float32)
        return calibrate_classes(self.target.names, truth, scores, asked)

    def decide(self, cases: pd.DataFrame, thresholds: Sequence[float]) -> pd.DataFrame:
        """Decide for the most probable class, the first of equal ones."""
        return cases.assign(decision=cases[self.score_columns].to_numpy(float).argmax(axis=1))

    def mistakes(self, cases: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
        """Return the cases of another class than was decided, with the probability of the decision."""
        wrong = cases[cases["truth"] != cases["decision"]]
        decision, names = wrong["decision"].to_numpy(int), self.target.names
        score = wrong[self.score_columns].to_numpy(float)[np.arange(len(wrong)), decision]
        truth = [names[index] for index in wrong["truth"].to_numpy(int)]
        return mistakes(wrong, truth, [names[index] for index in decision], score, decision)

    def heat_outputs(self, table: pd.DataFrame) -> NDArray[np.int64] | None:
        """Return the class decided for."""
        return table["decision"].to_numpy(np.int64)

    @property
    def heat_shows(self) -> str:
        """The heat map is that of the class decided for."""
        return "what speaks for the decided class"

    def _most_probable(self, cases: pd.DataFrame) -> Question:
        """Whether the most probable class is the true one, for the calibration."""
        scores, truth = cases[self.score_columns].to_numpy(float), cases["truth"].to_numpy()
        right = scores.argmax(axis=1) == truth
        return Question("most probable class", right, scores.max(axis=1), np.ones(len(truth), bool))
