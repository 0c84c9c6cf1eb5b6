"""Options of ``medloom serve`` that say who may ask, and what the operator sees."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medloom.errors import UserError
from medloom.extras import require

if TYPE_CHECKING:
    from medloom.serving import Limits
    from medloom.serving.fetching import Fetcher
    from medloom.serving.http.tls import Certificates

__all__ = [
    "AllowHostOption",
    "AllowOriginOption",
    "AllowUrlHostOption",
    "AllowUrlNetworkOption",
    "HealthTokenOption",
    "InsecureOption",
    "LogFormatOption",
    "MaxBodyOption",
    "ModelFolderOption",
    "OtlpEndpointOption",
    "PerClientOption",
    "ProcessesOption",
    "QueueOption",
    "RecordsOption",
    "TimeoutOption",
    "TlsCertOption",
    "TlsClientCaOption",
    "TlsKeyOption",
    "TokenFileOption",
    "WatchOption",
    "certificates_of",
    "fetcher_of",
    "limits_of",
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


ProcessesOption = Annotated[
    int, typer.Option("--processes", min=1, max=256, help="Server processes at one port; each loads the models.")
]
WatchOption = Annotated[bool, typer.Option("--watch", help="Load a bundle anew when its file changes.")]
MaxBodyOption = Annotated[
    float | None, typer.Option("--max-body", metavar="MIB", min=0.001, help="Largest body; 25 by default.")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0.1, help="For a request that names none; 55 by default."),
]
QueueOption = Annotated[
    int | None, typer.Option("--queue", min=1, help="Requests that may wait; more get 503. 64 by default.")
]
PerClientOption = Annotated[
    int | None, typer.Option("--per-client", min=1, help="Requests of one client at a time; more get 429.")
]

AllowUrlHostOption = Annotated[
    list[str] | None,
    typer.Option("--allow-url-host", metavar="NAME", help="A host, or s3://BUCKET, that URLs may name."),
]
AllowUrlNetworkOption = Annotated[
    list[str] | None,
    typer.Option("--allow-url-network", metavar="CIDR", help="Private addresses these hosts may have."),
]
RecordsOption = Annotated[
    bool, typer.Option("--refuse-in-records", help="Answer bad images with 200 and why, for batch jobs of SageMaker.")
]
ModelFolderOption = Annotated[
    Path | None,
    typer.Option("--model-folder", file_okay=False, exists=True, help="Where clients may load bundles from."),
]


def fetcher_of(hosts: Sequence[str] | None, networks: Sequence[str] | None, limits: Limits) -> Fetcher:
    """Return what fetches the images that requests name by a URL.

    Raises:
        UserError: If a host or a network is none, or there are networks and no hosts.
    """
    from medloom.serving.fetching import Fetcher

    if networks and not hosts:
        raise UserError("--allow-url-network needs --allow-url-host, which says whose addresses they are")
    if any(host.startswith("s3://") for host in hosts or ()):
        require("boto3", "aws")
    return Fetcher(tuple(hosts or ()), tuple(map(_network, networks or ())), max_bytes=limits.max_body_bytes)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise UserError(f"--allow-url-network {text}: {error}; expected a network such as 10.20.0.0/16") from error


def limits_of(
    max_body_mib: float | None,
    timeout_s: float | None,
    queue: int | None,
    per_client: int | None,
    decoders: int | None = None,
) -> Limits:
    """Return how much a client may ask for; None leaves it at the default."""
    from medloom.serving import Limits

    limits = Limits(per_client=per_client)
    if max_body_mib is not None:
        limits = replace(limits, max_body_bytes=int(max_body_mib * 2**20))
    if timeout_s is not None:
        limits = replace(limits, timeout_s=timeout_s)
    if decoders is not None:
        limits = replace(limits, decoders=decoders)
    return limits if queue is None else replace(limits, queue=queue)


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
