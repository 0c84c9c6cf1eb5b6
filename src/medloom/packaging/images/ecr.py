"""Amazon's registry of images: the repository, the login, and the same as steps for a shell."""

from __future__ import annotations

import base64
import re

from medloom import __version__
from medloom.aws import code_of, is_denied, plainly
from medloom.extras import require
from medloom.packaging.images.builders import push_command, run

__all__ = ["ecr_steps", "open_ecr", "steps_by_hand"]

_ECR = re.compile(
    r"(?P<host>(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?)/(?P<name>.+)"
)
_ANYWHERE = "ACCOUNT.dkr.ecr.REGION.amazonaws.com"
_RIGHTS = ": ecr:GetAuthorizationToken, ecr:DescribeRepositories, ecr:CreateRepository, and those to push"


def ecr_steps(builder: str, tag: str) -> list[str]:
    """Return what to type in a shell to log in to the registry of a tag in Amazon's ECR; nothing for other registries.

    Example:
        >>> ecr_steps("podman", "medloom-serve:0.1.0")
        []
    """
    found = _ECR.fullmatch(tag)
    if found is None:
        return []
    return _steps(builder, found["host"], found["region"], found["name"].partition(":")[0])


def steps_by_hand(builder: str, tag: str) -> list[str]:
    """Return what to type in a shell to bring an image of this machine to ECR, with words for account and region."""
    name = tag.rpartition("/")[2]
    there = f"{_ANYWHERE}/{name}"
    pushed = [" ".join([builder, "tag", tag, there]), " ".join(push_command(builder, there))]
    return [*_steps(builder, _ANYWHERE, "REGION", name.partition(":")[0]), *pushed]


def open_ecr(builder: str, tag: str) -> str | None:
    """Make the repository of a tag in ECR if it is not there, and log in, with the credentials of this machine.

    For other registries nothing is done.

    Args:
        builder: Who will push.
        tag: What the image is called.

    Returns:
        The name of the repository, if it was made.

    Raises:
        MissingExtraError: If boto3 is not installed.
        UserError: If AWS refuses; the rights that are needed are named.
        ServerError: If AWS cannot be reached.
        MedloomError: If the builder cannot log in.
    """
    found = _ECR.fullmatch(tag)
    if found is None:
        return None
    name = found["name"].partition(":")[0]
    with plainly(f"{tag} cannot be pushed", rights=_RIGHTS):
        made = _make(found["region"], found["account"], name)
        asked = require("boto3", "aws").client("ecr", region_name=found["region"]).get_authorization_token()
    user, _, password = base64.b64decode(asked["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    run([builder, "login", "--username", user, "--password-stdin", found["host"]], given=password)
    return name if made else None


def _make(region: str, account: str, name: str) -> bool:
    """Make a repository; who may not look is taken to have one, and the push will tell."""
    boto3, failures = require("boto3", "aws"), require("botocore.exceptions", "aws")
    client = boto3.client("ecr", region_name=region)
    try:
        client.describe_repositories(registryId=account, repositoryNames=[name])
        return False
    except failures.ClientError as error:
        if is_denied(error):
            return False
        if code_of(error) != "RepositoryNotFoundException":
            raise
    try:
        client.create_repository(
            registryId=account, repositoryName=name, tags=[{"Key": "medloom", "Value": __version__}]
        )
    except failures.ClientError as error:  # another one was quicker
        if code_of(error) != "RepositoryAlreadyExistsException":
            raise
        return False
    return True


def _steps(builder: str, host: str, region: str, name: str) -> list[str]:
    return [
        f"aws ecr create-repository --region {region} --repository-name {name}   # once",
        f"aws ecr get-login-password --region {region} | {builder} login --username AWS --password-stdin {host}",
    ]
