"""What someone would write to add an image format: one file, and a line that names it."""

from __future__ import annotations

import numpy as np

from medloom.imaging.types import Budget, Format, Header, Image

MAGIC = b"GREY"


def decode_grey(data: bytes, page, budget: Budget, /) -> Image:
    side = data[4]
    return Image(np.frombuffer(data[5:], np.uint8).reshape(side, side, 1).copy(), "grey")


def inspect_grey(data: bytes, budget: Budget, /) -> Header:
    return Header("grey", data[4], data[4], 1, "uint8")


def codec() -> str:
    return "grey 1"


GREY = Format(
    name="grey",
    magics=((0, MAGIC),),
    content_types=("image/x-grey",),
    suffixes=(".grey",),
    inspect=inspect_grey,
    decode=decode_grey,
    codec=codec,
)
