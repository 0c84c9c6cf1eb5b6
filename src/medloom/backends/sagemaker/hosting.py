"""A model there as requests: an endpoint that answers, of three kinds, and a job that predicts what lies in a bucket.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html,
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from medloom.backends.sagemaker.calls import Call
from medloom.backends.sagemaker.names import aws_name
from medloom.backends.sagemaker.place import Place
from medloom.errors import UserError

__all__ = [
    "MEMORIES_MB",
    "Deployment",
    "EndpointKind",
    "Transform",
    "deletion_call",
    "deployment_calls",
    "scaled",
    "scaling_calls",
    "transform_calls",
]

EndpointKind = Literal["real-time", "serverless", "async"]

MEMORIES_MB = (1024, 2048, 3072, 4096, 5120, 6144)
"""Memories that a serverless endpoint may have."""

_VARIANT = "AllTraffic"
_MOST_CONCURRENT = 200
_MOST_IN_FLIGHT_MB = 100
_MOST_PAYLOAD_MB = 100


@dataclass(frozen=True)
class Deployment:
    """A model behind an endpoint.

    Args:
        name: Of the endpoint, as people call it.
        image: URI of the serving image in ECR.
        model: URI of the bundle, ``model.tar.gz``.
        kind: ``real-time`` for answers at once from machines that always run, ``serverless`` for machines only while
            there are requests, ``async`` for large images that are answered in a bucket.
        instance: What it runs on; not for serverless.
        count: How many of them, or fewest where there may be more.
        most: So many where there is much to do; None keeps ``count``.
        per_minute: With ``most``: requests a minute that one instance is to have.
        memory_mb: Of a serverless endpoint.
        concurrency: Most requests at a time of a serverless endpoint.
        capture_percent: Share of requests and answers that are kept in the bucket, with the images in them.
        environment: Environment variables of the container.
        stamp: What tells this version from others under the same name, such as the time.

    Raises:
        UserError: If two of these do not go together.
    """

    name: str
    image: str
    model: str
    kind: EndpointKind = "real-time"
    instance: str = "ml.m5.xlarge"
    count: int = 1
    most: int | None = None
    per_minute: int = 60
    memory_mb: int = 4096
    concurrency: int = 5
    capture_percent: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    stamp: str = ""

    def __post_init__(self) -> None:
        if self.kind == "serverless":
            self._check_serverless()
        elif self.most is not None and self.most < self.count:
            raise UserError(f"--most: expected at least the {self.count} of --instances; got {self.most}")
        if self.kind != "real-time" and self.capture_percent:
            raise UserError("--capture keeps requests of a real-time endpoint; leave it out")

    def _check_serverless(self) -> None:
        if self.memory_mb not in MEMORIES_MB:
            raise UserError(f"--memory: expected one of {', '.join(map(str, MEMORIES_MB))} MB; got {self.memory_mb}")
        if not 1 <= self.concurrency <= _MOST_CONCURRENT:
            raise UserError(f"--concurrency: expected 1 to {_MOST_CONCURRENT}; got {self.concurrency}")
        if self.most is not None:
            raise UserError("a serverless endpoint grows by itself, up to --concurrency; leave --most out")

    @property
    def version(self) -> str:
        """Name of the model and of the configuration."""
        return aws_name(f"{self.name}-{self.stamp}" if self.stamp else self.name, f"{self.model} {self.image}")

    @property
    def endpoint(self) -> str:
        """Name of the endpoint, which stays when its model changes."""
        return aws_name(self.name)


@dataclass(frozen=True)
class Transform:
    """A job that predicts every image below a place in a bucket, one request an image.

    Args:
        name: What people call it.
        image: URI of the serving image in ECR.
        model: URI of the bundle.
        source: URI of the images.
        target: URI where answers go, under the same names with ``.out`` at the end.
        content_type: What the images are sent as; the container looks at their first bytes.
        accept: What the answers are to be.
        instance: What it runs on.
        count: How many of them.
        at_a_time: Requests at a time for one instance.
        payload_mb: Largest image in MB.
        timeout_s: Longest time for an answer.
        environment: Environment variables of the container.
        stamp: What tells this job from others of the name, such as the time.

    Raises:
        UserError: If they do not go together.
    """

    name: str
    image: str
    model: str
    source: str
    target: str
    content_type: str = "application/octet-stream"
    accept: str = "application/json"
    instance: str = "ml.m5.xlarge"
    count: int = 1
    at_a_time: int = 2
    payload_mb: int = 32
    timeout_s: int = 600
    environment: Mapping[str, str] = field(default_factory=dict)
    stamp: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.payload_mb <= _MOST_PAYLOAD_MB or self.at_a_time * self.payload_mb > _MOST_IN_FLIGHT_MB:
            raise UserError(
                f"--payload times --at-a-time: SageMaker takes at most {_MOST_IN_FLIGHT_MB} MB in flight; got "
                f"{self.at_a_time} times {self.payload_mb}"
            )

    @property
    def job(self) -> str:
        """Name of the job and of its model."""
        return aws_name(f"{self.name}-{self.stamp}" if self.stamp else self.name, f"{self.model} {self.source}")


def deployment_calls(deployment: Deployment, place: Place, *, update: bool = False) -> list[Call]:
    """Return the requests that make an endpoint, in their order.

    Args:
        deployment: What is deployed.
        place: Where.
        update: Whether the endpoint is there and gets another model.
    """
    named = {"EndpointName": deployment.endpoint, "EndpointConfigName": deployment.version}
    tags = place.tagged("endpoint", deployment.name)
    last = Call("sagemaker", "UpdateEndpoint", named)
    made = Call("sagemaker", "CreateEndpoint", {**named, "Tags": tags})
    model = _model_call(deployment.version, deployment.name, deployment.image, deployment.model, place, deployment)
    return [model, _configuration(deployment, place), last if update else made]


def _model_call(
    name: str, run: str, image: str, model: str, place: Place, of: Deployment | Transform, **environment: str
) -> Call:
    container = {"Image": image, "ModelDataUrl": model, "Environment": {**of.environment, **environment}}
    serverless = isinstance(of, Deployment) and of.kind == "serverless"
    network = {"EnableNetworkIsolation": place.isolated} if serverless else place.network
    body = {"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": place.role}
    return Call("sagemaker", "CreateModel", {**body, "Tags": place.tagged("model", run), **network})


def _configuration(deployment: Deployment, place: Place) -> Call:
    variant = {"VariantName": _VARIANT, "ModelName": deployment.version, **_capacity(deployment)}
    answers = place.uri("answers", aws_name(deployment.name))
    asynchronous = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": answers, **place.key("KmsKeyId")}}}
    body: dict[str, Any] = {
        "EndpointConfigName": deployment.version,
        "ProductionVariants": [variant],
        "Tags": place.tagged("endpoint-config", deployment.name),
        **(asynchronous if deployment.kind == "async" else {}),
        **(place.key("KmsKeyId") if deployment.kind != "serverless" else {}),
        **(_capture(deployment, place) if deployment.capture_percent else {}),
    }
    return Call("sagemaker", "CreateEndpointConfig", body)


def _capacity(deployment: Deployment) -> dict[str, Any]:
    if deployment.kind == "serverless":
        size = {"MemorySizeInMB": deployment.memory_mb, "MaxConcurrency": deployment.concurrency}
        return {"ServerlessConfig": size}
    return {"InstanceType": deployment.instance, "InitialInstanceCount": deployment.count, "InitialVariantWeight": 1.0}


def _capture(deployment: Deployment, place: Place) -> dict[str, Any]:
    return {
        "DataCaptureConfig": {
            "EnableCapture": True,
            "InitialSamplingPercentage": deployment.capture_percent,
            "DestinationS3Uri": place.uri("captured", aws_name(deployment.name)),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            **place.key("KmsKeyId"),
        }
    }


def scaled(endpoint: str) -> dict[str, str]:
    """Return what Application Auto Scaling calls the machines of an endpoint."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{_VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def scaling_calls(deployment: Deployment, place: Place) -> Sequence[Call]:
    """Return what lets an endpoint grow with its requests and shrink again; nothing where it is not to.

    It can be asked for only when the endpoint is in service.
    """
    if deployment.most is None:
        return []
    of = scaled(deployment.endpoint)
    bounds = {"MinCapacity": deployment.count, "MaxCapacity": deployment.most}
    aim = {
        "TargetValue": float(deployment.per_minute),
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }
    policy = {"PolicyName": deployment.endpoint, "PolicyType": "TargetTrackingScaling"}
    tags = {tag["Key"]: tag["Value"] for tag in place.tagged("scaling", deployment.name)}
    return [
        Call("application-autoscaling", "RegisterScalableTarget", {**of, **bounds, "Tags": tags}),
        Call(
            "application-autoscaling",
            "PutScalingPolicy",
            {**policy, **of, "TargetTrackingScalingPolicyConfiguration": aim},
        ),
    ]


