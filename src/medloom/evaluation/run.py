"""Measuring a run: choose the operating point on validation, then measure validation and test with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data import Source
from medloom.evaluation.cases import Case, evaluate_cases
from medloom.evaluation.figures import interval_facts, meanings, write_table
from medloom.evaluation.gallery import choose_cases, draw_case, shown_channel, write_gallery
from medloom.evaluation.operating_point import RULE, Choice, choose_operating_point
from medloom.evaluation.reading import Answer, answers
from medloom.evaluation.summary import FIGURES, patient_table, summarise
from medloom.files import write_json
from medloom.inference import Predictor
from medloom.recipe import EvaluateConfig, Recipe

__all__ = ["evaluate"]

Progress = Callable[[int, int], None]
T = TypeVar("T")
_MOST_LOST = 0.5  # share of the Dice at threshold 0.5
_OnGrid = tuple[NDArray[np.uint8], NDArray[np.float32], str]


def evaluate(
    recipe: Recipe,
    catalogue: pd.DataFrame,
    source: Source,
    predictor: Predictor,
    run_dir: Path,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a predictor on the validation and the test patients.

    Writes into ``run_dir/evaluation``: ``operating_point.json`` (the grid and the choice), ``cases.csv`` (a row
    for each slice; every figure comes from it), ``patients.csv``, ``summary.json``, ``gallery.json`` and
    ``gallery/*.png``. The operating point is chosen on validation alone, so the test figures are honest; the
    validation figures are a little too good.

    Args:
        recipe: Says how to read the files and to choose the operating point.
        catalogue: The catalogue with its splits.
        source: Where the files are.
        predictor: What is measured; its own operating point is not used.
        run_dir: The run directory.
        progress: Called with images done and images in all; validation counts twice when it is searched.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        DataError: If a file cannot be read any more.
    """
    folder, config = run_dir / "evaluation", recipe.evaluate
    parts = {split: catalogue[catalogue["split"] == split] for split in ("validation", "test")}
    searched = parts["validation"] if "auto" in (config.threshold, config.min_lesion_px) else catalogue[:0]
    report = _Counter(progress, len(searched) + sum(len(part) for part in parts.values()))

    def run(rows: pd.DataFrame, by: Predictor) -> Iterator[Answer]:
        return answers(rows, source, by, recipe.data, config.batch_size)

    choice = choose_operating_point(_on_grid(report(run(searched, predictor)), predictor), config)
    write_json(folder / "operating_point.json", choice.plain() | {"rule": _rule(config)})
    chosen = predictor.at(choice.point)
    cases = (answer.case(chosen) for part in parts.values() for answer in report(run(part, chosen)))
    table = evaluate_cases(cases, recipe.data.classes)
    write_table(folder / "cases.csv", table)
    write_table(folder / "patients.csv", patient_table(table))
    summary = _summary(table, choice, config)
    write_json(folder / "summary.json", summary)
    _gallery(folder, table, parts, recipe, lambda rows: run(rows, chosen), chosen)
    return summary


def _on_grid(found: Iterable[Answer], predictor: Predictor) -> Iterator[_OnGrid]:
    """Truth, probabilities and patient on the network's grid, where small lesions are erased."""
    for answer in found:
        truth = predictor.preprocess.resize_mask(answer.sample.truth)
        yield truth, answer.probabilities, answer.sample.row["patient_id"]


def _summary(table: pd.DataFrame, choice: Choice, config: EvaluateConfig) -> dict[str, Any]:
    validation = summarise(table[table["split"] == "validation"], config.bootstrap)
    return {
        "operating_point": {"threshold": choice.point.threshold, "min_lesion_px": choice.point.min_lesion_px},
        "rule": _rule(config),
        "within_limit": choice.within_limit,
        "notes": _notes(choice, validation),
        "interval": interval_facts(config.bootstrap),
        "validation": validation,
        "test": summarise(table[table["split"] == "test"], config.bootstrap),
        "meanings": meanings(FIGURES),
    }


def _notes(choice: Choice, validation: dict[str, Any]) -> list[str]:
    """What a reader should know of the operating point."""
    notes = []
    if not choice.within_limit:
        notes.append("no operating point kept to the largest share of false alarms on the validation slices")
    found, plain = (validation[part]["dice_lesion"]["value"] for part in ("figures", "plain"))
    if found is None:
        notes.append("no validation slice holds a lesion to choose the operating point by")
    elif found == 0.0:
        notes.append("the operating point finds no validation lesion: the model cannot tell lesions from the rest")
    elif found < _MOST_LOST * plain and len(choice.thresholds) * len(choice.min_lesions_px) > 1:
        notes.append(
            f"the operating point takes Dice on validation slices with a lesion from {plain:.3f} (at 0.5) "
            f"to {found:.3f}; with a larger evaluate.max_false_alarms more lesions are kept"
        )
    return notes


def _rule(config: EvaluateConfig) -> str:
    fixed = [key for key in ("threshold", "min_lesion_px") if getattr(config, key) != "auto"]
    given = f"fixed in the recipe: {' and '.join(fixed)}" if fixed else ""
    searched = RULE.format(limit=f"{100 * config.max_false_alarms:g} %") if len(fixed) < 2 else ""
    return "; ".join(filter(None, (given, searched)))


def _gallery(
    folder: Path,
    table: pd.DataFrame,
    parts: dict[str, pd.DataFrame],
    recipe: Recipe,
    run: Callable[[pd.DataFrame], Iterator[Answer]],
    predictor: Predictor,
) -> None:
    """Draw the chosen test cases, which are predicted once more: no prediction was kept."""
    rows = parts["test"]
    groups = choose_cases(table[table["split"] == "test"])
    chosen = rows[rows["sample_id"].isin({sample for group in groups.values() for sample in group})]
    channel = shown_channel(recipe.data.channels)

    def drawn() -> Iterator[tuple[Case, NDArray[np.uint8]]]:
        for answer in run(chosen):
            case = answer.case(predictor)
            yield case, draw_case(case, answer.sample.image.pixels, channel)

    write_gallery(folder, groups, drawn(), table, recipe.data.channels[channel])


class _Counter:
    """Counts what passes through it and says so."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            yield item
            self._done += 1
            if self._progress:
                self._progress(self._done, self._total)
