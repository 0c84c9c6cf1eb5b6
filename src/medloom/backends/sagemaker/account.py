"""The account: its clients, and what can be found out of region, bucket and role instead of being asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from medloom.backends.sagemaker.calls import Call, check
from medloom.backends.sagemaker.faults import is_absent, plainly
from medloom.backends.sagemaker.place import Place
from medloom.errors import UserError
from medloom.extras import require

__all__ = [
    "ROLE",
    "Account",
    "Wanted",
    "bucket_region",
    "check_region",
    "default_bucket",
    "find_bucket",
    "find_place",
    "place_without_account",
]

ROLE = "MEDLOOM_SAGEMAKER_ROLE"
"""Environment variable with the ARN of the role."""

_NOBODY = "000000000000"
_SAGEMAKER = "sagemaker.amazonaws.com"
_TRIES = 8


@dataclass(frozen=True)
class Wanted:
    """What the user says of the place; None for what is to be found out.

    The arguments are those of ``Place``.
    """

    region: str | None = None
    bucket: str | None = None
    role: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


class Account:
    """Clients of one account and region, made when they are needed. They wait and ask again where AWS is busy.

    Args:
        region: Such as ``eu-central-1``; None takes that of the environment or profile.

    Raises:
        UserError: If there is no region.
    """

    def __init__(self, region: str | None = None) -> None:
        boto3, config = require("boto3", "aws"), require("botocore.config", "aws")
        with plainly("AWS cannot be asked"):
            self._session = boto3.Session(region_name=region)
        if not self._session.region_name:
            raise UserError("no region of AWS is known; name one: --region, or AWS_DEFAULT_REGION")
        self.region: str = self._session.region_name
        self._config = config.Config(retries={"mode": "adaptive", "total_max_attempts": _TRIES})
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 has no types
        """Return the client of a service."""
        if service not in self._clients:
            with plainly("AWS cannot be asked"):
                self._clients[service] = self._session.client(service, config=self._config)
        return self._clients[service]

    def send(self, call: Call, doing: str) -> dict[str, Any]:
        """Send a call, checked, and return the answer.

        Args:
            call: What.
            doing: What cannot be done if AWS refuses, for the message.

        Raises:
            MedloomError: If AWS refuses it, or would.
        """
        xform_name = require("botocore", "aws").xform_name
        send = getattr(self.client(call.service), xform_name(call.operation))
        with plainly(doing):
            answer: dict[str, Any] = send(**check(call).parameters)
        return answer

    def pages(self, service: str, operation: str, member: str, doing: str, **parameters: Any) -> Iterator[Any]:  # noqa: ANN401
        """Yield what all pages of a list have in a member."""
        with plainly(doing):
            for page in self.client(service).get_paginator(operation).paginate(**parameters):
                yield from page.get(member, [])

    def number(self) -> str:
        """Return the number of the account."""
        with plainly("the account cannot be told"):
            return str(self.client("sts").get_caller_identity()["Account"])

    def caller(self) -> str:
        """Return the ARN of who asks."""
        with plainly("the account cannot be told"):
            return str(self.client("sts").get_caller_identity()["Arn"])

    def has_credentials(self) -> bool:
        """Whether there are any; nobody is asked whether they are good."""
        with plainly("AWS cannot be asked"):
            return self._session.get_credentials() is not None


def find_place(account: Account, wanted: Wanted, said: Callable[[str], object]) -> Place:
    """Find the bucket and the role that the user did not name, and say what was found.

    Args:
        account: The account.
        wanted: What the user named.
        said: Told what was found.

    Raises:
        UserError: If there is none or several, or the bucket is in another region.
    """
    bucket = find_bucket(account, wanted.bucket, said)
    return Place(account.region, bucket, find_role(account, wanted.role, said), **wanted.more)


def find_role(account: Account, named: str | None, said: Callable[[str], object]) -> str:
    """Return the ARN of the role that the user named, or of the only one that SageMaker may take on, which is said.

    Raises:
        UserError: If there is none, or several.
    """
    return _role_arn(account, named or os.environ.get(ROLE) or _found_role(account, said))


def find_bucket(account: Account, named: str | None, said: Callable[[str], object]) -> str:
    """Return the bucket that the user named, or the usual one, which is said.

    Raises:
        UserError: If there is none, or it is in another region.
    """
    bucket = named or _found_bucket(account, said)
    check_region(account, bucket)
    return bucket


def place_without_account(wanted: Wanted, said: Callable[[str], object]) -> Place:
    """Return a place for requests that are only printed: what nobody knows is written with the account 000000000000."""
    region = wanted.region or os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION") or "eu-west-1"
    bucket = wanted.bucket or default_bucket(region, _NOBODY)
    role = wanted.role or os.environ.get(ROLE) or f"arn:aws:iam::{_NOBODY}:role/medloom"
    role = role if role.startswith("arn:") else f"arn:aws:iam::{_NOBODY}:role/{role}"
    if _NOBODY in f"{bucket} {role}" or wanted.region is None:
        said(
            f"nothing is asked of AWS: region {region}, bucket {bucket} and role {role} stand for yours where not named"
        )
    return Place(region, bucket, role, **wanted.more)


def check_region(account: Account, bucket: str) -> None:
    """Refuse a bucket of another region: SageMaker reads and writes only in its own.

    Raises:
        UserError: If it is there, or nowhere.
    """
    region = bucket_region(account, bucket)
    if region != account.region:
        raise UserError(
            f"the bucket {bucket} is in {region}, and the jobs would run in {account.region}; SageMaker takes only "
            f"buckets of its own region: --region {region}, or another --bucket"
        )


def bucket_region(account: Account, bucket: str) -> str:
    """Return the region of a bucket.

    Raises:
        UserError: If there is no such bucket, or nobody may ask.
    """
    with plainly(f"the bucket {bucket} cannot be looked at"):
        try:
            found = account.client("s3").get_bucket_location(Bucket=bucket)["LocationConstraint"]
        except require("botocore.exceptions", "aws").ClientError as error:
            if is_absent(error):
                raise UserError(
                    f"there is no bucket {bucket}; make it in {account.region}, private and encrypted: "
                    f"aws s3 mb s3://{bucket} --region {account.region}"
                ) from error
            raise
    return str({None: "us-east-1", "EU": "eu-west-1"}.get(found, found))


def default_bucket(region: str, number: str) -> str:
    """Return the bucket that SageMaker's own tools make in each region of an account."""
    return f"sagemaker-{region}-{number}"


