"""Truth that is a row of numbers for the whole image: a class, several labels, or measurements."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.catalogue import labels_of
from medloom.data.describe.pictures import Stack, class_gallery, write_augmentation
from medloom.data.metadata import as_number, is_blank
from medloom.data.splits.given import parts_in
from medloom.data.splits.warnings import few_patients
from medloom.data.stored import StoredPixels, evenly
from medloom.data.truth import LabelRule, ReportPictures, Truth
from medloom.data.words import (
    LabelError,
    class_of,
    clean,
    in_order,
    is_minus_one,
    joined_note,
    plain,
    spelling_notes,
    spellings,
)
from medloom.errors import DataError, RecipeError
from medloom.files import write_bytes
from medloom.recipe import LabelsRecipe, Recipe
from medloom.targets import KINDS, Target
from medloom.wording import nearest

__all__ = [
    "BINARY",
    "LABELS",
    "MULTI_CLASS",
    "MULTI_LABEL",
    "REGRESSION",
    "Labels",
    "Numbers",
    "OneClass",
    "SeveralLabels",
]

Floats64 = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]

_BLANK = {"mask": math.nan, "negative": 0.0}
"""What a blank is as a number, by ``LabelRule.blank``."""

_UNCERTAIN = {"mask": math.nan, "negative": 0.0, "positive": 1.0}
"""What -1 is as a number, by ``LabelRule.uncertain``."""

_SHOWN = 12
_SHARE_TOLERANCE = 0.05
_QUANTILES = 5
_CLASS_SAMPLES = 8
_MOST_CLASSES = 12
_RGB = 3


class Labels(Truth):
    """What labels of whole images mean for the data; each kind of them adds what its numbers say.

    Args:
        kind: A key of ``medloom.targets.KINDS``.
    """

    one_class = False
    """Whether an image has exactly one class, so that folders may be classes and one column says it."""

    in_words = False
    """Whether the words of one column may be several labels."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @classmethod
    def of(cls, truth: Truth) -> Self:
        """Take a kind for one of labels, in a file that only such kinds reach.

        Raises:
            TypeError: If it is none, which is an error of the program.
        """
        if not isinstance(truth, cls):
            raise TypeError(f"{type(truth).__name__} where {cls.__name__} is needed")
        return truth

    @abstractmethod
    def names(self, counts: Mapping[str, int], rule: LabelRule) -> tuple[str, ...]:
        """Return the names of the target, from how often each word comes.

        Raises:
            DataError: If the words cannot be labels of this kind.
            RecipeError: If the recipe's classes cannot be.
        """

    @abstractmethod
    def numbers(self, words: Sequence[str], names: Sequence[str], rule: LabelRule) -> tuple[float, ...]:
        """Return the label of one sample; NaN where it is unknown.

        Args:
            words: One for each column, as ``clean`` leaves them.
            names: The names of the target.
            rule: The names of the columns, and what blanks and -1 mean.

        Raises:
            LabelError: Saying what is wrong with the first word that does not fit.
        """

    def united(self, labels_nt: Floats64) -> tuple[float, ...] | None:
        """Return the label of an image about which several rows differ, ``(N, T)``; None where that is a mistake."""
        return None

    @abstractmethod
    def members(self, labels_nt: Floats64, names: Sequence[str]) -> Bits:
        """Return which sample has which name, ``(N, K)``; K is 0 where the names stand for measurements."""

    @abstractmethod
    def strata_of(self, labels_nt: Floats64) -> list[str]:
        """Return the stratum that each sample is balanced by."""

    def uncertain(self, rule: LabelRule) -> str | None:
        """Return what -1 means, ``mask``, ``negative``, ``positive`` or ``error``; None where it is but a number."""
        return None

    def notes(self, counts: Mapping[str, int], names: Sequence[str]) -> tuple[str, ...]:
        """Return what a user should know about how words were understood."""
        return ()

    def class_map(self, recipe: Recipe) -> None:
        """Return None: there are no masks."""

    def label_rule(self, recipe: Recipe) -> LabelRule:
        """Return what the recipe's ``target`` says."""
        target = LabelsRecipe.of(recipe).target
        between = target.between_labels
        return LabelRule(target.columns, target.kind, target.given_classes, target.blank, target.minus_one, between)

    def array_pattern(self, recipe: Recipe) -> tuple[str, str]:
        """Return the pattern of a vector of labels, and its key."""
        return LabelsRecipe.of(recipe).data.array, "array"

    def store_rules(self, recipe: Recipe) -> dict[str, Any]:
        """Return that there are no masks, so that a JPEG may be decoded at a fraction of its size."""
        return {"masks": None, "jpeg": "reduced"}

    def strata(self, catalogue: pd.DataFrame) -> list[str]:
        """Return what each sample is balanced by."""
        return self.strata_of(labels_of(catalogue))

    def counts(self, part: pd.DataFrame, target: Target) -> dict[str, Any]:
        """Return ``classes`` with the number of samples that have each, and ``unknown`` where labels are unknown."""
        labels = _labels(part)
        members, unknown = self.members(labels, target.names), np.isnan(labels).sum(axis=0).tolist()
        counts = {"classes": dict(zip(target.names, members.sum(axis=0).tolist(), strict=True))}
        # Of one class for the image there is one number, and an image of which it is unknown was left out.
        return {**counts, "unknown": dict(zip(target.names, unknown, strict=True))} if any(unknown) else counts

    def warnings(self, catalogue: pd.DataFrame, target: Target) -> list[str]:
        """Return a sentence for each part that is empty, lacks a name, or has another share of it than the whole."""
        labels = _labels(catalogue)
        members, known = self.members(labels, target.names), ~np.isnan(labels)
        splits, patients = catalogue["split"].to_numpy(), catalogue["patient_id"].to_numpy()
        one = "patient" if "known" not in catalogue or catalogue["known"].any() else "image"
        warnings = []
        for split in parts_in(catalogue["split"]):
            here = splits == split
            if not here.any():
                warnings.append(f"No sample is in {split}.")
                continue
            having = zip(target.names, members.T, strict=False)  # of measurements there are no members
            counts = {name: len(np.unique(patients[here & has])) for name, has in having}
            warnings += few_patients(split, counts, one)
            for index, (name, count) in enumerate(counts.items()):
                told = known[:, min(index, known.shape[1] - 1)]  # of one class for the image there is one number
                # Of two classes the second says for both that their share is another.
                if count and (index == 1 or KINDS[self.kind].most != 2):
                    warnings += self._warnings(split, name, members[here & told, index], members[told, index])
        return warnings

    @staticmethod
    def _warnings(split: str, name: str, here: Bits, everywhere: Bits) -> list[str]:
        share, whole = float(here.mean()), float(everywhere.mean())
        if abs(share - whole) > _SHARE_TOLERANCE:
            return [f"{share:.0%} of the samples in {split} have the label {name}, {whole:.0%} of all."]
        return []

    def answers(self, catalogue: pd.DataFrame, store: StoredPixels) -> list[str]:
        """Return the labels as the catalogue has them."""
        return [str(cell) for cell in catalogue["labels"]]

    def stored_warnings(self, catalogue: pd.DataFrame, store: StoredPixels, target: Target) -> list[str]:
        """Return nothing: all that there is to say of labels is in the catalogue."""
        return []

    def pictures(self, shown: ReportPictures) -> dict[str, Any]:
        """Draw a few training samples of each class, a row each."""
        train = shown.catalogue[shown.catalogue["split"] == "train"].reset_index(drop=True)
        train = train if len(train) else shown.catalogue
        chosen = [(name, places) for name, places in self.examples(train, shown.target) if len(places)]
        rows = [{"class": name, "samples": train["sample_id"].iloc[places].tolist()} for name, places in chosen]
        colour = len(shown.channels) == _RGB
        channel = None if colour else 0
        stacks = [Stack.read(shown.store, train["row"].to_numpy()[places], channel) for _, places in chosen]
        write_bytes(shown.folder / "gallery_plain.png", class_gallery(stacks))
        for name in ("gallery_mask.png", "animation.webp"):
            (shown.folder / name).unlink(missing_ok=True)
        first = train.iloc[0]
        write_augmentation(shown.folder, shown.preview, int(first["row"]), channel)
        pictures = {
            "classes": rows,
            "colour": colour,
            "channel": shown.channels[0],
            "channel_index": 0,
            "samples": [sample for row in rows for sample in row["samples"]],
        }
        return {"pictures": pictures}

    def examples(self, train: pd.DataFrame, target: Target) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
        """Yield the name of each row of the gallery and the places of its samples."""
        members = self.members(_labels(train), target.names)
        for index, name in enumerate(target.names[:_MOST_CLASSES]):
            places = np.flatnonzero(members[:, index])
            yield name, places[evenly(len(places), _CLASS_SAMPLES)]


