"""What goes to a server and comes back, and the steps of an exchange, which know nothing of sockets.

An exchange is a generator: it yields what is to be sent, or for how long to wait, and is given the answer. So one
description serves clients that wait and clients that are awaited.

Source: https://sans-io.readthedocs.io
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

__all__ = ["AsyncTransport", "NoAnswer", "Request", "Response", "Steps", "Transport", "Wait"]

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What is asked.

    Args:
        method: Of HTTP.
        path: From the root, such as ``/invocations``.
        content: The body.
        headers: Without those that concern the connection.
        query: Further parameters.
    """

    method: str
    path: str
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """What was answered.

    Args:
        status: Of HTTP.
        headers: By name in lower case.
        content: The body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def media_type(self) -> str:
        """The media type of the body, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class NoAnswer:
    """A request that nobody answered.

    Args:
        why: In words, such as that nobody listens there.
        again: Whether the same request may be sent once more: the connection was refused or ended, so that nobody is
            at work on it.
    """

    why: str
    again: bool


@dataclass(frozen=True)
class Wait:
    """For so long nothing is to be sent.

    Args:
        seconds: How long.
    """

    seconds: float


Steps = Generator[Request | Wait, "Response | NoAnswer | None", T]
"""An exchange: given a `Response` or `NoAnswer` after a `Request`, and None after a `Wait`."""


class Transport(Protocol):
    """Sends requests, from several threads at once."""

    name: str
    """What a user calls the server, for messages."""

    described: bool
    """Whether it can be asked what its models take and give; an endpoint of SageMaker cannot."""

    def send(self, request: Request) -> Response | NoAnswer:
        """Send a request and wait for the answer."""
        ...

    def close(self) -> None:
        """End the connections."""
        ...


class AsyncTransport(Protocol):
    """Sends requests from an event loop."""

    name: str
    described: bool

    async def send(self, request: Request) -> Response | NoAnswer:
        """Send a request and wait for the answer."""
        ...

    async def close(self) -> None:
        """End the connections."""
        ...
