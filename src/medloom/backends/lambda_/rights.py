"""The role of a function: the least that it needs, on what is its own.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
"""

from __future__ import annotations

from typing import Any

from medloom.backends.lambda_.events import Watched

__all__ = ["role"]

_Statements = list[dict[str, Any]]


def role(watched: Watched | None, kms_key: str | None, tags: list[dict[str, str]]) -> dict[str, Any]:
    """Return the role as a resource of CloudFormation.

    Args:
        watched: The images that the function is told of.
        kms_key: ARN of the key by which its variables and objects are encrypted.
        tags: Of the role.
    """
    trusted = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    statements = [*_logs(), *(_objects() if watched else []), *(_key(kms_key) if kms_key else [])]
    policy = {"PolicyName": "medloom", "PolicyDocument": {"Version": "2012-10-17", "Statement": statements}}
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trusted]},
            "Policies": [policy],
            "Tags": tags,
        },
    }


def _allow(actions: list[str], resource: object, **condition: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    more = {"Condition": condition} if condition else {}
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}


def _logs() -> _Statements:
    """Lines into its group, which the stack makes; the ARN ends with what stands for the streams."""
    return [_allow(["logs:CreateLogStream", "logs:PutLogEvents"], {"Fn::GetAtt": ["Logs", "Arn"]})]


def _objects() -> _Statements:
    """Images are read, answers written; lists tell what is absent from what is forbidden."""
    queue = {"Fn::GetAtt": ["Queue", "Arn"]}
    return [
        _allow(["s3:GetObject", "s3:GetObjectVersion"], _below("Input")),
        _allow(["s3:GetObject", "s3:PutObject"], _below("Output")),
        *(_list(which) for which in ("Input", "Output")),
        _allow(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], queue),
    ]


def _below(which: str) -> dict[str, str]:
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:s3:::${{{which}Bucket}}/${{{which}Prefix}}*"}


def _list(which: str) -> dict[str, Any]:
    bucket = {"Fn::Sub": f"arn:${{AWS::Partition}}:s3:::${{{which}Bucket}}"}
    return _allow(["s3:ListBucket"], bucket, StringLike={"s3:prefix": {"Fn::Sub": f"${{{which}Prefix}}*"}})


def _key(kms_key: str) -> _Statements:
    return [_allow(["kms:Decrypt", "kms:GenerateDataKey"], kms_key)]
