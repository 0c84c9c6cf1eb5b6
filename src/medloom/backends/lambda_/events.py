"""What tells a function of new images: the bucket, EventBridge, a queue, and a second one for what always fails.

A bucket is rarely of the stack's own, and CloudFormation cannot change another's notifications. So the bucket only
sends its events to EventBridge, which is switched on once, and a rule of the stack picks those of the prefix.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventBridge.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from medloom.backends.sagemaker.names import split_uri
from medloom.errors import UserError

__all__ = ["EventParts", "Watched", "event_parts"]

_VISIBLE_TIMES = 6
"""AWS asks for at least six times the function's timeout."""

_TRIES = 5
_KEPT_S = 14 * 24 * 3600
_MOST_IN_A_BATCH = 10
_PREFIX = r"^[A-Za-z0-9!_.'()/=-]*$"
"""What a policy takes literally: neither stars nor question marks."""


@dataclass(frozen=True)
class Watched:
    """Images that a function is told of, and where its answers go.

    Args:
        source: URI of the images, such as ``s3://images/chest/``.
        target: URI of the answers.
        batch: Most images of a call.

    Raises:
        UserError: If these are no such URIs, or answers would be told of as images.
    """

    source: str
    target: str
    batch: int = 5

    def __post_init__(self) -> None:
        (bucket, prefix), (other, below) = self.input, self.output
        for option, key in (("--input", prefix), ("--output", below)):
            if not re.match(_PREFIX, key):
                raise UserError(
                    f"{option}: a role's rights cannot name {key!r}; take letters, digits and !_.'()/=- alone"
                )
        if bucket == other and (below.startswith(prefix) or prefix.startswith(below)):
            raise UserError(
                f"--input {self.source} and --output {self.target} lie within each other, so that answers would be "
                "predicted in their turn; name a prefix of its own for each, or another bucket"
            )
        if not 1 <= self.batch <= _MOST_IN_A_BATCH:
            raise UserError(f"--batch-size: expected 1 to {_MOST_IN_A_BATCH}; got {self.batch}")

    @property
    def input(self) -> tuple[str, str]:
        """Bucket of the images, and how their keys begin."""
        return _split("--input", self.source)

    @property
    def output(self) -> tuple[str, str]:
        """Bucket of the answers, and the folder there, with a slash at its end."""
        bucket, key = _split("--output", self.target)
        return bucket, f"{key.rstrip('/')}/" if key.strip("/") else ""

    @property
    def variables(self) -> dict[str, Any]:
        """What the function is told of them."""
        return {
            "MEDLOOM_INPUT": {"Fn::Sub": "s3://${InputBucket}/${InputPrefix}"},
            "MEDLOOM_OUTPUT": {"Fn::Sub": "s3://${OutputBucket}/${OutputPrefix}"},
        }


@dataclass(frozen=True)
class EventParts:
    """What a template has for them.

    Args:
        parameters: Its parameters.
        conditions: Its conditions.
        resources: Its resources.
        outputs: Its outputs.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)


def event_parts(watched: Watched | None, timeout_s: int, tags: list[dict[str, str]]) -> EventParts:
    """Return what a template has for the images that a function is told of; nothing where it is told of none.

    Args:
        watched: The images.
        timeout_s: Longest time of a call.
        tags: Of the queues.
    """
    if watched is None:
        return EventParts()
    return EventParts(
        _parameters(watched),
        {"ReservesSeveral": {"Fn::Not": [{"Fn::Or": [_reserved("0"), _reserved("1")]}]}},
        {
            "DeadLetters": _dead_letters(tags),
            "Queue": _queue(timeout_s, tags),
            "QueuePolicy": _queue_policy(),
            "Rule": _rule(),
            "Mapping": _mapping(),
        },
        {
            "QueueUrl": {"Description": "Images that are to be predicted", "Value": {"Ref": "Queue"}},
            "DeadLetterQueueUrl": {
                "Description": f"Images that failed {_TRIES} times",
                "Value": {"Ref": "DeadLetters"},
            },
        },
    )


def _reserved(number: str) -> dict[str, Any]:
    return {"Fn::Equals": [{"Ref": "ReservedConcurrency"}, number]}


def _split(option: str, uri: str) -> tuple[str, str]:
    try:
        return split_uri(uri)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error


def _parameters(watched: Watched) -> dict[str, Any]:
    def text(description: str, default: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return {"Type": "String", "Description": description, "Default": default, **more}

    (source, prefix), (target, below) = watched.input, watched.output
    return {
        "InputBucket": text("Bucket of the images", source, MinLength=3),
        "InputPrefix": text("How keys of images begin", prefix, AllowedPattern=_PREFIX),
        "OutputBucket": text("Bucket of the answers", target, MinLength=3),
        "OutputPrefix": text("Folder of the answers, ending with a slash", below, AllowedPattern=_PREFIX),
        "BatchSize": {
            "Type": "Number",
            "Description": "Most images of a call",
            "Default": watched.batch,
            "MinValue": 1,
            "MaxValue": _MOST_IN_A_BATCH,
        },
    }


def _dead_letters(tags: list[dict[str, str]]) -> dict[str, Any]:
    kept = {"MessageRetentionPeriod": _KEPT_S, "SqsManagedSseEnabled": True, "Tags": tags}
    return {
        "Type": "AWS::SQS::Queue",
        "DeletionPolicy": "Delete",
        "UpdateReplacePolicy": "Retain",
        "Properties": kept,
    }


def _queue(timeout_s: int, tags: list[dict[str, str]]) -> dict[str, Any]:
    again = {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}, "maxReceiveCount": _TRIES}
    return {
        "Type": "AWS::SQS::Queue",
        "DeletionPolicy": "Delete",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "VisibilityTimeout": _VISIBLE_TIMES * timeout_s,
            "MessageRetentionPeriod": _KEPT_S,
            "SqsManagedSseEnabled": True,
            "RedrivePolicy": again,
            "Tags": tags,
        },
    }


def _queue_policy() -> dict[str, Any]:
    """The rule alone may send, and nobody without encryption on the way."""
    queue = {"Fn::GetAtt": ["Queue", "Arn"]}
    sends = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]}}},
    }
    plain = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    document = {"Version": "2012-10-17", "Statement": [sends, plain]}
    return {"Type": "AWS::SQS::QueuePolicy", "Properties": {"Queues": [{"Ref": "Queue"}], "PolicyDocument": document}}


def _rule() -> dict[str, Any]:
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {
            "bucket": {"name": [{"Ref": "InputBucket"}]},
            "object": {"key": [{"prefix": {"Ref": "InputPrefix"}}]},
        },
    }
    target = {"Id": "queue", "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}}
    told = {"Description": "New images for Medloom", "EventPattern": pattern, "State": "ENABLED", "Targets": [target]}
    return {"Type": "AWS::Events::Rule", "Properties": told}


def _mapping() -> dict[str, Any]:
    """From the queue to the function, no more calls at a time than it may have: others would count as failures."""
    bound = {"MaximumConcurrency": {"Ref": "ReservedConcurrency"}}
    return {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
            "FunctionName": {"Ref": "Function"},
            "BatchSize": {"Ref": "BatchSize"},
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"Fn::If": ["ReservesSeveral", bound, {"Ref": "AWS::NoValue"}]},
        },
    }