def _found_bucket(account: Account, said: Callable[[str], object]) -> str:
    """The bucket that SageMaker's own tools make in each region."""
    name = default_bucket(account.region, account.number())
    said(f"bucket: {name}, the usual one of this region; --bucket names another")
    return name


def _found_role(account: Account, said: Callable[[str], object]) -> str:
    """The one role of the account that SageMaker may take on."""
    roles = [
        role["Arn"]
        for role in account.pages("iam", "list_roles", "Roles", "the roles cannot be listed; name one with --role")
        if _trusts(role.get("AssumeRolePolicyDocument"), _SAGEMAKER)
    ]
    if len(roles) == 1:
        said(f"role: {roles[0]}, the only one that SageMaker may take on; --role names another")
        return str(roles[0])
    if not roles:
        raise UserError(
            "the account has no role that SageMaker may take on; make one (medloom sagemaker policy role prints what "
            f"it needs) and name it: --role ARN, or {ROLE}"
        )
    shown = ", ".join(arn.rpartition("/")[2] for arn in sorted(roles))
    raise UserError(f"several roles may be taken on by SageMaker; name one with --role or {ROLE}: {shown}")


def _trusts(document: object, service: str) -> bool:
    text = document if isinstance(document, str) else json.dumps(document)
    return service in text


def _role_arn(account: Account, role: str) -> str:
    """The ARN of a role by its name; an ARN stays."""
    if role.startswith("arn:"):
        return role
    with plainly(f"the role {role} cannot be looked up; name its ARN"):
        return str(account.client("iam").get_role(RoleName=role)["Role"]["Arn"])
