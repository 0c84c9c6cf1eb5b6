"""Events of Lambda in the shapes that AWS publishes.

The fields are those of the samples in github.com/aws/aws-lambda-go (``events/testdata``: ``s3-event.json``,
``sqs-event.json``, ``sns-event.json``) and github.com/aws-powertools/powertools-lambda-python (``tests/events``:
``s3SqsEvent.json``, ``snsSqsEvent.json``, ``s3EventBridgeNotificationObjectCreatedEvent.json``).
"""

from __future__ import annotations

import json
from urllib.parse import quote_plus

__all__ = ["TEST_EVENT", "bridged", "enveloped", "from_s3", "from_sns", "from_sqs", "s3_record"]

TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "scans",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}


def s3_record(key, *, bucket="scans", name="ObjectCreated:Put", etag="0f" * 16, version=None, size=1024, encode=True):
    stored = {"key": quote_plus(key) if encode else key, "size": size, "eTag": etag, "sequencer": "00643717F9F8B85354"}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2023-04-12T20:43:38.021Z",
        "eventName": name,
        "userIdentity": {"principalId": "EXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "EXAMPLE"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {"name": bucket, "ownerIdentity": {"principalId": "EXAMPLE"}, "arn": f"arn:aws:s3:::{bucket}"},
            "object": stored if version is None else {**stored, "versionId": version},
        },
    }


def from_s3(*records):
    return {"Records": list(records)}


def bridged(key, *, bucket="scans", detail_type="Object Created", etag="0f" * 16, size=1024):
    return {
        "version": "0",
        "id": "f5f1e65c-dc3a-93ca-6c1e-b1647eac7963",
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2023-03-08T17:50:14Z",
        "region": "eu-west-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {"key": key, "size": size, "etag": etag, "sequencer": "006408CAD69598B05E"},
            "request-id": "57H08PA84AB1JZW0",
            "requester": "123456789012",
            "source-ip-address": "192.0.2.1",
            "reason": "PutObject",
        },
    }


def _notification(notice):
    return {
        "Type": "Notification",
        "MessageId": "d88d4479-6ec0-54fe-b63f-1cf9df4bb16e",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:images",
        "Subject": "Amazon S3 Notification",
        "Message": json.dumps(notice),
        "Timestamp": "2021-01-19T10:07:07.287Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "EXAMPLE",
        "UnsubscribeURL": "EXAMPLE",
    }


def from_sns(notice):
    record = {
        "EventVersion": "1.0",
        "EventSubscriptionArn": "arn:aws:sns:EXAMPLE",
        "EventSource": "aws:sns",
        "Sns": {**_notification(notice), "MessageAttributes": {}},
    }
    return {"Records": [record]}


def enveloped(notice):
    """What SNS puts into a queue that takes no raw messages."""
    return _notification(notice)


def from_sqs(*notices, ids=None, groups=None, queue="images"):
    """A batch of messages, each with the JSON of a notice, or a text as it is."""
    ids = ids or [f"message-{number}" for number in range(len(notices))]
    records = []
    for number, (notice, message_id) in enumerate(zip(notices, ids, strict=True)):
        attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1681332219270", "SenderId": "EXAMPLE"}
        if groups:
            attributes |= {"MessageGroupId": groups[number], "SequenceNumber": f"{number:020d}"}
        records.append(
            {
                "messageId": message_id,
                "receiptHandle": "EXAMPLE",
                "body": notice if isinstance(notice, str) else json.dumps(notice),
                "attributes": attributes,
                "messageAttributes": {},
                "md5OfBody": "EXAMPLE",
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:{queue}",
                "awsRegion": "us-east-1",
            }
        )
    return {"Records": records}
