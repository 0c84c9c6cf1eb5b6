"""Encrypted connections, and clients that show a certificate, with certificates that are renewed while serving."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medloom.errors import UserError
from medloom.serving.http.watched import Watched

__all__ = ["Certificates", "context"]


@dataclass(frozen=True)
class Certificates:
    """Files in PEM.

    Args:
        certificate: The server's certificate, followed by those between it and its authority.
        key: Its private key, without a password; None where the first file holds it as well.
        client_ca: Authorities whose certificates clients must show; None asks for none.
    """

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that there are."""
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path is not None)


def context(certificates: Certificates, clock: Callable[[], float] = time.monotonic) -> ssl.SSLContext:
    """Make what a server encrypts with: TLS 1.2 or later.

    New connections take the files as they are then; connections that stand keep theirs.

    Args:
        certificates: The files.
        clock: Seconds that only grow.

    Raises:
        UserError: If one cannot be read, or they do not belong together.
    """
    now = Watched(certificates.files, lambda: _load(certificates), clock)
    outer = now.get()

    def take_newest(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, given: ssl.SSLContext) -> None:
        del name, given
        connection.context = now.get()

    outer.sni_callback = take_newest  # called for each connection, whether the client names a host or not
    return outer


def _load(certificates: Certificates) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_TICKET  # a session from before must not outlive a change of the authorities
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(certificates.certificate, certificates.key, password=_no_password)
    except (OSError, ValueError) as error:
        files = f"--tls-cert {certificates.certificate}" + (
            f" and --tls-key {certificates.key}" * bool(certificates.key)
        )
        expected = "expected a certificate and its own private key in PEM, the key without a password"
        raise UserError(f"{files}: {expected} ({_why(error)})") from error
    if certificates.client_ca is not None:
        _ask_clients(made, certificates.client_ca)
    return made


def _ask_clients(made: ssl.SSLContext, client_ca: Path) -> None:
    try:
        made.load_verify_locations(client_ca)
    except OSError as error:
        raise UserError(
            f"--tls-client-ca {client_ca}: expected certificates of authorities in PEM ({_why(error)})"
        ) from error
    made.verify_mode = ssl.CERT_REQUIRED


def _no_password() -> str:
    """Refuse a key with a password, which OpenSSL would ask for on the terminal."""
    raise ValueError("the key has a password")


def _why(error: OSError | ValueError) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).lower().replace("_", " ")
