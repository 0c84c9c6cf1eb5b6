"""Samples of a run sent to a deployed model, and what it answers beside what the bundle says here."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.client import Client
from medloom.client.answers import Received
from medloom.client.payload import Options
from medloom.client.stored import StoredAnswers
from medloom.data import Source, image_files, meta_of
from medloom.errors import DecodeError, MedloomError, ServerError, UserError
from medloom.evaluation import KINDS
from medloom.files import write_bytes
from medloom.imaging import FILE_BUDGET, inspect
from medloom.inference import Prediction, Predictor
from medloom.inference.answers.base import DIGITS
from medloom.inference.writers.base import code_of
from medloom.serving.answers import joined
from medloom.targets import Target

__all__ = ["Asked", "ask_samples"]

_NPY = "npy"
_MISSED = 8
"""After so many requests in a row without an answer nobody is asked any more."""


@dataclass(frozen=True)
class Asked:
    """What came of one sample.

    Args:
        sample_id: Its pseudonym.
        code: Why it is set aside, in one word; empty if both answered.
        side: Who refused it: ``there``, ``here``, or ``both`` for the same reason.
        ms: How long the answer took, with all tries; None if there is none.
        probability: Largest difference of a probability from that of the bundle here.
        differing: Pixels of the mask that differ, or whether the decision does (0 or 1).
        same_point: Whether both decide at the same operating point.
        digest: Which bundle the answer says that it is of; empty if it does not say.
        name: What the model there is called.
        error: What was raised, where there is no answer.
    """

    sample_id: str
    code: str = ""
    side: str = ""
    ms: float | None = None
    probability: float = 0.0
    differing: int = 0
    same_point: bool = True
    digest: str = ""
    name: str = ""
    error: MedloomError | None = None

    @property
    def exact(self) -> bool:
        """Whether both answered the same to the last bit that an answer has."""
        return not self.code and self.same_point and not self.probability and not self.differing

    def agrees(self, tolerance: float) -> bool:
        """Whether probabilities differ by no more than that; then a mask may differ where they lie at the threshold."""
        return not self.code and self.same_point and self.probability <= tolerance

    def plain(self) -> dict[str, Any]:
        """Return how far both are apart, as plain JSON types."""
        apart = {"probability": self.probability, "differing": self.differing, "same_point": self.same_point}
        return {"sample_id": self.sample_id, **apart}


@dataclass(frozen=True)
class Kept:
    """Answers in files, so that memory does not grow with the images.

    Args:
        folder: Where.
    """

    folder: Path

    def put(self, sample: str, got: Received) -> None:
        """Keep an answer in all its parts."""
        write_bytes(self._path(sample), joined(dict(got.parts))[0])

    def __call__(self, sample: str) -> Prediction:
        """Return what was answered to a sample."""
        found = StoredAnswers().received(self._path(sample).read_bytes()).prediction
        if found.volume:
            raise ValueError("a volume was kept")
        return found  # type: ignore[return-value]  # what is no volume is an image

    def _path(self, sample: str) -> Path:
        return self.folder / f"{sample}.answer"


@dataclass
class _Asking:
    """Asks about one sample after the other, from several threads."""

    client: Client
    predictor: Predictor
    source: Source
    kept: Kept
    missed: int = 0

    def __post_init__(self) -> None:
        self._reading, self._counting = threading.Lock(), threading.Lock()
        self._last: ServerError | None = None

    def done(self, row: dict[str, Any], metadata: dict[str, str]) -> Asked:
        sample = str(row["sample_id"])
        try:
            content, options = self._sent(row, metadata)
        except (UserError, OSError) as error:
            return Asked(sample, code_of(error), "here")
        there, ms = self._there(content, options)
        here = self._here(content, options)
        if isinstance(there, MedloomError) or isinstance(here, MedloomError):
            return _set_aside(sample, there, here)
        found = _apart(sample, there, here, ms, self.predictor.target)
        if not found.code:
            self.kept.put(sample, there)
        return found

    def _sent(self, row: dict[str, Any], metadata: dict[str, str]) -> tuple[bytes, Options]:
        files = [name for name in image_files(row["image"]) if name]
        if len(files) != 1:
            raise UserError("an image whose channels are in several files is no file that could be sent")
        with self._reading:
            content = self.source.read(files[0])
        return content, Options(metadata=metadata or None, page=_page(content, row["frame"]))

    def _there(self, content: bytes, options: Options) -> tuple[Received | MedloomError, float]:
        begun = time.monotonic()
        if self.missed >= _MISSED and self._last is not None:
            return self._last, 0.0
        try:
            got: Received | MedloomError = self.client.received(content, **options)
        except MedloomError as error:
            got = error
        with self._counting:
            self.missed = self.missed + 1 if isinstance(got, ServerError) else 0
            self._last = got if isinstance(got, ServerError) else None
        return got, 1000.0 * (time.monotonic() - begun)

    def _here(self, content: bytes, options: Options) -> Prediction | MedloomError:
        try:
            return self.predictor.predict(content, metadata=options.get("metadata"), page=options.get("page"))
        except MedloomError as error:
            return error


def ask_samples(
    client: Client,
    predictor: Predictor,
    source: Source,
    rows: pd.DataFrame,
    kept: Kept,
    *,
    at_once: int,
    progress: Callable[[int, int], object],
) -> list[Asked]:
    """Send the files of samples as they are, a request each, and compare the answers with those of the bundle here.

    Args:
        client: Of the deployed model.
        predictor: That of the bundle here.
        source: Where the files are.
        rows: Rows of the catalogue.
        kept: Where answers are kept.
        at_once: Most requests at a time.
        progress: Called with samples done and samples in all.

    Raises:
        MedloomError: If nothing at all was answered: the first reason.
    """
    asking = _Asking(client, predictor, source, kept)
    columns, known = predictor.metadata_columns, meta_of(rows)
    told = [{name: one.get(name, "") for name in columns} for one in known]
    plain = [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
    found: list[Asked] = []
    with ThreadPoolExecutor(at_once, "ask") as crew:
        for one in crew.map(asking.done, plain, told):
            found.append(one)
            progress(len(found), len(plain))
    if all(one.code for one in found):
        raise next((one.error for one in found if one.error), UserError("no image of the run could be sent"))
    return found


def _page(content: bytes, frame: Any) -> int | None:  # noqa: ANN401 - a cell of the catalogue
    """The page of a file that has several; of one alone nothing has to be said, and an endpoint cannot be told."""
    if frame is None or pd.isna(frame):
        return None
    try:
        return int(frame) if inspect(content, budget=FILE_BUDGET).pages > 1 else None
    except DecodeError:  # both sides say so
        return None


def _set_aside(sample: str, there: Received | MedloomError, here: Prediction | MedloomError) -> Asked:
    """What there is no answer to, there or here."""
    codes = [code_of(one) if isinstance(one, MedloomError) else "" for one in (there, here)]
    side = "here" if not codes[0] else "both" if codes[0] == codes[1] else "there"
    error = there if isinstance(there, MedloomError) else here if isinstance(here, MedloomError) else None
    return Asked(sample, codes[0] or codes[1], side, error=error)


def _apart(sample: str, there: Received, here: Prediction, ms: float, target: Target) -> Asked:
    """How far an answer is from that of the bundle here, which is rounded as answers are."""
    if there.target.plain() != target.plain():
        raise UserError(
            f"the model there predicts {', '.join(there.target.names)} ({there.target.kind}), that of the run "
            f"{', '.join(target.names)} ({target.kind}); name the endpoint of this run"
        )
    model = _said(there)
    found = there.prediction
    if found.volume:
        return Asked(sample, "volume", "there")
    said: Prediction = found  # type: ignore[assignment]  # what is no volume is an image
    if said.probabilities.shape != here.probabilities.shape:
        return Asked(sample, "other_size", "there")
    digest, name = str(model.get("digest", "")), str(model.get("name", ""))
    # what comes as JSON alone is rounded, so it is compared with what is rounded in the same way
    own = here.probabilities if _NPY in there.parts else _rounded(here.probabilities)
    return Asked(
        sample,
        ms=ms,
        probability=float(np.abs(said.probabilities - own).max()),
        differing=KINDS[target.kind](target).differing(here, said),
        same_point=said.point.plain() == here.point.plain(),
        digest=digest,
        name=name,
    )


def _rounded(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.round(probabilities.astype(np.float64), DIGITS).astype(np.float32)


def _said(there: Received) -> dict[str, Any]:
    """What an answer says of the model that gave it."""
    model: dict[str, Any] = json.loads(there.parts["json"])["model"]
    return model
