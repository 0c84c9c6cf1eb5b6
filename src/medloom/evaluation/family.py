"""What every kind of answer provides so that one driver can measure it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.calibrate import Fitted
from medloom.evaluation.gallery import Gallery
from medloom.evaluation.metrics import Metric
from medloom.evaluation.parts import Part
from medloom.evaluation.quality import Rated
from medloom.evaluation.reading import Reading
from medloom.inference import Prediction
from medloom.recipe import Recipe
from medloom.targets import Target

__all__ = ["Choice", "Facts", "Family", "Heatmap", "Measure"]

Facts = dict[str, Any]
"""Plain JSON types by name."""

Measure = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]
"""From weights (B, N), how often each case counts, to metrics of shape (B,) by name."""

Heatmap = Callable[[NDArray[np.float32], NDArray[np.float32] | None, int], NDArray[Any] | None]
"""From ``(1, C, h, w)``, encoded metadata ``(1, F)`` or None and an output's number to ``(h, w)`` in 0..1, or None."""


@dataclass(frozen=True)
class Choice:
    """An operating point and how it was chosen.

    Args:
        point: The point as plain JSON types, as ``medloom.inference.point_from_plain`` takes it.
        rule: How it was chosen, in words.
        text: The point in one sentence; empty where there is nothing to decide.
        notes: What a reader should know, such as a target without a positive validation case.
        search: What else was tried, for ``operating_point.json``.
        facts: What else the summary says of the choice.
        calibrated: How the probabilities were corrected before it was chosen.
        rated: What says how good answers at it are to be expected.
    """

    point: Mapping[str, Any]
    rule: str
    text: str = ""
    notes: tuple[str, ...] = ()
    search: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    calibrated: Fitted = field(default_factory=Fitted)
    rated: Rated = field(default_factory=Rated)

    def plain(self) -> Facts:
        """Return what ``operating_point.json`` holds."""
        return {**self.point, "rule": self.rule, "notes": list(self.notes), **self.search}


class Family(Protocol):
    """How one kind of answer is measured; made from a target."""

    @property
    def target(self) -> Target:
        """What is predicted."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What metrics there are, and what they mean."""

    @property
    def headlines(self) -> Sequence[str]:
        """The metrics that a report begins with."""

    @property
    def case_columns(self) -> Sequence[str]:
        """Columns of the per-case table that say which case a row is."""

    @property
    def truth_columns(self) -> Sequence[str]:
        """Columns of the per-case table that hold the truth, whatever was predicted."""

    def statistics(self, cases: pd.DataFrame) -> Measure:
        """Return the metrics of a per-case table as statistics, by which two models are compared.

        Args:
            cases: Rows of the per-case table, of one split.
        """

    def withheld(self, cases: pd.DataFrame) -> Mapping[str, str]:
        """Return the metrics that have too few cases to be shown, and why.

        Args:
            cases: Rows of the per-case table, of one split.
        """

    def ranked(self, cases: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
        """Return the truth (N,) and the score (N,) of the only yes-or-no question of every case; None without one.

        Args:
            cases: Rows of the per-case table, of one split.
        """

    def measure(self, recipe: Recipe, reading: Reading, rows: pd.DataFrame) -> tuple[pd.DataFrame, Choice]:
        """Calibrate and choose the operating point on the validation rows, and measure every row with both.

        Args:
            recipe: Says how to calibrate and to choose the operating point.
            reading: Reads samples and runs the network.
            rows: The rows of the catalogue that are measured: validation, and test where it is opened.

        Returns:
            The per-case table, and the choice.
        """

    def fixed(self, point: Mapping[str, Any], rule: str) -> Choice:
        """Return an operating point that was chosen elsewhere.

        Args:
            point: The point as plain JSON types.
            rule: Where it comes from, in words.
        """

    def measure_at(self, recipe: Recipe, reading: Reading, rows: pd.DataFrame, choice: Choice) -> pd.DataFrame:
        """Measure every row with a calibration and at an operating point that were chosen before.

        Args:
            recipe: Says how to read the files.
            reading: Reads samples and runs the network, which is not calibrated.
            rows: The rows of the catalogue that are measured.
            choice: The calibration and the operating point.

        Returns:
            The per-case table.
        """

    def heat_outputs(self, table: pd.DataFrame) -> NDArray[np.int64] | None:
        """Return for which output of each case a heat map says what spoke for its answer; None where there are none.

        Args:
            table: The per-case table.
        """

    def summary(
        self, table: pd.DataFrame, choice: Choice, resamples: int, over: str = "patients", part: Part = "test"
    ) -> Facts:
        """Take every metric from the per-case table.

        Args:
            table: A row for each case, of one or two splits.
            choice: The operating point by which the table was made.
            resamples: Resamples of the patients for the 95 % intervals; 0 gives no intervals.
            over: What is drawn: ``patients`` or ``images``.
            part: What is measured.

        Returns:
            What ``summary.json`` holds.
        """

    def tables(self, table: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
        """Return further tables to be written, by file name."""

    def gallery(
        self,
        recipe: Recipe,
        reading: Reading,
        rows: pd.DataFrame,
        table: pd.DataFrame,
        heatmap: Heatmap | None,
        part: Part = "test",
    ) -> Gallery:
        """Choose and draw cases of the part that is measured.

        Args:
            recipe: The recipe.
            reading: Reads samples and runs the network, at the operating point that was chosen.
            rows: The catalogue, all splits.
            table: The per-case table.
            heatmap: Shows where a network looked; None for no heat maps.
            part: What is measured.
        """

    def differing(self, one: Prediction, other: Prediction) -> int:
        """Return in how much of what is decided two answers to one image differ: pixels, or decisions.

        Args:
            one: An answer.
            other: Another one, of the same shape.
        """

    def combine(self, summaries: Sequence[Mapping[str, Any]]) -> Choice:
        """Return the operating point of several folds together.

        Args:
            summaries: The summary of each fold.
        """
