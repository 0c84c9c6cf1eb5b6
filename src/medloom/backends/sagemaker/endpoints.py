"""Endpoints: made in the order in which nothing bills unseen, waited for, and taken away again if they fail.

What is to end an endpoint is there before the endpoint is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.calls import Call, check
from medloom.backends.sagemaker.faults import code_of, is_absent, plainly
from medloom.backends.sagemaker.hosting import Deployment, deletion_call, deployment_calls, scaling_calls
from medloom.backends.sagemaker.names import aws_name
from medloom.backends.sagemaker.place import Place
from medloom.backends.sagemaker.upload import put_file, size_there
from medloom.errors import MedloomError
from medloom.extras import require
from medloom.files import sha256_file
from medloom.wording import one_line

__all__ = ["Ending", "bundle_uri", "deploy", "endpoint_state", "planned_calls", "send_bundle", "wait_for_endpoint"]

_POLL_S = 10.0
_UNDO = {
    "CreateModel": ("DeleteModel", "ModelName"),
    "CreateEndpointConfig": ("DeleteEndpointConfig", "EndpointConfigName"),
}
_DONE = ("InService", "Failed", "OutOfService", "UpdateRollbackFailed")


@dataclass(frozen=True)
class Ending:
    """When an endpoint is deleted, by whom.

    Args:
        at: In UTC.
        role: ARN of the role that EventBridge Scheduler takes on.
    """

    at: datetime
    role: str


def bundle_uri(place: Place, bundle: Path, name: str) -> str:
    """Return where a bundle goes; another content goes elsewhere, so what an endpoint has is never changed."""
    return place.uri("bundles", aws_name(name), sha256_file(bundle)[:16], "model.tar.gz")


def send_bundle(account: Account, place: Place, bundle: Path, uri: str) -> bool:
    """Bring a bundle into the bucket unless it is there; return whether it was sent."""
    key = uri.removeprefix(f"s3://{place.bucket}/{place.prefix}/")
    with plainly("the bundle cannot be looked for in the bucket"):
        there = size_there(account.client("s3"), place.bucket, f"{place.prefix}/{key}")
    if there == bundle.stat().st_size:
        return False
    put_file(account, place, bundle, key)
    return True


def planned_calls(deployment: Deployment, place: Place, ending: Ending | None, *, update: bool = False) -> list[Call]:
    """Return everything that deploying asks of AWS, in its order, each checked."""
    end = [] if ending is None else [deletion_call(deployment.name, ending.at, ending.role)]
    calls = [*end, *deployment_calls(deployment, place, update=update), *scaling_calls(deployment, place)]
    return [check(call) for call in calls]


def endpoint_state(account: Account, name: str) -> dict[str, Any] | None:
    """Return what SageMaker says of an endpoint; None if there is none.

    Args:
        account: The account.
        name: As people call it.
    """
    with plainly(f"the endpoint {name} cannot be looked up"):
        try:
            found: dict[str, Any] = account.client("sagemaker").describe_endpoint(EndpointName=aws_name(name))
        except require("botocore.exceptions", "aws").ClientError as error:
            if is_absent(error):
                return None
            raise
    return found


def deploy(
    account: Account,
    deployment: Deployment,
    place: Place,
    ending: Ending | None = None,
    *,
    told: Callable[[str], object] = lambda text: None,
    sleep: Callable[[float], object] = time.sleep,
) -> dict[str, Any]:
    """Make an endpoint, or give the one of that name another model, and wait until it answers.

    Args:
        account: The account.
        deployment: What is deployed; its bundle is in the bucket.
        place: Where.
        ending: When it is deleted again; None for as long as nobody deletes it.
        told: Told what is going on.
        sleep: Waits between two looks.

    Returns:
        What SageMaker says of it.

    Raises:
        MedloomError: If it fails; what was made for it is deleted.
    """
    before = endpoint_state(account, deployment.name)
    planned_calls(deployment, place, ending, update=before is not None)  # all is checked before the first is sent
    if ending is not None:
        _end_later(account, deployment_end := deletion_call(deployment.name, ending.at, ending.role))
        told(f"it deletes itself: {deployment_end.parameters['ScheduleExpression']} UTC")
    made = list[Call]()
    try:
        for call in deployment_calls(deployment, place, update=before is not None):
            account.send(call, f"the endpoint {deployment.name} cannot be made")
            made.append(call)
        found = wait_for_endpoint(account, deployment.name, told=told, sleep=sleep)
    except MedloomError:
        _undo(account, made, deployment, is_new=before is None)
        raise
    for call in scaling_calls(deployment, place):
        account.send(call, f"the endpoint {deployment.name} answers, but it cannot be told to grow")
    if before is not None:
        _remove_version(account, before["EndpointConfigName"], deployment.version)
    return found


def wait_for_endpoint(
    account: Account,
    name: str,
    *,
    told: Callable[[str], object] = lambda text: None,
    sleep: Callable[[float], object] = time.sleep,
) -> dict[str, Any]:
    """Wait until an endpoint answers.

    Raises:
        MedloomError: If it fails, with SageMaker's reason.
    """
    before = ""
    while True:
        found = endpoint_state(account, name)
        if found is None:
            raise MedloomError(f"the endpoint {name} is gone: somebody has deleted it")
        state = found["EndpointStatus"]
        if state != before:
            told(f"endpoint: {state}")
            before = state
        if state == "InService":
            return found
        if state in _DONE:
            reason = one_line(str(found.get("FailureReason", "")), 1100) or "without a reason"
            raise MedloomError(f"the endpoint {name} failed there: {reason}; its lines are in CloudWatch")
        sleep(_POLL_S)


def _end_later(account: Account, call: Call) -> None:
    """Say when an endpoint is to be deleted; a schedule of that name is there from the last time."""
    doing = "the endpoint cannot be told to delete itself, so it was not made"
    with plainly(doing):
        try:
            account.client("scheduler").create_schedule(**check(call).parameters)
        except require("botocore.exceptions", "aws").ClientError as error:
            if code_of(error) != "ConflictException":
                raise
            account.client("scheduler").update_schedule(**call.parameters)


def _undo(account: Account, made: Sequence[Call], deployment: Deployment, *, is_new: bool) -> None:
    """Delete what was made for an endpoint that failed, as far as AWS lets one."""
    names = [_UNDO[call.operation] + (call,) for call in reversed(made) if call.operation in _UNDO]
    calls = [Call("sagemaker", operation, {member: call.parameters[member]}) for operation, member, call in names]
    if is_new and any(call.operation == "CreateEndpoint" for call in made):
        calls.insert(0, Call("sagemaker", "DeleteEndpoint", {"EndpointName": deployment.endpoint}))
    for call in calls:
        try:
            account.send(call, "it cannot be deleted")
        except MedloomError:  # what failed first is what the user is told
            continue


def _remove_version(account: Account, old: str, now: str) -> None:
    """Delete the configuration and the model that an endpoint had before; they have one name."""
    if old == now:
        return
    for operation, member in (("DeleteEndpointConfig", "EndpointConfigName"), ("DeleteModel", "ModelName")):
        try:
            account.send(Call("sagemaker", operation, {member: old}), "the former version cannot be deleted")
        except MedloomError:  # somebody has, or it was none of ours
            continue
