"""Who may ask: bearer tokens from a file.

Source: https://www.rfc-editor.org/rfc/rfc6750, https://www.rfc-editor.org/rfc/rfc7617
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path

from medloom.errors import UserError
from medloom.serving.http.watched import Watched

__all__ = ["TokenFile"]

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_SHORTEST = 16
_LARGEST_FILE = 2**20
_MAKE_ONE = "make one with: openssl rand -hex 32"


class TokenFile:
    """The tokens of a file, one a line; empty lines and lines that begin with ``#`` say nothing.

    The file is read again when it changes: add a new token, hand it out, then remove the old one.

    Args:
        path: The file.
        clock: Seconds that only grow.

    Raises:
        UserError: If it cannot be read, holds no token, or one that is too short or holds other characters.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._digests = Watched([path], lambda: _read(path), clock)

    def owner(self, authorization: str) -> str | None:
        """Return who an ``Authorization`` header stands for, or None if it names none of the tokens.

        It names one as ``Bearer TOKEN``, or as the password of ``Basic``, which is how browsers ask their users. All
        tokens are compared, each in constant time, so that the time tells nothing.

        Args:
            authorization: The header.

        Returns:
            The beginning of the token's SHA-256, which tells clients apart and is not the token.
        """
        digest = _digest(_given(authorization))
        known = sum(hmac.compare_digest(digest, other) for other in self._digests.get())
        return digest.hex()[:12] if known else None


def _given(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _read(path: Path) -> tuple[bytes, ...]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"the file of tokens {path} cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST_FILE:
        raise UserError(f"the file of tokens {path} is larger than {_LARGEST_FILE} bytes; expected one token a line")
    lines = [line.strip() for line in content.decode("ascii", "replace").splitlines()]
    found = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not found:
        raise UserError(f"the file of tokens {path} holds no token; {_MAKE_ONE}")
    for number, line in found:
        _check(line, f"line {number} of {path}")
    return tuple(_digest(line) for _, line in found)


def _check(token: str, where: str) -> None:
    """Refuse a token that could be guessed or that no header can hold; the message does not repeat it."""
    if not _TOKEN.fullmatch(token):
        raise UserError(f"{where} is no token: expected letters, digits and any of - . _ ~ + /; {_MAKE_ONE}")
    if len(token) < _SHORTEST:
        raise UserError(f"{where} holds {len(token)} characters, and {_SHORTEST} are needed; {_MAKE_ONE}")
