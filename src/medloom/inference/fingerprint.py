"""The fingerprint of the images that a model learned from, against which new images are tested.

It holds the distribution of what is measured of an image (``medloom.inference.measures``) and of what the network makes
of it (its deepest layer, in the ``D`` directions in which images differ most). Three distances of an image are looked
at: of the measures, of the embedding, and of what of the embedding lies in no direction of the training. The largest
one, divided by a threshold, is its score. The threshold comes from validation images, which nothing was fitted to: of
images like these at most the stated share lies above it.

It holds no image: counts, means, directions, and the embeddings of one validation image each of some patients, rounded.

Shapes: N training images, M validation images, E features of the network, G groups of them, D directions, F measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from medloom.inference.appearance import mahalanobis
from medloom.inference.measures import MEASURE_NAMES, MEASURES
from medloom.inference.novelty import Novelty
from medloom.inference.runtimes import run_with_features, tells_features
from medloom.metrics import bin_shares

if TYPE_CHECKING:
    from medloom.inference.predictor import Predictor

__all__ = [
    "FALSE_ALARMS",
    "MOST_DIRECTIONS",
    "Embedding",
    "Fingerprint",
    "Measured",
    "Reference",
    "grouped",
    "probe_features",
]

Floats64 = NDArray[np.float64]

FALSE_ALARMS = 0.01
"""Share of images like those of the training that is set apart, where there are enough validation images to say so."""

MOST_DIRECTIONS = 16
"""D at most."""

_FORMAT = 1
_VERSIONS = tuple((count, tuple(name for at, name in MEASURE_NAMES.items() if at < count)) for count in (41, MEASURES))
"""How many measures a fingerprint may be of, and which of them have a name: an earlier one tests by what it knows."""

_MOST_GROUPS = 512
_RANGE = (0.05, 0.5, 0.95)
_DIGITS = 5
_OF_MEASURES = "the image is unlike those of the training in what is measured of it (size, grey levels, sharpness)"
_OF_EMBEDDING = "the image is unlike those of the training in what the network makes of it"


@dataclass(frozen=True)
class Reference:
    """How one measure is distributed over the images of the training.

    Args:
        name: What it is.
        edges: ``(B - 1,)`` between its bins.
        shares: ``(B,)`` of the images in each.
        range: What 5 %, 50 % and 95 % of the images are below.
    """

    name: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    range: tuple[float, float, float]

    @classmethod
    def of(cls, name: str, values: Floats64, bins: int) -> Self:
        """Take the distribution of values in bins that hold as many each; a value that many have gets its own."""
        inner = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
        edges: list[float] = []
        for edge in np.unique(inner):
            near = 1e-6 * max(1.0, abs(edge))
            many = (np.abs(values - edge) <= near).mean() > 1 / (2 * bins)
            edges += [edge - 2 * near, edge + 2 * near] if many else [edge]
        kept = np.unique([float(f"{edge:.9g}") for edge in edges])
        low, middle, high = _rounded(np.quantile(values, _RANGE))
        return cls(name, tuple(kept.tolist()), tuple(_rounded(bin_shares(values, kept))), (low, middle, high))


@dataclass(frozen=True, eq=False)
class Measured:
    """How all measures of an image are distributed together.

    Args:
        centre: ``(F,)``.
        precision: ``(F, F)`` inverse covariance.
        usual: Distance (Mahalanobis) of half of the images of patients who were left out.
    """

    centre: Floats64
    precision: Floats64
    usual: float

    def distance(self, measured: Floats64) -> Floats64:
        """Return how far rows ``(N, F)`` are from the centre, ``(N,)``, in shares of what is usual.

        Measures that were added since the fingerprint was made are left out.
        """
        return mahalanobis(measured[:, : len(self.centre)], self.centre, self.precision) / self.usual


@dataclass(frozen=True, eq=False)
class Embedding:
    """The directions in which what the network makes of images differs.

    Args:
        width: E.
        centre: ``(G,)`` mean of the features, brought to G groups.
        scale: ``(G,)`` their standard deviation.
        axes: ``(D, G)`` the directions, of length 1.
        spread: ``(D,)`` standard deviation along each.
        usual: Distance along the directions, and away from all of them, of half of the images of patients who were left
            out.
        sample: ``(S, D)`` embeddings of validation images, one of a patient.
        probe: ``(D,)`` embedding of a made-up image, by which a network is known again.
    """

    width: int
    centre: Floats64
    scale: Floats64
    axes: Floats64
    spread: Floats64
    usual: tuple[float, float]
    sample: Floats64
    probe: Floats64

    def embed(self, features: Floats64) -> tuple[Floats64, Floats64]:
        """Return the embeddings ``(N, D)`` of features ``(N, E)``, and how far each is from all directions, ``(N,)``.

        Raises:
            ValueError: If they are of another network.
        """
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ValueError(f"features of shape {features.shape}; expected {self.width} of an image")
        standard = (grouped(features) - self.centre) / self.scale
        along = standard @ self.axes.T
        return along / self.spread, np.linalg.norm(standard - along @ self.axes, axis=1)

    def distances(self, features: Floats64) -> tuple[Floats64, Floats64, Floats64]:
        """Return the embeddings, and both distances in shares of what is usual."""
        embedded, away = self.embed(features)
        return embedded, np.linalg.norm(embedded, axis=1) / self.usual[0], away / self.usual[1]


def grouped(features: Floats64) -> Floats64:
    """Bring features ``(N, E)`` to at most 512: means of neighbouring ones where there are more."""
    width = features.shape[1]
    if width <= _MOST_GROUPS:
        return np.asarray(features, np.float64)
    begins = np.linspace(0, width, _MOST_GROUPS, endpoint=False).astype(int)
    sizes = np.diff([*begins, width])
    return np.add.reduceat(np.asarray(features, np.float64), begins, axis=1) / sizes


def probe_features(predictor: Predictor) -> Floats64 | None:
    """Return what a predictor's network makes of a made-up image, ``(1, E)``; None where it cannot say."""
    if not tells_features(predictor.runtime):
        return None
    height, width = predictor.preprocess.input_size
    channels = len(predictor.channels) * (2 * predictor.context + 1)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(7 * (number + 1) * x + 3 * number) * np.cos(5 * (number + 1) * y) for number in range(channels)]
    columns = sum(len(table.names) for table in predictor.tables)
    table = np.zeros((1, columns), np.float32) if columns else None
    features = run_with_features(predictor.runtime, np.array(waves, np.float32)[None], table)[1]
    return None if features is None else features.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What new images are tested against.

    Args:
        images: How many training images it is of.
        held_out: How many validation images the threshold is of.
        patients: Of how many patients all of these are.
        references: The distribution of each measure that has a name.
        measured: How all measures are distributed.
        embedding: What the network makes of images; None where it has no such layer, or another network was packaged.
        threshold: Above which largest distance an image is set apart.
        false_alarms: Which share of images like those of the training is set apart.
    """

    images: int
    held_out: int
    patients: int
    references: tuple[Reference, ...]
    measured: Measured
    embedding: Embedding | None
    threshold: float
    false_alarms: float

    def novelties(self, measured: Floats64, features: Floats64 | None) -> list[Novelty]:
        """Return how far images are from those of the training.

        Args:
            measured: ``(N, F)`` from ``medloom.inference.measures``.
            features: ``(N, E)`` of the network; None where there are none.
        """
        by_measures = self.measured.distance(measured) / self.threshold
        embedded, by_network = np.empty((len(measured), 0)), np.zeros(len(measured))
        if self.embedding is not None and features is not None:
            embedded, along, away = self.embedding.distances(features)
            by_network = np.maximum(along, away) / self.threshold
        return [
            Novelty(float(max(one, other)), _said(one, other), row, place)
            for one, other, row, place in zip(by_measures, by_network, measured, embedded, strict=True)
        ]

    def without_embedding(self) -> Self:
        """Return what is true of the images whatever network is asked; the threshold stays, a little too high."""
        return replace(self, embedding=None)

    def is_of(self, probe: Floats64 | None) -> bool:
        """Whether the embedding is of the network that makes these features ``(1, E)`` of the made-up image."""
        if self.embedding is None or probe is None or probe.shape[-1] != self.embedding.width:
            return False
        return bool(np.allclose(self.embedding.embed(probe)[0][0], self.embedding.probe, rtol=0.02, atol=0.02))

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "format": _FORMAT,
            "images": self.images,
            "held_out": self.held_out,
            "patients": self.patients,
            "threshold": float(f"{self.threshold:.9g}"),
            "false_alarms": float(f"{self.false_alarms:.{_DIGITS}g}"),
            "references": [
                {
                    "name": one.name,
                    "edges": list(one.edges),
                    "shares": list(one.shares),
                    "range": list(one.range),
                }
                for one in self.references
            ],
            "measured": {
                "centre": [float(f"{value:.9g}") for value in self.measured.centre],
                "precision": [float(f"{value:.9g}") for value in _upper(self.measured.precision)],
                "usual": float(f"{self.measured.usual:.9g}"),
            },
            "embedding": None if self.embedding is None else _plain_embedding(self.embedding),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Take back what ``plain`` returned.

        Raises:
            ValueError: If it is no such value.
        """
        try:
            if plain["format"] != _FORMAT:
                raise ValueError(f"a fingerprint of format {plain['format']!r}; expected {_FORMAT}")
            found = cls(
                images=int(plain["images"]),
                held_out=int(plain["held_out"]),
                patients=int(plain["patients"]),
                references=tuple(_reference(one) for one in plain["references"]),
                measured=_measured(plain["measured"]),
                embedding=None if plain["embedding"] is None else _embedding(plain["embedding"]),
                threshold=_positive(plain["threshold"]),
                false_alarms=_positive(plain["false_alarms"]),
            )
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError("expected the fingerprint of the training images") from error
        names = tuple(one.name for one in found.references)
        if (len(found.measured.centre), names) not in _VERSIONS:
            raise ValueError("the fingerprint measures other things than this version of Medloom does")
        return found


