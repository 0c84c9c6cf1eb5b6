"""What is predicted for whole images: the section ``target`` of each kind of label."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medloom.errors import RecipeError
from medloom.recipe.sections.target import TargetSection
from medloom.targets import Target

__all__ = [
    "AutoTarget",
    "BinaryTarget",
    "LabelsTarget",
    "MultiClassTarget",
    "MultiLabelTarget",
    "RegressionTarget",
]


class LabelsTarget(TargetSection):
    """What is predicted for the whole image."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("level",)
    """Layout `csv`: columns of the label file. Layout `array`: names of the vector's entries."""

    blank: str = "error"
    """What a blank label means."""

    @property
    def given_classes(self) -> tuple[str, ...]:
        """The classes that the recipe names; empty where it names none."""
        return ()

    @property
    def minus_one(self) -> str | None:
        """What -1 means as a label; None: what any other number means."""
        return None

    @property
    def between_labels(self) -> str | None:
        """What stands between several labels in one word; None where it is found out, or words are none."""
        return None


class _ClassesTarget(LabelsTarget):
    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)] = ("level",)
    """Layout `csv`: the column with the class."""
    classes: tuple[str, ...] = ()
    """Classes in order, as the column or the folders name them; empty: as found, sorted."""
    blank: Literal["error", "mask"] = "error"
    """What a blank label means. `error`: it is missing, and `prepare` says where. `mask`: it is unknown, and the
    image is left out."""

    @property
    def given_classes(self) -> tuple[str, ...]:
        """The classes that the recipe names."""
        return self.classes

    def value(self) -> Target:
        """Return what is predicted.

        Raises:
            RecipeError: If the classes are not known yet.
        """
        if not self.classes:
            raise RecipeError("target.classes is empty: run `medloom prepare`, which finds them, or name them")
        return Target(self.kind, self.classes)


class BinaryTarget(_ClassesTarget):
    """What is predicted: one of two classes for the image."""

    kind: Literal["binary"] = "binary"
    """One of two classes for the image; the second is the positive one."""
    uncertain: Literal["mask", "negative", "positive"] | None = None
    """What -1 means where it stands for an uncertain label: `mask` leaves the image out, `negative` and `positive` take
    it for the first or the second class. Empty: -1 is a class like any other."""

    @property
    def minus_one(self) -> str | None:
        """What -1 means as a label."""
        return self.uncertain


class MultiClassTarget(_ClassesTarget):
    """What is predicted: one of several classes for the image."""

    kind: Literal["multi-class"] = "multi-class"
    """One of several classes for the image."""


class MultiLabelTarget(LabelsTarget):
    """What is predicted: any of several labels for the image."""

    kind: Literal["multi-label"] = "multi-label"
    """Any of several labels for the image; the columns hold 0 and 1, or one column holds the labels in words."""
    classes: tuple[str, ...] = ()
    """Where one column holds the labels in words: the labels in order; empty: as found, sorted."""
    separator: Annotated[str, Field(min_length=1, max_length=4)] = "auto"
    """What stands between several labels in one word, such as `|` in `Effusion|Mass`; `auto` finds it out where one
    column holds such words. A word such as `No Finding` that always stands alone means none of them."""
    blank: Literal["error", "mask", "negative"] = "error"
    """What a blank label means. `error`: it is missing, and `prepare` says where. `mask`: it is unknown, and counts
    neither in the loss nor in the metrics; an image without any known label is left out. `negative`: the label is not
    there, as where a report does not mention it."""
    uncertain: Literal["mask", "negative", "positive", "error"] = "mask"
    """What -1 means, which CheXpert writes for uncertain labels: `mask` as for `blank`, `negative` 0, `positive` 1, or
    `error`."""

    @property
    def minus_one(self) -> str | None:
        """What -1 means as a label."""
        return self.uncertain

    @property
    def given_classes(self) -> tuple[str, ...]:
        """The labels that the recipe names beside its columns."""
        return self.classes

    @property
    def between_labels(self) -> str | None:
        """What stands between several labels in one word."""
        return None if self.separator == "auto" else self.separator

    def value(self) -> Target:
        """Return what is predicted.

        Raises:
            RecipeError: If the labels are in words and not known yet.
        """
        if self.between_labels and not self.classes:
            raise RecipeError("target.classes is empty: run `medloom prepare`, which finds the labels, or name them")
        return Target(self.kind, self.classes or self.columns)

    @model_validator(mode="after")
    def _words_in_one_column(self) -> Self:
        if len(self.columns) > 1 and (self.between_labels or (self.classes and self.classes != self.columns)):
            raise ValueError("separator and classes are for labels in the words of one column; columns has several")
        return self


class RegressionTarget(LabelsTarget):
    """What is predicted: numbers for the image."""

    kind: Literal["regression"] = "regression"
    """Numbers for the image."""
    blank: Literal["error", "mask"] = "error"
    """What a blank label means. `error`: it is missing, and `prepare` says where. `mask`: it is unknown, and counts
    neither in the loss nor in the metrics; an image without any known label is left out."""

    def value(self) -> Target:
        """Return what is predicted."""
        return Target(self.kind, self.columns)


class AutoTarget(LabelsTarget):
    """What is predicted for the image is found out while preparing and written into the run's recipe."""

    kind: Literal["auto"] = "auto"
    """`prepare` finds out what the labels are: classes, labels or numbers; where they may be two of these, such as
    grades from 0 to 4, it stops and the recipe must say."""
    classes: tuple[str, ...] = ()
    """Classes in order, if the labels are classes; empty: as found, sorted."""
    blank: Literal["error", "mask", "negative"] = "error"
    """What a blank label means. `error`: it is missing, and `prepare` says where. `mask`: it is unknown, and counts
    neither in the loss nor in the metrics; an image without any known label is left out. `negative`, of several
    labels only: the label is not there, as where a report does not mention it."""
    uncertain: Literal["auto", "mask", "negative", "positive"] = "auto"
    """What -1 means where it stands for an uncertain label, as in CheXpert: `mask` as for `blank`, `negative` 0,
    `positive` 1, `auto` `mask` of several labels and in one column a number like any other."""
    separator: Annotated[str, Field(min_length=1, max_length=4)] = "auto"
    """What stands between several labels in one word, such as `|` in `Effusion|Mass`; `auto` finds it out where one
    column holds such words. A word such as `No Finding` that always stands alone means none of them."""

    @property
    def given_classes(self) -> tuple[str, ...]:
        """The classes that the recipe names."""
        return self.classes

    @property
    def minus_one(self) -> str | None:
        """What -1 means as a label."""
        return None if self.uncertain == "auto" else self.uncertain

    @property
    def between_labels(self) -> str | None:
        """What stands between several labels in one word."""
        return None if self.separator == "auto" else self.separator

    def value(self) -> Target:
        """Raise: it is not known yet.

        Raises:
            RecipeError: Always.
        """
        raise RecipeError("target.kind is auto: run `medloom prepare`, which finds out, or say what the labels are")
