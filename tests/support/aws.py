"""AWS on loopback: moto's server, and what it lacks.

moto ends a job the moment it begins, and answers ``StopTrainingJob``, ``StopTransformJob`` and ``UpdateEndpoint`` with
an error of its own. Here jobs go on until the test says how they end, and these three do what AWS does. moto takes
nearly every request; here what comes to SageMaker is refused where AWS's model of it, or its documentation, says so
(``support.aws_refusals``), and is kept for the test to look at.
"""

from __future__ import annotations

import contextlib
import json
import time
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.moto_api._internal import moto_api_backend
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse
from moto.server import ThreadedMotoServer

from support.aws_refusals import refusal

__all__ = ["ACCOUNT", "BUCKET", "IMAGE", "REGION", "ROLE", "FakeAws", "opened_aws"]

ACCOUNT = "123456789012"  # moto's
REGION = "eu-central-1"
BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/medloom"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/medloom-train:1"

_TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}


class FakeAws:
    """What a test may look at and decide."""

    def __init__(self, url):
        self.url = url
        self.on_begin = lambda name: None
        self.on_transform = lambda name: None
        self.on_stop = None
        self.on_endpoint = None
        self.invoked = None
        self.environments = {}
        self.printed = {}
        self.requests = []
        self.faults = {}

    def client(self, service, region=REGION, **more):
        return boto3.client(service, region_name=region, endpoint_url=self.url, **more)

    @property
    def backend(self):
        return sagemaker_backends[ACCOUNT][REGION]

    def job(self, name):
        return {**self.backend.training_jobs, **self.backend.transform_jobs}[name]

    @property
    def jobs(self):
        return list(self.backend.training_jobs)

    def goes_on(self, name, second="Training"):
        job = self.job(name)
        job.training_job_status, job.secondary_status = "InProgress", second
        job.training_end_time = None
        job.training_start_time = None if second in ("Starting", "Pending") else utcnow()

    def ends(self, name, status="Completed", reason=None, best=None, billed_s=60):
        job = self.job(name)
        if hasattr(job, "transform_job_status"):
            job.transform_job_status = status
        job.training_job_status = job.secondary_status = status
        job.failure_reason = reason
        job.training_end_time = utcnow() + timedelta(seconds=billed_s)
        job.billable_time_in_seconds = billed_s
        values = [] if best is None else [{"MetricName": "medloom:best", "Value": best, "Timestamp": utcnow()}]
        job.final_metric_data_list = values

    def prints(self, name, lines, host="algo-1", group="/aws/sagemaker/TrainingJobs"):
        self.printed.setdefault(name, []).extend(lines)
        logs, stream = self.client("logs"), f"{name}/{host}-1700000000"
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=group)
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    def writes(self, uri, folder):
        """Put what a container would have written there."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        for path in (path for path in Path(folder).rglob("*") if path.is_file()):
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            self.client("s3").put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    def reads(self, uri, path):
        """Bring an object to where a container has it."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.client("s3").download_file(bucket, key, str(path))

    def objects(self, prefix=""):
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}


def _strictly(aws, original):
    """Keep a request, and refuse what AWS would refuse, or what the test says: its next answer to such requests."""

    def call_action(self):
        action, given = self._get_action(), json.loads(self.body or "{}")
        aws.requests.append((action, given))
        fault = next(aws.faults.get(action, iter(())), None) or refusal(self.sagemaker_backend, action, given)
        if fault is None:
            return original(self)
        code, message = fault
        return 400, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps({"__type": code, "message": message})

    return call_action


def _begun(aws, original):
    def create(self, **given):
        job = original(self, **given)
        aws.goes_on(job.training_job_name, "Starting")
        aws.on_begin(job.training_job_name)
        return job

    return create


def _transforming(aws, original):
    def create(self, **given):
        if given["transform_job_name"] in self.transform_jobs:
            raise ValidationError(message="Transform job names must be unique within an AWS account and region")
        job = original(self, **given)
        aws.on_transform(job.transform_job_name)
        return job

    return create