def _said(by_measures: float, by_network: float) -> tuple[str, ...]:
    found = ((by_measures, _OF_MEASURES), (by_network, _OF_EMBEDDING))
    return tuple(text for value, text in found if value > 1.0)


def _plain_embedding(embedding: Embedding) -> dict[str, Any]:
    return {
        "width": embedding.width,
        "usual": [float(f"{value:.9g}") for value in embedding.usual],
        **{
            name: _rounded(getattr(embedding, name))
            for name in ("centre", "scale", "axes", "spread", "sample", "probe")
        },
    }


def _reference(plain: Mapping[str, Any]) -> Reference:
    edges, shares = _numbers(plain["edges"], 1), _numbers(plain["shares"], 1)
    low, middle, high = _numbers(plain["range"], 1).tolist()
    if len(shares) != len(edges) + 1 or (np.diff(edges) <= 0).any() or (shares < 0).any():
        raise ValueError("a measure of the fingerprint has no sound bins")
    return Reference(str(plain["name"]), tuple(edges.tolist()), tuple(shares.tolist()), (low, middle, high))


def _measured(plain: Mapping[str, Any]) -> Measured:
    centre, upper = _numbers(plain["centre"], 1), _numbers(plain["precision"], 1)
    count = len(centre)
    if upper.shape != (count * (count + 1) // 2,):
        raise ValueError("expected measures of the training images, and their precision")
    precision = np.zeros((count, count))
    precision[np.triu_indices(count)] = upper
    return Measured(centre, precision + np.triu(precision, 1).T, _positive(plain["usual"]))


def _embedding(plain: Mapping[str, Any]) -> Embedding:
    centre, scale, spread, probe = (_numbers(plain[name], 1) for name in ("centre", "scale", "spread", "probe"))
    axes, sample, width = _numbers(plain["axes"], 2), _numbers(plain["sample"], 2), int(plain["width"])
    along, away = (_positive(value) for value in plain["usual"])
    groups, directions = min(width, _MOST_GROUPS), len(spread)
    shapes = (centre.shape, scale.shape, axes.shape, sample.shape[1:], probe.shape)
    fits = shapes == ((groups,), (groups,), (directions, groups), (directions,), (directions,))
    if not fits or directions > MOST_DIRECTIONS or (scale <= 0).any() or (spread <= 0).any():
        raise ValueError("the embedding of the fingerprint has no sound shape")
    return Embedding(width, centre, scale, axes, spread, (along, away), sample, probe)


def _upper(precision: Floats64) -> Floats64:
    return np.asarray(precision[np.triu_indices(len(precision))])


def _numbers(plain: Sequence[Any], dimensions: int) -> Floats64:
    found = np.array(plain, np.float64)
    if found.ndim != dimensions or not np.isfinite(found).all():
        raise ValueError("the fingerprint holds something that is no finite number, or rows of several lengths")
    return found


def _positive(value: Any) -> float:  # noqa: ANN401 - whatever the JSON holds
    found = float(value)
    if not 0 < found < float("inf"):
        raise ValueError("the fingerprint holds a number that is not above 0")
    return found


def _rounded(values: NDArray[Any]) -> list[Any]:
    """Numbers as short as they may be without making a difference."""
    return [_rounded(one) if one.ndim else float(f"{one:.{_DIGITS}g}") for one in np.asarray(values, float)]
