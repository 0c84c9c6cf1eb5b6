"""What stands around the application for whoever operates it, put together: security, logs, metrics, traces."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from medloom.serving.drift import HEADER
from medloom.serving.http import page
from medloom.serving.http.logs import LogFormat, RequestLog, logging_to
from medloom.serving.http.metrics import Metrics
from medloom.serving.http.openapi import Documentation
from medloom.serving.http.security import (
    HEALTH,
    LOOPBACK_NAMES,
    AddHeaders,
    CheckHost,
    CheckOrigin,
    CheckToken,
    check_exposure,
    is_loopback,
    read_names,
    read_origins,
)
from medloom.serving.http.statistics import Statistics
from medloom.serving.http.tls import Certificates, context
from medloom.serving.http.tokens import TokenFile
from medloom.serving.http.traces import are_wanted, check_endpoint, traced
from medloom.serving.http.watch import Listener, Watch, WatchRequests
from medloom.serving.service import Service

__all__ = ["Operated", "Operation", "operated"]

Middleware = Callable[[ASGIApp], ASGIApp]

_SHOWN_TO_PAGES = ("Retry-After", "Server-Timing", "X-Request-Id", "X-Medloom-Model", "X-Medloom-Phantom", HEADER)


@dataclass(frozen=True)
class Operation:
    """How a server is operated.

    Args:
        host: Address that it listens on.
        token_file: Tokens that clients must show, one a line.
        open_health: Whether ``/ping`` and its like are answered without one.
        insecure: Whether other machines may ask without a token and without a certificate.
        allow_hosts: Names that the server goes by. By default those of this machine when it listens to nobody else,
            and any when it does.
        allow_origins: Sites whose pages may ask, beside the server's own.
        certificates: For encrypted connections.
        log_format: Form of the log on stderr.
        otlp_endpoint: Where traces are sent to; None sends them where OpenTelemetry's own variables say, or nowhere.
    """

    host: str = "127.0.0.1"
    token_file: Path | None = None
    open_health: bool = True
    insecure: bool = False
    allow_hosts: Sequence[str] = ()
    allow_origins: Sequence[str] = ()
    certificates: Certificates | None = None
    log_format: LogFormat = "json"
    otlp_endpoint: str | None = None

    @property
    def open_paths(self) -> frozenset[str]:
        """Paths that need no token."""
        return HEALTH if self.open_health else frozenset()

    def check(self) -> None:
        """Raise if strangers could use the server without the operator having said so, or what was named will not do.

        Raises:
            UserError: It says what to do.
        """
        shows_certificate = self.certificates is not None and self.certificates.client_ca is not None
        protected = self.token_file is not None or shows_certificate
        check_exposure(self.host, protected=protected, insecure=self.insecure)
        _checks(self)
        if self.certificates is not None:
            context(self.certificates)
        if are_wanted(self.otlp_endpoint):
            check_endpoint(self.otlp_endpoint)

    def warnings(self) -> list[str]:
        """Return what the operator should know about who can use the server, a sentence each."""
        if is_loopback(self.host):
            return []
        if self.token_file is None and (self.certificates is None or self.certificates.client_ca is None):
            return [f"everyone who reaches {self.host} can use this server; it asks for no token"]
        if self.certificates is None:
            return [
                "images and tokens can be read on their way, unless something before the server encrypts (--tls-cert)"
            ]
        return []


@dataclass(frozen=True)
class Operated:
    """What ``operated`` put together.

    Args:
        middleware: For ``create_app``.
        watch: For the service's observers.
        metrics: Where others may add gauges.
        ssl: For the server; None for connections that are not encrypted.
        tokens: Whether clients need a token.
        open_paths: Paths that need none.
    """

    middleware: tuple[Middleware, ...]
    watch: Watch
    metrics: Metrics
    ssl: ssl.SSLContext | None
    tokens: bool
    open_paths: frozenset[str]

    def routes(self, service: Service) -> list[BaseRoute]:
        """Return what operators ask, of this service."""
        self.metrics.follow(
            lambda: {
                "requests_in_progress": self.watch.in_progress,
                "queue_depth": service.gate.working_now,
                "models_loaded": len(service.models.names()),
            }
        )
        documented = Documentation(service, tokens=self.tokens, open_paths=self.open_paths)
        return [self.metrics.route(), *Statistics(service, self.metrics).routes(), *documented.routes()]


@contextmanager
def operated(operation: Operation, log: TextIO | None = None) -> Iterator[Operated]:
    """Put together what stands around an application, and write logs and send traces while the block runs.

    Args:
        operation: How.
        log: Where log lines are written; stderr by default.

    Raises:
        UserError: If it would be open to strangers, or a file that it names will not do.

    Example:
        >>> with operated(Operation()) as around:  # doctest: +SKIP
        ...     service = Service(models, observers=(around.watch,))
        ...     app = create_app(service, middleware=around.middleware, routes=around.routes(service))
    """
    operation.check()
    checks = _checks(operation)
    encrypted = None if operation.certificates is None else context(operation.certificates)
    with ExitStack() as stack:
        metrics = Metrics()
        listeners: list[Listener] = [metrics, RequestLog()]
        stack.enter_context(logging_to(operation.log_format, log))
        if are_wanted(operation.otlp_endpoint):
            listeners.append(stack.enter_context(traced(operation.otlp_endpoint)))
        watch = Watch(listeners)
        middleware: tuple[Middleware, ...] = (AddHeaders, partial(WatchRequests, watch=watch), *checks)
        tokens = operation.token_file is not None
        yield Operated(middleware, watch, metrics, encrypted, tokens, operation.open_paths)


def _checks(operation: Operation) -> tuple[Middleware, ...]:
    """What a request must pass, the outermost first."""
    checks: list[Middleware] = []
    names = read_names(operation.allow_hosts)
    if is_loopback(operation.host):
        names = (*LOOPBACK_NAMES, *names)
    if names:
        checks.append(partial(CheckHost, names=names))
    origins = read_origins(operation.allow_origins)
    checks.append(partial(CheckOrigin, origins=origins))
    if origins:  # browsers ask first whether they may, without a token
        checks.append(
            partial(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=("GET", "POST"),
                allow_headers=("*",),
                expose_headers=_SHOWN_TO_PAGES,
            )
        )
    if operation.token_file is not None:
        tokens = TokenFile(operation.token_file)
        checks.append(partial(CheckToken, tokens=tokens, open_paths=operation.open_paths, open_pages=page.OPEN))
    return tuple(checks)
