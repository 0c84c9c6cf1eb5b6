"""What Prometheus collects from ``GET /metrics``.

Labels hold only words of Medloom's own and names of models that the operator loaded: what clients send would make a
series of every request, and may name a patient.

Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from medloom.errors import DecodeCode
from medloom.serving.http.watch import OTHER, Finished, WatchedImage

__all__ = ["Metrics", "ModelFigures"]

GaugeMode = Literal["livesum", "livemax", "livemostrecent"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_MOST_MODELS = 200
"""Models that have series of their own; a server that loads and unloads thousands would keep theirs for ever."""

_DECODE_CODES = frozenset(get_args(DecodeCode))


@dataclass
class ModelFigures:
    """What was counted of one model.

    Args:
        images: How many, by code.
        seconds: What they took, ``ok`` and ``failed``.
        stages: How many reached a stage, and what it took them.
        runs: Runs of the network; each image of a batch has its share.
        last_s: When the last image was looked at, in seconds since 1970; 0 if none was.
    """

    images: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    stages: dict[str, tuple[int, float]] = field(default_factory=dict)
    runs: float = 0.0
    last_s: float = 0.0

    @property
    def answered(self) -> int:
        """Images that were answered."""
        return self.images.get("ok", 0)

    @property
    def failed(self) -> int:
        """Images that were not."""
        return sum(self.images.values()) - self.answered

    def take(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Take one sample that Prometheus would collect."""
        if name == "medloom_images_total":
            self.images[labels["code"]] = round(value)
        elif name == "medloom_image_seconds_total":
            self.seconds[labels["outcome"]] = value
        elif name == "medloom_network_runs_total":
            self.runs = value
        elif name == "medloom_last_image_timestamp_seconds":
            self.last_s = value
        elif name.startswith("medloom_stage_duration_seconds_"):
            count, seconds = self.stages.get(labels["stage"], (0, 0.0))
            counted = name.endswith("_count"), name.endswith("_sum")
            self.stages[labels["stage"]] = (
                round(value) if counted[0] else count,
                value if counted[1] else seconds,
            )


