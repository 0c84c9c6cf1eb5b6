"""One prediction path behind every protocol: decode, prepare, predict, encode.

Whoever watches a server (metrics, logs, traces, drift) is an `Observer` and is told what was `Seen` of each image.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from medloom.inference import Prediction, Predictor, VolumeAnswer
from medloom.inference.prepared import Prepared
from medloom.packaging import Manifest
from medloom.serving.admission import Admission, Gate, Limits
from medloom.serving.batching import Batcher, Batching
from medloom.serving.description import image_forms, volume_forms
from medloom.serving.models import Model, Models
from medloom.serving.problems import Problem
from medloom.serving.requests import ImageRequest
from medloom.serving.room import Room
from medloom.serving.work import Batched, Work, chosen_form

__all__ = ["Answer", "Observer", "Seen", "Service", "chosen_form"]

Floats32 = NDArray[np.float32]
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What a client gets.

    Args:
        content: The bytes.
        media_type: What they are.
        headers: Which model made them, how long each stage took, and what observers added.
    """

    content: bytes
    media_type: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Seen:
    """What observers are told of one image.

    Args:
        model: Name of the model; empty where the request was refused before it was known.
        code: ``ok``, or the code of the `Problem`.
        stages: Seconds in ``read``, ``queue``, ``decode``, ``prepare``, ``predict`` and ``encode``; those that were
            reached.
        batch_size: Images that went through the network together; 0 if none did.
        content_type: As declared, without parameters.
        size_bytes: Size of the image as it came.
        prepared: The image that the network saw, only while the observer looks; None for volumes and refusals.
        prediction: What was predicted; the same holds.
        request_id: What logs and traces call the request.
        headers: An observer may add headers to the answer here.
    """

    model: str
    code: str
    stages: Mapping[str, float]
    batch_size: int
    content_type: str
    size_bytes: int
    prepared: Prepared | None
    prediction: Prediction | VolumeAnswer | None
    request_id: str
    headers: dict[str, str] = field(default_factory=dict)


class Observer(Protocol):
    """Watches what is answered and what is refused."""

    def seen(self, seen: Seen) -> None:
        """Look at one image, from a worker thread, before its answer is sent; what is raised here harms no request.

        Requests that were refused before their body was read are told from the event loop, so it must not wait.
        """


