"""Every step from a decoded image to the answer that no other entry of ``bundle.json`` says, as numbers and words.

``docs/bundle.md`` is the contract that explains them. They come from the code that computes, so a bundle of other steps
than those of this version is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from medloom.data.metadata import TableEncoding
from medloom.imaging import jpeg
from medloom.inference.answers import KINDS, Point
from medloom.inference.views import view
from medloom.targets import Target
from medloom.transforms.preprocess import Preprocess

__all__ = ["different", "steps"]


def steps(
    target: Target, preprocess: Preprocess, views: int, table_features: Sequence[int], point: Point, context: int = 0
) -> dict[str, Any]:
    """Return the steps of a model as plain JSON types.

    Args:
        target: What it predicts.
        preprocess: What is done to an image before the network.
        views: How many views of the image are averaged.
        table_features: Columns of encoded metadata of each member.
        point: The operating point; which steps there are depends on its form, not on its numbers.
        context: How many slices on either side are seen with each.
    """
    at_least = KINDS[target.kind].at_least(preprocess)
    return {
        "decode": {
            "jpeg_at_least": None if at_least is None else list(at_least),
            "jpeg_factors": list(jpeg.FACTORS),
            "jpeg_margin": list(jpeg.MARGIN),
        },
        **preprocess.constants(),
        **({"context": _context(context)} if context else {}),
        "views": [asdict(view(number, *preprocess.input_size)) for number in range(views)],
        "network": {
            "image": {"name": "image", "dtype": "float32", "layout": "NCHW", "batch": 1},
            "table": {"name": "table", "dtype": "float32", "layout": "NF"} if any(table_features) else None,
            "answer": {"name": "probabilities", "dtype": "float32", "activation": f"{target.activation}, applied"},
        },
        "table": TableEncoding.constants() if any(table_features) else None,
        "answer": KINDS[target.kind].steps(target, point),
    }


def _context(reach: int) -> dict[str, Any]:
    """Which slices are seen with each, in the order of their channels, and what stands in for one that is not there."""
    return {"offsets": list(range(-reach, reach + 1)), "absent": "the next one towards offset 0"}


def different(found: object, expected: object, place: str = "steps") -> str | None:
    """Return the place of the first difference between two plain values; None where they are the same."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        inside = (different(found[key], expected[key], f"{place}.{key}") for key in expected)
        return next(filter(None, inside), None)
    return None if found == expected else place
