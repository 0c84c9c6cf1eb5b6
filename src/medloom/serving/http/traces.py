"""Traces of requests for an OpenTelemetry collector: one span for each request, below it one for each image and stage.

Nothing is sent unless it is asked for, with ``--otlp-endpoint`` or the variables of OpenTelemetry's own.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/,
https://opentelemetry.io/docs/specs/semconv/http/http-spans/, https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from medloom import __version__
from medloom.errors import UserError
from medloom.extras import require
from medloom.serving.http.watch import Finished, WatchedImage

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

__all__ = ["Traces", "are_wanted", "check_endpoint", "traced"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_END_S = 3.0
_ORDER = ("read", "queue", "decode", "prepare", "predict", "encode")


class Traces:
    """Makes the spans of requests that are over.

    Args:
        tracer: From OpenTelemetry.
    """

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._kind = SpanKind.SERVER
        self._inside = set_span_in_context
        self._parent = TraceContextTextMapPropagator()

    def finished(self, done: Finished) -> None:
        """Make the spans of a request, as a part of the client's own trace where it named one."""
        if done.is_routine or done.was_none:
            return
        from opentelemetry.trace import StatusCode

        began, ended = _ns(done.began_s), _ns(done.began_s + done.seconds)
        span = self._tracer.start_span(
            f"{done.method} {done.route}",
            context=self._parent.extract({"traceparent": done.traceparent}),
            kind=self._kind,
            start_time=began,
            attributes=_attributes(done),
        )
        if done.status >= 500:
            span.set_status(StatusCode.ERROR)
        inside = self._inside(span)
        for image in done.images:
            began = self._add_stages(image, inside, began, ended)
        span.end(ended)

    def _add_stages(self, image: WatchedImage, inside: Context, began: int, ended: int) -> int:
        """Add a span for each stage of an image, one after the other; they are known by how long they took."""
        said: dict[str, str | int] = {
            "medloom.model": image.model,
            "medloom.code": image.code,
            "medloom.batch_size": image.batch_size,
        }
        for stage in (name for name in _ORDER if name in image.stages):
            until = min(ended, began + _ns(image.stages[stage]))
            self._tracer.start_span(stage, context=inside, start_time=began, attributes=said).end(until)
            began = until
        return began


def are_wanted(endpoint: str | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether traces are to be sent.

    Args:
        endpoint: Of ``--otlp-endpoint``.
        environment: Where OpenTelemetry's own variables are.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    named = endpoint or exporter == "otlp" or any(environment.get(name) for name in _ENDPOINTS)
    return bool(named) and exporter in ("", "otlp")


@contextmanager
def traced(endpoint: str | None) -> Iterator[Traces]:
    """Send traces while the block runs, in the background; what is left is sent at its end.

    Args:
        endpoint: Where a collector takes OTLP over HTTP, as ``https://collector:4318``; None where the environment
            names it.

    Raises:
        MissingExtraError: If OpenTelemetry is not installed.
        UserError: If the environment names a protocol other than HTTP.
    """
    check_endpoint(endpoint)
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({} if _is_named() else {"service.name": "medloom"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = _exporter(endpoint)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Traces(provider.get_tracer("medloom", __version__))
    finally:
        patience = threading.Timer(_END_S, exporter.shutdown)  # a collector that is gone must not hold up the end
        patience.start()
        provider.shutdown()
        patience.cancel()


def _is_named() -> bool:
    """Whether the environment says what this service is called."""
    return "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")


def check_endpoint(endpoint: str | None) -> None:
    """Raise if traces cannot be sent where they are asked for.

    Args:
        endpoint: As of ``traced``.

    Raises:
        MissingExtraError: If OpenTelemetry is not installed.
        UserError: If the endpoint is no address, or the environment names a protocol other than HTTP.
    """
    require("opentelemetry.sdk.trace", "traces")
    require("opentelemetry.exporter.otlp.proto.http.trace_exporter", "traces")
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), "http/protobuf")
    if endpoint is not None and urlsplit(endpoint).scheme not in ("http", "https"):
        raise UserError(f"--otlp-endpoint {endpoint!r}: expected where a collector listens, as https://collector:4318")
    if endpoint is None and protocol != "http/protobuf":
        raise UserError(f"the environment asks for traces over {protocol}; Medloom sends them over http/protobuf")


def _exporter(endpoint: str | None) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    if endpoint is None:
        return OTLPSpanExporter()
    path = "" if endpoint.rstrip("/").endswith("/v1/traces") else "/v1/traces"
    return OTLPSpanExporter(endpoint.rstrip("/") + path)


def _attributes(done: Finished) -> dict[str, str | int]:
    said: dict[str, str | int] = {
        "http.request.method": "_OTHER" if done.method == "other" else done.method,
        "http.route": done.route,
        "http.response.status_code": done.status,
        "http.request.body.size": done.bytes_in,
        "http.response.body.size": done.bytes_out,
        "medloom.code": done.code,
        "medloom.request_id": done.request_id,
    }
    return {**said, "error.type": done.code} if done.status >= 500 else said


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
