"""Of many files that are to be predicted, which lie beside which: for models that see slices with their neighbours."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

from medloom.data.context import OrderError, Spot, surroundings
from medloom.data.stacks import file_spot, name_spots
from medloom.errors import InputError, UserError
from medloom.imaging import inspect
from medloom.imaging.decoding import read_grids
from medloom.inference.inputs import Entry, ImageFile
from medloom.inference.metadata import Metadata
from medloom.inference.predictor import Predictor
from medloom.inference.prepared import Prepared
from medloom.inference.stacks import Surrounded

__all__ = ["with_siblings"]

_Named = tuple[tuple[str, ...], str]

_LAST = re.compile(r"[^A-Za-z0-9](\d+)$")
_DOUBTFUL = (
    "the slices beside it were found by a number that is not the last one in their names, so they may be of other "
    "patients"
)


def with_siblings(predictor: Predictor, images: Sequence[Entry], metadata: Sequence[Metadata]) -> list[Entry]:
    """Give each file of one slice what prepares it with the slices beside it, as far as they are among the files.

    Args:
        predictor: The model; one without context takes each file by itself.
        images: What is to be predicted. Files of several slices have their neighbours in them.
        metadata: Values by column, one for each of them.

    Returns:
        The same in the same order. A file that has nothing beside it stays as it is.
    """
    if not predictor.context:
        return list(images)
    stacks: dict[tuple[str, ...], list[int]] = {}
    spots = _spots(predictor, images)
    for number, spot in enumerate(spots):
        if spot is not None:
            stacks.setdefault((spot.by, *spot.stack), []).append(number)
    found = list(images)
    for (by, *_), members in ((stack, members) for stack, members in stacks.items() if len(members) > 1):
        seen = _stack(
            predictor,
            [images[one] for one in members],
            [spots[one] for one in members],
            [metadata[one] for one in members],
        )
        if by == "name" and _end_alike([images[one] for one in members]):
            seen = partial(_doubted, seen)
        for place, number in enumerate(members):
            entry = images[number]
            found[number] = replace(entry, beside=partial(seen, place)) if isinstance(entry, ImageFile) else entry
    return found


def _stack(
    predictor: Predictor, images: Sequence[Entry], spots: Sequence[Spot | None], metadata: Sequence[Metadata]
) -> Callable[[int], Prepared]:
    def prepare(number: int) -> Prepared:
        image = images[number]
        if not isinstance(image, ImageFile):
            raise TypeError("a series is no slice of a stack")
        return predictor.prepare_slice(image.read(), metadata=metadata[number])

    try:
        return Surrounded(prepare, surroundings([spot for spot in spots if spot], predictor.context))
    except OrderError as error:
        return partial(_refuse, str(error))


def _end_alike(images: Sequence[Entry]) -> bool:
    """Whether names end with one and the same number, as of slice 7 of several patients: P1_7, P2_7."""
    ends = {found[1] if (found := _LAST.search(PurePosixPath(image.stem).name)) else None for image in images}
    return len(ends) == 1 and None not in ends


def _doubted(seen: Callable[[int], Prepared], number: int) -> Prepared:
    found = seen(number)
    return replace(found, warnings=(*found.warnings, _DOUBTFUL))


def _refuse(reason: str, number: int) -> Prepared:
    raise InputError(f"the slices beside it are not known: {reason}")


def _spots(predictor: Predictor, images: Sequence[Entry]) -> list[Spot | None]:
    spots: list[Spot | None] = [None] * len(images)
    named: dict[int, _Named] = {}
    for number, image in enumerate(images):
        if isinstance(image, ImageFile):
            found = _spot_or_name(predictor, image)
            if isinstance(found, Spot):
                spots[number] = found
            elif found is not None:
                named[number] = found
    for number, spot in zip(named, name_spots(list(named.values())), strict=True):
        spots[number] = spot
    return spots


def _spot_or_name(predictor: Predictor, image: ImageFile) -> Spot | _Named | None:
    """Where a file of one slice lies, or the name that says it; None for a file of several, or one that is unread."""
    place = PurePosixPath(image.place or image.name)
    folder = (str(place.parent),)
    try:
        data = image.read()
        if inspect(data, budget=predictor.budget).pages > 1:
            return None
        spot = file_spot(folder, data, read_grids(data, budget=predictor.budget), predictor.orientation)
    except (UserError, OSError):
        return None  # which is said where it is predicted
    return spot or (folder, PurePosixPath(image.stem).name)
