"""Numbers for the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from medloom.data import labels_of
from medloom.evaluation.family import Facts
from medloom.evaluation.labels.cheap import Features, number_scores
from medloom.evaluation.labels.enough import Basis, basis_of_numbers
from medloom.evaluation.labels.family import Labels
from medloom.evaluation.labels.questions import Question
from medloom.evaluation.labels.sampling import Sampler, compared
from medloom.evaluation.labels.statistics import Floats64, Measure, mean_of, value_measure
from medloom.evaluation.parts import Part
from medloom.evaluation.text import quantity

__all__ = ["Regression"]


@dataclass(frozen=True)
class Regression(Labels):
    """Measures numbers: ``truth_0`` … and ``score_0`` …, the predicted values; nothing is decided."""

    headlines: ClassVar[tuple[str, ...]] = ("mae", "rmse", "r2", "spearman")
    rule: ClassVar[str] = "the predicted value"
    probabilities: ClassVar[bool] = False
    title: ClassVar[str] = "Largest errors"
    pooling: ClassVar[str] = "the mean of the numbers predicted for their images"

    @property
    def truth_columns(self) -> list[str]:
        """A column for each target."""
        return self._numbered("truth")

    @property
    def decision_columns(self) -> list[str]:
        """None: nothing is decided."""
        return []

    @property
    def cells(self) -> tuple[str, ...]:
        """Nothing: a truth is a number."""
        return ()

    def questions(self, cases: pd.DataFrame) -> list[Question]:
        """Return none."""
        return []

    def statistics(self, cases: pd.DataFrame) -> Measure:
        """Return the metrics of the only target, or the means of those without a unit over several."""
        measures = [value_measure(*pair) for pair in self._pairs(cases)]
        if len(measures) == 1:
            return measures[0]

        def measure(weights: Floats64) -> dict[str, Floats64]:
            found = [each(weights) for each in measures]  # errors of different units have no mean
            return {name: mean_of([one[name] for one in found], len(weights)) for name in ("r2", "spearman")}

        return measure

    def basis(self, cases: pd.DataFrame) -> Basis:
        """Return how many cases count."""
        return basis_of_numbers(int(cases[self.truth_columns].notna().sum().min()))

    def constant(self, cases: pd.DataFrame) -> pd.DataFrame:
        """Give every case the mean of each target."""
        pairs = zip(self.truth_columns, self.score_columns, strict=True)
        return cases.assign(**{score: cases[truth].mean() for truth, score in pairs})

    def constant_answer(self, constant: pd.DataFrame) -> str:
        """Return what a constant answer of numbers is."""
        return "the mean"

    def per_target(self, cases: pd.DataFrame, sampler: Sampler) -> Facts:
        """Return the metrics of each of several targets."""
        names = self.target.names
        if len(names) == 1:
            return {}
        return {name: _facts(*pair, sampler) for name, pair in zip(names, self._pairs(cases), strict=True)}

    def pooled(self, cases: pd.DataFrame) -> pd.DataFrame | None:
        """Pool the images of each patient by the mean of their predictions."""
        return self.averaged(cases)

    def cheap(self, features: Features, truth: Floats64) -> Floats64 | None:
        """Return the number predicted for each target, each from a model of its own."""
        found = [number_scores(features, column) for column in truth.T]
        known = [scores for scores in found if scores is not None]
        return np.stack(known, axis=1) if len(known) == len(found) else None

    def point_text(self, thresholds: Sequence[float], rule: str) -> str:
        """Say nothing: nothing is decided."""
        return ""

    def decide(self, cases: pd.DataFrame, thresholds: Sequence[float]) -> pd.DataFrame:
        """Return a copy: nothing is decided."""
        return cases.copy()

    def mistakes(self, cases: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
        """Return the numbers that were not predicted exactly; see ``errors``."""
        return self.errors(cases, labels_of(catalogue))

    def errors(self, cases: pd.DataFrame, known: ArrayLike) -> pd.DataFrame:
        """Return the numbers that were not predicted exactly.

        Args:
            cases: Rows of the per-case table, of one split.
            known: True values of all samples, shape (N, targets). An error is as large as it is in standard deviations
                of its target there, so that targets of different units can be compared, and folds with each other.

        Returns:
            ``sample_id``, ``caption``, ``by`` (the size of the error in standard deviations) and ``output``. A case
            with several targets comes once for each.
        """
        values = np.asarray(known, float)
        spread, size = np.nanstd(values, axis=0), np.nanmax(np.abs(values), axis=0)
        units = np.where(spread > 1e-12 * size, spread, 1.0)  # a constant has no spread
        pairs = enumerate(self._pairs(cases))
        found = [self._of_number(cases["sample_id"], index, *pair, float(units[index])) for index, pair in pairs]
        return pd.concat(found, ignore_index=True)

    @property
    def heat_shows(self) -> str:
        """The heat map is that of the number."""
        return "what raises the predicted number"

    def gallery_note(self, part: Part) -> str:
        """With several targets, how errors of different units are compared."""
        several = " The targets have different units, so an error counts in standard deviations of its target."
        return super().gallery_note(part) + (several if len(self.target.names) > 1 else "")

    def _pairs(self, cases: pd.DataFrame) -> list[tuple[Floats64, Floats64]]:
        """True and predicted values of each target."""
        pairs = zip(self.truth_columns, self.score_columns, strict=True)
        return [(cases[truth].to_numpy(float), cases[score].to_numpy(float)) for truth, score in pairs]

    def _of_number(
        self, samples: pd.Series[str], index: int, truth: Floats64, predicted: Floats64, spread: float
    ) -> pd.DataFrame:
        """The errors of one target."""
        spreads = np.abs(predicted - truth) / spread
        captions = [self._caption(index, *values) for values in zip(truth, predicted, spreads, strict=True)]
        columns = {"sample_id": samples.to_numpy(), "caption": captions, "by": spreads, "output": index}
        found: pd.DataFrame = pd.DataFrame(columns).loc[(predicted != truth) & ~np.isnan(truth)]
        return found

    def _caption(self, index: int, truth: float, predicted: float, spreads: float) -> str:
        name, error = self.target.names[index], quantity(predicted - truth, sign=True)
        size = f", {spreads:,.1f} standard deviations" if len(self.target.names) > 1 else ""
        return f"{name} true {quantity(truth)}, predicted {quantity(predicted)}, error {error}{size}"


def _facts(truth: Floats64, predicted: Floats64, sampler: Sampler) -> Facts:
    """The metrics of one target beside those of its mean."""
    known = truth[~np.isnan(truth)]
    mean = np.full(len(truth), known.mean() if len(known) else 0.0)
    basis = basis_of_numbers(len(known))
    return {
        "metrics": sampler.metrics(value_measure(truth, predicted), basis),
        "baselines": compared(sampler.metrics(value_measure(truth, mean), basis)),
    }
