"""Files beside the fingerprint of the training images: each is prepared and embedded, none is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medloom.errors import UserError
from medloom.imaging import Volume
from medloom.imaging.canonical import along
from medloom.inference.inputs import Entry, read_input
from medloom.inference.measures import measure
from medloom.inference.novelty import Novelty
from medloom.inference.predictor import Predictor
from medloom.inference.prepared import Prepared
from medloom.inference.siblings import with_siblings
from medloom.inference.volumes import surrounded_slices
from medloom.inference.writers.base import prepare_file

__all__ = ["Placed", "hashed", "place_files", "place_prepared"]

_HASH_DIGITS = 12


@dataclass(frozen=True)
class Placed:
    """An image, or a slice of a volume, with how far it is from those of the training.

    Args:
        name: Of its file, as the user knows it.
        slice: Number of the slice of a volume, from 0; None for an image.
        novelty: How far it is; None for a file that could not be read.
        error: Why it could not; empty otherwise.
    """

    name: str
    slice: int | None = None
    novelty: Novelty | None = None
    error: str = ""


def hashed(name: str) -> str:
    """Return what a file is called where its name must not be: the begin of the name's SHA-256.

    Example:
        >>> hashed("image-1.png")
        '15f606de3051'
    """
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:_HASH_DIGITS]


def place_files(predictor: Predictor, images: Sequence[Entry], *, page: int | None = None) -> Iterator[Placed]:
    """Yield how far each image is from those of the training, or why it cannot be said; volumes slice by slice.

    Args:
        predictor: The model, with its fingerprint.
        images: What the user named.
        page: Page of files that have several.
    """
    for image in with_siblings(predictor, images, [{}] * len(images)):
        try:
            for number, prepared in _prepared(predictor, image, page):
                yield Placed(image.name, number, place_prepared(predictor, [prepared])[0])
        except (UserError, OSError) as error:
            yield Placed(image.name, error=str(error))


def place_prepared(predictor: Predictor, prepared: Sequence[Prepared]) -> list[Novelty]:
    """Return how far images are from those of the training.

    Args:
        predictor: The model, with its fingerprint.
        prepared: By the same predictor; at least one.

    Raises:
        ValueError: If the model has no fingerprint.
    """
    if predictor.fingerprint is None:
        raise ValueError("the model has no fingerprint")
    tables = [one.table_nf for one in prepared if one.table_nf is not None]
    batch = np.stack([one.network_input for one in prepared])
    features = predictor.run_with_features(batch, np.concatenate(tables) if tables else None)[1]
    rows = None if features is None else features.astype(np.float64)
    return predictor.fingerprint.novelties(np.stack([measure(one) for one in prepared]), rows)


def _prepared(predictor: Predictor, image: Entry, page: int | None) -> Iterator[tuple[int | None, Prepared]]:
    given = read_input(image, page=page, budget=predictor.budget)
    if isinstance(given, Volume):
        cut, _ = along(given, predictor.orientation)
        seen = surrounded_slices(predictor, cut, None)
        yield from ((number, seen(number)) for number in range(len(cut.voxels)))
    else:
        yield None, prepare_file(predictor, image, given, {}, page)