class OneClass(Labels):
    """Exactly one class for the image; its number is the class's index."""

    one_class = True

    def names(self, counts: Mapping[str, int], rule: LabelRule) -> tuple[str, ...]:
        """Return the recipe's classes, or those that were found."""
        classes = tuple(map(clean, rule.classes)) or tuple(sorted(spellings(counts), key=in_order))
        if rule.classes and len(set(map(plain, classes))) != len(classes):
            raise RecipeError("target.classes: a class is there twice")
        named = ", ".join(classes[:_SHOWN]) + (" and more" if len(classes) > _SHOWN else "")
        if len(classes) < KINDS[self.kind].fewest:
            raise DataError(f"there is one class only ({named}); a classifier needs two")
        if len(classes) > (KINDS[self.kind].most or len(classes)):
            raise DataError(f"target.kind is {self.kind} and there are {len(classes)} classes: {named}")
        return classes

    def uncertain(self, rule: LabelRule) -> str | None:
        """Return what the recipe says; a class may as well be called -1."""
        return rule.uncertain

    def numbers(self, words: Sequence[str], names: Sequence[str], rule: LabelRule) -> tuple[float, ...]:
        """Return the class's index."""
        (word,) = words
        if rule.uncertain is not None and is_minus_one(word):
            return (_UNCERTAIN[rule.uncertain],)
        if word in names:
            return (float(names.index(word)),)
        if is_blank(word):
            return (_of_blank(rule, f"no label in {rule.columns[0]}"),)
        name = class_of(word, names)
        if name is not None:
            return (float(names.index(name)),)
        expected = ", ".join(names[:_SHOWN])
        raise LabelError(f"unknown class {word!r}; expected one of {expected}{nearest(word, names)}")

    def members(self, labels_nt: Floats64, names: Sequence[str]) -> Bits:
        """Return which sample is of which class."""
        return np.asarray(labels_nt[:, :1] == np.arange(len(names)))

    def strata_of(self, labels_nt: Floats64) -> list[str]:
        """Return the class."""
        return [str(int(label)) for label in labels_nt[:, 0]]

    def notes(self, counts: Mapping[str, int], names: Sequence[str]) -> tuple[str, ...]:
        """Return which words were taken for a class that is written otherwise, and which are several labels."""
        return (*spelling_notes(counts, names), *joined_note(counts))


