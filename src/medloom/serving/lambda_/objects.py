"""Objects of S3 as a function needs them: read the version that an event names, and write what is not there yet.

What S3 says of a refusal may name the key, and a key may name a patient; so nothing of it is repeated but its code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from medloom.aws import code_of, is_absent, is_denied
from medloom.data.buckets import Place
from medloom.errors import ServerError, UserError
from medloom.extras import require
from medloom.serving.lambda_.events import Stored
from medloom.serving.problems import Problem

__all__ = ["BusyError", "Objects", "SetUpError", "new_client"]

_CONNECT_S, _READ_S, _TRIES = 5, 20, 3
_THERE_ALREADY = "PreconditionFailed"


class BusyError(ServerError):
    """S3 did not do what it was asked for, and may do it another time.

    Args:
        code: What it said.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"S3 did not answer as it should ({code})")
        self.code = code


class SetUpError(UserError):
    """The function is set up so that it cannot do its work: its role may not, or there is no such bucket.

    Args:
        code: In one word.
        message: What S3 refused, and what to change.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _LostError(Exception):
    """An object is not to be had, now or later; its code is one of `_LOST`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def new_client() -> Any:  # noqa: ANN401 - boto3 has no types
    """Return a client with the credentials of the function, which asks again what it asks in vain.

    Raises:
        MissingExtraError: If boto3 is not installed.
    """
    boto3, config = require("boto3", "aws"), require("botocore.config", "aws")
    settings = config.Config(
        connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"mode": "standard", "total_max_attempts": _TRIES}
    )
    return boto3.Session().client("s3", config=settings)


class Objects:
    """Reads and writes objects.

    Args:
        client: From ``new_client``.
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - boto3 has no types
        self._client = client

    def is_there(self, place: Place) -> bool:
        """Whether there is an object.

        Raises:
            BusyError: If S3 did not say so for now.
            SetUpError: If the role may not know.
        """
        with _told("HeadObject", place.bucket):
            try:
                self._client.head_object(Bucket=place.bucket, Key=place.key)
            except require("botocore.exceptions", "aws").ClientError as error:
                if not is_absent(error):
                    raise
                return False
        return True

    def read_version(self, stored: Stored, most: int) -> bytes:
        """Return the content of the version that an event names, and of no other.

        Args:
            stored: The version; its ETag is compared where it is known.
            most: Bytes that are read at most; of a larger object nothing is.

        Raises:
            Problem: If it is too large, or not there any more, which is so for good.
            BusyError: If it could not be read for now.
            SetUpError: If the role may not read it.
        """
        _check_size(stored.size, most)
        which = {"VersionId": stored.version} if stored.version else {}
        if stored.etag:
            which["IfMatch"] = f'"{stored.etag}"'
        try:
            return self._read(stored.bucket, stored.key, which, most)
        except _LostError as error:
            raise Problem(*_LOST[error.code]) from None

    def read_sidecar(self, place: Place, most: int) -> bytes | None:
        """Return the content of a small object; None if there is none.

        Raises:
            Problem: If it is too large.
            BusyError: If it could not be read for now.
            SetUpError: If the role may not read it.
        """
        try:
            return self._read(place.bucket, place.key, {}, most)
        except _LostError:
            return None

    def create(self, place: Place, content: bytes, media_type: str, about: Mapping[str, str]) -> bool:
        """Write an object unless there is one of its name.

        Args:
            place: Where.
            content: All of it.
            media_type: What it is.
            about: What is said beside it, in ASCII.

        Returns:
            Whether it was written.

        Raises:
            BusyError: If it could not be written for now.
            SetUpError: If the role may not write it.
        """
        with _told("PutObject", place.bucket):
            try:
                self._client.put_object(
                    Bucket=place.bucket,
                    Key=place.key,
                    Body=content,
                    ContentType=media_type,
                    Metadata=dict(about),
                    IfNoneMatch="*",
                )
            except require("botocore.exceptions", "aws").ClientError as error:
                if code_of(error) != _THERE_ALREADY:
                    raise
                return False
        return True

    def _read(self, bucket: str, key: str, which: Mapping[str, str], most: int) -> bytes:
        """Read an object; a `_LostError` if it is not to be had."""
        with _told("GetObject", bucket):
            try:
                found = self._client.get_object(Bucket=bucket, Key=key, **which)
            except require("botocore.exceptions", "aws").ClientError as error:
                code = "NoSuchKey" if is_absent(error) else code_of(error)
                if code not in _LOST:
                    raise
                raise _LostError(code) from None
            with found["Body"] as body:
                _check_size(found["ContentLength"], most)
                return bytes(body.read())


_LOST = {
    "NoSuchKey": (410, "object_gone", "there is no such object any more"),
    "NoSuchVersion": (410, "object_gone", "there is no such version of the object any more"),
    "MethodNotAllowed": (410, "object_gone", "that version of the object is the mark of its removal"),
    "PreconditionFailed": (
        412,
        "object_replaced",
        "the object was replaced after this event; the new content has an event of its own",
    ),
    "InvalidObjectState": (
        409,
        "object_archived",
        "the object lies in an archive, from which it has to be restored before it can be read",
    ),
}
"""What S3 says of an object that no other time brings back, and what is said of it."""

_RIGHTS = (
    "the function's role needs s3:GetObject, s3:GetObjectVersion and s3:ListBucket for the images, s3:GetObject, "
    "s3:PutObject and s3:ListBucket for the output, and the use of their keys where KMS encrypts them. Without "
    "s3:ListBucket S3 denies what is not there, too"
)


def _check_size(size: int | None, most: int) -> None:
    if size is not None and size > most:
        raise Problem(413, "too_large", f"the object has {size} bytes and at most {most} are read")


@contextmanager
def _told(operation: str, bucket: str) -> Iterator[None]:
    """Tell what the role may not do from what another time may bring."""
    failures = require("botocore.exceptions", "aws")
    try:
        yield
    except failures.ClientError as error:
        if is_denied(error):
            raise SetUpError("denied", f"S3 denied {operation} in the bucket {bucket}: {_RIGHTS}") from None
        if code_of(error) == "NoSuchBucket":
            raise SetUpError(
                "no_bucket", f"there is no bucket {bucket}; name the output's with MEDLOOM_OUTPUT"
            ) from None
        raise BusyError(code_of(error) or "no code") from None
    except (failures.BotoCoreError, require("botocore.parsers", "aws").ResponseParserError) as error:
        raise BusyError(type(error).__name__) from None
