"""How good an answer is to be expected, from what the answer itself says: so that the worst ones go to a person.

A network that is unsure of an answer is wrong more often. What tells how sure it is are a few numbers of the calibrated
probabilities and the mask (``Answers.certainty``); how good answers with such numbers are was learned on validation
cases (``medloom.evaluation.quality``). ``docs/bundle.md`` says every step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from medloom.inference.answers.base import DIGITS, Rating

__all__ = ["Quality"]

_FARTHEST = 100.0


@dataclass(frozen=True)
class Quality:
    """What turns the certainty of an answer into how good it is to be expected.

    Args:
        measure: What is expected: ``dice``, the Dice coefficient of the image, or ``correct``, the chance that the
            decision is right.
        names: What each number of the certainty is called.
        weights: What each is multiplied with.
        shift: What is added to their sum.
        review_below: Answers of which less is expected are for a person to look at.
        share: Of the validation cases that these are.

    Raises:
        ValueError: If one of them is impossible.

    Example:
        >>> quality = Quality("correct", ("margin",), (1.0,), 0.0, 0.6, 0.1)
        >>> quality.rate([0.2]).plain(), quality.rate([3.0]).plain()
        ({'correct': 0.549834, 'review': True}, {'correct': 0.952574, 'review': False})
    """

    measure: str
    names: tuple[str, ...]
    weights: tuple[float, ...]
    shift: float
    review_below: float
    share: float

    def __post_init__(self) -> None:
        if len(self.names) != len(self.weights) or not self.names:
            raise ValueError(f"{len(self.weights)} weights of a quality for {len(self.names)} numbers")
        if not all(map(math.isfinite, (*self.weights, self.shift))):
            raise ValueError("a weight of a quality is not finite")
        if not (0.0 <= self.review_below <= 1.0 and 0.0 < self.share < 1.0):
            raise ValueError("a quality below which is reviewed lies between 0 and 1, and so does the share")

    def expected(self, certainty: Sequence[float]) -> float:
        """Return how good an answer with these numbers is to be expected, 0 to 1, to six digits."""
        total = self.shift
        for weight, number in zip(self.weights, certainty, strict=True):
            total += weight * number
        return round(1.0 / (1.0 + math.exp(-min(max(total, -_FARTHEST), _FARTHEST))), DIGITS)

    def rate(self, certainty: Sequence[float]) -> Rating:
        """Return it with whether a person is to look at the answer."""
        found = self.expected(certainty)
        return Rating(self.measure, found, found < self.review_below)

    def check_fits(self, measure: str, names: Sequence[str]) -> None:
        """Raise if it is not for an answer whose certainty has these numbers.

        Raises:
            ValueError: Saying what it is for.
        """
        if self.measure != measure or self.names != tuple(names):
            raise ValueError(
                f"expects {self.measure} from {', '.join(self.names)}; this version of Medloom takes "
                f"{', '.join(names) or 'nothing'} from such an answer"
            )

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "names": list(self.names), "weights": list(self.weights), "farthest": _FARTHEST}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Take back what ``plain`` returned.

        Raises:
            ValueError: If it is no such value.
        """
        expected = {"measure", "names", "weights", "shift", "review_below", "share", "farthest"}
        if not isinstance(plain, Mapping) or set(plain) != expected or plain["farthest"] != _FARTHEST:
            raise ValueError(f"expected a quality of this version, with {', '.join(sorted(expected))}")
        try:
            names, weights = tuple(map(str, plain["names"])), tuple(map(float, plain["weights"]))
            numbers = [float(plain[name]) for name in ("shift", "review_below", "share")]
        except (TypeError, ValueError) as error:
            raise ValueError("a quality holds something that is no number") from error
        return cls(str(plain["measure"]), names, weights, *numbers)

    @classmethod
    def mean(cls, found: Sequence[Quality | None]) -> Self | None:
        """Return the mean of several, before the logistic function; None where one of them is missing or unlike."""
        known = [one for one in found if one is not None]
        if not known or len(known) < len(found) or len({(one.measure, one.names) for one in known}) > 1:
            return None
        columns = zip(*(one.weights for one in known), strict=True)
        weights = tuple(sum(column) / len(known) for column in columns)
        shift, below = (sum(getattr(one, name) for one in known) / len(known) for name in ("shift", "review_below"))
        return cls(known[0].measure, known[0].names, weights, shift, below, known[0].share)
