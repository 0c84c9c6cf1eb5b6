"""The fingerprint of the training images in a bundle: a file of its own, so that older versions read the bundle too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from medloom.errors import BundleError, VerifyError
from medloom.inference.fingerprint import Fingerprint
from medloom.inference.novelty import Novelty
from medloom.wording import one_line

__all__ = ["FINGERPRINT", "fingerprint_bytes", "read_back", "read_fingerprint"]

FINGERPRINT = "fingerprint.json"

_DIGITS = 6
_TOLERANCE = 0.01
"""How far the embedding and the score may be off, in their size: nothing that sets an image apart."""


def fingerprint_bytes(fingerprint: Fingerprint) -> bytes:
    """Return the content of ``fingerprint.json``."""
    return json.dumps(fingerprint.plain(), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_back(data: bytes) -> Fingerprint:
    """Take back what ``fingerprint_bytes`` returned.

    Raises:
        BundleError: If it is no fingerprint that this version of Medloom can test images against.
    """
    try:
        return Fingerprint.from_plain(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{FINGERPRINT} is wrong: {one_line(str(error))}; package the model again") from error


def novelty_bytes(novelty: Novelty) -> bytes:
    """Return how far the golden image is from those of the training, as a file of the golden example."""
    plain = {"score": round(novelty.score, _DIGITS), "embedded": np.round(novelty.embedded, _DIGITS).tolist()}
    return json.dumps(plain, allow_nan=False).encode() + b"\n"


def check_novelty(found: Novelty, golden: bytes) -> None:
    """Compare how far the golden image is from those of the training with what was packaged.

    Args:
        found: As it is now.
        golden: From ``novelty_bytes`` of the day of packaging.

    Raises:
        BundleError: If that is damaged.
        VerifyError: If it differs: images would be set apart that were not, or the other way round.
    """
    try:
        plain = json.loads(golden)
        expected = np.array([plain["score"], *plain["embedded"]], np.float64)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError("novelty.json of the golden example is damaged") from error
    values = np.array([found.score, *found.embedded])
    if values.shape != expected.shape or not np.allclose(values, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise VerifyError(
            "the golden image lies elsewhere beside the training images than when the model was packaged: the runtime "
            "computes differently here, or the fingerprint is of another network"
        )


def read_fingerprint(folder: Path) -> Fingerprint | None:
    """Return the fingerprint of an unpacked bundle; None of one that has none, such as an older one.

    Raises:
        BundleError: As ``read_back``.
    """
    path = folder / FINGERPRINT
    return read_back(path.read_bytes()) if path.is_file() else None