def deletion_call(name: str, ends: datetime, role: str) -> Call:
    """Return what deletes an endpoint at a time, in the account, whoever's laptop is closed then.

    Args:
        name: Of the endpoint, as people call it.
        ends: When, in UTC.
        role: ARN of a role that EventBridge Scheduler takes on and that may delete endpoints.
    """
    endpoint = aws_name(name)
    target = {
        "Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:deleteEndpoint",
        "RoleArn": role,
        "Input": json.dumps({"EndpointName": endpoint}),
    }
    return Call(
        "scheduler",
        "CreateSchedule",
        {
            "Name": endpoint,
            "Description": "Deletes an endpoint of Medloom",
            "ScheduleExpression": f"at({ends:%Y-%m-%dT%H:%M:%S})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": target,
            "ActionAfterCompletion": "DELETE",
        },
    )


def transform_calls(transform: Transform, place: Place) -> list[Call]:
    """Return the requests of a job that predicts what lies in a bucket: its model and itself."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{transform.source.rstrip('/')}/"}
    body = {
        "TransformJobName": transform.job,
        "ModelName": transform.job,
        "BatchStrategy": "SingleRecord",
        "MaxConcurrentTransforms": transform.at_a_time,
        "MaxPayloadInMB": transform.payload_mb,
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": transform.timeout_s, "InvocationsMaxRetries": 1},
        "TransformInput": {
            "DataSource": {"S3DataSource": source},
            "ContentType": transform.content_type,
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": transform.target,
            "Accept": transform.accept,
            "AssembleWith": "None",
            **place.key("KmsKeyId"),
        },
        "TransformResources": {
            "InstanceType": transform.instance,
            "InstanceCount": transform.count,
            **place.key("VolumeKmsKeyId"),
        },
        "Tags": place.tagged("transform", transform.name),
    }
    model = _model_call(transform.job, transform.name, transform.image, transform.model, place, transform)
    return [model, Call("sagemaker", "CreateTransformJob", body)]
