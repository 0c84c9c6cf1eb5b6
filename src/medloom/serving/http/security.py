"""Who may ask, from where and under which name: plain ASGI middleware around the application.

- A page on a foreign site can send requests to a server on this machine, and with a name that is made to point here
  (DNS rebinding) it can read the answers. ``CheckHost`` refuses names that the server does not go by, ``CheckOrigin``
  requests that another site's page makes.
- ``CheckToken`` wants a bearer token.
- ``AddHeaders`` tells browsers to keep nothing, guess nothing, and load nothing from elsewhere.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-7.2, https://www.rfc-editor.org/rfc/rfc6454#section-7
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medloom.errors import UserError
from medloom.serving.http.tokens import TokenFile
from medloom.serving.negotiation import prefers_page
from medloom.serving.problems import Problem

__all__ = [
    "HEALTH",
    "LOOPBACK_NAMES",
    "AddHeaders",
    "CheckHost",
    "CheckOrigin",
    "CheckToken",
    "check_exposure",
    "is_loopback",
    "read_names",
    "read_origins",
]

HEALTH = frozenset({"/ping", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Paths that say whether the server is up; load balancers ask them, and they know no token."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]*)?", re.IGNORECASE)
_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?", re.IGNORECASE)
_SAFE = ("GET", "HEAD", "OPTIONS")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGE_HEADERS = {
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
}


class CheckHost:
    """Refuses requests under a name that the server does not go by.

    A request without the header comes from no browser and passes.

    Args:
        app: What is asked.
        names: Names and addresses, without ports; those of IPv6 in brackets.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan" or _all(_name(host) in self._names for host in _values(scope, b"host")):
            await self._app(scope, receive, send)
            return
        message = "the Host header names none of the hosts that this server goes by"
        problem = Problem(403, "host_not_allowed", message, "Start the server with --allow-host NAME.", close=True)
        await _refuse(problem, scope, receive, send)


class CheckOrigin:
    """Refuses requests that the page of another site makes.

    Browsers name the site in ``Origin`` or ``Sec-Fetch-Site``; other clients send neither and pass.

    Args:
        app: What is asked.
        origins: Sites that may ask all the same, as ``https://name:port``.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan" or self._is_own(scope):
            await self._app(scope, receive, send)
            return
        message = "a page of another site made this request"
        hint = "Open the page of this server, or start the server with --allow-origin https://NAME."
        await _refuse(Problem(403, "origin_not_allowed", message, hint, close=True), scope, receive, send)

    def _is_own(self, scope: Scope) -> bool:
        origins, hosts = _values(scope, b"origin"), _values(scope, b"host")
        if origins:
            here = _without_port(hosts[0]) if len(hosts) == 1 else None
            return len(origins) == 1 and (origins[0].lower() in self._origins or _site(origins[0]) == here)
        foreign = any(value in ("cross-site", "same-site") for value in _values(scope, b"sec-fetch-site"))
        return not foreign or scope.get("method") in _SAFE  # of what it gets so, a page sees nothing


class CheckToken:
    """Refuses requests without one of the tokens; limits for each client hold for each token then.

    Args:
        app: What is asked.
        tokens: Those that are good.
        open_paths: Paths that anyone may ask.
        open_pages: Paths of which anyone may read the page, which asks for the token itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: TokenFile,
        open_paths: Collection[str] = HEALTH,
        open_pages: Collection[str] = (),
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._open = frozenset(open_paths)
        self._pages = frozenset(open_pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        given = _values(scope, b"authorization")
        owner = self._tokens.owner(given[0]) if len(given) == 1 else None
        if owner is not None:
            scope.setdefault("state", {})["client"] = owner
        if scope["type"] == "lifespan" or owner is not None or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        came = "the token of this request is not known here" if given else "this request has no token"
        problem = Problem(401, "unauthorized", came, "Send the header Authorization: Bearer TOKEN.", close=True)
        await _refuse(problem, scope, receive, send, {"WWW-Authenticate": _challenge(scope, given)})

    def _is_open(self, scope: Scope) -> bool:
        is_page = scope["path"] in self._pages and prefers_page(", ".join(_values(scope, b"accept")))
        return (is_page or scope["path"] in self._open) and scope.get("method") in _SAFE


class AddHeaders:
    """Adds headers that keep browsers careful, where the answer does not set them itself.

    Args:
        app: What is asked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                page = headers.get("content-type", "").startswith("text/html")
                for name, value in {**_HEADERS, **(_PAGE_HEADERS if page else {})}.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, careful)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, *, protected: bool, insecure: bool) -> None:
    """Refuse to listen to other machines when everyone who reaches the server could use it.

    Args:
        host: Address to listen on.
        protected: Whether clients must show a token or a certificate.
        insecure: Whether the operator has said that this is meant.

    Raises:
        UserError: If neither is so.
    """
    if not (is_loopback(host) or protected or insecure):
        raise UserError(
            f"--host {host} lets other machines in, and everyone who reaches them could use this server. Name a file "
            "of tokens with --token-file, or the authority of the clients' certificates with --tls-client-ca, or give "
            "--insecure if something before the server keeps strangers out"
        )


def read_names(given: Iterable[str]) -> tuple[str, ...]:
    """Return names of the server as ``CheckHost`` compares them.

    Raises:
        UserError: If one is no name or address, or has a port.
    """
    names = [f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name for name in given]
    for name in names:
        found = _HOST.fullmatch(name)
        if found is None or found[2]:
            raise UserError(f"--allow-host {name!r} is no name of a host; expected one as med.example, without a port")
    return tuple(name.lower().rstrip(".") for name in names)


def read_origins(given: Iterable[str]) -> tuple[str, ...]:
    """Return sites as ``CheckOrigin`` compares them.

    Raises:
        UserError: If one is not ``http://NAME`` or ``https://NAME``, with a port if needed.
    """
    origins = [origin.lower().rstrip("/") for origin in given]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise UserError(f"--allow-origin {origin!r} is no site; expected one as https://med.example")
    return tuple(origins)


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope.get("headers", ()) if key == name]


def _all(checks: Iterable[bool]) -> bool:
    """Whether there is at most one and it holds."""
    found = list(checks)
    return len(found) < 2 and all(found)


def _name(host: str) -> str | None:
    """The host of a ``Host`` header, without its port; None if it is malformed."""
    found = _HOST.fullmatch(host)
    return found[1].lower().rstrip(".") if found else None


def _without_port(host: str) -> str:
    """A ``Host`` header without a port that goes without saying."""
    return host.lower().removesuffix(":80").removesuffix(":443")


def _site(origin: str) -> str | None:
    """The host and port of an ``Origin`` header; a proxy may have taken https off, so how it was asked says nothing."""
    found = _ORIGIN.fullmatch(origin)
    return _without_port(found[2] + (found[3] or "")) if found else None


def _challenge(scope: Scope, given: list[str]) -> str:
    """What a client can show; browsers that open a page ask their user for a password, which the token is."""
    if "text/html" in Headers(scope=scope).get("accept", ""):
        return 'Basic realm="medloom: the token is the password", charset="UTF-8"'
    return 'Bearer realm="medloom"' + (', error="invalid_token"' if given else "")


async def _refuse(
    problem: Problem, scope: Scope, receive: Receive, send: Send, headers: dict[str, str] | None = None
) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    response = problem.response()
    response.headers.update(headers or {})
    await response(scope, receive, send)
