"""One prediction path behind every protocol: decode, prepare, predict, encode.

Whoever watches a server (metrics, logs, traces, drift) is an `Observer` and is told what was `Seen` of each image.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DecodeError, InputError
from medloom.imaging import Image
from medloom.inference import Prediction, Predictor, VolumeAnswer
from medloom.inference.prepared import Prepared
from medloom.packaging import Manifest
from medloom.serving.admission import Admission, Gate, Limits
from medloom.serving.answers import NotAcceptableError, check_accept, encode_prediction
from medloom.serving.description import image_forms
from medloom.serving.models import Model, Models
from medloom.serving.negotiation import choose
from medloom.serving.problems import Problem, of_decode_error, of_input_error
from medloom.serving.requests import ImageRequest, page_of, predict_whole

__all__ = ["Answer", "Observer", "Seen", "Service"]

Floats32 = NDArray[np.float32]
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What a client gets.

    Args:
        content: The bytes.
        media_type: What they are.
        headers: Which model made them, and what observers added.
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

    Example:
        >>> service = Service.of(bundle.predictor(), bundle.manifest)  # doctest: +SKIP
        >>> answer = await service.answer(ImageRequest(data))  # doctest: +SKIP
    """

    def __init__(self, models: Models, limits: Limits | None = None, *, observers: tuple[Observer, ...] = ()) -> None:
        self.models = models
        self.limits = limits or Limits()
        self.observers = observers
        self.gate = Gate()
        self._threads = ThreadPoolExecutor(self.limits.concurrency, "medloom-predict")

    @classmethod
    def of(cls, predictor: Predictor, manifest: Manifest, limits: Limits | None = None) -> Service:
        """Return a service of one model, under its own name."""
        return cls(Models([Model(manifest.name, predictor, manifest)]), limits)

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
        return await self._in_thread(partial(self._answer, asked, found, accept, admission or Admission()))

    async def run(
        self, batch_nchw: Floats32, table_nf: Floats32 | None = None, *, model: str | None = None
    ) -> Floats32:
        """Run a model on tensors that are already preprocessed.

        Args:
            batch_nchw: ``(N, C, h, w)`` float32.
            table_nf: ``(N, F)`` float32 encoded metadata, where the model takes some.
            model: Name of the model; None where there is only one.

        Returns:
            ``(N, K, h, w)`` or ``(N, K)`` float32 probabilities, calibrated where the model is.

        Raises:
            Problem: If there is no such model.
            BundleError: If the network cannot be run on them.
        """
        predictor = self.models.get(model).predictor
        return await self._in_thread(partial(predictor.run, batch_nchw, table_nf))

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
        return forms if asked_page else tuple(dict.fromkeys((*forms, *predictor.volume_forms)))

    def refused(self, problem: Problem, admission: Admission, content_type: str) -> None:
        """Tell observers of a request that was refused, unless they were told of its image.

        Args:
            problem: Why.
            admission: Its own.
            content_type: As declared, without parameters.
        """
        if not admission.told:
            self._tell(Seen("", problem.code, admission.stages, 0, content_type, 0, None, None, admission.request_id))

    def close(self) -> None:
        """End the threads, after what they have begun."""
        self._threads.shutdown(cancel_futures=True)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _answer(self, asked: ImageRequest, model: Model, accept: str, admission: Admission) -> Answer:
        work = _Work(asked, model, self.limits, admission)
        admission.told = True
        try:
            content, form = work.done(accept)
        except Problem as problem:
            self._tell(work.seen(problem.code))
            raise
        except Exception as error:
            # Starlette would raise it again, and uvicorn log its message, which might hold what a client sent.
            _log.error("a prediction failed: %s", type(error).__name__)
            self._tell(work.seen("internal"))
            raise Problem(500, "internal", "the prediction failed") from None
        seen = work.seen("ok")
        self._tell(seen)
        phantom = str(model.manifest.phantom).lower()
        return Answer(content, form, {"X-Medloom-Model": model.name, "X-Medloom-Phantom": phantom, **seen.headers})

    def _tell(self, seen: Seen) -> None:
        for observer in self.observers:
            try:
                observer.seen(seen)
            except Exception as error:  # whatever it is, the request is answered
                _log.error("%s failed to look at a request: %s", type(observer).__name__, type(error).__name__)


class _Work:
    """One image on the prediction path, in one thread."""

    def __init__(self, asked: ImageRequest, model: Model, limits: Limits, admission: Admission) -> None:
        self._asked, self._model, self._limits = asked, model, limits
        self._admission = replace(admission, stages=dict(admission.stages))
        self._prepared: Prepared | None = None
        self._prediction: Prediction | VolumeAnswer | None = None
        self._batch_size = 0

    def done(self, accept: str) -> tuple[bytes, str]:
        """Return the answer and its media type."""
        try:
            prediction = self._prediction = self._predicted(accept)
        except DecodeError as error:
            raise of_decode_error(error, self._asked.content_type) from error
        except InputError as error:
            raise of_input_error(error) from error
        form = chosen_form(accept, prediction.forms)
        with self._admission.timed("encode"):
            return encode_prediction(prediction, self._model.manifest, form), form

    def seen(self, code: str) -> Seen:
        """Return what observers are told."""
        asked = self._asked
        return Seen(
            model=self._model.name,
            code=code,
            stages=self._admission.stages,
            batch_size=self._batch_size,
            content_type=asked.content_type,
            size_bytes=len(asked.image),
            prepared=self._prepared,
            prediction=self._prediction,
            request_id=self._admission.request_id,
        )

    def _predicted(self, accept: str) -> Prediction | VolumeAnswer:
        predictor, asked = replace(self._model.predictor, decoder=self._decode), self._asked
        page = page_of(asked, self._model.manifest.input.page)
        one_slice = choose(accept, image_forms(predictor)) is None
        deadline = _Deadline(self._limits.volume_timeout_s)
        whole = predict_whole(predictor, asked, page, one_slice=one_slice, progress=deadline.check)
        if whole is not None:
            return whole
        with self._admission.timed("prepare"):
            before = self._admission.stages.get("decode", 0.0)
            prepared = predictor.prepare(
                asked.image, metadata=asked.metadata, content_type=asked.content_type, page=page
            )
        self._admission.stages["prepare"] -= self._admission.stages.get("decode", 0.0) - before
        self._prepared, self._batch_size = prepared, 1
        with self._admission.timed("predict"):
            return predictor.answer([prepared])[0]

    def _decode(self, data: bytes, /, **options: Any) -> Image:  # noqa: ANN401 - those of a `Decoder`
        with self._admission.timed("decode"):
            return self._model.predictor.decoder(data, **options)


class _Deadline:
    """Refuses a volume that takes too long, between two slices."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._end = time.monotonic() + limit_s

    def check(self, done: int, slices: int) -> None:
        if time.monotonic() > self._end:
            message = f"of {slices} slices {done} were predicted within {self._limit_s:g} s"
            hint = "Send fewer slices in one request, or single ones with page=, or use medloom predict."
            raise Problem(413, "too_slow", message, hint)


def chosen_form(accept: str, forms: tuple[str, ...]) -> str:
    """Return which of the forms a client wants.

    Raises:
        Problem: 406 if it takes none of them.
    """
    try:
        return check_accept(accept, forms)
    except NotAcceptableError as error:
        raise Problem(406, "not_acceptable", str(error), close=True, accepted=error.forms) from error
