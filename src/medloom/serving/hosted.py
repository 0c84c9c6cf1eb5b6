"""A model in the hands of another host, such as AWS's inference toolkit: what a bundle's ``code/inference.py`` calls.

Answers and refusals are those of ``medloom serve``, byte for byte, and what looks into bytes from outside does so
behind the same fence. The host says where a body ends and how large it may be.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from medloom.imaging import Image
from medloom.inference import Prediction, VolumeAnswer
from medloom.serving.admission import Limits
from medloom.serving.answers import encode_answer, made_from
from medloom.serving.bodies import Asked, read_json
from medloom.serving.description import image_forms, volume_forms
from medloom.serving.fencing import new_fence
from medloom.serving.http.asking import entry_of, list_of
from medloom.serving.http.body import accepted_type
from medloom.serving.http.multipart import boundary_of, read_form
from medloom.serving.models import Model, Opening, fenced
from medloom.serving.negotiation import choose
from medloom.serving.problems import JSON, MULTIPART, Problem
from medloom.serving.records import record_of
from medloom.serving.requests import ImageRequest, page_of, predict_whole
from medloom.serving.work import chosen_form, refusing

__all__ = ["Answered", "Answers", "encode", "open_model", "predict", "read"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answered:
    """One image or volume that was answered.

    Args:
        asked: What came.
        prediction: The answer.
        image: The image as decoded; None for a volume.
    """

    asked: ImageRequest
    prediction: Prediction | VolumeAnswer
    image: Image | None


@dataclass(frozen=True)
class Answers:
    """What became of one request.

    Args:
        model: What answered.
        images: One for each image; what is wrong with one stands in its place.
        several: Whether the answer is a list.
    """

    model: Model
    images: tuple[Answered | Problem, ...]
    several: bool


def open_model(folder: str) -> Model:
    """Load a bundle after checking every file of it, and put it behind a fence.

    Where no process may be started there is no fence, and a line in the log says so.

    Args:
        folder: Where the bundle was extracted to.

    Raises:
        BundleError: If it is damaged, tampered with or of another format.
        VerifyError: If the model gives another answer than when it was packaged.
    """
    model = Opening().open(folder)
    try:
        fence = new_fence(Limits().decoders)
    except OSError as error:
        _log.warning("no process can be started here (%s): images are decoded without a fence", type(error).__name__)
        return model
    behind = fenced(model, fence)
    weakref.finalize(behind, fence.close)  # hosts say nothing when they are done with a model
    return behind


def read(body: bytes | bytearray | str, content_type: str | None) -> Asked | Problem:
    """Return what a request asks for, or what is wrong with it; nothing is decoded yet.

    Args:
        body: As the host hands it over; some hand text over as such.
        content_type: Its header; None if none came.
    """
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    try:
        kind = accepted_type([] if content_type is None else [content_type])
        if kind == JSON:
            return read_json(data)
        if kind == MULTIPART:
            return read_form(data, boundary_of(content_type or ""))
        return Asked((ImageRequest(data, kind),))
    except Problem as problem:
        return problem


def predict(asked: Asked | Problem, model: Model) -> Answers:
    """Predict each image in its own geometry; what is wrong with one stands in its place.

    Args:
        asked: From ``read``.
        model: From ``open_model``.
    """
    if isinstance(asked, Problem):
        return Answers(model, (asked,), several=False)
    images = tuple(_unless_refused(one, model) for one in asked.images)
    return Answers(model, images, asked.several)


def encode(answers: Answers, accept: str | None, context: object = None) -> tuple[bytes, str]:
    """Return the answer, or a refusal, in a form that the client takes, and its media type.

    Args:
        answers: From ``predict``.
        accept: The ``Accept`` header; JSON where it leaves the choice.
        context: What the host says of the request. One of AWS's is told the status of a refusal, which is then the
            body; any other host gets the refusal raised. In a batch transform what is wrong with one image for good is
            the answer to it; see ``medloom.serving.records``.

    Raises:
        Problem: A refusal, where the host cannot be told its status.
    """
    try:
        return _encoded(answers, accept or "")
    except Problem as problem:
        record = record_of(problem, "")
        if record is not None:
            return record
        say_status = getattr(context, "set_response_status", None)
        if say_status is None:
            raise
        say_status(problem.status, HTTPStatus(problem.status).phrase)
        response = problem.response()
        return bytes(response.body), str(response.media_type)


def _encoded(answers: Answers, accept: str) -> tuple[bytes, str]:
    if not answers.several:
        (one,) = answers.images
        if isinstance(one, Answered):  # what no answer has the form of is refused in the same words for each of them
            predictor = answers.model.predictor
            chosen_form(accept, tuple(dict.fromkeys((*image_forms(predictor), *volume_forms(predictor)))))
        return _form(one, answers.model, accept)
    chosen_form(accept, (JSON,))
    return list_of([_entry(one, answers.model) for one in answers.images]), JSON


def _entry(one: Answered | Problem, model: Model) -> bytes:
    try:
        return _form(one, model, JSON)[0]
    except Problem as problem:
        return entry_of(problem)


def _form(one: Answered | Problem, model: Model, accept: str) -> tuple[bytes, str]:
    """One answer in a form; a volume of one slice is an image unless only forms of volumes are wanted."""
    if isinstance(one, Problem):
        raise one
    with _sound(one.asked):
        if not one.prediction.volume and choose(accept, image_forms(model.predictor)) is None:
            one = _predicted(one.asked, model, one_slice=True)
        made = made_from(one.prediction, model.predictor, model.manifest, one.asked, one.image)
        return encode_answer(accept, made)


def _predicted(one: ImageRequest, model: Model, *, one_slice: bool = False) -> Answered:
    if one.url:
        raise Problem(403, "url_not_allowed", "nothing is fetched from URLs here", "Send the image itself.")
    predictor, page = model.predictor, page_of(one, model.manifest.input.page)
    whole = predict_whole(predictor, one, page, one_slice=one_slice)
    if whole is not None:
        return Answered(one, whole, None)
    prepared = predictor.prepare(one.image, metadata=one.metadata, content_type=one.content_type, page=page)
    return Answered(one, predictor.answer([prepared])[0], prepared.image)


def _unless_refused(one: ImageRequest | Problem, model: Model) -> Answered | Problem:
    if isinstance(one, Problem):
        return one
    try:
        with _sound(one):
            return _predicted(one, model)
    except Problem as problem:
        return problem


@contextmanager
def _sound(one: ImageRequest) -> Iterator[None]:
    """Say as a `Problem` what goes wrong in the block; hosts show clients whatever else is raised, with its message."""
    try:
        with refusing(one):
            yield
    except Problem:
        raise
    except Exception as error:
        _log.error("a prediction failed: %s", type(error).__name__)
        raise Problem(500, "internal", "the prediction failed") from None
