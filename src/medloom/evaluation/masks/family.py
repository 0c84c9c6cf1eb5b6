"""How masks are measured, each image in its own geometry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data import image_files, preferred_channel, read_mask
from medloom.data.masks import MASKS
from medloom.errors import DataError
from medloom.evaluation.calibrate import Fitted
from medloom.evaluation.family import Choice, Facts, Heatmap, Measure
from medloom.evaluation.folds import notes_of_folds, rule_of_folds
from medloom.evaluation.gallery import Gallery, Scale
from medloom.evaluation.masks.calibrated import fit_pixels, gaps
from medloom.evaluation.masks.cases import Case, evaluate_cases
from medloom.evaluation.masks.expected import learned, with_expected
from medloom.evaluation.masks.gallery import Drawn, asked_class, choose_cases, draw_case, make_gallery
from medloom.evaluation.masks.per_class import PASSES, choose_per_class
from medloom.evaluation.masks.point import GridChoice, choose_point, rule_in_words
from medloom.evaluation.masks.statistics import mask_statistics
from medloom.evaluation.masks.summary import HEADLINES, METRICS, patient_table, point_dice, summarise
from medloom.evaluation.metrics import Metric
from medloom.evaluation.parts import Part
from medloom.evaluation.quality import Rated
from medloom.evaluation.reading import Answer, Reading, counted_by
from medloom.evaluation.summary import summary_of
from medloom.evaluation.text import sentence_case
from medloom.inference import MaskPoint, MaskPrediction, Prediction, Predictor, Prepared, point_from_plain
from medloom.recipe import MasksRecipe, Recipe
from medloom.recipe.kinds.masks import MasksEvaluate
from medloom.targets import Target
from medloom.wording import counted

__all__ = ["Masks", "choice_of", "notes_of"]

_MOST_LOST = 0.5  # share of the Dice at threshold 0.5

_True = tuple[Answer, NDArray[np.uint8]]
_OnGrid = tuple[NDArray[np.uint8], NDArray[np.float32], str]


@dataclass(frozen=True)
class Masks:
    """Measures masks.

    Args:
        target: The classes, the background first.
    """

    target: Target

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Those of masks."""
        return METRICS

    @property
    def headlines(self) -> Sequence[str]:
        """The metrics that a report begins with."""
        return HEADLINES

    @property
    def case_columns(self) -> Sequence[str]:
        """A row is a class of an image."""
        return ("sample_id", "class")

    @property
    def truth_columns(self) -> Sequence[str]:
        """How many pixels and regions there truly are."""
        return ("pixels", "truth_px", "regions")

    def statistics(self, cases: pd.DataFrame) -> Measure:
        """Return all metrics but distances; see ``medloom.evaluation.family``."""
        return mask_statistics(cases)

    def withheld(self, cases: pd.DataFrame) -> Mapping[str, str]:
        """Return none: each says of how many cases it is."""
        return {}

    def ranked(self, cases: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
        """Return whether an image holds foreground, and the largest probability; None of several classes."""
        if cases["class"].nunique() != 1:
            return None
        return (cases["truth_px"] > 0).to_numpy(), cases["probability"].to_numpy(float)

    def measure(self, recipe: Recipe, reading: Reading, rows: pd.DataFrame) -> tuple[pd.DataFrame, Choice]:
        """Calibrate and choose the point on the network's grid, then measure in the geometry of each image.

        Args:
            recipe: Says how to calibrate and to choose the operating point.
            reading: Reads samples and runs the network.
            rows: The rows of the catalogue that are measured.

        Returns:
            A row for each case and class, validation first, and the choice.
        """
        masks = MasksRecipe.of(recipe)
        parts = [rows[rows["split"] == split] for split in ("validation", "test")]
        given = (masks.evaluate.threshold, masks.evaluate.min_region_px)
        searched = parts[0] if any(isinstance(one, str) for one in given) else rows[:0]
        passes = PASSES if masks.evaluate.threshold == "per-class" else 1
        asked = masks.evaluate.calibration
        fitting = rows[:0] if asked == "none" else parts[0]
        count = counted_by(reading.progress, len(fitting) + passes * len(searched) + sum(map(len, parts)))
        grids = partial(_on_grid, predictor=reading.predictor)
        fitted = fit_pixels(grids(count(_with_truth(masks, reading, fitting))), self.target, asked)
        calibrated = replace(reading.predictor, calibration=fitted.calibration)
        seen = replace(reading, predictor=calibrated)
        found = self._chosen(lambda: grids(count(_with_truth(masks, seen, searched))), masks.evaluate)
        pairs = (pair for part in parts for pair in count(_with_truth(masks, reading, part)))
        table, certainty = self._measured(pairs, calibrated.at(found.point))
        choice = choice_of(found, rule_in_words(masks.evaluate), table, self.target)
        rated = learned(table, certainty)
        return with_expected(table, certainty, rated), replace(choice, calibrated=fitted, rated=rated)

    def fixed(self, point: Mapping[str, Any], rule: str) -> Choice:
        """Return a point that was chosen elsewhere; see ``medloom.evaluation.family``."""
        text = _text(MaskPoint.of(point_from_plain(point, self.target)), self.target)
        return Choice(dict(point), rule, text, facts={"within_limit": True})

    def measure_at(self, recipe: Recipe, reading: Reading, rows: pd.DataFrame, choice: Choice) -> pd.DataFrame:
        """Measure every row in the geometry of its image; see ``medloom.evaluation.family``."""
        count = counted_by(reading.progress, len(rows))
        served = replace(reading.predictor, calibration=choice.calibrated.calibration)
        pairs = count(_with_truth(MasksRecipe.of(recipe), reading, rows))
        table, certainty = self._measured(pairs, served.at(point_from_plain(choice.point, self.target)))
        return with_expected(table, certainty, choice.rated)

    def heat_outputs(self, table: pd.DataFrame) -> NDArray[np.int64] | None:
        """Return None: a mask is asked about where it is, so its heat says little of the middle and the edges."""
        return None

    def _chosen(self, read: Callable[[], Iterable[_OnGrid]], evaluate: MasksEvaluate) -> GridChoice:
        if evaluate.threshold == "per-class":
            return choose_per_class(read, evaluate, len(self.target.foreground))
        if isinstance(evaluate.threshold, dict):  # in the order of the classes
            ordered = {name: evaluate.threshold[name] for name in self.target.foreground}
            evaluate = evaluate.model_copy(update={"threshold": ordered})
        return choose_point(read(), evaluate)

    def _measured(
        self, pairs: Iterable[_True], predictor: Predictor
    ) -> tuple[pd.DataFrame, dict[str, tuple[float, ...]]]:
        """The per-case table, and how sure each sample's prediction is."""
        certainty: dict[str, tuple[float, ...]] = {}

        def noted(case: Case) -> Case:
            certainty[case.sample_id] = case.certainty
            return case

        table = evaluate_cases((noted(_case(*pair, predictor)) for pair in pairs), self.target.names)
        return table, certainty

    def summary(
        self, table: pd.DataFrame, choice: Choice, resamples: int, over: str = "patients", part: Part = "test"
    ) -> Facts:
        """Take every metric from the per-case table; see ``medloom.evaluation.family``."""
        return summary_of(
            self.target,
            choice,
            table,
            partial(summarise, resamples=resamples),
            METRICS,
            HEADLINES,
            resamples,
            over,
            part,
        )

    def tables(self, table: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
        """Return the table of the patients."""
        return {"patients.csv": patient_table(table)}

    def gallery(
        self,
        recipe: Recipe,
        reading: Reading,
        rows: pd.DataFrame,
        table: pd.DataFrame,
        heatmap: Heatmap | None,
        part: Part = "test",
    ) -> Gallery:
        """Draw the worst and the best cases, which are predicted once more: no prediction was kept."""
        masks = MasksRecipe.of(recipe)
        cases = table[table["split"] == part]
        groups = choose_cases(cases)
        shown = {sample for group in groups.values() for sample in group}
        chosen = rows[(rows["split"] == part) & rows["sample_id"].isin(shown)]
        channels = recipe.data.channels
        channel = preferred_channel(channels)
        drawn = {}
        for answer, truth in _with_truth(masks, reading, chosen):
            case = _case(answer, truth, replace(reading.predictor, calibration=None))
            drawn[case.sample_id] = self._drawn(case, answer.prepared, channel, heatmap, reading.predictor)
        return make_gallery(groups, drawn, cases, channels[channel] if len(channels) > 1 else "", part)

    def _drawn(
        self, case: Case, prepared: Prepared, channel: int, heatmap: Heatmap | None, predictor: Predictor
    ) -> Drawn:
        """The pictures of a case."""
        picture = draw_case(case, prepared.pixels, channel)
        scale = Scale(prepared.pixels.shape[1], prepared.spacing_mm[1] if prepared.spacing_mm else None)
        asked = asked_class(case, len(self.target.names))
        # A network with a single output says foreground; of several the first is the background's.
        output = asked if self.target.outputs > 1 else 0
        heat = heatmap(prepared.network_input[None], None, output) if heatmap else None
        if heat is None:
            return Drawn(picture, scale=scale)
        restored = prepared.restored(heat[None], predictor.preprocess)[0]
        name = self.target.names[asked] if len(self.target.foreground) > 1 else ""
        return Drawn(picture, draw_case(case, prepared.pixels, channel, restored), asked, name, scale)

    def differing(self, one: Prediction, other: Prediction) -> int:
        """Return how many pixels of the mask differ."""
        return int(np.count_nonzero(MaskPrediction.of(one).mask != MaskPrediction.of(other).mask))

    def combine(self, summaries: Sequence[Mapping[str, Any]]) -> Choice:
        """Return the middle threshold and the middle smallest region of the folds."""
        middle = _middle([MaskPoint.of(point_from_plain(one["operating_point"], self.target)) for one in summaries])
        return Choice(
            point=middle.plain(),
            rule=rule_of_folds(summaries, "the middle one"),
            text=_text(middle, self.target),
            notes=notes_of_folds([one["notes"] for one in summaries]),
            facts={"within_limit": all(one["within_limit"] for one in summaries)},
            calibrated=Fitted.of_folds(summaries),
            rated=Rated.of_folds(summaries),
        )


def choice_of(found: GridChoice, rule: str, table: pd.DataFrame, target: Target) -> Choice:
    """Return what was chosen from the grid, with what a reader should know of it.

    Args:
        found: The point and the grid.
        rule: How it was chosen, in words.
        table: The per-case table at this point.
        target: The classes.
    """
    return Choice(
        point=found.point.plain(),
        rule=rule,
        text=_text(found.point, target),
        notes=notes_of(found, *point_dice(table[table["split"] == "validation"])),
        search=found.search(),
        facts={"within_limit": found.within_limit},
    )


def notes_of(choice: GridChoice, found: float | None, plain: float | None) -> tuple[str, ...]:
    """Return what a reader should know of the operating point.

    Args:
        choice: The point and the grid.
        found: Mean Dice over validation images with foreground at the point; None without such an image.
        plain: The same at threshold 0.5 without a smallest region.
    """
    notes = []
    if not choice.within_limit:
        notes.append("no operating point kept to the highest false positive rate on the validation images")
    if found is None or plain is None:
        notes.append("no validation image holds foreground to choose the operating point by")
    elif found == 0.0:
        notes.append("the operating point finds no foreground on validation: the model cannot tell it from the rest")
    elif found < _MOST_LOST * plain and len(choice.thresholds) * len(choice.min_regions_px) > 1:
        notes.append(
            f"the operating point takes Dice on validation images with foreground from {plain:.3f} (at 0.5) to "
            f"{found:.3f}; with a larger evaluate.max_false_positive_rate more foreground is kept"
        )
    return tuple(notes)


def _middle(points: Sequence[MaskPoint]) -> MaskPoint:
    """The middle threshold, of each class where one of the points has several, and the middle smallest region."""
    at = len(points) // 2
    smallest = sorted(one.min_region_px for one in points)[at]
    classes = max(len(one.threshold) if isinstance(one.threshold, tuple) else 0 for one in points)
    middle = [sorted(one.of_class(index) for one in points)[at] for index in range(1, max(1, classes) + 1)]
    return MaskPoint(tuple(middle) if classes else middle[0], smallest)


def _text(point: MaskPoint, target: Target) -> str:
    names = target.foreground if isinstance(point.threshold, tuple) else ("foreground",)
    names = target.foreground if len(target.foreground) == 1 else names
    from_where = [
        f"{name} from probability {point.of_class(index):.3g} on" for index, name in enumerate(names, start=1)
    ]
    smallest = f", and from {counted(point.min_region_px, 'pixel')} on" if point.min_region_px > 1 else ""
    return f"{sentence_case(', '.join(from_where))}{smallest}."


def _with_truth(recipe: MasksRecipe, reading: Reading, rows: pd.DataFrame) -> Iterator[_True]:
    """What the network says about each row, with its true mask as the file has it, untouched by any resizing."""
    alignment, classes = reading.alignment(), MASKS.class_map(recipe)
    for answer in reading.answers(rows):
        row = answer.row
        files = image_files(row["mask"])
        alignment.reader.only(files)
        truth = read_mask(alignment, files, classes, row["frame"], answer.prepared.image)
        if answer.prepared.pixels.shape[:2] != truth.shape:
            raise DataError(f"{row['sample_id']}: image and mask differ in size; run `medloom prepare` again")
        yield answer, truth


def _on_grid(pairs: Iterable[_True], predictor: Predictor) -> Iterator[_OnGrid]:
    """Truth, probabilities and patient on the network's grid, where small regions are erased."""
    for answer, truth in pairs:
        yield _seen(answer, truth, predictor), answer.output, answer.row["patient_id"]


def _seen(answer: Answer, truth: NDArray[np.uint8], predictor: Predictor) -> NDArray[np.uint8]:
    """The truth on the network's grid."""
    turned = np.ascontiguousarray(answer.prepared.turn.apply(truth))
    return predictor.preprocess.resize_mask(turned, answer.prepared.seen_spacing_mm)


def _case(answer: Answer, truth: NDArray[np.uint8], predictor: Predictor) -> Case:
    """Bring the network's own answer to the image's geometry, calibrated and at the point of the predictor."""
    output, further = answer.output, []
    if predictor.calibration is not None:
        output = predictor.calibrated(answer.output[None])[0]
        further = gaps(_seen(answer, truth, predictor), answer.output, output)
    prediction = MaskPrediction.of(answer.told or predictor.finish(output, answer.prepared))
    return Case(
        sample_id=answer.row["sample_id"],
        patient_id=answer.row["patient_id"],
        split=answer.row["split"],
        truth=truth,
        predicted=prediction.mask,
        probabilities=prediction.probabilities,
        spacing_mm=answer.prepared.spacing_mm,
        further=further,
        certainty=predictor.certainty(output),
    )
