"""One image or volume on the prediction path, in one thread: decode, prepare, predict, encode."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DecodeError, InputError
from medloom.imaging import Image, Volume
from medloom.imaging.dicom_sources import Sources
from medloom.inference import Prediction, Predictor, VolumeAnswer
from medloom.inference.forms import Made
from medloom.inference.prepared import Prepared
from medloom.serving.admission import Admission, Limits
from medloom.serving.answers import NotAcceptableError, check_accept, encode_answer, made_from
from medloom.serving.batching import Batcher, Ran
from medloom.serving.description import image_forms
from medloom.serving.models import Model
from medloom.serving.negotiation import choose
from medloom.serving.problems import Problem, of_decode_error, of_input_error
from medloom.serving.requests import ImageRequest, page_of, predict_whole
from medloom.serving.room import Room

__all__ = ["Batched", "Work", "chosen_form", "refusing"]

Floats32 = NDArray[np.float32]
Found = TypeVar("Found", Image, Volume, Volume | None, Sources | None)


class Batched:
    """A runtime whose images go through the network together with those of other requests.

    Args:
        batcher: What runs it.
        model: Whose runtime it is.
        admission: Of the request, whose time is measured and whose deadline is kept.
        bulk: See ``Batcher.run``.
    """

    def __init__(self, batcher: Batcher, model: Model, admission: Admission, *, bulk: bool = False) -> None:
        self.name = model.predictor.runtime.name
        self.batch_size = 0
        self.bulk = bulk
        self._batcher, self._runtime, self._admission = batcher, model.predictor.runtime, admission
        self._expected = False

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Let batches wait for this image while it is prepared in the block."""
        self._batcher.expect(self._runtime, 1)
        self._expected = True
        try:
            yield
        finally:
            if self._expected:
                self._expected = False
                self._batcher.expect(self._runtime, -1)

    def run(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
        """Return what the network answers; see ``Runtime.run``."""
        return self._ran(batch_nchw, table_nf, features=False).answer

    def run_with_features(
        self, batch_nchw: Floats32, table_nf: Floats32 | None = None
    ) -> tuple[Floats32, Floats32 | None]:
        """Return the answer, and what the deepest layer makes of the images; None where the model does not say it."""
        ran = self._ran(batch_nchw, table_nf, features=True)
        return ran.answer, ran.features

    def _ran(self, batch_nchw: Floats32, table_nf: Floats32 | None, *, features: bool) -> Ran:
        expected, self._expected = self._expected, False
        ran = self._batcher.run(
            self._runtime,
            batch_nchw,
            table_nf,
            bulk=self.bulk,
            expected=expected,
            features=features,
            check=self._admission.check,
        )
        self._admission.add("queue", ran.queue_s)
        self._admission.add("predict", ran.run_s)
        self.batch_size = max(self.batch_size, ran.images)
        return ran


class Work:
    """Answers one request for an image or a volume.

    Args:
        asked: The image with its metadata.
        model: What answers.
        limits: How long a volume may take.
        admission: Of the request; its stages are those so far, and more are measured here.
        batcher: What runs the network.
        room: Where decoded pixels are held.
    """

    def __init__(
        self, asked: ImageRequest, model: Model, limits: Limits, admission: Admission, batcher: Batcher, room: Room
    ) -> None:
        self.asked, self.model = asked, model
        self.admission = replace(admission, stages=dict(admission.stages))
        self.prepared: Prepared | None = None
        self.prediction: Prediction | VolumeAnswer | None = None
        self.runtime = Batched(batcher, model, self.admission)
        self._limits, self._batcher, self._room = limits, batcher, room
        self._held_bytes = 0

    def done(self, accept: str) -> tuple[bytes, str]:
        """Return the answer and its media type.

        Args:
            accept: An ``Accept`` header.

        Raises:
            Problem: If the image or its metadata are not what the model takes.
        """
        self.admission.check()
        try:
            with refusing(self.asked):
                prediction = self.prediction = self._predicted(accept)
                with self.admission.timed("encode", without=("decode",)):
                    return encode_answer(accept, self._made(prediction))
        finally:
            self._room.leave(self._held_bytes)

    def _made(self, prediction: Prediction | VolumeAnswer) -> Made:
        """Return the answer with what its forms are made from."""
        image = None if self.prepared is None else self.prepared.image
        predictor = replace(self.model.predictor, source_reader=self._read_sources)
        return made_from(prediction, predictor, self.model.manifest, self.asked, image)

    def _predicted(self, accept: str) -> Prediction | VolumeAnswer:
        predictor = replace(
            self.model.predictor,
            decoder=self._decode,
            volume_decoder=self._read_volume,
            runtime=self.runtime,
            together=self._batcher.best(self.model.predictor.runtime).images,
        )
        page = page_of(self.asked, self.model.manifest.input.page)
        with self.admission.timed("prepare", without=("decode", "queue", "predict")):
            whole = self._whole(predictor, page, accept)
        return self._image(predictor, page) if whole is None else whole

    def _whole(self, predictor: Predictor, page: int | None, accept: str) -> VolumeAnswer | None:
        """Answer with a volume if the request is one for it; slice by slice, so that single images are not starved."""
        one_slice = choose(accept, image_forms(predictor)) is None
        deadline = _Deadline(self._limits.volume_timeout_s, self.admission)
        self.runtime.bulk = True
        whole = predict_whole(predictor, self.asked, page, one_slice=one_slice, progress=deadline.check)
        self.runtime.bulk = False
        return whole

    def _image(self, predictor: Predictor, page: int | None) -> Prediction:
        asked = self.asked
        with self.runtime.expected():
            with self.admission.timed("prepare", without=("decode",)):
                self.prepared = predictor.prepare(
                    asked.image, metadata=asked.metadata, content_type=asked.content_type, page=page
                )
            with self.admission.timed("encode", without=("queue", "predict")):
                return predictor.answer([self.prepared])[0]

    def _decode(self, data: bytes, /, **options: Any) -> Image:  # noqa: ANN401 - those of a `Decoder`
        return self._held(partial(self.model.predictor.decoder, data, **options), lambda found: found.pixels.nbytes)

    def _read_volume(self, data: bytes, /, **options: Any) -> Volume | None:  # noqa: ANN401 - of a `VolumeDecoder`
        return self._held(
            partial(self.model.predictor.volume_decoder, data, **options),
            lambda found: 0 if found is None else found.voxels.nbytes,
        )

    def _read_sources(self, data: bytes, /, **options: Any) -> Sources | None:  # noqa: ANN401 - of a `SourceReader`
        return self._held(partial(self.model.predictor.source_reader, data, **options), lambda found: 0)

    def _held(self, decode: Callable[[], Found], size: Callable[[Found], int]) -> Found:
        """Decode once it is this request's turn, and hold what was decoded once there is room."""
        with self._room.decoding(self.admission):
            with self.admission.timed("decode"):
                found = decode()
            self._room.enter(size(found), more=self._held_bytes > 0)
            self._held_bytes += size(found)
            return found


class _Deadline:
    """Refuses a volume that takes too long, between two slices."""

    def __init__(self, limit_s: float, admission: Admission) -> None:
        self._limit_s, self._admission = limit_s, admission
        self._end = time.monotonic() + limit_s

    def check(self, done: int, slices: int) -> None:
        self._admission.check()
        if time.monotonic() > self._end:
            message = f"of {slices} slices {done} were predicted within {self._limit_s:g} s"
            hint = "Send fewer slices in one request, or single ones with page=, or use medloom predict."
            raise Problem(413, "too_slow", message, hint)


@contextmanager
def refusing(asked: ImageRequest) -> Iterator[None]:
    """Say as a `Problem` what keeps a request from being answered in the block."""
    try:
        yield
    except DecodeError as error:
        raise of_decode_error(error, asked.content_type) from error
    except InputError as error:
        raise of_input_error(error) from error
    except NotAcceptableError as error:
        raise Problem(406, "not_acceptable", str(error), accepted=error.forms) from error


def chosen_form(accept: str, forms: tuple[str, ...]) -> str:
    """Return which of the forms a client wants.

    Raises:
        Problem: 406 if it takes none of them.
    """
    try:
        return check_accept(accept, forms)
    except NotAcceptableError as error:
        raise Problem(406, "not_acceptable", str(error), close=True, accepted=error.forms) from error
