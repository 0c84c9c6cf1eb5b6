"""The least rights that each command needs, and those of the roles that containers and the scheduler take on.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medloom.errors import UserError
from medloom.wording import nearest

__all__ = ["VERBS", "Scope", "policy", "trust"]

_READ = ("s3:GetObject",)
_WRITE = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
_LOGS = ("logs:DescribeLogStreams", "logs:GetLogEvents")
_LIST = (
    "sagemaker:ListTrainingJobs",
    "sagemaker:ListHyperParameterTuningJobs",
    "sagemaker:ListTransformJobs",
    "sagemaker:ListEndpoints",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListModels",
    "sagemaker:ListTags",
)
_DESCRIBE = (
    "sagemaker:DescribeTrainingJob",
    "sagemaker:DescribeHyperParameterTuningJob",
    "sagemaker:DescribeTransformJob",
    "sagemaker:DescribeEndpoint",
)
_SCALER = "sagemaker.application-autoscaling.amazonaws.com"
_OF_A_FUNCTION = {
    "cloudformation:{region}:{number}:stack/medloom-*/*": (
        *("CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet", "DeleteChangeSet", "DescribeStackEvents"),
        *("DescribeStacks", "DeleteStack"),
    ),
    "lambda:{region}:{number}:function:medloom-*": (
        *("CreateFunction", "GetFunction", "DeleteFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration"),
        *("PutFunctionConcurrency", "DeleteFunctionConcurrency", "TagResource", "ListTags", "GetFunctionConfiguration"),
        *("CreateFunctionUrlConfig", "GetFunctionUrlConfig", "UpdateFunctionUrlConfig", "DeleteFunctionUrlConfig"),
        *("AddPermission", "RemovePermission", "GetPolicy"),
    ),
    "lambda:{region}:{number}:event-source-mapping:*": (
        *("CreateEventSourceMapping", "GetEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping"),
    ),
    "iam::{number}:role/medloom-*": (
        *("CreateRole", "GetRole", "DeleteRole", "TagRole", "GetRolePolicy", "PutRolePolicy", "DeleteRolePolicy"),
    ),
    "logs:{region}:{number}:log-group:/aws/lambda/medloom-*": (
        *("CreateLogGroup", "DeleteLogGroup", "DescribeLogGroups", "PutRetentionPolicy", "TagResource"),
    ),
    "sqs:{region}:{number}:medloom-*": (
        *("CreateQueue", "DeleteQueue", "GetQueueAttributes", "SetQueueAttributes", "TagQueue"),
    ),
    "events:{region}:{number}:rule/medloom-*": (
        *("PutRule", "DescribeRule", "DeleteRule", "PutTargets", "RemoveTargets"),
    ),
}
"""What deploying a function asks of each service, on which things."""

_OURS_ALONE = {"Null": {"aws:ResourceTag/medloom": "false"}}
_JOBS = ("training-job/*",)
_SEARCHES = ("hyper-parameter-tuning-job/*",)
_MODELS = ("model/*", "endpoint/*", "endpoint-config/*")
_TRANSFORMS = ("model/*", "transform-job/*")


@dataclass(frozen=True)
class Scope:
    """What a policy is written for; a star stands for what is not known.

    Args:
        region: Of the jobs.
        number: Of the account.
        bucket: The bucket.
        prefix: Key below which everything lies.
        role: ARN of the role that SageMaker takes on.
        kms_key: ARN of the key, if there is one.
    """

    region: str = "*"
    number: str = "*"
    bucket: str = "*"
    prefix: str = "medloom"
    role: str = "*"
    kms_key: str | None = None

    def made(self, *kinds: str) -> list[str]:
        """Return the ARNs of things of SageMaker's."""
        return [f"arn:aws:sagemaker:{self.region}:{self.number}:{kind}" for kind in kinds]

    @property
    def objects(self) -> str:
        """ARN of the objects of ours."""
        return f"arn:aws:s3:::{self.bucket}/{self.prefix}/*"

    @property
    def the_bucket(self) -> str:
        """ARN of the bucket."""
        return f"arn:aws:s3:::{self.bucket}"


_Statements = list[dict[str, Any]]


def _allow(actions: Sequence[str], resources: str | Sequence[str], **condition: Any) -> dict[str, Any]:  # noqa: ANN401
    where = [resources] if isinstance(resources, str) else list(resources)
    said = {"Condition": condition} if condition else {}
    return {"Effect": "Allow", "Action": sorted(actions), "Resource": where, **said}


