"""Events of storage: which objects came, whoever carried the notice. Nothing is asked or done here.

`KINDS` is the table of all kinds. S3 says what happened either itself, in ``Records``, or through EventBridge; SNS and
SQS carry such a notice as text, SQS also one that SNS put into an envelope.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html,
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html and https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from medloom.errors import UserError

__all__ = ["KINDS", "Delivery", "EventError", "Message", "Stored", "read_delivery"]

Json = Mapping[str, Any]


class EventError(UserError):
    """An event or a message that says nothing Medloom knows; repeats nothing of it, for keys may name patients."""


@dataclass(frozen=True)
class Stored:
    """One version of an object, as an event names it.

    Args:
        bucket: Name of its bucket.
        key: Its key, decoded.
        version: Of a bucket that keeps versions; else empty.
        etag: Without quotes; empty if it was not said.
        size: In bytes; None if it was not said.
        sequencer: Of two versions of a key the later one has the greater hexadecimal number; empty if it was not said.
    """

    bucket: str
    key: str
    version: str = ""
    etag: str = ""
    size: int | None = None
    sequencer: str = ""


@dataclass(frozen=True)
class Message:
    """What is done or not done as a whole.

    Args:
        objects: The objects that were created.
        passed_by: Notices of something else, such as of an object that was removed.
        message_id: What a queue calls it; empty elsewhere.
        group: The messages of a FIFO queue that have to stay in order.
        unread: Why it says nothing Medloom knows; empty where it does.
    """

    objects: tuple[Stored, ...] = ()
    passed_by: int = 0
    message_id: str = ""
    group: str = ""
    unread: str = ""


@dataclass(frozen=True)
class Delivery:
    """One event.

    Args:
        kind: Which of `KINDS`.
        messages: In their order.
        by_message: Whether the answer names the messages that are to come again; else the event is done or fails.
        in_order: Whether a message waits for those of its group before it.
    """

    kind: str
    messages: tuple[Message, ...]
    by_message: bool = False
    in_order: bool = False


class Kind(NamedTuple):
    """A kind of event: how it is known, and how it is read."""

    fits: Callable[[Json], bool]
    read: Callable[[Json], Sequence[Message]]


def read_delivery(event: object) -> Delivery | None:
    """Read an event of storage.

    Args:
        event: As Lambda hands it over.

    Returns:
        What it tells of; None if it is of another kind.

    Raises:
        EventError: If it is damaged, or carries a notice of another kind.

    Example:
        >>> made = {"bucket": {"name": "scans"}, "object": {"key": "a b.dcm", "size": 9, "etag": "0f"}}
        >>> event = {"source": "aws.s3", "detail-type": "Object Created", "detail": made}
        >>> read_delivery(event).messages[0].objects[0].key
        'a b.dcm'
    """
    name = _kind_of(event, KINDS)
    if name is None or not isinstance(event, Mapping):
        return None
    messages = tuple(KINDS[name].read(event))
    return Delivery(name, messages, by_message=name == _SQS, in_order=name == _SQS and _is_fifo(event))


def _kind_of(event: object, kinds: Mapping[str, Kind]) -> str | None:
    if not isinstance(event, Mapping):
        return None
    return next((name for name, kind in kinds.items() if kind.fits(event)), None)


def _records_of(source: str) -> Callable[[Json], bool]:
    """What knows events whose every record is of one source; SNS spells the key with a capital."""

    def fits(event: Json) -> bool:
        records = event.get("Records")
        return (
            isinstance(records, list)
            and bool(records)
            and all(
                isinstance(one, Mapping) and source in (one.get("eventSource"), one.get("EventSource"))
                for one in records
            )
        )

    return fits


def _is_test(event: Json) -> bool:
    """What S3 sends once when notices are set up."""
    return event.get("Event") == "s3:TestEvent"


def _is_bridged(event: Json) -> bool:
    return event.get("source") == "aws.s3" and "detail-type" in event


def _is_enveloped(event: Json) -> bool:
    """What SNS puts into a queue, where raw delivery is off."""
    return event.get("Type") == "Notification" and "Message" in event


def _read_test(event: Json) -> Sequence[Message]:
    del event
    return [Message(passed_by=1)]


def _read_s3(event: Json) -> Sequence[Message]:
    created = [one for one in event["Records"] if _name(one).removeprefix("s3:").startswith(_CREATED)]
    found = tuple(_stored(_inside(one, "s3"), unquote_plus, "versionId", "eTag") for one in created)
    return [Message(found, len(event["Records"]) - len(found))]


def _name(record: Json) -> str:
    found = _text(record, "eventName")
    if not found:
        raise EventError("a notice of S3 has no eventName")
    return found


def _read_bridged(event: Json) -> Sequence[Message]:
    if event["detail-type"] != "Object Created":
        return [Message(passed_by=1)]
    return [Message((_stored(_inside(event, "detail"), str, "version-id", "etag"),))]


def _read_enveloped(event: Json) -> Sequence[Message]:
    return [_carried(_text(event, "Message"))]


def _read_sns(event: Json) -> Sequence[Message]:
    return [_carried(_text(_inside(one, "Sns"), "Message")) for one in event["Records"]]


def _read_sqs(event: Json) -> Sequence[Message]:
    return [_queued(one) for one in event["Records"]]


def _queued(record: Json) -> Message:
    """A message of a queue. One that cannot be read is to come again alone, until the queue gives it up."""
    message_id = _text(record, "messageId")
    if not message_id:
        raise EventError("a message of a queue has no messageId, so that it could not be named as not done")
    attributes = record.get("attributes")
    group = attributes.get("MessageGroupId", "") if isinstance(attributes, Mapping) else ""
    try:
        found = _carried(_text(record, "body"))
    except EventError as error:
        return Message(message_id=message_id, group=str(group), unread=str(error))
    return Message(found.objects, found.passed_by, message_id, str(group))


def _carried(text: str) -> Message:
    """The notice in the text of a message."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EventError("a message holds no JSON; expected a notice of S3") from error
    name = _kind_of(event, {name: kind for name, kind in KINDS.items() if name not in (_SQS, _SNS)})
    if name is None:
        raise EventError("a message holds no notice of S3")
    messages = KINDS[name].read(event)
    return Message(tuple(one for part in messages for one in part.objects), sum(part.passed_by for part in messages))