class _Columns(Labels):
    """A number for each column; the columns are the names."""

    def names(self, counts: Mapping[str, int], rule: LabelRule) -> tuple[str, ...]:
        """Return the columns."""
        return rule.columns

    def numbers(self, words: Sequence[str], names: Sequence[str], rule: LabelRule) -> tuple[float, ...]:
        """Return a number for each column."""
        return tuple(self._number(word, column, rule) for word, column in zip(words, rule.columns, strict=True))

    def _number(self, word: str, column: str, rule: LabelRule) -> float:
        if is_blank(word):
            return _of_blank(rule, f"no value for target {column}")
        value = as_number(word)
        if value is None:
            raise LabelError(f"target {column} is no finite number")
        return value


class Numbers(_Columns):
    """A measurement for each column."""

    def members(self, labels_nt: Floats64, names: Sequence[str]) -> Bits:
        """Return nothing: a measurement is nothing that a sample has or has not."""
        return np.zeros((len(labels_nt), 0), np.bool_)

    def strata_of(self, labels_nt: Floats64) -> list[str]:
        """Return the fifth of all samples in which the first measurement lies, or the last where it is unknown."""
        borders = np.nanquantile(labels_nt[:, 0], np.arange(1, _QUANTILES) / _QUANTILES)
        return [str(place) for place in np.searchsorted(borders, labels_nt[:, 0], side="right")]

    def counts(self, part: pd.DataFrame, target: Target) -> dict[str, Any]:
        """Return ``targets`` with mean, deviation, least and greatest of each; None where there is no sample."""
        labels = _labels(part).reshape(len(part), len(target.names))
        return {"targets": {name: _moments(column) for name, column in zip(target.names, labels.T, strict=True)}}

    def examples(self, train: pd.DataFrame, target: Target) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
        """Yield one row, from the least to the greatest."""
        values = _labels(train)[:, 0]
        order = np.argsort(values, kind="stable")[: np.count_nonzero(~np.isnan(values))]
        yield "from the least to the greatest", order[evenly(len(order), _CLASS_SAMPLES)]


