"""Docker, Podman or Buildah, whichever is there: the commands that build and push an image."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from medloom.errors import MedloomError, UserError

__all__ = ["BUILDERS", "build_command", "find_builder", "push_command", "run"]

Command = list[str]

BUILDERS: dict[str, Command] = {
    "docker": ["docker", "build"],
    "podman": ["podman", "build", "--format", "docker"],
    "buildah": ["buildah", "build", "--format", "docker"],
}
"""How each builds. The format of Docker is the one that knows health checks."""


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
