"""Images that a request names by a URL, fetched only from hosts and buckets that the operator allowed.

A server that fetches what strangers name can be made to ask its own network. So nothing is fetched by default; where it
is, a URL must be ``https`` on a host that was named exactly, the name is resolved once and the connection goes to that
very address, which must be a public one; each redirect is judged like a first URL; size and time are bounded. What went
wrong beyond the allow-list is never told: the same words for a port that is open, closed or filtered.

Source: https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import urljoin

import h11

from medloom.errors import UserError
from medloom.extras import require
from medloom.serving.addresses import Network, is_allowed
from medloom.serving.problems import Problem

__all__ = ["Fetcher", "Resolve"]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""What turns a name and a port into addresses."""

_LONGEST = 2048
_NAME = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""A name whose last part is no number: ``127.1``, ``0x7f.1`` and ``2130706433`` are addresses to some resolvers."""

_HOST = re.compile(rf"({_NAME})(?::([0-9]{{1,5}}))?")
_URL = re.compile(rf"https://({_NAME})(?::([0-9]{{1,5}}))?(/[!-~]*|\?[!-~]*)?", re.IGNORECASE | re.ASCII)
_BUCKET = re.compile(r"s3://([a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9])/?")
_OBJECT = re.compile(r"s3://([a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9])/([ -~]{1,1024})")
_FORBIDDEN = re.compile(r"[\\#<>\"`{}|^]")
"""What programs that read URLs disagree on."""

_HTTPS = 443
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3
_PIECE = 2**16
_MOST_HEADERS = 2**14


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@dataclass(frozen=True)
class _Place:
    host: str
    port: int
    target: str


@dataclass(frozen=True)
class Fetcher:
    """Fetches what the operator allowed, and nothing else.

    Args:
        allowed: Hosts, such as ``images.example.org`` (with ``:8443`` for another port than 443), and buckets, such as
            ``s3://scans``. Empty, and nothing is fetched.
        networks: Networks that are not public but may be connected to, such as those of a hospital.
        max_bytes: Largest image.
        timeout_s: All of it, redirects included, must be done by then.
        resolve: What turns names into addresses.
        context: How TLS is spoken; the system's certificates are trusted by default.

    Raises:
        UserError: If something in ``allowed`` is neither the name of a host nor a bucket.

    Example:
        >>> Fetcher(("images.example.org", "s3://scans")).is_on
        True
    """

    allowed: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    max_bytes: int = 25 * 2**20
    timeout_s: float = 10.0
    resolve: Resolve = _resolve
    context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        for one in self.allowed:
            host, bucket = _HOST.fullmatch(one), _BUCKET.fullmatch(one)
            if not bucket and not (host and _port(host[2])):
                raise UserError(
                    f"{one!r} is no host that URLs can be allowed for; expected a name in lower case, such as "
                    "images.example.org or images.example.org:8443 (international names in their xn-- form, no "
                    "address, no scheme), or a bucket, such as s3://scans"
                )

    @property
    def is_on(self) -> bool:
        """Whether anything is allowed."""
        return bool(self.allowed)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self.context or ssl.create_default_context()

    async def fetch(self, url: str) -> bytes:
        """Fetch an image.

        Args:
            url: ``https://host/path`` or ``s3://bucket/key``.

        Raises:
            Problem: 403 if it is not allowed, which is decided without asking anybody; 413 if it is too large; 422 if
                it could not be fetched, for whatever reason.
        """
        if not self.is_on:
            hint = "Send the image itself, or let the operator allow hosts with --allow-url-host."
            raise Problem(403, "url_not_allowed", "this server fetches nothing from URLs", hint)
        try:
            async with asyncio.timeout(self.timeout_s):
                return await (self._object(url) if url[:5].lower() == "s3://" else self._followed(url))
        except (OSError, TimeoutError, ValueError, h11.ProtocolError) as error:
            raise _not_fetched() from error

    async def fetch_all(self, urls: Sequence[str]) -> list[bytes | Problem]:
        """Fetch several images one after another, which together may take what one alone may.

        Args:
            urls: As of ``fetch``.

        Returns:
            For each the image, or why it is not there.
        """
        found: list[bytes | Problem] = []
        left, end = self.max_bytes, time.monotonic() + self.timeout_s
        for url in urls:
            rest = replace(self, max_bytes=left, timeout_s=max(0.0, end - time.monotonic()), context=self._tls)
            try:
                image = await rest.fetch(url)
            except Problem as problem:
                found.append(problem)
            else:
                found.append(image)
                left -= len(image)
        return found

    async def _followed(self, url: str) -> bytes:
        for hops in range(_MOST_REDIRECTS + 1):
            try:
                place = self._place(url)
            except Problem as error:
                raise (_not_fetched() if hops else error) from error
            found = await self._one(place)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
        raise _not_fetched()

    def _place(self, url: str) -> _Place:
        """Read a URL, and refuse what is not allowed."""
        parts = _URL.fullmatch(url) if len(url) <= _LONGEST and not _FORBIDDEN.search(url) else None
        port = _port(parts[2]) if parts else None
        if parts is None or port is None or not self._allows(parts[1].lower(), port):
            raise _not_allowed()
        target = parts[3] or "/"
        return _Place(parts[1].lower(), port, target if target.startswith("/") else f"/{target}")

    def _allows(self, host: str, port: int) -> bool:
        return f"{host}:{port}" in self.allowed or (port == _HTTPS and host in self.allowed)

    async def _one(self, place: _Place) -> bytes | str:
        """Ask once; text is where the answer is to be found instead."""
        addresses = list(dict.fromkeys(await self.resolve(place.host, place.port)))
        if not addresses or not all(is_allowed(one, self.networks) for one in addresses):
            raise _not_fetched()
        reader, writer = await self._connected(addresses, place)
        try:
            return await _asked(reader, writer, place, self.max_bytes)
        finally:
            writer.transport.abort()  # what the other side still has to say is not waited for

    async def _connected(
        self, addresses: Sequence[str], place: _Place
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address that takes it: an address, so that no name is resolved a second time."""
        for address in addresses[:-1]:
            with suppress(OSError):
                return await self._connect(address, place)
        return await self._connect(addresses[-1], place)

    async def _connect(self, address: str, place: _Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            address, place.port, ssl=self._tls, server_hostname=place.host, limit=_PIECE
        )

    async def _object(self, url: str) -> bytes:
        """Fetch an object of a bucket, with the credentials of the server."""
        named = _OBJECT.fullmatch(url)
        if named is None or not {f"s3://{named[1]}", f"s3://{named[1]}/"} & set(self.allowed):
            raise _not_allowed()
        boto3, botocore = require("boto3", "aws"), require("botocore.exceptions", "aws")
        settings = require("botocore.config", "aws").Config(
            connect_timeout=self.timeout_s, read_timeout=self.timeout_s, retries={"total_max_attempts": 1}
        )

        def read() -> bytes:
            try:
                found = boto3.client("s3", config=settings).get_object(Bucket=named[1], Key=named[2])
                with found["Body"] as body:
                    return bytes(body.read(self.max_bytes + 1))
            except (botocore.BotoCoreError, botocore.ClientError) as error:
                raise _not_fetched() from error

        content = await asyncio.to_thread(read)
        if len(content) > self.max_bytes:
            raise _too_large(self.max_bytes)
        return content


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: _Place, most: int) -> bytes | str:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEADERS)
    host = place.host if place.port == _HTTPS else f"{place.host}:{place.port}"
    headers = [("Host", host), ("Accept", "*/*"), ("Accept-Encoding", "identity"), ("Connection", "close")]
    writer.write(connection.send(h11.Request(method="GET", target=place.target, headers=headers)) or b"")
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    answer = await _event(connection, reader)
    while isinstance(answer, h11.InformationalResponse):
        answer = await _event(connection, reader)
    if not isinstance(answer, h11.Response):
        raise _not_fetched()
    said = {bytes(name): bytes(value) for name, value in answer.headers}
    if answer.status_code in _REDIRECTS and b"location" in said:
        return said[b"location"].decode("ascii")
    if answer.status_code != 200 or said.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _not_fetched()
    return await _body(connection, reader, most)


async def _body(connection: h11.Connection, reader: asyncio.StreamReader, most: int) -> bytes:
    body = bytearray()
    while isinstance(event := await _event(connection, reader), h11.Data):
        body += event.data
        if len(body) > most:
            raise _too_large(most)
    if not isinstance(event, h11.EndOfMessage):
        raise _not_fetched()
    return bytes(body)


async def _event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(_PIECE))
    return event


def _port(text: str | None) -> int | None:
    """The port that is meant, None for one that cannot be."""
    number = int(text) if text else _HTTPS
    return number if 0 < number < 2**16 else None


def _not_allowed() -> Problem:
    hint = (
        "Send an https:// URL of a host, or an s3:// URL of a bucket, that the operator allowed; or the image itself."
    )
    return Problem(403, "url_not_allowed", "the URL is not one that this server may fetch", hint)


def _not_fetched() -> Problem:
    return Problem(422, "not_fetched", "no image could be fetched from the URL", "Send the image itself.")


def _too_large(most: int) -> Problem:
    return Problem(413, "too_large", f"what the URL leads to is larger than {most} bytes", "Send a smaller image.")
