"""What a function needs outside of its stack: its zip in a bucket, and a bucket that tells EventBridge of objects."""

from __future__ import annotations

from pathlib import Path

from medloom.backends.sagemaker.account import Account, bucket_region
from medloom.backends.sagemaker.calls import Call
from medloom.backends.sagemaker.faults import plainly
from medloom.backends.sagemaker.names import aws_name
from medloom.backends.sagemaker.place import Place
from medloom.backends.sagemaker.upload import put_file, size_there
from medloom.errors import UserError
from medloom.files import sha256_file

__all__ = ["check_bucket", "send_zip", "tells_of_objects", "turn_on_events"]

_FUNCTIONS = "functions"


def check_bucket(account: Account, bucket: str, option: str) -> None:
    """Refuse a bucket of another region, whose objects and events the function would not get.

    Raises:
        UserError: If it is there, or nowhere.
    """
    region = bucket_region(account, bucket)
    if region != account.region:
        raise UserError(
            f"{option}: the bucket {bucket} is in {region}, and the function would be in {account.region}; take "
            f"--region {region}, or another bucket"
        )


def send_zip(account: Account, place: Place, file: Path, name: str) -> tuple[str, bool]:
    """Bring the zip of a function into the bucket, by its content; one that a function runs is never changed.

    Args:
        account: The account.
        place: Where.
        file: The zip.
        name: Of the function, as people call it.

    Returns:
        Its key, and whether it was sent, because it was not there.
    """
    parts = (_FUNCTIONS, aws_name(name), sha256_file(file)[:16], "function.zip")
    key = "/".join([place.prefix, *parts])
    with plainly("the zip cannot be looked for in the bucket"):
        there = size_there(account.client("s3"), place.bucket, key)
    if there == file.stat().st_size:
        return key, False
    put_file(account, place, file, *parts)
    return key, True


def tells_of_objects(account: Account, bucket: str) -> bool:
    """Whether a bucket sends what happens in it to EventBridge."""
    return "EventBridgeConfiguration" in _notifications(account, bucket)


def turn_on_events(account: Account, bucket: str) -> None:
    """Let a bucket send what happens in it to EventBridge; whom else it tells stays as it is.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-event-notifications-eventbridge.html
    """
    settings = {**_notifications(account, bucket), "EventBridgeConfiguration": {}}
    call = Call(
        "s3",
        "PutBucketNotificationConfiguration",
        {"Bucket": bucket, "NotificationConfiguration": settings, "SkipDestinationValidation": True},
    )
    account.send(call, f"the bucket {bucket} cannot be told to send its events to EventBridge")


def _notifications(account: Account, bucket: str) -> dict[str, object]:
    call = Call("s3", "GetBucketNotificationConfiguration", {"Bucket": bucket})
    found = account.send(call, f"whom the bucket {bucket} tells of its objects cannot be read")
    return {key: value for key, value in found.items() if key != "ResponseMetadata"}
