"""What every kind of answer offers, so that nobody has to ask which kind it is."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from medloom.errors import BundleError, DecodeError, VerifyError
from medloom.imaging import Volume
from medloom.imaging.npy import read_array
from medloom.inference.novelty import Novelty
from medloom.inference.prepared import Prepared
from medloom.inference.views import View
from medloom.targets import Target
from medloom.transforms.preprocess import Preprocess

__all__ = [
    "DIGITS",
    "GZIP",
    "JSON",
    "NIFTI",
    "NPY",
    "PNG",
    "PROBABILITIES",
    "Answers",
    "Difference",
    "Encodable",
    "Kinded",
    "Point",
    "Prediction",
    "Rating",
    "VolumeAnswer",
    "check_keys",
    "compare_probabilities",
    "golden_file",
    "is_share",
    "npy_bytes",
    "place_said",
    "places_said",
    "remarks",
]

Floats32 = NDArray[np.float32]

JSON = "application/json"
PNG = "image/png"
NPY = "application/x-npy"
NIFTI = "application/x-nifti"
GZIP = "application/gzip"
"""A NIfTI file compressed with gzip."""

DIGITS = 6
"""Digits behind the point of probabilities and numbers in JSON."""

PROBABILITIES = "probabilities.npy"
"""The file of a golden example that every kind of answer has."""


class Point(Protocol):
    """An operating point: where probabilities become a decision."""

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        ...


@dataclass(frozen=True)
class Difference:
    """How far a prediction is from the one in a golden example.

    Args:
        probability: Largest difference of a probability, or of a number.
        mask_px: Pixels of the mask that differ; 0 for answers without one.
    """

    probability: float
    mask_px: int = 0


@dataclass(frozen=True)
class Rating:
    """How good an answer is to be expected; see ``medloom.inference.quality``.

    Args:
        measure: What is expected: ``dice`` or ``correct``.
        expected: How much of it, 0 to 1.
        review: Whether a person is to look at the answer.
    """

    measure: str
    expected: float
    review: bool

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {self.measure: self.expected, "review": self.review}


def remarks(notes: Sequence[str], warnings: Sequence[str]) -> dict[str, list[str]]:
    """Return what an answer says beside its figures, as JSON; a kind of which there is nothing to say has no key.

    Args:
        notes: What decoding did to the image.
        warnings: How it is unlike those of the training.
    """
    said = {"notes": list(notes), "warnings": list(warnings)}
    return {name: texts for name, texts in said.items() if texts}


def place_said(novelty: Novelty | None) -> dict[str, Any]:
    """Return as JSON how far an image is from those of the training; nothing where the model cannot say."""
    return {} if novelty is None else {"out_of_distribution": novelty.plain()}


def places_said(novelties: Sequence[Novelty]) -> dict[str, Any]:
    """Return the same of the slices of a volume: the largest score, that of each slice, and which are set apart."""
    if not novelties:
        return {}
    strangest = max(novelties, key=lambda one: one.score)
    slices = [number for number, one in enumerate(novelties) if one.flagged]
    scores = [one.plain()["score"] for one in novelties]
    return {"out_of_distribution": {**strangest.plain(), "slices": slices, "scores": scores}}


class Encodable(Protocol):
    """An answer that a server hands on."""

    @property
    def volume(self) -> bool:
        """Whether it is that to a volume."""
        ...

    @property
    def forms(self) -> tuple[str, ...]:
        """Media types that it can be encoded as, JSON first."""
        ...

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        ...

    def encode(self, form: str = JSON, **more: object) -> bytes:
        """Return it as bytes.

        Args:
            form: A media type, one of ``forms``.
            more: Further keys of the JSON; they have no place in other forms.

        Raises:
            ValueError: If it has no such form.
        """
        ...


class Prediction(Encodable, Protocol):
    """What the model says about one image."""

    @property
    def probabilities(self) -> Floats32:
        """Probabilities, or numbers, as float32."""
        ...

    @property
    def point(self) -> Point:
        """What turned probabilities into a decision."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """How the image or its metadata are unlike those of the training, a sentence each."""
        ...

    def rated(self, rating: Rating) -> Self:
        """Return it with how good it is to be expected."""
        ...

    @property
    def novelty(self) -> Novelty | None:
        """How far the image is from those of the training; None where the model cannot say."""
        ...

    def placed(self, novelty: Novelty) -> Self:
        """Return it with how far the image is from those of the training, and a warning if that is far."""
        ...

    def golden(self) -> dict[str, bytes]:
        """Return the files, by name, that a later prediction can be compared with."""
        ...

    def difference(self, golden: Mapping[str, bytes], tolerance: float) -> Difference:
        """Compare it with what ``golden`` returned earlier.

        Args:
            golden: The files by name.
            tolerance: Largest difference in probability that is let through.

        Raises:
            VerifyError: If it differs more, or files are missing.
        """
        ...


class VolumeAnswer(Encodable, Protocol):
    """What the model says about one volume, slice by slice."""


class Answers(Protocol):
    """How one kind of answer is made out of what the network gives."""

    @property
    def forms(self) -> tuple[str, ...]:
        """Media types that a prediction can be encoded as, the default first."""
        ...

    @property
    def volume_forms(self) -> tuple[str, ...]:
        """The same for a volume."""
        ...

    @property
    def golden(self) -> tuple[str, ...]:
        """Names of the files that ``Prediction.golden`` gives."""
        ...

    @property
    def expects(self) -> str:
        """What a ``Quality`` expects of an answer: ``dice`` or ``correct``; empty where nothing says how sure it is."""
        ...

    @property
    def certain_by(self) -> tuple[str, ...]:
        """What the numbers of ``certainty`` are called."""
        ...

    def certainty(self, answer: Floats32, point: Point) -> tuple[float, ...]:
        """Return how sure an answer is, in a few numbers; see ``medloom.inference.answers.certainty``.

        Args:
            answer: What the network gave for one image, calibrated: ``(K, h, w)`` or ``(K,)`` float32.
            point: The operating point.
        """
        ...

    def at_least(self, preprocess: Preprocess) -> tuple[int, int] | None:
        """Return the size that `medloom.imaging.decode` may reduce an image to; None for its own."""
        ...

    def shape(self, batch: tuple[int, ...], outputs: int) -> tuple[int, ...]:
        """Return the shape of what the network answers to a batch ``(N, C, h, w)`` with K outputs."""
        ...

    def default_point(self, target: Target) -> Point:
        """Return the operating point where none was chosen."""
        ...

    def point_from_plain(self, plain: Mapping[str, Any], target: Target) -> Point:
        """Take back what ``Point.plain`` returned.

        Raises:
            ValueError: If it is no operating point of this target.
        """
        ...

    def steps(self, target: Target, point: Point) -> dict[str, Any]:
        """Return how the network's answer becomes that of the model, as plain JSON types: see ``docs/bundle.md``."""
        ...

    def mean(self, seen: Iterable[tuple[View, Floats32]]) -> Floats32:
        """Return the mean of what the network answered to several views of a batch."""
        ...

    def finish(
        self, answer: Floats32, prepared: Prepared, *, target: Target, point: Point, preprocess: Preprocess
    ) -> Prediction:
        """Make the prediction.

        Args:
            answer: What the network gave for one image: ``(K, h, w)`` or ``(K,)`` float32.
            prepared: The image it belongs to.
            target: What is predicted.
            point: The operating point.
            preprocess: Brings maps back to the geometry of the image.
        """
        ...

    def gather(
        self, volume: Volume, slices: Iterable[Prediction], *, axis: int, target: Target, point: Point
    ) -> VolumeAnswer:
        """Put the predictions of the slices of a volume together.

        Args:
            volume: The volume.
            slices: What ``finish`` made of each slice, in order; one is asked for when the one before is done with.
            axis: Axis of ``volume.voxels`` along which they were cut; 0 for the slices as they are stored.
            target: What is predicted.
            point: The operating point.
        """
        ...


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Encode an array as NPY."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def golden_file(golden: Mapping[str, bytes], name: str) -> bytes:
    """Return a file of a golden example.

    Raises:
        VerifyError: If it is not there.
    """
    if name not in golden:
        raise VerifyError(f"the golden example has no {name}; package the model again")
    return golden[name]


