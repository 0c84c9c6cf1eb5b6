"""A job: what is to be done, as plain data that every back end can turn into a request of its own.

A job is a command of ours with its arguments, what it reads and writes, and what it needs. It says nothing about where
it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

__all__ = ["ENDS_WITH_PARENT", "Job", "Resources", "path_of", "uri_of"]


ENDS_WITH_PARENT = "MEDLOOM_ENDS_WITH_PARENT"
"""Environment variable of a process that ends with the one that started it and holds its standard input."""


@dataclass(frozen=True)
class Resources:
    """What a job needs of the machine that it runs on.

    Args:
        cores: Cores, at least 1; None for what the back end gives.
        gpus: GPUs.

    Raises:
        ValueError: If there are fewer than that.
    """

    cores: int | None = None
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.cores is not None and self.cores < 1:
            raise ValueError(f"a job needs at least one core; got {self.cores}")
        if self.gpus < 0:
            raise ValueError(f"a job cannot need {self.gpus} GPUs")


@dataclass(frozen=True)
class Job:
    """One command to run somewhere.

    Args:
        name: What people call it, such as ``fold 1/5``.
        command: Arguments of ``medloom``, the command first.
        inputs: URIs of the files and folders that it reads.
        outputs: URIs of the files and folders that it writes.
        resources: What it needs.
        environment: Environment variables that it gets besides those of its place.

    Raises:
        ValueError: If it has no name or no command.

    Example:
        >>> job = Job("fold 1/5", ("fold", "/runs/a/fold-0"), outputs=("file:///runs/a/fold-0",))
        >>> Job.from_plain(job.plain()) == job
        True
    """

    name: str
    command: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    resources: Resources = Resources()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or not self.command:
            raise ValueError("a job has a name and a command")

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "name": self.name,
            "command": list(self.command),
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "resources": asdict(self.resources),
            "environment": dict(self.environment),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Take back what ``plain`` returned.

        Raises:
            ValueError: If it is no such value.
        """
        try:
            command, inputs, outputs = (tuple(map(str, plain[key])) for key in ("command", "inputs", "outputs"))
            environment = {str(key): str(value) for key, value in plain["environment"].items()}
            return cls(str(plain["name"]), command, inputs, outputs, Resources(**plain["resources"]), environment)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("expected a job with its name, command, inputs, outputs and resources") from error


def uri_of(place: str | Path) -> str:
    """Return the URI of a path; what is a URI already stays.

    Example:
        >>> uri_of("/data/images"), uri_of("s3://bucket/images")
        ('file:///data/images', 's3://bucket/images')
    """
    text = str(place)
    return text if "://" in text else Path(text).absolute().as_uri()


def path_of(uri: str) -> Path:
    """Return the path of a ``file`` URI.

    Raises:
        ValueError: If it is the URI of something else.

    Example:
        >>> path_of("file:///data/images").as_posix()
        '/data/images'
    """
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise ValueError(f"{uri} is not on this machine; expected file://")
    return Path(unquote(parts.path))
