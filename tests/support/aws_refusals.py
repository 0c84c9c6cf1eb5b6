"""What SageMaker refuses and moto takes.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html and the pages beside it;
everything else is botocore's model of the service.
"""

from __future__ import annotations

from medloom.backends.sagemaker.calls import Call, problems

__all__ = ["refusal"]


def refusal(backend, action, given):
    """Return code and message of what SageMaker says against a request; None if it takes it."""
    wrong = problems(Call("sagemaker", action, given))
    if wrong:
        said = "; ".join(wrong)
        return "ValidationException", f"{len(wrong)} validation error(s) detected: {said}"
    asked = _ASKED.get(action)
    return None if asked is None else asked(backend, given)


def _training(backend, given):
    name, stopping = given["TrainingJobName"], given["StoppingCondition"]
    spot, longest = given.get("EnableManagedSpotTraining", False), stopping.get("MaxRuntimeInSeconds", 86400)
    wait = stopping.get("MaxWaitTimeInSeconds")
    if name in backend.training_jobs:
        return "ResourceInUse", f"Training job names must be unique within an AWS account and region: {name}"
    if spot and (wait is None or wait < longest):
        return "ValidationException", "MaxWaitTimeInSeconds must be equal to or greater than MaxRuntimeInSeconds"
    if wait is not None and not spot:
        return "ValidationException", "MaxWaitTimeInSeconds must not be set for jobs that do not use spot instances"
    if spot and given["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
        return "ValidationException", "KeepAlivePeriodInSeconds is not supported with managed spot training"
    return None


def _transform(backend, given):
    name, at_a_time, size = (
        given["TransformJobName"],
        given.get("MaxConcurrentTransforms", 1),
        given.get("MaxPayloadInMB", 6),
    )
    if name in backend.transform_jobs:
        return "ResourceInUse", f"Transform job names must be unique within an AWS account and region: {name}"
    if given["ModelName"] not in backend._models:
        return "ValidationException", f'Could not find model "{given["ModelName"]}".'
    if at_a_time * size > 100:
        return "ValidationException", "MaxConcurrentTransforms * MaxPayloadInMB must be at most 100 MB"
    return None


def _new(member, things, noun):
    def refused(backend, given):
        taken = given[member] in getattr(backend, things)
        message = f'Cannot create already existing {noun} "{given[member]}"'
        return ("ValidationException", message) if taken else None

    return refused


_ASKED = {
    "CreateTrainingJob": _training,
    "CreateTransformJob": _transform,
    "CreateModel": _new("ModelName", "_models", "model"),
    "CreateEndpointConfig": _new("EndpointConfigName", "endpoint_configs", "endpoint configuration"),
    "CreateEndpoint": _new("EndpointName", "endpoints", "endpoint"),
}