class Service:
    """Answers with several models.

    Args:
        models: By name. For images from strangers, give their predictors a ``decoder`` and a ``volume_decoder`` of
            `medloom.imaging.fence`.
        limits: How much a client may ask for.
        observers: Who is told of each image.
        batching: Bounds of the batches in which images go through the networks.

    Example:
        >>> service = Service.of(bundle.predictor(), bundle.manifest)  # doctest: +SKIP
        >>> answer = await service.answer(ImageRequest(data))  # doctest: +SKIP
    """

    def __init__(
        self,
        models: Models,
        limits: Limits | None = None,
        *,
        observers: tuple[Observer, ...] = (),
        batching: Batching | None = None,
    ) -> None:
        self.models = models
        self.limits = limits or Limits()
        self.observers = observers
        self.gate = Gate(self.limits)
        self.batcher = Batcher(batching)
        self._room = Room(self.limits.max_pixels_bytes, self.limits.decoders)
        self._threads = ThreadPoolExecutor(self.limits.concurrency, "medloom-predict")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        manifest: Manifest,
        limits: Limits | None = None,
        *,
        batching: Batching | None = None,
    ) -> Service:
        """Return a service of one model, under its own name."""
        return cls(Models([Model(manifest.name, predictor, manifest)]), limits, batching=batching)

    async def answer(
        self,
        asked: ImageRequest,
        *,
        model: str | None = None,
        accept: str = "",
        admission: Admission | None = None,
    ) -> Answer:
        """Answer one image or volume.

        Args:
            asked: The image with its metadata.
            model: Name of the model; None where there is only one.
            accept: An ``Accept`` header; JSON where it leaves the choice.
            admission: From ``gate.enter``; None if the caller has let nobody in.

        Raises:
            Problem: Whatever keeps it from being answered.
        """
        found = self.models.get(model)
        admission = admission or Admission()
        with self.gate.working(admission):
            async with admission.turns:
                return await self._in_thread(partial(self._answer, asked, found, accept, admission))

    async def run(
        self,
        batch_nchw: Floats32,
        table_nf: Floats32 | None = None,
        *,
        model: str | None = None,
        admission: Admission | None = None,
    ) -> Floats32:
        """Run a model on tensors that are already preprocessed.

        Args:
            batch_nchw: ``(N, C, h, w)`` float32.
            table_nf: ``(N, F)`` float32 encoded metadata, where the model takes some.
            model: Name of the model; None where there is only one.
            admission: As of ``answer``.

        Returns:
            ``(N, K, h, w)`` or ``(N, K)`` float32 probabilities, calibrated where the model is.

        Raises:
            Problem: If there is no such model, or there is no time left.
            BundleError: If the network cannot be run on them.
        """
        found, admission = self.models.get(model), admission or Admission()
        with self.gate.working(admission):
            return await self._in_thread(partial(self._run, batch_nchw, table_nf, found, admission))

    def forms(self, model: str | None, asked_page: bool = False) -> tuple[str, ...]:
        """Return the media types that a model may answer with.

        Args:
            model: Its name; None where there is only one.
            asked_page: Whether one page was asked for, which is never answered as a volume.

        Raises:
            Problem: 404 if there is no such model.
        """
        predictor = self.models.get(model).predictor
        forms = image_forms(predictor)
        return forms if asked_page else tuple(dict.fromkeys((*forms, *volume_forms(predictor))))

    def refused(self, problem: Problem, admission: Admission, content_type: str) -> None:
        """Tell observers of a request that was refused, unless they were told of its image.

        Args:
            problem: Why.
            admission: Its own.
            content_type: As declared, without parameters.
        """
        if not admission.told:
            self._tell(Seen("", problem.code, admission.stages, 0, content_type, 0, None, None, admission.request_id))

    def put(self, model: Model) -> None:
        """Answer with a model from now on, in the place of the one of its name; requests in progress keep theirs."""
        self.models.put(model)
        self._calibrate(model)

    def calibrate(self) -> None:
        """Measure which batches are the fastest on this machine, in a second or so, while nobody waits."""
        for model in self.models.all():
            self._calibrate(model)

    def _calibrate(self, model: Model) -> None:
        self.batcher.calibrate(model.predictor.runtime, model.input_shape, model.table_features)

    def close(self) -> None:
        """End the threads, after what they have begun."""
        self._threads.shutdown(cancel_futures=True)
        self.batcher.close()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _answer(self, asked: ImageRequest, model: Model, accept: str, admission: Admission) -> Answer:
        work = Work(asked, model, self.limits, admission, self.batcher, self._room)
        admission.told = True
        try:
            content, form = work.done(accept)
        except Problem as problem:
            self._tell(_seen(work, problem.code))
            raise
        except Exception as error:
            # Starlette would raise it again, and uvicorn log its message, which might hold what a client sent.
            _log.error("a prediction failed: %s", type(error).__name__)
            self._tell(_seen(work, "internal"))
            raise Problem(500, "internal", "the prediction failed") from None
        seen = _seen(work, "ok")
        self._tell(seen)
        said = {
            "X-Medloom-Model": model.name,
            "X-Medloom-Phantom": str(model.manifest.phantom).lower(),
            "Server-Timing": work.admission.server_timing(),
        }
        return Answer(content, form, {**said, **seen.headers})

    def _run(self, batch_nchw: Floats32, table_nf: Floats32 | None, model: Model, admission: Admission) -> Floats32:
        """Run a model, and tell observers, who see no image."""
        own = replace(admission, stages=dict(admission.stages))
        runtime, code = Batched(self.batcher, model, own), "internal"
        admission.told = True
        try:
            found = replace(model.predictor, runtime=runtime).run(batch_nchw, table_nf)
            code = "ok"
            return found
        except Problem as problem:
            code = problem.code
            raise
        finally:
            size = batch_nchw.nbytes
            self._tell(Seen(model.name, code, own.stages, runtime.batch_size, "", size, None, None, own.request_id))

    def _tell(self, seen: Seen) -> None:
        for observer in self.observers:
            try:
                observer.seen(seen)
            except Exception as error:  # whatever it is, the request is answered
                _log.error("%s failed to look at a request: %s", type(observer).__name__, type(error).__name__)


def _seen(work: Work, code: str) -> Seen:
    """What observers are told."""
    asked = work.asked
    return Seen(
        model=work.model.name,
        code=code,
        stages=work.admission.stages,
        batch_size=work.runtime.batch_size,
        content_type=asked.content_type,
        size_bytes=len(asked.image),
        prepared=work.prepared,
        prediction=work.prediction,
        request_id=work.admission.request_id,
    )