def compare_probabilities(found: Floats32, golden: Mapping[str, bytes], tolerance: float) -> float:
    """Return the largest difference from the probabilities of a golden example.

    Raises:
        BundleError: If the file is no array of plain numbers.
        VerifyError: If the shapes differ, or the difference is larger than ``tolerance``.
    """
    try:
        expected = read_array(golden_file(golden, PROBABILITIES))
    except DecodeError as error:
        raise BundleError(f"{PROBABILITIES} of the golden example is damaged ({error})") from error
    if found.shape != expected.shape:
        raise VerifyError(f"the golden answer has shape {found.shape}, expected {expected.shape}")
    difference = float(np.abs(found - expected).max())
    if not difference <= tolerance:
        raise VerifyError(
            f"the model's answer to the golden example is off by {difference:.2g} in probability; "
            f"at most {tolerance:g} is let through. The runtime computes differently here, or the weights are wrong."
        )
    return difference


def check_keys(plain: Mapping[str, Any], *expected: str) -> None:
    """Raise a ``ValueError`` if an operating point has other keys than these."""
    if set(plain) != set(expected):
        raise ValueError(f"an operating point with {', '.join(map(str, plain))}; expected {', '.join(expected)}")


def is_share(value: object) -> bool:
    """Whether a value is a number in 0..1."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 <= value <= 1.0


class Kinded:
    """What exists for one kind of answer alone."""

    @classmethod
    def of(cls, value: object) -> Self:
        """Take a value for one of this class, in a file that only such values reach.

        Raises:
            TypeError: If it is of another one, which is an error of the program.
        """
        if not isinstance(value, cls):
            raise TypeError(f"a {type(value).__name__} where a {cls.__name__} is needed")
        return value
