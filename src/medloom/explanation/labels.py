"""What is asked about where the answer is a label of the whole image, or a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloom.explanation.asked import Asked
from medloom.inference.answers import Point
from medloom.registry import check_name
from medloom.targets import Target

__all__ = ["FIRST", "LIKELIEST", "TWO", "Labels"]

Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Labels:
    """Asks about one of the names.

    Args:
        usual: From the network's answer ``(K,)`` to the name's number that is asked about where nobody says which.
        only_second: Whether the only output is that of the second name.
    """

    usual: Callable[[Floats32], int]
    only_second: bool = False

    def ask(self, answer: Floats32, target: Target, point: Point, name: str = "") -> Asked:
        """Return what is asked about.

        Args:
            answer: ``(K,)``.
            target: Whose names they are.
            point: Not needed here.
            name: One of the names; empty for the usual one.

        Raises:
            UserError: If there is no such name.
        """
        if name:
            check_name("class", name, target.names)
        chosen = target.names.index(name) if name else self.usual(answer)
        if self.only_second:
            return Asked(target.names[chosen], 0, against=chosen == 0)
        return Asked(target.names[chosen], chosen)


TWO = Labels(lambda answer: 1, only_second=True)
LIKELIEST = Labels(lambda answer: int(np.argmax(answer)))
FIRST = Labels(lambda answer: 0)