def _stored(said: Json, decoded: Callable[[str], str], version: str, etag: str) -> Stored:
    bucket, of = _text(_inside(said, "bucket"), "name"), _inside(said, "object")
    size = of.get("size")
    key, found = decoded(_text(of, "key")), Stored(bucket, "", _text(of, version), _text(of, etag).strip('"'))
    if not bucket or not key:
        raise EventError("a notice of S3 names no bucket or no key")
    if not found.version and not found.etag:
        raise EventError("a notice of S3 names neither the version nor the ETag of its object")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise EventError("a notice of S3 says a size that is no number of bytes")
    return Stored(bucket, key, found.version, found.etag, size, _text(of, "sequencer"))


def _inside(said: Json, key: str) -> Json:
    found = said.get(key)
    if not isinstance(found, Mapping):
        raise EventError(f"a notice has no object {key!r}")
    return found


def _text(said: Json, key: str) -> str:
    """A text; empty where it is missing or null."""
    found = said.get(key)
    if found is not None and not isinstance(found, str):
        raise EventError(f"{key!r} of a notice is no text")
    return found or ""


def _is_fifo(event: Json) -> bool:
    return any(_text(one, "eventSourceARN").endswith(".fifo") for one in event["Records"])


_CREATED = "ObjectCreated:"
_SNS, _SQS = "SNS", "SQS"

KINDS: Mapping[str, Kind] = {
    "test of S3": Kind(_is_test, _read_test),
    "S3": Kind(_records_of("aws:s3"), _read_s3),
    "EventBridge": Kind(_is_bridged, _read_bridged),
    "envelope of SNS": Kind(_is_enveloped, _read_enveloped),
    _SNS: Kind(_records_of("aws:sns"), _read_sns),
    _SQS: Kind(_records_of("aws:sqs"), _read_sqs),
}
"""Every kind of event that tells of objects."""
