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
from medloom.data.layouts.label_kind import found_kind
from medloom.data.metadata import is_blank
from medloom.data.truth import ANY_LABELS, LabelRule
from medloom.data.words import LabelError, clean
from medloom.errors import DataError, RecipeError
from medloom.recipe import LabelsRecipe
from medloom.targets import Target

__all__ = ["ANY_LABELS", "LabelError", "LabelRule", "Meaning", "clean", "refuse_columns", "understand"]


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

    The rule's kind decides where it says something; with ``auto``, see ``found_kind``. Blanks do not count. Words that
    differ in case only are one class, in the spelling of the recipe or the most frequent one, and a note says so.

    Args:
        rows: The words of each sample, one for each column.
        rule: What the recipe says.

    Returns:
        What is predicted, and the columns.

    Raises:
        RecipeError: If the recipe's kind cannot be with so many columns.
        DataError: If the labels cannot be of that kind, may be of several, or there is nothing to tell apart.

    Example:
        >>> understand([["0"], ["1"], ["0"]], LabelRule(("level",)))
        Meaning(target=Target(kind='binary', names=('0', '1')), columns=('level',))
    """
    if rule.kind in KINDS:
        _check_columns(rule)
    counts = Counter(word for row in rows for word in row if not is_blank(word))
    if not counts:
        raise DataError("no sample has a label; look at target.columns")
    kind = rule.kind if rule.kind in KINDS else found_kind(counts, rule)
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
