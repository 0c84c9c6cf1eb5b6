"""The files that a user names, answered one by one to be explained; a bad one never stops the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medloom.errors import InputError, UserError
from medloom.explanation.methods import Seen
from medloom.explanation.writing import Unseen, seen_of
from medloom.imaging import Volume
from medloom.inference import Predictor
from medloom.inference.inputs import Entry, read_input
from medloom.inference.metadata import Metadata
from medloom.inference.siblings import with_siblings
from medloom.inference.writers.base import prepare_file

__all__ = ["seen_files"]

_VOLUME = "a volume has many slices; give its slices as images, or name one of a file with several by --page"


def seen_files(
    predictor: Predictor, images: Sequence[Entry], metadata: Sequence[Metadata] = (), *, page: int | None = None
) -> Iterator[Seen | Unseen]:
    """Yield each image with what the network says about it, or why it says nothing.

    Args:
        predictor: The model.
        images: What the user named.
        metadata: Values by column, one for each image; empty where nothing is known of any.
        page: Page of files that have several.
    """
    rows = list(metadata) or [{}] * len(images)
    known = with_siblings(predictor, images, rows) if page is None else images
    for image, row in zip(known, rows, strict=True):
        try:
            yield _seen(predictor, image, row, page)
        except (UserError, OSError) as error:
            yield Unseen(image.name, str(error))


def _seen(predictor: Predictor, image: Entry, metadata: Metadata, page: int | None) -> Seen:
    given = read_input(image, page=page, budget=predictor.budget)
    if isinstance(given, Volume):
        raise InputError(_VOLUME)
    return seen_of(predictor, image.name, prepare_file(predictor, image, given, metadata, page), metadata)
