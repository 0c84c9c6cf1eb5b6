"""From words to numbers: what kind of label a column holds, which classes there are, and the label of each sample.

Every layout of labels reads them as words and asks here what they mean, so that a folder, a CSV and an array are
understood by the same rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from medloom.data.kinds import KINDS
from medloom.data.labels import Labels
from medloom.data.layouts.base import Item, Listing, Problem
from medloom.data.metadata import as_number, is_blank
from medloom.data.truth import ANY_LABELS, LabelRule
from medloom.data.words import LabelError, clean, folded, joined_words
from medloom.errors import DataError, RecipeError
from medloom.recipe import LabelsRecipe
from medloom.targets import Target

__all__ = ["ANY_LABELS", "LabelError", "LabelRule", "Meaning", "clean", "refuse_columns", "understand"]

_MOST_CLASSES = 20
"""Up to so many different whole numbers or words are taken for classes, if the recipe does not say."""


@dataclass(frozen=True)
class Meaning:
    """What the labels of a set mean.

    Args:
        target: What is predicted; of two classes, the second is the positive one.
        columns: Names of the columns or of the vector's entries.
        notes: Which words were taken for a class that is written otherwise.
    """

    target: Target
    columns: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), repr=False)

    def numbers(self, words: Sequence[str]) -> tuple[float, ...]:
        """Return the label of one sample.

        Args:
            words: One for each column, as :func:`clean` leaves them.

        Returns:
            The class's index, or a number for each column.

        Raises:
            LabelError: Saying what is wrong with the first word that does not fit.
        """
        return Labels.of(KINDS[self.target.kind]).numbers(words, self.target.names, self.columns)

    def listing(self, items: Iterable[Item], problems: Iterable[Problem], notes: Iterable[str]) -> Listing:
        """Return what a layout found, with what its labels mean."""
        return Listing(tuple(items), tuple(problems), (*notes, *self.notes), self.target)


def understand(rows: Sequence[Sequence[str]], rule: LabelRule) -> Meaning:
    """Find out what labels mean, from all of them.

    The rule's kind decides where it says something. With ``auto``, one column with two different whole numbers or words
    is binary; with up to 20 different ones it is multi-class; other numbers are for regression. Several columns of 0
    and 1 are multi-label, of other numbers for regression. Blanks do not count. Words that differ in case only are one
    class, in the spelling of the recipe or the most frequent one, and a note says so.

    Args:
        rows: The words of each sample, one for each column.
        rule: What the recipe says.

    Returns:
        What is predicted, and the columns.

    Raises:
        RecipeError: If the recipe's kind cannot be with so many columns.
        DataError: If the labels cannot be of that kind, or there is nothing to tell apart.

    Example:
        >>> understand([["0"], ["1"], ["0"]], LabelRule(("level",)))
        Meaning(target=Target(kind='binary', names=('0', '1')), columns=('level',))
    """
    if rule.kind in KINDS:
        _check_columns(rule)
    counts = Counter(word for row in rows for word in row if not is_blank(word))
    if not counts:
        raise DataError("no sample has a label; look at target.columns")
    kind = rule.kind if rule.kind in KINDS else _found_kind(set(counts), rule)
    labels = Labels.of(KINDS[kind])
    target = Target(kind, labels.names(counts, rule))
    return Meaning(target, rule.columns, labels.notes(counts, target.names))


def refuse_columns(recipe: LabelsRecipe) -> None:
    """Raise if a recipe asks for columns beside the labels, in a layout without a label file.

    Raises:
        RecipeError: If it does.
    """
    labels = recipe.data.labels
    if labels.metadata.numeric or labels.metadata.categorical or labels.groups:
        raise RecipeError("data.labels: metadata and groups are columns of a label file; use layout csv")


def _check_columns(rule: LabelRule) -> None:
    if Labels.of(KINDS[rule.kind]).one_class and len(rule.columns) > 1:
        raise RecipeError(f"target.kind: {rule.kind} takes one column; target.columns has {len(rule.columns)}")


def _found_kind(different: set[str], rule: LabelRule) -> str:
    return _kind_of_one(different, rule) if len(rule.columns) == 1 else _kind_of_several(different)


def _kind_of_one(different: set[str], rule: LabelRule) -> str:
    if rule.classes:
        return _kind_of_classes(len(rule.classes))
    numbers = [as_number(word) for word in different]
    finite = [number for number in numbers if number is not None]
    if len(finite) == len(different) and not all(number.is_integer() for number in finite):
        return "regression"
    classes = {folded(word) for word in different}
    if len(classes) <= _MOST_CLASSES:
        return _kind_of_classes(len(classes))
    # A typing error among many numbers is a problem of its line and makes no classes of the others.
    if len(finite) >= 0.9 * len(different):
        return "regression"
    if joined := sorted(joined_words(different)):
        raise DataError(
            f"the labels are {len(different)} different words, and {len(joined)} of them are several labels, such as "
            f"{joined[0]!r}. Write a column of 0 and 1 for each label and name them in target.columns"
        )
    raise DataError(
        f"the labels are {len(different)} different words; set target.kind=multi-class if these are classes, "
        "or name the right column in target.columns"
    )


def _kind_of_classes(count: int) -> str:
    return "binary" if count == 2 else "multi-class"


def _kind_of_several(different: set[str]) -> str:
    return "multi-label" if {as_number(word) for word in different} <= {0.0, 1.0} else "regression"
