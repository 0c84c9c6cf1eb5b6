"""What of ours is in an account: found by its tags, with what costs money now, and removed again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.calls import Call
from medloom.backends.sagemaker.faults import code_of, is_absent, plainly
from medloom.backends.sagemaker.hosting import scaled
from medloom.backends.sagemaker.names import OURS, RUN_TAG, tags_of
from medloom.errors import UserError
from medloom.extras import require

__all__ = ["JOBS", "OF_A_NAME", "Thing", "delete_objects", "delete_thing", "list_ours", "running_training"]

_AGAIN = 1000

OF_A_NAME = ("runs", "answers", "captured", "batches", "bundles")
"""Folders below the prefix in which a run, an endpoint or a batch has one of its own."""


@dataclass(frozen=True)
class _Listing:
    """How things of a kind are listed and ended.

    Args:
        noun: As in ``ListEndpoints``.
        operation: boto3's name of the list.
        member: Member of its pages.
        end: The operation that ends or deletes one.
        bills: States in which it costs money.
    """

    noun: str
    operation: str
    member: str
    end: str
    bills: frozenset[str] = frozenset()


_KINDS = {
    "endpoint": _Listing(
        "Endpoint",
        "list_endpoints",
        "Endpoints",
        "DeleteEndpoint",
        frozenset({"InService", "Creating", "Updating", "SystemUpdating", "RollingBack"}),
    ),
    "endpoint-config": _Listing("EndpointConfig", "list_endpoint_configs", "EndpointConfigs", "DeleteEndpointConfig"),
    "tuning": _Listing(
        "HyperParameterTuningJob",
        "list_hyper_parameter_tuning_jobs",
        "HyperParameterTuningJobSummaries",
        "StopHyperParameterTuningJob",
        frozenset({"InProgress", "Stopping"}),
    ),
    "training": _Listing(
        "TrainingJob",
        "list_training_jobs",
        "TrainingJobSummaries",
        "StopTrainingJob",
        frozenset({"InProgress", "Stopping"}),
    ),
    "transform": _Listing(
        "TransformJob",
        "list_transform_jobs",
        "TransformJobSummaries",
        "StopTransformJob",
        frozenset({"InProgress", "Stopping"}),
    ),
    "model": _Listing("Model", "list_models", "Models", "DeleteModel"),
}
"""Kinds of things, those that cost most first: in this order they are ended."""

JOBS = ("tuning", "training", "transform")
"""Kinds that end by themselves and are not deleted, only stopped; a search before the trainings that it begins."""


@dataclass(frozen=True)
class Thing:
    """Something of ours in the account.

    Args:
        kind: ``endpoint``, ``endpoint-config``, ``model``, ``tuning``, ``training`` or ``transform``.
        name: Its name there.
        run: What people call what it belongs to.
        state: In SageMaker's words; empty for what has none.
        begun: When it was made.
        bills: Whether it costs money now.
    """

    kind: str
    name: str
    run: str
    state: str
    begun: datetime | None
    bills: bool

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        begun = None if self.begun is None else self.begun.astimezone(UTC).isoformat(timespec="seconds")
        return {
            "kind": self.kind, "name": self.name, "run": self.run, "state": self.state, "begun": begun,
            "bills": self.bills,
        }  # fmt: skip


def list_ours(
    account: Account, *, run: str | None = None, kinds: Iterable[str] = _KINDS, running: bool = False
) -> list[Thing]:
    """Return what Medloom has made in the account and region, by its tags.

    Args:
        account: The account.
        run: Only what belongs to this; everything by default.
        kinds: Only these kinds.
        running: Only what costs money now.
    """
    found: list[Thing] = []
    for kind in kinds:
        for one in _listed(account, kind, running=running):
            tags = _tags(account, one[f"{_KINDS[kind].noun}Arn"])
            if OURS not in tags or (run is not None and tags.get(RUN_TAG) != run):
                continue
            state = str(one.get(f"{_KINDS[kind].noun}Status", ""))
            bills = state in _KINDS[kind].bills
            name = one[f"{_KINDS[kind].noun}Name"]
            found.append(Thing(kind, name, tags.get(RUN_TAG, ""), state, one.get("CreationTime"), bills))
    return found


def running_training(account: Account, run: str) -> str | None:
    """Return the training job of a run that goes on there; None if none does.

    A second one would write into the same checkpoints.
    """
    return next((one.name for one in list_ours(account, run=run, kinds=["training"], running=True)), None)


def _listed(account: Account, kind: str, *, running: bool) -> Iterator[Mapping[str, Any]]:
    of = _KINDS[kind]
    if running and not of.bills:
        return
    more = {"StatusEquals": "InProgress"} if running and kind in JOBS else {}
    for one in account.pages("sagemaker", of.operation, of.member, f"{kind}s cannot be listed", **more):
        if not running or one.get(f"{of.noun}Status") in of.bills:
            yield one


def _tags(account: Account, arn: str) -> dict[str, str]:
    found = account.send(Call("sagemaker", "ListTags", {"ResourceArn": arn}), "tags cannot be read")
    return tags_of(found.get("Tags"))


def delete_thing(account: Account, thing: Thing) -> bool:
    """Delete something, or stop a job, which cannot be deleted; return whether there was anything to do.

    Raises:
        UserError: If AWS refuses.
    """
    of = _KINDS[thing.kind]
    if thing.kind in JOBS and not thing.bills:
        return False
    if thing.kind == "endpoint":
        _delete_schedule(account, thing.name)
        _delete_scaling(account, thing.name)
    call = Call("sagemaker", of.end, {f"{of.noun}Name": thing.name})
    account.send(call, f"{thing.kind} {thing.name} cannot be deleted")
    return True


def _delete_schedule(account: Account, name: str) -> None:
    """Delete what would have deleted an endpoint later; there may be none, or nobody may ask."""
    with _unless_absent():
        account.client("scheduler").delete_schedule(Name=name)


def _delete_scaling(account: Account, name: str) -> None:
    """Delete what lets an endpoint grow, with its alarms: it would stay when the endpoint is gone."""
    with _unless_absent("ObjectNotFoundException", "ValidationException"):  # most endpoints have none
        account.client("application-autoscaling").deregister_scalable_target(**scaled(name))


@contextmanager
def _unless_absent(*codes: str) -> Iterator[None]:
    try:
        yield
    except require("botocore.exceptions", "aws").ClientError as error:
        if not is_absent(error) and code_of(error) not in ("AccessDenied", "AccessDeniedException", *codes):
            raise


def delete_objects(account: Account, bucket: str, prefix: str, folder: str) -> int:
    """Delete every object below a folder of ours in the bucket.

    Args:
        account: The account.
        bucket: The bucket.
        prefix: Key below which everything of ours lies.
        folder: Below that, such as ``runs/brain-1234``; empty for everything of ours.

    Returns:
        How many were deleted.

    Raises:
        UserError: If neither is said, so that it would be the whole bucket.
    """
    if not prefix:
        raise UserError("--prefix is empty: that would be the whole bucket; delete files there by other means")
    s3, below = account.client("s3"), "/".join(part for part in (prefix, folder.strip("/")) if part) + "/"
    keys = [one["Key"] for one in account.pages(
        "s3", "list_objects_v2", "Contents", "the bucket cannot be listed", Bucket=bucket, Prefix=below
    )]  # fmt: skip
    for start in range(0, len(keys), _AGAIN):
        part = [{"Key": key} for key in keys[start : start + _AGAIN]]
        with plainly("files cannot be deleted"):
            s3.delete_objects(Bucket=bucket, Delete={"Objects": part, "Quiet": True})
    return len(keys)