class SeveralLabels(_Columns):
    """Any of several labels, each 0 or 1."""

    in_words = True

    def uncertain(self, rule: LabelRule) -> str:
        """Return what the recipe says; without a word -1 is unknown, as CheXpert writes uncertain labels."""
        return rule.uncertain or "mask"

    def united(self, labels_nt: Floats64) -> tuple[float, ...]:
        """Return 1 for each label that a row has, NaN where none has it and one does not know, and else 0."""
        unknown = np.where(np.isnan(labels_nt).any(axis=0), math.nan, 0.0)
        return tuple(np.where((labels_nt > 0).any(axis=0), 1.0, unknown).tolist())

    def members(self, labels_nt: Floats64, names: Sequence[str]) -> Bits:
        """Return which sample has which label."""
        return np.asarray(labels_nt > 0).reshape(len(labels_nt), len(names))

    def strata_of(self, labels_nt: Floats64) -> list[str]:
        """Return the rarest label that a sample has, or -1."""
        rarest = np.argsort(np.nansum(labels_nt, axis=0), kind="stable")
        positive = labels_nt[:, rarest] > 0
        found = np.where(positive.any(axis=1), rarest[positive.argmax(axis=1)], -1)
        return [str(label) for label in found]

    def _number(self, word: str, column: str, rule: LabelRule) -> float:
        if is_minus_one(word):
            if (uncertain := self.uncertain(rule)) not in _UNCERTAIN:
                raise LabelError(f"target {column} is -1; expected 0 or 1, or let target.uncertain say what it means")
            return _UNCERTAIN[uncertain]
        value = super()._number(word, column, rule)
        if not math.isnan(value) and value not in (0.0, 1.0):
            raise LabelError(f"target {column} is neither 0 nor 1")
        return value


def _of_blank(rule: LabelRule, missing: str) -> float:
    """What a blank means."""
    if rule.blank not in _BLANK:
        raise LabelError(f"{missing}; expected one, or let target.blank say what a blank means")
    return _BLANK[rule.blank]


def _labels(part: pd.DataFrame) -> Floats64:
    return labels_of(part) if len(part) else np.zeros((0, 1))


def _moments(column: Floats64) -> dict[str, float | None]:
    known = column[~np.isnan(column)]
    values = (known.mean(), known.std(), known.min(), known.max()) if len(known) else (None,) * 4
    return {
        key: None if value is None else round(float(value), 6)
        for key, value in zip(("mean", "std", "min", "max"), values, strict=True)
    }


BINARY = OneClass("binary")
MULTI_CLASS = OneClass("multi-class")
MULTI_LABEL = SeveralLabels("multi-label")
REGRESSION = Numbers("regression")
LABELS = MULTI_CLASS
"""For a recipe whose kind of labels ``prepare`` finds out; only what all of them share is asked of it."""
