"""Docker, Podman or Buildah, whichever is there: the commands that build and push an image, and those of ECR."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from medloom.errors import MedloomError, UserError
from medloom.extras import require

__all__ = ["BUILDERS", "build_command", "ecr_steps", "find_builder", "log_in_to_ecr", "push_command", "run"]

Command = list[str]

BUILDERS: dict[str, Command] = {
    "docker": ["docker", "build"],
    "podman": ["podman", "build", "--format", "docker"],
    "buildah": ["buildah", "build", "--format", "docker"],
}
"""How each builds. The format of Docker is the one that knows health checks."""

_ECR = re.compile(
    r"(?P<host>(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?)/(?P<name>.+)"
)


def find_builder(name: str | None = None) -> str:
    """Return which builder is used: the one that is named, or the first that answers.

    Raises:
        UserError: If it is not there, or none is.
    """
    if name is not None and name not in BUILDERS:
        raise UserError(f"--builder knows {', '.join(BUILDERS)}; got {name!r}")
    for one in BUILDERS if name is None else [name]:
        if shutil.which(one) is not None and _answers(one):
            return one
    sought = " or ".join(BUILDERS) if name is None else name
    raise UserError(
        f"found no {sought} that works on this machine; install one (Debian: apt-get install buildah), or write the "
        "build context with --output and build it elsewhere"
    )


def build_command(
    builder: str, context: Path, tag: str, *, base: str | None = None, platform: str | None = None,
    options: Sequence[str] = (),
) -> Command:  # fmt: skip
    """Return the command that builds an image.

    Args:
        builder: A key of ``BUILDERS``.
        context: The folder that ``write_context`` wrote.
        tag: What the image is called.
        base: The image to begin with; by default that of the Containerfile.
        platform: Such as ``linux/arm64``; by default this machine's.
        options: Further options of the builder.
    """
    chosen = [] if base is None else ["--build-arg", f"BASE={base}"]
    chosen += [] if platform is None else ["--platform", platform]
    return [*BUILDERS[builder], "--file", str(context / "Containerfile"), "--tag", tag, *chosen, *options, str(context)]


def push_command(builder: str, tag: str) -> Command:
    """Return the command that pushes an image to where its tag says."""
    return [builder, "push", tag]


def ecr_steps(builder: str, tag: str) -> list[str]:
    """Return what to type in a shell to log in to the registry of a tag in Amazon's ECR; nothing for other registries.

    Example:
        >>> ecr_steps("podman", "medloom-serve:0.1.0")
        []
    """
    found = _ECR.fullmatch(tag)
    if found is None:
        return []
    host, region, name = found["host"], found["region"], found["name"].partition(":")[0]
    return [
        f"aws ecr create-repository --region {region} --repository-name {name}   # once",
        f"aws ecr get-login-password --region {region} | {builder} login --username AWS --password-stdin {host}",
    ]


def log_in_to_ecr(builder: str, tag: str) -> None:
    """Log in where a tag lies in Amazon's ECR, with the credentials of this machine; do nothing for other registries.

    Raises:
        MissingExtraError: If boto3 is not installed.
        UserError: If AWS does not give a password.
    """
    found = _ECR.fullmatch(tag)
    if found is None:
        return
    boto3, exceptions = require("boto3", "aws"), require("botocore.exceptions", "aws")
    try:
        asked = boto3.client("ecr", region_name=found["region"]).get_authorization_token()
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        raise UserError(f"AWS gives no password for {found['host']}: {error}") from error
    user, _, password = base64.b64decode(asked["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    run([builder, "login", "--username", user, "--password-stdin", found["host"]], given=password)


def run(command: Command, given: str | None = None) -> None:
    """Run a command; what it says goes to stderr.

    Raises:
        MedloomError: If it fails.
    """
    done = subprocess.run(command, input=given, text=True, stdout=sys.stderr, check=False)  # noqa: S603 - a builder
    code = done.returncode
    if code:
        raise MedloomError(f"{' '.join(command[:2])} ended with exit code {code}; what it said stands above")


def _answers(builder: str) -> bool:
    """Whether it can build: Docker's command is of no use without its service."""
    asked = {"docker": ["docker", "version", "--format", "{{.Server.Version}}"]}.get(builder, [builder, "--version"])
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0  # noqa: S603 - a builder
