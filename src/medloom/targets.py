"""What is predicted: one value, and the one table of the kinds there are.

A room that must tell kinds apart has a file for each family of kinds, with the same name everywhere (``masks.py``,
``labels.py``), and picks it through a table of its own whose keys are those of ``KINDS``. Nothing else compares kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from medloom.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["IGNORED", "KINDS", "LABELS", "LARGEST_VALUE", "Activation", "Kind", "Target", "foreground_of"]

LARGEST_VALUE = 65535
"""Largest value of a class in the file of a mask."""

IGNORED = 255
"""In masks of class indices: a pixel that counts nowhere. No class has this index."""

Activation = Literal["sigmoid", "softmax", "identity"]
"""What turns logits into the answer: over each output alone, over all of them together, or nothing."""


def foreground_of(classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a mask of class indices, of any shape, holds a class other than the background."""
    found: NDArray[np.bool_] = (classes > 0) & (classes != IGNORED)
    return found


def _one_for_two(names: int) -> int:
    return 1 if names == 2 else names


def _one(names: int) -> int:
    return 1


def _each(names: int) -> int:
    return names


def _none(names: int) -> int:
    return 0


@dataclass(frozen=True)
class Kind:
    """What every target of a kind has in common.

    Args:
        summary: One line for people.
        names: What its names are called: ``classes`` or ``targets``.
        outputs: From the number of names to the outputs of the network.
        activation: From the number of outputs to what is applied to the logits.
        truth_is_mask: Whether the truth is a class for each pixel, not a row of numbers for the image.
        truth_width: From the number of names to the numbers in the truth of an image; 0 for masks.
        fewest: Fewest names.
        most: Most names, or None.
    """

    summary: str
    names: Literal["classes", "targets"]
    outputs: Callable[[int], int]
    activation: Callable[[int], Activation]
    truth_is_mask: bool = False
    truth_width: Callable[[int], int] = _each
    fewest: int = 1
    most: int | None = None


KINDS: dict[str, Kind] = {
    "masks": Kind(
        "a class for each pixel",
        "classes",
        outputs=_one_for_two,
        activation=lambda outputs: "sigmoid" if outputs == 1 else "softmax",
        truth_is_mask=True,
        truth_width=_none,
        fewest=2,
    ),
    "binary": Kind(
        "one of two classes for the image",
        "classes",
        outputs=_one,
        activation=lambda outputs: "sigmoid",
        truth_width=_one,
        fewest=2,
        most=2,
    ),
    "multi-class": Kind(
        "one of several classes for the image",
        "classes",
        outputs=_each,
        activation=lambda outputs: "softmax",
        truth_width=_one,
        fewest=2,
    ),
    "multi-label": Kind(
        "any of several labels for the image", "targets", outputs=_each, activation=lambda outputs: "sigmoid"
    ),
    "regression": Kind("numbers for the image", "targets", outputs=_each, activation=lambda outputs: "identity"),
}
"""Every kind of answer by the name that recipes, bundles and summaries use."""

LABELS = ("binary", "multi-class", "multi-label", "regression")
"""The kinds whose answer is a row of numbers for the whole image; those that ``labels.py`` of a room serves."""


@dataclass(frozen=True)
class Target:
    """What a model predicts.

    Args:
        kind: A key of ``KINDS``.
        names: Names of the classes in order (the background or the negative class first), or of the targets.
        values: Of masks: the value of each class in a mask's file, which written masks hold as well; empty where it
            is not known.

    Raises:
        ValueError: If there is no such kind, or the number of names or values does not fit it.

    Example:
        >>> target = Target("masks", ("background", "lesion"))
        >>> target.outputs, target.activation, target.foreground
        (1, 'sigmoid', ('lesion',))
    """

    kind: str
    names: tuple[str, ...]
    values: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no kind {self.kind!r}; expected one of {', '.join(KINDS)}")
        traits = KINDS[self.kind]
        count = len(self.names)
        if count < traits.fewest or (traits.most is not None and count > traits.most):
            raise ValueError(f"a {self.kind} target with {count} {traits.names}")
        if self.values:
            self._check_values()

    def _check_values(self) -> None:
        if not self.truth_is_mask:
            raise ValueError(f"a {self.kind} target has no values of classes in masks")
        whole = all(type(value) is int and 0 <= value <= LARGEST_VALUE for value in self.values)
        if not whole or len(set(self.values)) != len(self.names) or len(self.values) != len(self.names):
            raise ValueError(f"expected a value of its own for each class, a whole number from 0 to {LARGEST_VALUE}")

    def check_kind(self, wanted: str) -> None:
        """Raise if a model of this target does not give what someone counts on.

        Args:
            wanted: A key of ``KINDS``.

        Raises:
            UserError: If it is none, or another one.
        """
        if wanted not in KINDS:
            raise UserError(f"there is no kind {wanted!r}; expected one of {', '.join(KINDS)}")
        if self.kind != wanted:
            raise UserError(
                f"the model predicts {self.kind}, {KINDS[self.kind].summary}; {wanted} was asked for, "
                f"{KINDS[wanted].summary}"
            )

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return KINDS[self.kind].outputs(len(self.names))

    @property
    def activation(self) -> Activation:
        """What is applied to the logits."""
        return KINDS[self.kind].activation(self.outputs)

    @property
    def truth_is_mask(self) -> bool:
        """Whether the truth is a class for each pixel."""
        return KINDS[self.kind].truth_is_mask

    @property
    def truth_width(self) -> int:
        """Numbers in the truth of an image; 0 for masks."""
        return KINDS[self.kind].truth_width(len(self.names))

    @property
    def foreground(self) -> tuple[str, ...]:
        """The names without the first: every class but the background."""
        return self.names[1:]

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types; ``values`` only where they are known."""
        values = {"values": list(self.values)} if self.values else {}
        return {"kind": self.kind, "names": list(self.names), **values}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Take back what ``plain`` returned.

        Raises:
            ValueError: If it is no such value.
        """
        try:
            return cls(str(plain["kind"]), tuple(map(str, plain["names"])), tuple(plain.get("values", ())))
        except (KeyError, TypeError) as error:
            raise ValueError("expected a target with its kind and names") from error