def _files(scope: Scope, *, writes: bool) -> _Statements:
    return [
        _allow(["s3:GetBucketLocation"], scope.the_bucket),
        _allow(["s3:ListBucket"], scope.the_bucket, StringLike={"s3:prefix": [f"{scope.prefix}/*"]}),
        _allow([*_READ, *(_WRITE if writes else ())], scope.objects),
        *_key(scope, writes=writes),
    ]


def _key(scope: Scope, *, writes: bool) -> _Statements:
    more = ["kms:GenerateDataKey"] if writes else []
    return [_allow(["kms:Decrypt", "kms:DescribeKey", *more], scope.kms_key)] if scope.kms_key else []


def _passes(scope: Scope, service: str = "sagemaker.amazonaws.com") -> dict[str, Any]:
    return _allow(["iam:PassRole"], scope.role, StringEquals={"iam:PassedToService": service})


def _finds(scope: Scope) -> dict[str, Any]:
    return _allow(["iam:GetRole", "iam:ListRoles"], f"arn:aws:iam::{scope.number}:role/*")


def _train(scope: Scope) -> _Statements:
    made = ["sagemaker:CreateTrainingJob", "sagemaker:AddTags", "sagemaker:StopTrainingJob"]
    return [
        _allow(made, scope.made(*_JOBS)),
        _finds(scope),
        _passes(scope),
        *_files(scope, writes=True),
        *_status(scope),
    ]


def _tune(scope: Scope) -> _Statements:
    """What ``train`` needs, for each trial is a training; and a search of SageMaker's own tuner."""
    made = ["CreateHyperParameterTuningJob", "StopHyperParameterTuningJob", "AddTags"]
    listed = ["sagemaker:ListTrainingJobsForHyperParameterTuningJob"]
    return [
        *_train(scope),
        _allow([f"sagemaker:{one}" for one in made], scope.made(*_SEARCHES)),
        _allow(listed, scope.made(*_SEARCHES)),
    ]


def _hosts(scope: Scope) -> _Statements:
    return [_finds(scope), _passes(scope), *_files(scope, writes=True), *_status(scope)]


def _deploy(scope: Scope) -> _Statements:
    made = ["CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint", "AddTags"]
    grows = ["application-autoscaling:RegisterScalableTarget", "application-autoscaling:PutScalingPolicy"]
    undone = ["sagemaker:DeleteEndpoint", "sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel"]
    ends = f"arn:aws:scheduler:{scope.region}:{scope.number}:schedule/default/*"
    return [
        _allow([f"sagemaker:{one}" for one in made], scope.made(*_MODELS)),
        _allow(undone, scope.made(*_MODELS), **_OURS_ALONE),
        _allow([*grows, "application-autoscaling:TagResource"], "*"),
        *_growing(scope),
        _allow(["scheduler:CreateSchedule", "scheduler:UpdateSchedule"], ends),
        _passes(scope, "scheduler.amazonaws.com"),
        *_hosts(scope),
    ]


def _growing(scope: Scope) -> _Statements:
    """What Application Auto Scaling does in the name of who asks: alarms, and a role of its own the first time."""
    alarms = f"arn:aws:cloudwatch:{scope.region}:{scope.number}:alarm:TargetTracking-endpoint/*"
    role = f"arn:aws:iam::{scope.number}:role/aws-service-role/{_SCALER}/*"
    return [
        _allow(["cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"], alarms),
        _allow(["sagemaker:UpdateEndpointWeightsAndCapacities"], scope.made("endpoint/*")),
        _allow(["iam:CreateServiceLinkedRole"], role, StringEquals={"iam:AWSServiceName": _SCALER}),
    ]


def _transform(scope: Scope) -> _Statements:
    made = ["CreateModel", "CreateTransformJob", "AddTags", "DeleteModel"]
    return [_allow([f"sagemaker:{one}" for one in made], scope.made(*_TRANSFORMS)), *_hosts(scope)]


def _status(scope: Scope) -> _Statements:
    return [
        _allow(_DESCRIBE, scope.made("training-job/*", "transform-job/*", "endpoint/*", *_SEARCHES)),
        *_list(scope),
        *_logs(scope),
    ]


def _list(scope: Scope) -> _Statements:
    del scope  # lists have no resource
    return [_allow(_LIST, "*")]


def _logs(scope: Scope) -> _Statements:
    groups = f"arn:aws:logs:{scope.region}:{scope.number}:log-group:/aws/sagemaker/*"
    return [_allow(_LOGS, groups)]


