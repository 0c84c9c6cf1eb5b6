"""A function and all that belongs to it as a template of CloudFormation.

What decides which resources there are is fixed in the template, and so is the timeout, because the queue waits six
times as long and CloudFormation cannot multiply. All other values are its parameters.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-function.html and
https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medloom.backends.lambda_.events import Watched, event_parts
from medloom.backends.lambda_.rights import role
from medloom.backends.sagemaker.names import aws_name, tag_list
from medloom.errors import UserError
from medloom.packaging.functions.zipped import ARCHITECTURES, HANDLER, RUNTIMES

__all__ = ["LOG_DAYS", "Code", "Function", "Watched", "template"]

LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
"""How many days CloudWatch can keep lines."""

_LONGEST_S, _LEAST_MB, _MOST_MB, _LEAST_STORAGE_MB = 900, 128, 10240, 512
_GATEWAY_MS = 30_000
_MOST_AT_A_TIME = 1000
_ONE_OF_AWS = r"^[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/.+$"


@dataclass(frozen=True)
class Code:
    """What a function runs: an image, or a zip in a bucket.

    Args:
        image: URI of an image in ECR; None for a zip.
        bucket: Bucket of the zip; None leaves it to whoever makes the stack.
        key: Key of the zip there; None likewise.
        runtime: Python of a zip.
        architecture: The processor.

    Raises:
        UserError: If Lambda has no such Python or processor.
    """

    image: str | None = None
    bucket: str | None = None
    key: str | None = None
    runtime: str = "python3.13"
    architecture: str = "x86_64"

    def __post_init__(self) -> None:
        for option, given, known in (
            ("--runtime", self.runtime, RUNTIMES),
            ("--architecture", self.architecture, tuple(ARCHITECTURES)),
        ):
            if given not in known:
                raise UserError(f"{option}: expected one of {', '.join(known)}; got {given!r}")


@dataclass(frozen=True)
class Function:
    """A function of Lambda.

    Args:
        name: As people call it.
        code: What it runs.
        memory_mb: Its memory; processors come with it, one for each 1769 MB.
        timeout_s: Longest time of a call.
        storage_mb: Room in ``/tmp``.
        at_a_time: Most calls at the same time, reserved for it; 0 reserves none, so that the account's limit holds.
        log_days: How long its lines are kept.
        kms_key: ARN of a key of KMS that encrypts its variables and that its objects are encrypted by.
        watched: The images that it is told of; None for one that is only asked.
        api: Whether there is an HTTP API of API Gateway beside its URL.
        callers: ARNs, or numbers of accounts, that may call its URL beside those whom IAM in the account allows.
        tags: Tags beside ours.

    Raises:
        UserError: If Lambda does not take one of these.
    """

    name: str
    code: Code
    memory_mb: int = 3008
    timeout_s: int = 60
    storage_mb: int = 512
    at_a_time: int = 10
    log_days: int = 30
    kms_key: str | None = None
    watched: Watched | None = None
    api: bool = False
    callers: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for option, given, least, most in (
            ("--memory", self.memory_mb, _LEAST_MB, _MOST_MB),
            ("--timeout", self.timeout_s, 1, _LONGEST_S),
            ("--storage", self.storage_mb, _LEAST_STORAGE_MB, _MOST_MB),
            ("--reserved-concurrency", self.at_a_time, 0, _MOST_AT_A_TIME),
        ):
            if not least <= given <= most:
                raise UserError(f"{option}: expected {least} to {most}; got {given}")
        if self.log_days not in LOG_DAYS:
            raise UserError(f"--log-days: expected one of {', '.join(map(str, LOG_DAYS))}; got {self.log_days}")

    @property
    def stack(self) -> str:
        """Name of its stack."""
        return aws_name(f"medloom-{self.name}")


def template(function: Function) -> dict[str, Any]:
    """Return the stack of a function as a template of CloudFormation.

    Args:
        function: The function.

    Example:
        >>> made = template(Function("brain", Code(image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/medloom:1")))
        >>> made["Resources"]["Url"]["Properties"]["AuthType"]
        'AWS_IAM'
    """
    tags = tag_list("function", function.name, function.tags)
    events = event_parts(function.watched, function.timeout_s, tags)
    resources: dict[str, Any] = {
        "Logs": {
            "Type": "AWS::Logs::LogGroup",
            "DeletionPolicy": "Delete",
            "UpdateReplacePolicy": "Delete",
            "Properties": {
                "LogGroupName": {"Fn::Sub": "/aws/lambda/${AWS::StackName}"},
                "RetentionInDays": {"Ref": "LogRetention"},
                "Tags": tags,
            },
        },
        "Role": role(function.watched, function.kms_key, tags),
        "Function": {"Type": "AWS::Lambda::Function", "Properties": _properties(function, tags)},
        **_url(function),
        **(_api(tags) if function.api else {}),
        **events.resources,
    }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Medloom: the function {function.name}, its rights, its logs and what may call it",
        "Parameters": _parameters(function) | events.parameters,
        "Conditions": {
            "Reserves": {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedConcurrency"}, "0"]}]},
            **events.conditions,
        },
        "Resources": resources,
        "Outputs": _outputs(function) | events.outputs,
    }


def _parameters(function: Function) -> dict[str, Any]:
    code = function.code
    told: dict[str, tuple[str, str | None, dict[str, Any]]] = {
        "ImageUri": ("URI of the image in ECR", code.image, {"AllowedPattern": _ONE_OF_AWS})
    }
    if code.image is None:
        told = {
            "CodeBucket": ("Bucket with the zip, in the region of the function", code.bucket, {}),
            "CodeKey": ("Key of the zip that medloom lambda package wrote", code.key, {"MinLength": 1}),
        }
    return {
        **{name: _text(*said) for name, said in told.items()},
        "MemorySize": _number("MB of memory; processors come with it", function.memory_mb, _LEAST_MB, _MOST_MB),
        "EphemeralStorage": _number("MB in /tmp", function.storage_mb, _LEAST_STORAGE_MB, _MOST_MB),
        "ReservedConcurrency": _number("Most calls at a time; 0 for no limit", function.at_a_time, 0, _MOST_AT_A_TIME),
        "LogRetention": {
            "Type": "Number",
            "Description": "Days that lines of the function are kept",
            "Default": function.log_days,
            "AllowedValues": list(LOG_DAYS),
        },
    }


def _text(description: str, default: str | None, more: Mapping[str, Any]) -> dict[str, Any]:
    return {"Type": "String", "Description": description, **({"Default": default} if default else {}), **more}


def _number(description: str, default: int, least: int, most: int) -> dict[str, Any]:
    return {"Type": "Number", "Description": description, "Default": default, "MinValue": least, "MaxValue": most}


def _properties(function: Function, tags: list[dict[str, str]]) -> dict[str, Any]:
    code = function.code
    runs: dict[str, Any] = {
        "PackageType": "Zip",
        "Runtime": code.runtime,
        "Handler": HANDLER,
        "Code": {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": {"Ref": "CodeKey"}},
    }
    if code.image is not None:
        runs = {
            "PackageType": "Image",
            "Code": {"ImageUri": {"Ref": "ImageUri"}},
            "ImageConfig": {"Command": ["lambda"]},
        }
    variables = {} if function.watched is None else {"Environment": {"Variables": function.watched.variables}}
    return {
        **runs,
        "Description": f"Medloom: {function.name}"[:256],
        "Architectures": [code.architecture],
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "MemorySize": {"Ref": "MemorySize"},
        "Timeout": function.timeout_s,
        "EphemeralStorage": {"Size": {"Ref": "EphemeralStorage"}},
        "ReservedConcurrentExecutions": {
            "Fn::If": ["Reserves", {"Ref": "ReservedConcurrency"}, {"Ref": "AWS::NoValue"}]
        },
        "LoggingConfig": {"LogGroup": {"Ref": "Logs"}, "LogFormat": "Text"},
        **variables,
        **({"KmsKeyArn": function.kms_key} if function.kms_key else {}),
        "Tags": tags,
    }


def _url(function: Function) -> dict[str, Any]:
    """Its URL, and for each caller of another account the two rights that calling it takes since October 2025."""
    arn = {"Fn::GetAtt": ["Function", "Arn"]}
    url = {"TargetFunctionArn": arn, "AuthType": "AWS_IAM", "InvokeMode": "BUFFERED"}
    found: dict[str, Any] = {"Url": {"Type": "AWS::Lambda::Url", "Properties": url}}
    for number, caller in enumerate(function.callers, 1):
        who = {"FunctionName": arn, "Principal": caller}
        asks = {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "AWS_IAM"}
        runs = {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True}
        found[f"Caller{number}Url"] = {"Type": "AWS::Lambda::Permission", "Properties": {**who, **asks}}
        found[f"Caller{number}Function"] = {"Type": "AWS::Lambda::Permission", "Properties": {**who, **runs}}
    return found


def _api(tags: list[dict[str, str]]) -> dict[str, Any]:
    """An HTTP API that hands everything on to the function, for those whom IAM allows."""
    api = {"Ref": "Api"}
    integration = {
        "ApiId": api,
        "IntegrationType": "AWS_PROXY",
        "IntegrationUri": {"Fn::GetAtt": ["Function", "Arn"]},
        "PayloadFormatVersion": "2.0",
        "TimeoutInMillis": _GATEWAY_MS,
    }
    target = {"Fn::Join": ["/", ["integrations", {"Ref": "ApiIntegration"}]]}
    route = {"ApiId": api, "RouteKey": "$default", "AuthorizationType": "AWS_IAM", "Target": target}
    mapped = {tag["Key"]: tag["Value"] for tag in tags}
    named = {"Name": {"Ref": "AWS::StackName"}, "ProtocolType": "HTTP", "Tags": mapped}
    stage = {"ApiId": api, "StageName": "$default", "AutoDeploy": True, "Tags": mapped}
    source = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*"
    permission = {
        "Action": "lambda:InvokeFunction",
        "FunctionName": {"Fn::GetAtt": ["Function", "Arn"]},
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": {"Fn::Sub": source},
    }
    return {
        "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": named},
        "ApiIntegration": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": integration},
        "ApiRoute": {"Type": "AWS::ApiGatewayV2::Route", "Properties": route},
        "ApiStage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": stage},
        "ApiPermission": {"Type": "AWS::Lambda::Permission", "Properties": permission},
    }


def _outputs(function: Function) -> dict[str, Any]:
    found: dict[str, Any] = {
        "FunctionName": {"Description": "Name of the function", "Value": {"Ref": "Function"}},
        "FunctionUrl": {
            "Description": "Its URL; requests have to be signed",
            "Value": {"Fn::GetAtt": ["Url", "FunctionUrl"]},
        },
        "LogGroup": {"Description": "Its lines", "Value": {"Ref": "Logs"}},
    }
    if function.api:
        address = {"Fn::GetAtt": ["Api", "ApiEndpoint"]}
        found["ApiUrl"] = {"Description": "The HTTP API; requests have to be signed", "Value": address}
    return found
