"""Images into a bucket: only what changed since the last time, in parts, with checksums, encrypted, for nobody else.

What lies there is written down beside the images, not among them: a container would take the list for one of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.faults import plainly
from medloom.backends.sagemaker.names import aws_name, joined
from medloom.backends.sagemaker.place import Place
from medloom.data import open_source
from medloom.data.sources import Source
from medloom.errors import UserError
from medloom.extras import require
from medloom.imaging import FILE_BUDGET

__all__ = ["DATA", "INPUTS", "Sent", "data_name", "data_uri", "put_file", "size_there", "upload_images"]

DATA, INPUTS = "data", "inputs"

_AT_ONCE = 8
_PART = 16 * 2**20
_SUM = "sha256"
_OLD = 1000
"""So many objects are removed by one request."""

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Sent:
    """What an upload did.

    Args:
        uri: Where the images are.
        files: How many there are.
        bytes: How large they are together.
        sent: How many were sent now, because they were not there or had changed.
        removed: How many were taken away, because they are no longer among the images.
    """

    uri: str
    files: int
    bytes: int
    sent: int
    removed: int


def data_name(images: Path) -> str:
    """Return what a folder or zip of images is called there."""
    return aws_name(images.name.removesuffix(".zip"), str(images.absolute()))


def data_uri(place: Place, images: Path, below: str = DATA) -> str:
    """Return where a folder or zip of images goes: below ``data`` to learn from, below ``inputs`` to be predicted."""
    return place.uri(below, data_name(images))


def upload_images(
    account: Account,
    place: Place,
    images: Path,
    progress: Progress | None = None,
    only: Collection[str] | None = None,
    below: str = DATA,
) -> Sent:
    """Bring images into the bucket as they are now; a zip is unpacked on the way.

    Args:
        account: The account.
        place: Where.
        images: Folder or zip.
        progress: Called with how many files were sent and how many have to be.
        only: Names of the files that are sent; all by default. Others are not there afterwards.
        below: As in ``data_uri``.

    Raises:
        UserError: If there are none, or they may not be written.
    """
    with open_source(images) as source, plainly("the images cannot be sent"):
        folder = images if images.is_dir() else None
        return _Upload(account.client("s3"), place, data_name(images), source, folder, below).done(progress, only)


def put_file(account: Account, place: Place, file: Path, *parts: str) -> str:
    """Bring one file into the bucket, in parts if it is large; return its URI."""
    key = "/".join([place.prefix, *parts])
    with plainly(f"{file.name} cannot be sent"):
        account.client("s3").upload_file(str(file), place.bucket, key, ExtraArgs=_protected(place), Config=_transfer())
    return joined(place.bucket, key)


@dataclass
class _Upload:
    """An upload under way."""

    s3: Any
    place: Place
    name: str
    source: Source
    root: Path | None
    below: str
    known: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return f"{self.place.prefix}/{self.below}/{self.name}/"

    @property
    def list_key(self) -> str:
        return f"{self.place.prefix}/lists/{self.below}/{self.name}.json"

    def done(self, progress: Progress | None, only: Collection[str] | None) -> Sent:
        names = self.source.names() if only is None else list(only)
        if not names:
            raise UserError(f"{self.source.location} holds no files to send")
        self.known, there = self._known(), self._there()
        old = sorted(set(there) - set(names))
        sent, begun = 0, {name: value for name, value in self.known.items() if name in set(names)}
        self.known = begun
        try:
            with ThreadPoolExecutor(_AT_ONCE, "upload") as crew:
                jobs = [crew.submit(self._file, name, there.get(name)) for name in names]
                try:
                    for number, job in enumerate(as_completed(jobs), 1):
                        sent += job.result()
                        if progress:
                            progress(number, len(names))
                except BaseException:
                    crew.shutdown(cancel_futures=True)
                    raise
        finally:
            self._remember()
        self._remove(old)
        size = sum(int(value[0]) for value in self.known.values())
        uri = joined(self.place.bucket, self.folder)
        return Sent(uri, len(names), size, sent, len(old))

    def _file(self, name: str, there: int | None) -> bool:
        """Send a file unless it is there as it is here."""
        is_sent = False
        with self._opened(name) as file:
            now = [file.seek(0, os.SEEK_END), _sha256(file)]
            if there != now[0] or (self.known.get(name) != now and self._sum_there(name) != now[1]):
                file.seek(0)
                protected = {**_protected(self.place), "Metadata": {_SUM: now[1]}}
                self.s3.upload_fileobj(
                    file, self.place.bucket, f"{self.folder}{name}", ExtraArgs=protected, Config=_transfer()
                )
                is_sent = True
        self.known[name] = now
        return is_sent

    def _sum_there(self, name: str) -> str:
        """What an object says of itself, which the list does not know where an upload was broken off."""
        found = self.s3.head_object(Bucket=self.place.bucket, Key=f"{self.folder}{name}")
        return str(found["Metadata"].get(_SUM))

    def _opened(self, name: str) -> BufferedReader | BytesIO:
        """A file of the folder as it is, however large; one of a zip from memory."""
        if self.root is not None:
            return (self.root / name).open("rb")
        content = self.source.read(name)
        if len(content) > FILE_BUDGET.max_bytes:
            raise UserError(
                f"{name} is larger than {FILE_BUDGET.max_bytes:,} bytes; unpack the zip and name its folder"
            )
        return BytesIO(content)

    def _known(self) -> dict[str, list[Any]]:
        """What was written down the last time; nothing if nobody did."""
        if size_there(self.s3, self.place.bucket, self.list_key) is None:
            return {}
        body = self.s3.get_object(Bucket=self.place.bucket, Key=self.list_key)["Body"].read()
        found: dict[str, list[Any]] = json.loads(body)
        return found

    def _there(self) -> dict[str, int]:
        """Names and sizes of what lies in the bucket: somebody may have removed some of it."""
        return dict(_objects(self.s3, self.place.bucket, self.folder))

    def _remember(self) -> None:
        body = json.dumps(self.known, sort_keys=True).encode()
        sum_of = base64.b64encode(hashlib.sha256(body).digest()).decode()
        protected = {key: value for key, value in _protected(self.place).items() if key != "ChecksumAlgorithm"}
        self.s3.put_object(Bucket=self.place.bucket, Key=self.list_key, Body=body, ChecksumSHA256=sum_of, **protected)

    def _remove(self, names: list[str]) -> None:
        for start in range(0, len(names), _OLD):
            keys = [{"Key": f"{self.folder}{name}"} for name in names[start : start + _OLD]]
            self.s3.delete_objects(Bucket=self.place.bucket, Delete={"Objects": keys, "Quiet": True})


def size_there(s3: Any, bucket: str, key: str) -> int | None:  # noqa: ANN401 - boto3 has no types
    """Return the size of an object; None if there is none.

    Asked by a list: who may list only what is ours is told of an absent object that it may not be read.
    """
    return dict(_objects(s3, bucket, key)).get("")


def _objects(s3: Any, bucket: str, folder: str) -> Iterator[tuple[str, int]]:  # noqa: ANN401 - boto3 has no types
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
        for one in page.get("Contents", []):
            yield one["Key"].removeprefix(folder), int(one["Size"])


def _sha256(file: BufferedReader | BytesIO) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _protected(place: Place) -> Mapping[str, str]:
    """What is said of every object: a checksum that S3 compares, and encryption. Without an ACL it is private."""
    key = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": place.kms_key} if place.kms_key else None
    return {"ChecksumAlgorithm": "SHA256", **(key or {"ServerSideEncryption": "AES256"})}


def _transfer() -> Any:  # noqa: ANN401 - boto3 has no types
    config = require("boto3.s3.transfer", "aws").TransferConfig
    return config(multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=4)