class Metrics:
    """Counts requests that are over, and answers ``GET /metrics``.

    With several server processes, set ``PROMETHEUS_MULTIPROC_DIR`` to an empty folder before this module is imported;
    each of them then answers for all.

    """

    def __init__(self) -> None:
        self._state: Callable[[], Mapping[str, float]] = dict
        self._updates: list[Callable[[], None]] = []
        self._models: set[str] = set()
        self._shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        disable_created_metrics()  # type: ignore[no-untyped-call] # when a series began doubles what is sent, for nothing
        self.registry = CollectorRegistry()
        if not self._shared:
            ProcessCollector(registry=self.registry)
        self._requests = self._counter("requests", "Requests that are over.", "method", "route", "status", "code")
        self._seconds = self._histogram("request_duration_seconds", "From the headers to the answer.", "route")
        self._rejections = self._counter("rejections", "Requests refused before an image was looked at.", "reason")
        self._bytes_in = self._counter("request_body_bytes", "Bytes of bodies that were read.")
        self._bytes_out = self._counter("response_body_bytes", "Bytes of bodies that were sent.")
        self._images = self._counter("images", "Images that were looked at.", "model", "code")
        self._decode_errors = self._counter("decode_errors", "Images that could not be decoded.", "code")
        self._stages = self._histogram("stage_duration_seconds", "What an image took, by stage.", "model", "stage")
        self._batches = self._histogram(
            "batch_size", "Images that went through the network together, for each image.", "model", buckets=_BATCHES
        )
        self._image_seconds = self._counter("image_seconds", "What images took in all stages.", "model", "outcome")
        self._runs = self._counter("network_runs", "Runs of the network.", "model")
        self._last = self.gauge(
            "last_image_timestamp_seconds", "When the last image was looked at.", "model", mode="livemax"
        )
        self._now = {
            "requests_in_progress": self.gauge("requests_in_progress", "Requests that are not over."),
            "queue_depth": self.gauge("queue_depth", "Requests that have come whole and are not answered."),
            "models_loaded": self.gauge("models_loaded", "Models that answer.", mode="livemax"),
        }

    def gauge(self, name: str, text: str, *labels: str, mode: GaugeMode = "livesum") -> Gauge:
        """Return a new gauge ``medloom_NAME``, which whoever asks for it sets.

        Args:
            name: Its name, with its unit at the end.
            text: What it says.
            labels: Names of its labels; their values are words of our own or names of models.
            mode: How several processes make one figure: ``livesum``, ``livemax``, ``livemostrecent``.

        Example:
            >>> index = Metrics().gauge("stability_index", "How unlike the training the images are.", "model")
            >>> index.labels("brain").set(0.1)
        """
        return Gauge(name, text, labels, "medloom", registry=self.registry, multiprocess_mode=mode)

    def follow(self, state: Callable[[], Mapping[str, float]]) -> None:
        """Show figures of this moment.

        Args:
            state: Returns them by name: ``requests_in_progress``, ``queue_depth``, ``models_loaded``.
        """
        self._state = state

    def before(self, update: Callable[[], None]) -> None:
        """Bring figures up to date only when they are asked for.

        Args:
            update: Called before each answer to ``GET /metrics``.
        """
        self._updates.append(update)

    def finished(self, done: Finished) -> None:
        """Count a request."""
        if done.was_none:
            self._rejections.labels(done.code).inc()
            return
        self._requests.labels(done.method, done.route, str(done.status), done.code).inc()
        self._seconds.labels(done.route).observe(done.seconds)
        self._bytes_in.inc(done.bytes_in)
        self._bytes_out.inc(done.bytes_out)
        if done.code != "ok" and not done.images:
            self._rejections.labels(done.code).inc()
        for image in done.images:
            self._count(image)
        self._set_state()

    def of_models(self) -> dict[str, ModelFigures]:
        """Return what all processes counted of each model that was asked anything; it reads files, so in a thread."""
        found: defaultdict[str, ModelFigures] = defaultdict(ModelFigures)
        families: Collection[Metric] = list(self._of_all().collect())
        for sample in (sample for family in families for sample in family.samples if "model" in sample.labels):
            found[sample.labels["model"]].take(sample.name, sample.labels, sample.value)
        return dict(found)

    def counts(self, models: Collection[str]) -> bool:
        """Whether each of these models is counted by itself; of very many, later ones are counted together."""
        return len(self._models) < _MOST_MODELS or self._models.issuperset(models)

    def route(self) -> Route:
        """Return ``GET /metrics``."""
        return Route("/metrics", self._answer, methods=["GET"])

    def _count(self, image: WatchedImage) -> None:
        model = self._known(image.model)
        self._images.labels(model, image.code).inc()
        if image.code in _DECODE_CODES:
            self._decode_errors.labels(image.code).inc()
        for stage, seconds in image.stages.items():
            self._stages.labels(model, stage).observe(seconds)
        self._image_seconds.labels(model, "ok" if image.code == "ok" else "failed").inc(sum(image.stages.values()))
        self._last.labels(model).set(time.time())
        if image.batch_size:
            self._batches.labels(model).observe(image.batch_size)
            self._runs.labels(model).inc(1 / image.batch_size)

    def _known(self, model: str) -> str:
        if model not in self._models:
            if len(self._models) >= _MOST_MODELS:
                return OTHER
            self._models.add(model)
        return model

    def _set_state(self) -> None:
        for name, value in self._state().items():
            self._now[name].set(value)

    async def _answer(self, request: Request) -> Response:
        """Answer with all figures, as text or in OpenMetrics, as ``Accept`` says."""
        self._set_state()
        for update in self._updates:
            update()
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._of_all()), headers={"Content-Type": media_type})

    def _of_all(self) -> CollectorRegistry:
        """What all processes counted."""
        if not self._shared:
            return self.registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._shared)  # type: ignore[no-untyped-call] # it is not annotated
        return registry

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace="medloom", registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(name, text, labels, namespace="medloom", registry=self.registry, buckets=buckets)
