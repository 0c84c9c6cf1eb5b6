"""Where what comes of an object is written: always at the same place for the same image, model and forms."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from medloom.data.buckets import Place
from medloom.inference.forms import suffix
from medloom.registry import FORMS
from medloom.serving.lambda_.events import Stored

__all__ = ["ERRORS", "Output"]

ERRORS = "errors"
"""Beside the forms of answers."""

_MOST_KEY_BYTES = 1024
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

_NAME = re.compile(rf"({'|'.join((*FORMS, ERRORS))})/.+/[0-9a-f]{{32}}\.[a-z.]+", re.DOTALL)


@dataclass(frozen=True)
class Output:
    """The place of all answers: ``FORM/BUCKET/KEY/ID.SUFFIX`` below it, and what was refused in ``errors/``.

    Args:
        place: The bucket, and what keys begin with: empty, or ending with a slash.
        of: What else decides an answer: the model and the forms, as text.

    Example:
        >>> output = Output(Place("answers", "chest/"), "model")
        >>> output.of_form("png", Stored("scans", "a/1.dcm", etag="0f"), "0" * 32).key
        'chest/png/scans/a/1.dcm/00000000000000000000000000000000.png'
    """

    place: Place
    of: str

    def name(self, stored: Stored, sidecar: bytes | None) -> str:
        """Return what changes when the object, its metadata, the model or the forms do: 32 hexadecimal digits.

        Args:
            stored: The version of the object.
            sidecar: Its metadata; None if the model takes none.
        """
        about = "" if sidecar is None else hashlib.sha256(sidecar).hexdigest()
        said = [stored.bucket, stored.key, stored.version, stored.etag, about, self.of]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]

    def of_form(self, form: str, stored: Stored, name: str) -> Place:
        """Return where a form of the answer to an object is written."""
        return self._at(form, stored, name + suffix(form))

    def of_error(self, stored: Stored, name: str) -> Place:
        """Return where it is written why there is no answer."""
        return self._at(ERRORS, stored, f"{name}.json")

    def holds(self, stored: Stored) -> bool:
        """Whether an object lies in this place."""
        return stored.bucket == self.place.bucket and stored.key.startswith(self.place.key)

    def wrote(self, stored: Stored) -> bool:
        """Whether an object is one of those that are written here."""
        return self.holds(stored) and _NAME.fullmatch(stored.key[len(self.place.key) :]) is not None

    def _at(self, folder: str, stored: Stored, file: str) -> Place:
        """Of a very long key the beginning; the name tells objects apart."""
        start = f"{self.place.key}{folder}/{stored.bucket}/"
        room = max(1, _MOST_KEY_BYTES - len(f"{start}/{file}".encode()))
        key = stored.key.encode()[:room].decode(errors="ignore") or "_"
        return self.place._replace(key=f"{start}{key}/{file}")
