"""Measuring what is made of the networks of all folds, on what was held out of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from medloom.data import Source
from medloom.data.splits.given import HELD_OUT
from medloom.evaluation.comparison import paired_headlines
from medloom.evaluation.driver import write_measured
from medloom.evaluation.family import Choice, Facts, Family, Heatmap
from medloom.evaluation.gallery import write_gallery
from medloom.evaluation.kinds import KINDS
from medloom.evaluation.parts import evaluation_folder
from medloom.evaluation.reading import Progress, Reading
from medloom.files import read_json
from medloom.inference import Predictor, point_from_plain
from medloom.recipe import Recipe
from medloom.wording import counted

__all__ = ["Together"]


@dataclass(frozen=True, eq=False)
class Together:
    """Measures networks on what was held out of all folds, at the operating point of the folds; nothing is chosen.

    Args:
        recipe: The recipe of the whole.
        folds: The run directories of the folds, each measured.
        catalogue: That of any fold: all have the same part held out.
        source: Where the files are.
        progress: Called with images done and images in all.
    """

    recipe: Recipe
    folds: Sequence[Path]
    catalogue: pd.DataFrame
    source: Source
    progress: Progress | None = None

    @cached_property
    def rows(self) -> pd.DataFrame:
        """What was held out, as a test part; empty where nothing was."""
        return self.catalogue[self.catalogue["split"] == HELD_OUT].assign(split="test")

    @cached_property
    def family(self) -> Family:
        """How the kind of answer is measured."""
        target = self.recipe.predicts()
        return KINDS[target.kind](target)

    @cached_property
    def choice(self) -> Choice:
        """The operating point and the calibration that the folds have together."""
        return self.family.combine(self._found)

    @property
    def precision(self) -> Facts | None:
        """What fewer bits cost the network that loses most by them, on the validation patients of its own fold.

        Those of one fold taught the networks of the others, so nothing is said of all together. None for float32.
        """
        found = [one["precision"] for one in self._found if "precision" in one]
        if not found:
            return None
        worst = max(range(len(found)), key=lambda number: found[number]["loss"])
        cases = f"{found[worst]['cases']} of fold {worst + 1}, whose network loses most of the {len(found)},"
        return {**found[worst], "cases": cases}

    def measure(self, predictor: Predictor) -> pd.DataFrame:
        """Return the per-case table of a predictor, of everything that was held out.

        Args:
            predictor: A network as a bundle will run it; its own point and calibration are not used.

        Raises:
            DataError: If a file cannot be read any more.
        """
        return self.family.measure_at(self.recipe, self._reading(predictor), self.rows, self.choice)

    def summary(self, table: pd.DataFrame) -> Facts:
        """Return every metric of a per-case table, as ``summary.json`` holds them."""
        return self.family.summary(table, self.choice, self.recipe.evaluate.bootstrap, self._over)

    def paired(self, ours: pd.DataFrame, theirs: pd.DataFrame) -> Facts:
        """Return by how much the headlines of one per-case table exceed those of another of the same cases."""
        return paired_headlines(self.family, ours, theirs, self.recipe.evaluate.bootstrap)

    def cases_text(self, table: pd.DataFrame) -> str:
        """Say how many images there are in a per-case table, and of how many patients where they are known."""
        images = counted(table["sample_id"].nunique(), "image")
        return (
            images if self._over != "patients" else f"{images} of {counted(table['patient_id'].nunique(), 'patient')}"
        )

    def write(
        self,
        table: pd.DataFrame,
        predictor: Predictor,
        run_dir: Path,
        *,
        measured_with: Mapping[str, Any],
        heatmap: Heatmap | None = None,
    ) -> Facts:
        """Write what was measured into ``run_dir/evaluation/held-out``: ``cases.csv``, ``summary.json``, the gallery.

        Args:
            table: The per-case table, of all that was held out or of some of it.
            predictor: What gave it.
            run_dir: The run directory of the whole.
            measured_with: What the metrics are of; kept in the summary.
            heatmap: Shows where the networks looked; None for no heat maps.

        Returns:
            The summary, as in ``summary.json``.
        """
        folder = evaluation_folder(run_dir) / HELD_OUT
        summary = {**self.summary(table), "measured_with": dict(measured_with)}
        write_measured(folder, self.family, table, summary)
        served = replace(predictor, calibration=self.choice.calibrated.calibration)
        point = point_from_plain(self.choice.point, self.recipe.predicts())
        reading = replace(self._reading(served.at(point)), progress=None)
        rows = self.rows[self.rows["sample_id"].isin(table["sample_id"])]
        write_gallery(folder, self.family.gallery(self.recipe, reading, rows, table, heatmap))
        return summary

    def _reading(self, predictor: Predictor) -> Reading:
        return Reading(self.recipe, self.source, predictor, self.progress, catalogue=self.catalogue)

    @cached_property
    def _found(self) -> list[Facts]:
        """The summary of each fold."""
        return [read_json(evaluation_folder(fold) / "summary.json") for fold in self.folds]

    @property
    def _over(self) -> str:
        over: str = self._found[0]["interval"]["over"]
        return over
