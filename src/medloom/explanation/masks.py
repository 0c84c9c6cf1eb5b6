"""What is asked about where the answer is a class for each pixel: the pixels that were given a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medloom.errors import UserError
from medloom.explanation.asked import Asked
from medloom.inference.answers import Point
from medloom.inference.answers.masks import MaskPoint
from medloom.inference.postprocess import to_mask
from medloom.registry import check_name
from medloom.targets import Target

__all__ = ["Masks"]

Floats32 = NDArray[np.float32]


class Masks:
    """Asks about a foreground class, where the mask has it; about all pixels where it has none of it."""

    def ask(self, answer: Floats32, target: Target, point: Point, name: str = "") -> Asked:
        """Return what is asked about.

        Args:
            answer: ``(K, h, w)`` on the network's grid.
            target: Whose names are the classes.
            point: The operating point.
            name: A foreground class; empty for the one with the most pixels.

        Raises:
            UserError: If there is no such class, or it is the background.
        """
        mask = to_mask(answer, MaskPoint.of(point).threshold)
        counts = [int(np.count_nonzero(mask == index)) for index in range(1, len(target.names))]
        if name:
            check_name("class", name, target.names)
            if name not in target.foreground:
                raise UserError(f"{name} is the background; expected one of {', '.join(target.foreground)}")
        index = target.names.index(name) if name else 1 + int(np.argmax(counts))
        region = mask == index
        found, output = bool(region.any()), index if target.outputs > 1 else 0
        return Asked(target.names[index], output, found=found, region=region if found else np.ones_like(region))
