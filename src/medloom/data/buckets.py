"""Objects of a bucket on S3, listed by the page and read one by one, with the credentials that boto3 finds.

What concerns one object alone, which is gone or may not be read, is an ``OSError`` as of a file. What concerns all of
them, such as credentials that have expired, is not: whoever reads many objects has to stop.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
_PAUSE_S = 0.2

_AHEAD_BYTES = 2**27
"""Of objects that are fetched before they are read; a larger one is fetched when it is."""

_PART = "came only in part"


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


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_A_TIME, "objects")


def read_object(place: Place, most: int = MOST_BYTES, stamp: str = "") -> bytes:
    """Return an object's content, of a very large one the beginning.

    Args:
        place: The object.
        most: How many bytes at most.
        stamp: What ``head_object`` said, where it must still be the same.

    Raises:
        OSError: If it is not there, or may not be read, or comes only in part each time.
        ServerError: If no object can be read now, or this one has changed.
    """
    size, _, tag = stamp.partition(":")
    asked = {"IfMatch": f'"{tag}"'} if tag else {}
    if size and int(size) > most:
        asked["Range"] = f"bytes=0-{most - 1}"
    with _one(place):
        for tries_left in reversed(range(_TRIES)):
            content = _content(place, asked, most)
            if content is not None:
                return content
            if tries_left:
                time.sleep(_PAUSE_S * 2 ** (_TRIES - tries_left - 1))
    raise OSError(errno.EIO, _PART, str(place))


def _content(place: Place, asked: dict[str, str], most: int) -> bytes | None:
    """The content; None if the connection was lost in the middle of it, which boto3 does not try again."""
    failures = require("botocore.exceptions", "aws")
    found = _client().get_object(Bucket=place.bucket, Key=place.key, **asked)
    try:
        with found["Body"] as body:
            content = bytes(body.read(most))
    except (failures.IncompleteReadError, failures.ResponseStreamingError, failures.ReadTimeoutError):
        return None
    return content if len(content) == min(found["ContentLength"], most) else None


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
        self._all_known = False
        self._coming: dict[str, tuple[int, Future[bytes]]] = {}
        next(self._pages(1), None)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_coming": {}}

    def names(self) -> list[str]:
        """Return the names of all objects; from now on each must still be what it was when it was listed."""
        self._all_known = True
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

    def expect(self, names: Sequence[str], most: int = MOST_BYTES) -> None:
        """Fetch what is read next, several objects at a time, as far as they are small."""
        for name in self._coming.keys() - set(names):
            self._coming.pop(name)[1].cancel()
        left = _AHEAD_BYTES
        for name in names:
            left -= min(most, int(self._stamps.get(name, f"{_AHEAD_BYTES}:").partition(":")[0]))
            if left < 0:
                break
            if self._coming.get(name, (-1,))[0] < most:
                self._coming[name] = most, _threads().submit(self._fetch, name, most)

    def read(self, name: str) -> bytes:
        """Return an object's content; see ``read_object``."""
        return self.head(name, MOST_BYTES)

    def head(self, name: str, most: int) -> bytes:
        """Return at most so many of an object's first bytes."""
        coming = self._coming.pop(name, None)
        if coming is not None and coming[0] >= most:
            return coming[1].result()[:most]
        return self._fetch(name, most)

    def _fetch(self, name: str, most: int) -> bytes:
        return read_object(self._of(name), most, self._stamps.get(name, "") if self._all_known else "")

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
        while len(self._stamps) >= _REMEMBERED and not self._all_known:
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
    if code_of(error) == "PreconditionFailed":
        raise ServerError(
            f"{place} has changed since it was listed; give the same command again when nobody writes there any more"
        ) from error
    if is_denied(error):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place)) from error
