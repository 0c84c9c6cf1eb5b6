"""Objects of a bucket on S3, listed by the page and read one by one, with the credentials that boto3 finds.

What concerns one object alone, which is gone or may not be read, is an ``OSError`` as of a file. What concerns all of
them, such as credentials that have expired, is not: whoever reads many objects has to stop.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, Self

from medloom.aws import code_of, is_absent, is_denied, plainly
from medloom.data.sources import MOST_BYTES, is_litter
from medloom.errors import DataError, MedloomError, ServerError
from medloom.extras import require

__all__ = ["SCHEME", "BucketSource", "Place", "Stamps", "head_object", "place_of", "read_object"]

SCHEME = "s3://"

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_CONNECTIONS = 64
_TRIES = 5
_CONNECT_S, _READ_S = 10.0, 60.0
_REMEMBERED = 4096
_AT_A_TIME = 16


class Place(NamedTuple):
    """An object, or where the keys of several begin.

    Args:
        bucket: Name of the bucket.
        key: The key as it is, or what keys begin with.
    """

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def place_of(uri: str) -> Place:
    """Read ``s3://bucket/key``, whose key is taken as it is written.

    Raises:
        DataError: If it is none.

    Example:
        >>> place_of("s3://scans/chest/1.dcm"), place_of("s3://scans").key
        (Place(bucket='scans', key='chest/1.dcm'), '')
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise DataError(f"{uri} names no bucket; expected s3://bucket/prefix/ or s3://bucket/key")
    return Place(found[1], found[2] or "")


@cache
def _client() -> Any:  # noqa: ANN401 - boto3 has no types
    """One for all threads, with the settings of the environment; what it asks in vain it asks again."""
    boto3, config = require("boto3", "aws"), require("botocore.config", "aws")
    settings = config.Config(
        max_pool_connections=_CONNECTIONS,
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
    )
    return boto3.Session().client("s3", config=settings)


def read_object(place: Place, most: int = MOST_BYTES) -> bytes:
    """Return an object's content, of a very large one the beginning.

    Raises:
        OSError: If it is not there, or may not be read.
        ServerError: If no object can be read now.
    """
    with _one(place):
        found = _client().get_object(Bucket=place.bucket, Key=place.key)
        with found["Body"] as body:
            return bytes(body.read(most))


def head_object(place: Place) -> str:
    """Return what is another text when an object changes, its bytes first.

    Raises:
        OSError: As of ``read_object``.
        ServerError: As of ``read_object``.
    """
    with _one(place):
        found = _client().head_object(Bucket=place.bucket, Key=place.key)
        return _stamp(found["ContentLength"], found["ETag"])


class BucketSource:
    """The objects of a bucket whose keys begin alike, by the rest of their keys, in the order of their bytes.

    Args:
        place: The bucket, and what the keys begin with.

    Raises:
        UserError: If the first of them cannot be listed: no such bucket, no credentials, not allowed.
        ServerError: If that may be so for now only.
    """

    def __init__(self, place: Place) -> None:
        self.location = str(place)
        self._place = place
        self._stamps: dict[str, str] = {}
        next(self._pages(1), None)

    def names(self) -> list[str]:
        """Return the names of all objects."""
        return list(self.walk())

    def walk(self) -> Iterator[str]:
        """Yield the names, a page of a thousand after the other."""
        for page in self._pages():
            for item in page.get("Contents", []):
                name = item["Key"][len(self._place.key) :]
                if name and not name.endswith("/") and not is_litter(name):
                    self._remember(name, _stamp(item["Size"], item["ETag"]))
                    yield name

    def stamp(self, name: str) -> str:
        """Return size and ETag, as they were listed where that is not long ago."""
        return self._stamps.get(name) or head_object(self._of(name))

    def read(self, name: str) -> bytes:
        """Return an object's content; see ``read_object``."""
        return read_object(self._of(name))

    def head(self, name: str, most: int) -> bytes:
        """Return at most so many of an object's first bytes."""
        return read_object(self._of(name), most)

    def close(self) -> None:
        """Do nothing; the connections are shared."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _of(self, name: str) -> Place:
        return self._place._replace(key=self._place.key + name)

    def _pages(self, most: int | None = None) -> Iterator[dict[str, Any]]:
        with plainly(f"{self._place} cannot be listed"):
            yield from (
                _client()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=self._place.bucket, Prefix=self._place.key, PaginationConfig={"MaxItems": most})
            )

    def _remember(self, name: str, stamp: str) -> None:
        while len(self._stamps) >= _REMEMBERED:
            self._stamps.pop(next(iter(self._stamps), ""), None)
        self._stamps[name] = stamp


class Stamps:
    """The stamps of some objects that a list names: asked for together, when the first is needed.

    Args:
        places: The objects.
    """

    def __init__(self, places: list[Place]) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._found: list[str | Exception] | None = None

    def stamp(self, number: int) -> str:
        """Return that of one of them; see ``head_object``."""
        with self._lock:
            if self._found is None:
                with ThreadPoolExecutor(_AT_A_TIME, "head") as threads:
                    self._found = list(threads.map(_head_or_why_not, self._places))
        found = self._found[number]
        if isinstance(found, Exception):
            raise found
        return found


def _head_or_why_not(place: Place) -> str | Exception:
    try:
        return head_object(place)
    except (OSError, MedloomError) as error:
        return error


def _stamp(size: int, tag: str) -> str:
    mark = tag.strip('"')
    return f"{size}:{mark}"


@contextmanager
def _one(place: Place) -> Iterator[None]:
    """Tell what concerns one object from what concerns all of them."""
    botocore = require("botocore.exceptions", "aws")
    try:
        with plainly(f"objects of {SCHEME}{place.bucket} cannot be read"):
            try:
                yield
            except botocore.ClientError as error:
                _raise_of_one(place, error)
                raise
    except OSError:
        raise
    except MedloomError as error:
        raise ServerError(str(error)) from error


def _raise_of_one(place: Place, error: Any) -> None:  # noqa: ANN401 - a ClientError
    if is_absent(error) and code_of(error) != "NoSuchBucket":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place)) from error
    if is_denied(error):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place)) from error