def _asked(aws, original):
    def create(self):
        aws.environments[self._get_param("TrainingJobName")] = self._get_param("Environment") or {}  # moto drops it
        return original(self)

    return create


def _stopping(aws):
    def stop(self):
        name = self._get_param("TrainingJobName")
        job = self.sagemaker_backend.training_jobs[name]
        if aws.on_stop is None:
            job.training_job_status = job.secondary_status = "Stopped"
        else:
            aws.on_stop(name)
        return EmptyResult()

    return stop


def _stop_transform_job(self):
    job = self.sagemaker_backend.transform_jobs[self._get_param("TransformJobName")]
    job.transform_job_status = "Stopped"
    return EmptyResult()


def _endpoint_of(self):
    name = self._get_param("EndpointName")
    endpoint = self.sagemaker_backend.endpoints.get(name)
    if endpoint is None:
        raise ValidationError(message=f"Could not find endpoint {name!r}.")
    return endpoint


def _updating(aws):
    def update(self):
        endpoint = _endpoint_of(self)
        endpoint.endpoint_config_name = self._get_param("EndpointConfigName")
        if aws.on_endpoint is not None:
            endpoint.endpoint_status = "Updating"
            aws.on_endpoint(endpoint)
        return ActionResult({"EndpointArn": endpoint.arn})

    return update


def _served(aws, original):
    def create(self, *words, **given):
        endpoint = original(self, *words, **given)
        if aws.on_endpoint is not None:
            endpoint.endpoint_status = "Creating"
            aws.on_endpoint(endpoint)
        return endpoint

    return create


def _invoking(aws, original):
    def invoke(self):
        if aws.invoked is not None:
            return aws.invoked(self)
        self.body = self.body.decode(errors="replace")
        return original(self)

    return invoke


@contextlib.contextmanager
def opened_aws():
    """Run moto's server with one bucket and one role, and point boto3 to it."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    aws = FakeAws(f"http://{host}:{port}")
    for name, value in _ENVIRONMENT.items():
        patch.setenv(name, value)
    patch.setenv("AWS_ENDPOINT_URL", aws.url)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "MEDLOOM_SAGEMAKER_ROLE", "MEDLOOM_IMAGE"):
        patch.delenv(name, raising=False)
    original = SageMakerModelBackend.create_training_job
    patch.setattr(SageMakerModelBackend, "create_training_job", _begun(aws, original))
    transform = SageMakerModelBackend.create_transform_job
    patch.setattr(SageMakerModelBackend, "create_transform_job", _transforming(aws, transform))
    patch.setattr(SageMakerResponse, "create_training_job", _asked(aws, SageMakerResponse.create_training_job))
    made = SageMakerModelBackend.create_endpoint
    patch.setattr(SageMakerModelBackend, "create_endpoint", _served(aws, made))
    patch.setattr(SageMakerResponse, "call_action", _strictly(aws, SageMakerResponse.call_action))
    invoke = SageMakerRuntimeResponse.invoke_endpoint
    patch.setattr(SageMakerRuntimeResponse, "invoke_endpoint", _invoking(aws, invoke))
    patch.setattr(SageMakerRuntimeResponse, "use_raw_body", True)  # moto takes a body for text
    lacking = {"stop_training_job": _stopping(aws), "stop_transform_job": _stop_transform_job}
    for name, function in {**lacking, "update_endpoint": _updating(aws)}.items():
        patch.setattr(SageMakerResponse, name, function, raising=False)
    try:
        set_up(aws)
        yield aws
    finally:
        patch.undo()
        server.stop()


_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "made",
    "AWS_SECRET_ACCESS_KEY": "up",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def set_up(aws):
    """Empty the account, and make its bucket and its role."""
    moto_api_backend.reset()
    aws.on_begin, aws.on_stop, aws.on_endpoint, aws.invoked = lambda name: None, None, None, None
    aws.requests.clear()
    aws.faults.clear()
    aws.on_transform = lambda name: None
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    document = json.dumps({"Version": "2012-10-17", "Statement": [_TRUST]})
    aws.client("iam").create_role(RoleName="medloom", AssumeRolePolicyDocument=document)
