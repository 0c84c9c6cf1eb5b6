"""How samples are divided, in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from medloom.recipe import SplitConfig

__all__ = ["SplitRule"]


@dataclass(frozen=True)
class SplitRule:
    """How samples are divided into parts. The values are not checked here: the recipe's ``split`` does that.

    Args:
        train: Share of samples for training, 0..1; the three shares add up to 1.
        validation: Share of samples for validation, 0..1; of all samples with folds too, in place of the other shares.
        test: Share of samples for the final metrics, 0..1.
        folds: Number of folds, at least 2; None for one split.
        hold_out: With folds: share of samples that no fold sees, 0..1.
        fold: Which fold is the test set, from 0. None: the first.
        published: What a split that the files come in is worth: ``respect``, ``repair`` or ``ignore``.
        given: Whether each sample carries its part in ``given_split``, read from a file.
        by: Divide by ``patient`` or by ``sample``.
        stratify: Keep the share of foreground, or of each class, alike in every part.
        seed: Seed of the split.
    """

    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15
    folds: int | None = None
    hold_out: float = 0.0
    fold: int | None = None
    published: Literal["respect", "repair", "ignore"] = "respect"
    given: bool = False
    by: Literal["patient", "sample"] = "patient"
    stratify: bool = True
    seed: int = 0

    @classmethod
    def of(cls, section: SplitConfig) -> Self:
        """Return the rule that a recipe's ``split`` describes."""
        return cls(
            train=section.train,
            validation=section.validation,
            test=section.test,
            folds=section.folds,
            hold_out=section.hold_out,
            fold=section.fold,
            published=section.published,
            given=section.file is not None,
            by=section.by,
            stratify=section.stratify,
            seed=section.seed,
        )

    @property
    def shares(self) -> tuple[float, ...]:
        """Wanted share of each part: train, validation and test, or as many equal ones as there are folds."""
        if self.folds is not None:
            return (1 / self.folds,) * self.folds
        return (self.train, self.validation, self.test)

    @property
    def wanted(self) -> tuple[float, float, float]:
        """Wanted shares of training, validation and test among all samples that are not held out."""
        if self.folds is None:
            return self.train, self.validation, self.test
        return 1 - 1 / self.folds - self.validation, self.validation, 1 / self.folds
