"""Options of ``medloom serve`` that say who may ask, and what the operator sees."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medloom.errors import UserError

if TYPE_CHECKING:
    from medloom.serving.http.tls import Certificates

__all__ = [
    "AllowHostOption",
    "AllowOriginOption",
    "HealthTokenOption",
    "InsecureOption",
    "LogFormatOption",
    "OtlpEndpointOption",
    "TlsCertOption",
    "TlsClientCaOption",
    "TlsKeyOption",
    "TokenFileOption",
    "certificates_of",
    "log_format_of",
]


TokenFileOption = Annotated[
    Path | None,
    typer.Option("--token-file", help="Tokens that clients must send, one a line."),
]
HealthTokenOption = Annotated[bool, typer.Option("--health-token", help="Ask for a token at /ping and its like too.")]
InsecureOption = Annotated[
    bool,
    typer.Option("--insecure", help="Let other machines ask without a token."),
]
AllowHostOption = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="A name that the server goes by."),
]
AllowOriginOption = Annotated[
    list[str] | None,
    typer.Option("--allow-origin", metavar="URL", help="A site whose pages may ask."),
]
TlsCertOption = Annotated[Path | None, typer.Option("--tls-cert", help="Certificate for HTTPS, in PEM.")]
TlsKeyOption = Annotated[Path | None, typer.Option("--tls-key", help="Its private key, without a password.")]
TlsClientCaOption = Annotated[
    Path | None,
    typer.Option("--tls-client-ca", help="Ask clients for a certificate of these."),
]
LogFormatOption = Annotated[
    Literal["json", "plain", "none"] | None,
    typer.Option("--log-format", help="Default: plain on a terminal, else json."),
]
OtlpEndpointOption = Annotated[
    str | None,
    typer.Option("--otlp-endpoint", metavar="URL", help="Send traces to this collector."),
]


def certificates_of(cert: Path | None, key: Path | None, client_ca: Path | None) -> Certificates | None:
    """Return the files for HTTPS, or None if none is named.

    Raises:
        UserError: If a key or an authority is named without a certificate.
    """
    if cert is None:
        if key is not None or client_ca is not None:
            raise UserError("--tls-key and --tls-client-ca need --tls-cert, the server's own certificate")
        return None
    from medloom.serving.http.tls import Certificates

    return Certificates(cert, key, client_ca)


def log_format_of(given: Literal["json", "plain", "none"] | None) -> Literal["json", "plain", "none"]:
    """Return what was asked for; by default what reads well where it is read."""
    return given or ("plain" if sys.stderr.isatty() else "json")
