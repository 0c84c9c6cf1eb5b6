"""Requests over HTTP, by httpx."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlsplit

from medloom.client.wire import NoAnswer, Request, Response
from medloom.errors import UserError
from medloom.extras import require

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncHttp", "Http", "Token"]

Token = str | Path | Callable[[], str]
"""A token; a file that holds it, read anew for each request, so that it may be renewed; or what gives it."""

C = TypeVar("C", "httpx.Client", "httpx.AsyncClient")

_UNREACHED = ("ConnectError", "ConnectTimeout", "ReadError", "WriteError", "RemoteProtocolError", "CloseError")
"""What httpx raises where the connection was refused or ended: nobody is at work on an answer that could come."""


class _Door(ABC, Generic[C]):
    """What both kinds of client share.

    Args:
        url: Of the server, such as ``http://127.0.0.1:8080``.
        token: What the server asks for.
        timeout_s: Longest time for an answer.
        verify: A file with certificates to trust, or a context; None trusts those of the system.

    Raises:
        UserError: If the URL is none, or holds a user's name or a query.
    """

    described = True

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        timeout_s: float = 60.0,
        verify: str | Path | ssl.SSLContext | None = None,
    ) -> None:
        library = require("httpx", "client")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise UserError(f"{_shown(url)} is no address of a server; expected one such as https://HOST:PORT")
        self.name = f"{parts.scheme}://{parts.netloc}"
        self._base = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        trusted = ssl.create_default_context(cafile=str(verify)) if isinstance(verify, (str, Path)) else verify
        self._errors: type[httpx.HTTPError] = library.HTTPError
        self._client: C = self._opened(library, True if trusted is None else trusted)

    @staticmethod
    @abstractmethod
    def _opened(library: ModuleType, verify: ssl.SSLContext | bool) -> C:
        """Return the client of httpx that sends."""

    def _built(self, request: Request) -> httpx.Request:
        return self._client.build_request(
            request.method,
            self._base + request.path,
            content=request.content or None,
            headers={**request.headers, **self._authorization()},
            params=dict(request.query) or None,
            timeout=self._timeout_s,
        )

    def _authorization(self) -> Mapping[str, str]:
        if self._token is None:
            return {}
        token = self._token
        text = token() if callable(token) else token.read_text("utf-8") if isinstance(token, Path) else token
        return {"Authorization": f"Bearer {text.strip()}"}

    def _unanswered(self, error: httpx.HTTPError) -> NoAnswer:
        kind = type(error).__name__
        if kind in _UNREACHED:
            return NoAnswer("nobody answers there, or the connection ended", again=True)
        if "Timeout" in kind:
            return NoAnswer(f"none came within {self._timeout_s:g} s", again=False)
        return NoAnswer(kind, again=False)


class Http(_Door["httpx.Client"]):
    """Sends requests and waits; several threads may share it. The arguments are those of `Client`."""

    @staticmethod
    def _opened(library: ModuleType, verify: ssl.SSLContext | bool) -> httpx.Client:
        client: httpx.Client = library.Client(verify=verify)
        return client

    def send(self, request: Request) -> Response | NoAnswer:
        """Send a request and wait for the answer."""
        try:
            found = self._client.send(self._built(request))
        except self._errors as error:
            return self._unanswered(error)
        return Response(found.status_code, dict(found.headers), found.content)

    def close(self) -> None:
        """End the connections."""
        self._client.close()


class AsyncHttp(_Door["httpx.AsyncClient"]):
    """Sends requests from an event loop. The arguments are those of `AsyncClient`."""

    @staticmethod
    def _opened(library: ModuleType, verify: ssl.SSLContext | bool) -> httpx.AsyncClient:
        client: httpx.AsyncClient = library.AsyncClient(verify=verify)
        return client

    async def send(self, request: Request) -> Response | NoAnswer:
        """Send a request and wait for the answer."""
        try:
            found = await self._client.send(self._built(request))
        except self._errors as error:
            return self._unanswered(error)
        return Response(found.status_code, dict(found.headers), found.content)

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()


def _shown(url: str) -> str:
    """A URL without what may be a password."""
    return repr(urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2], query="").geturl()[:80])