def _pull(scope: Scope) -> _Statements:
    return [*_files(scope, writes=False), *_status(scope)]


def _delete(scope: Scope) -> _Statements:
    stops = ["StopTrainingJob", "StopTransformJob", "StopHyperParameterTuningJob"]
    ends = ["DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel", *stops]
    things = scope.made(*_MODELS, "training-job/*", "transform-job/*", *_SEARCHES)
    schedules = f"arn:aws:scheduler:{scope.region}:{scope.number}:schedule/default/*"
    return [
        _allow([f"sagemaker:{one}" for one in ends], things, **_OURS_ALONE),
        _allow(["scheduler:DeleteSchedule"], schedules),
        _allow(["application-autoscaling:DeregisterScalableTarget"], "*"),
        *_files(scope, writes=True),
        *_status(scope),
    ]


def _lambda(scope: Scope) -> _Statements:
    """What ``medloom lambda`` asks for itself, and what CloudFormation does in the name of who asks."""
    made = [
        _allow(
            [f"{what.partition(':')[0]}:{action}" for action in actions],
            f"arn:aws:{what.format(region=scope.region, number=scope.number)}",
        )
        for what, actions in _OF_A_FUNCTION.items()
    ]
    return [
        *made,
        _allow(["cloudformation:DescribeStacks"], "*"),  # a list of all has no resource
        _allow(
            ["iam:PassRole"],
            f"arn:aws:iam::{scope.number}:role/medloom-*",
            StringEquals={"iam:PassedToService": "lambda.amazonaws.com"},
        ),
        _allow(["s3:GetBucketNotification", "s3:PutBucketNotification"], scope.the_bucket),
        *_files(scope, writes=True),
    ]


def _doctor(scope: Scope) -> _Statements:
    return [
        _allow(["s3:GetBucketLocation", "s3:GetBucketPublicAccessBlock"], scope.the_bucket),
        _allow(["iam:SimulatePrincipalPolicy"], scope.role),
        _allow(["servicequotas:ListServiceQuotas"], "*"),
        _finds(scope),
    ]


def _role(scope: Scope) -> _Statements:
    """What a container may do: read and write its files, write its lines, take its image."""
    groups = f"arn:aws:logs:{scope.region}:{scope.number}:log-group:/aws/sagemaker/*"
    writes = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    image = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    repositories = f"arn:aws:ecr:{scope.region}:{scope.number}:repository/*"
    return [
        *_files(scope, writes=True),
        _allow(writes, groups),
        _allow(["cloudwatch:PutMetricData"], "*"),
        _allow(["ecr:GetAuthorizationToken"], "*"),
        _allow(image, repositories),
    ]


def _scheduler(scope: Scope) -> _Statements:
    return [_allow(["sagemaker:DeleteEndpoint"], scope.made("endpoint/*"))]


VERBS = {
    "train": _train,
    "batch": _train,
    "tune": _tune,
    "deploy": _deploy,
    "transform": _transform,
    "status": _status,
    "logs": _status,
    "pull": _pull,
    "list": _status,
    "delete": _delete,
    "lambda": _lambda,
    "doctor": _doctor,
    "role": _role,
    "scheduler": _scheduler,
}
"""Each command with what it needs; ``role`` is what containers do, ``scheduler`` what ends an endpoint in time."""

_TRUSTED = {"role": "sagemaker.amazonaws.com", "scheduler": "scheduler.amazonaws.com"}


def policy(verb: str, scope: Scope | None = None) -> dict[str, Any]:
    """Return the least rights that a command needs, as a policy of IAM.

    Args:
        verb: A command, or ``role`` or ``scheduler``.
        scope: What it is written for.

    Raises:
        UserError: If there is no such command.
    """
    if verb not in VERBS:
        raise UserError(f"{verb}: expected one of {', '.join(VERBS)}{nearest(verb, list(VERBS))}")
    return {"Version": "2012-10-17", "Statement": _once(VERBS[verb](scope or Scope()))}


def trust(verb: str) -> dict[str, Any] | None:
    """Return who may take on a role of that name, as a policy; None of a command."""
    if verb not in _TRUSTED:
        return None
    who = {"Effect": "Allow", "Principal": {"Service": _TRUSTED[verb]}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [who]}


def _once(statements: _Statements) -> _Statements:
    return [one for index, one in enumerate(statements) if one not in statements[:index]]
