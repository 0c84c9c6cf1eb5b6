"""One object of a bucket: read it, predict it, and write the answer, or why there is none, beside the others."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import medloom
from medloom.data.buckets import Place
from medloom.data.sources import is_litter
from medloom.errors import UserError
from medloom.inference.forms import media_type
from medloom.inference.writers.forms import check_forms
from medloom.serving.admission import Admission
from medloom.serving.answers import apart
from medloom.serving.bodies import read_metadata
from medloom.serving.lambda_.events import Stored
from medloom.serving.lambda_.objects import BusyError, Objects, SetUpError
from medloom.serving.lambda_.places import Output
from medloom.serving.lambda_.settings import FORMS_WRITTEN, OUTPUT, Settings
from medloom.serving.models import Model
from medloom.serving.negotiation import MULTIPART
from medloom.serving.problems import Problem
from medloom.serving.requests import ImageRequest
from medloom.serving.service import Service

__all__ = ["Outcome", "Storage"]

_SIDECAR = ".json"
_MOST_METADATA_BYTES = 2**18
_PROBLEM = "application/problem+json"
_JSON = "json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of an object.

    Args:
        code: ``ok``; ``done_before``; ``passed_by``, where it is no image; or the code of a problem.
        is_failed: Whether it is to come again; else it is done, with an answer or a record of its problem.
        set_up: What to change in the function's settings or rights; empty where that is not what is wrong.
    """

    code: str
    is_failed: bool = False
    set_up: str = ""


class Storage:
    """Answers objects with the one model of a service.

    Args:
        service: What answers.
        settings: Where answers are written, and in which forms.
        objects: Reads and writes.
        runner: The event loop of the service.

    Raises:
        UserError: If there is no such form of this model's answers, or no place for them.
    """

    def __init__(self, service: Service, settings: Settings, objects: Objects, runner: asyncio.Runner) -> None:
        if settings.output is None:
            raise UserError(
                f"{OUTPUT} is not set; set it to where answers shall be written, such as s3://BUCKET/PREFIX/"
            )
        self._model = service.models.get()
        try:
            check_forms([name for name in settings.forms if name != _JSON], self._model.predictor.target)
        except UserError as error:
            raise UserError(f"{FORMS_WRITTEN}: {error}") from error
        self._service, self._objects, self._runner = service, objects, runner
        self._most = settings.max_object_bytes
        self._accept = f"{MULTIPART}; forms={'+'.join(settings.forms)}"
        if settings.optional:
            self._accept += f"; optional={'+'.join(settings.optional)}"
        self._output = Output(settings.output, f"{_digest(self._model)} {self._accept}")

    def answer(self, stored: Stored, left_s: float) -> Outcome:
        """Answer an object, unless it was answered before.

        Args:
            stored: Its version.
            left_s: Seconds after which nothing more is begun for it.
        """
        began = time.monotonic()
        try:
            outcome = self._answer(stored, began + left_s)
        except BusyError as error:
            outcome = Outcome(error.code, is_failed=True)
        except SetUpError as error:
            outcome = Outcome(error.code, is_failed=True, set_up=str(error))
        level = logging.WARNING if outcome.is_failed else logging.INFO
        name, size = self._output.name(stored, None)[:12], "?" if stored.size is None else stored.size
        _log.log(level, "object %s of %s bytes: %s, %.2f s", name, size, outcome.code, time.monotonic() - began)
        return outcome

    def _answer(self, stored: Stored, deadline: float) -> Outcome:
        if self._output.wrote(stored) or _is_no_image(stored.key):
            return Outcome("passed_by")
        name = self._output.name(stored, None)
        try:
            self._check_place(stored)
            sidecar = self._sidecar(stored)
            name = self._output.name(stored, sidecar)
            answer = self._output.of_form(_JSON, stored, name)
            if self._objects.is_there(answer):
                return Outcome("done_before")
            parts = self._predicted(stored, sidecar, deadline)
        except Problem as problem:
            return self._refused(stored, name, problem)
        for form, content in sorted(
            parts.items(), key=lambda part: part[0] == _JSON
        ):  # JSON last: it says all is there
            place = self._output.of_form(form, stored, name)
            written = self._objects.create(place, content, media_type(form).partition(";")[0], self._about(stored))
        return Outcome("ok" if written else "done_before")

    def _check_place(self, stored: Stored) -> None:
        if self._output.holds(stored):
            said = "the object lies where answers are written, and is none"
            raise Problem(409, "in_output", said, f"Name another place with {OUTPUT}, or put images elsewhere.")

    def _sidecar(self, stored: Stored) -> bytes | None:
        """The metadata beside an image; None for a model that takes none."""
        columns = self._model.predictor.metadata_columns
        if not columns:
            return None
        place = Place(stored.bucket, stored.key + _SIDECAR)
        found = self._objects.read_sidecar(place, _MOST_METADATA_BYTES)
        if found is None:
            taken = ", ".join(columns)
            said = f"the model takes metadata ({taken}), and there are none under the image's key with {_SIDECAR}"
            hint = f"Put KEY{_SIDECAR} there before the image, with {{}} where nothing is known."
            raise Problem(422, "metadata_missing", said, hint)
        return found

    def _predicted(self, stored: Stored, sidecar: bytes | None, deadline: float) -> Mapping[str, bytes]:
        metadata = {} if sidecar is None else _metadata(sidecar)
        image = self._objects.read_version(stored, self._most)
        asked = ImageRequest(image, metadata=metadata)
        admission = Admission(deadline=deadline)
        answer = self._runner.run(self._service.answer(asked, accept=self._accept, admission=admission))
        return apart(answer.content, answer.media_type)

    def _refused(self, stored: Stored, name: str, problem: Problem) -> Outcome:
        """Write down what no other time would change; the rest is to come again."""
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR or problem.status == HTTPStatus.TOO_MANY_REQUESTS:
            return Outcome(problem.code, is_failed=True)
        place = self._output.of_error(stored, name)
        self._objects.create(place, bytes(problem.response().body), _PROBLEM, self._about(stored))
        return Outcome(problem.code)

    def _about(self, stored: Stored) -> dict[str, str]:
        """What is said beside each object that is written; the image's key is in its own."""
        manifest = self._model.manifest
        said = {
            "medloom-model": manifest.name,
            "medloom-phantom": str(manifest.phantom).lower(),
            "image-version": stored.version,
            "image-etag": stored.etag,
            "image-sequencer": stored.sequencer,
        }
        return {name: text for name, text in said.items() if text and text.isascii()}


def _digest(model: Model) -> str:
    """What changes with the bundle and with what runs it."""
    return hashlib.sha256(f"{medloom.__version__} {model.manifest.model_dump_json()}".encode()).hexdigest()


def _is_no_image(key: str) -> bool:
    """Whether an object is a folder's mark, litter or metadata."""
    return key.endswith(("/", _SIDECAR)) or is_litter(key)


def _metadata(sidecar: bytes) -> dict[str, object]:
    try:
        return read_metadata(sidecar)
    except Problem as problem:
        said = f"the metadata beside the image are not what was expected: {problem.message}"
        raise Problem(422, "bad_metadata", said, 'Write {"column": value}.') from problem
