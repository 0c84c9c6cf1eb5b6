"""How images look, in a few numbers: those of the training, so that one of another kind is noticed.

A brain slice for a model of the chest, a photograph for radiographs, 8 bits where training had 12, a CT in raw values
where it had Hounsfield units: the network answers all of them. The description is of the images as decoded, before
colours, sizes and values are brought to what the network takes. It holds means and a covariance, no image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEATURES", "FEATURE_NAMES", "FEWEST_IMAGES", "Appearance", "describe_image", "ellipsoid", "mahalanobis"]

Floats64 = NDArray[np.float64]

FEWEST_IMAGES = 30
"""From fewer images, or fewer than five patients, nothing is learned about how images look."""

_FEWEST_PATIENTS = 5
_LOOK = 27
FEATURES = _LOOK + 3
"""Numbers of a description: 27 of the look and three of the values: how dark the darkest parts are, and the scale."""

FEATURE_NAMES = {
    2: "colourfulness (logarithm)",
    3: "grey level that 10 % are below",
    4: "grey level that 25 % are below",
    5: "median grey level",
    6: "grey level that 75 % are below",
    7: "grey level that 90 % are below",
    24: "width by height (logarithm)",
    25: "texture (logarithm)",
    26: "share of background",
}
"""The numbers of a description that say something by themselves, by their place; grey levels are between the 1st and
the 99th percentile of the image."""

_SIDE, _ENOUGH = 128, 512
_COARSE, _BLOCKS = 32, 4
_ENDS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_FOLDS = 5
_SHRINKAGE, _RIDGE = 0.1, 0.05
_USUAL, _FACTOR = 0.95, 1.6
"""An image is foreign whose distance is more than this factor beyond what this share of held-out patients' images
keep; on the three public sets that it was chosen on at most 1 % of the images of held-out patients were."""

_HELD_OUT = 0.98
_MARGINS = (0.7, 0.7, 0.25)
"""Least margins of the three numbers of the values: a factor of two, and a quarter of the largest value."""

_DIGITS = 9


def describe_image(pixels: NDArray[Any]) -> Floats64:
    """Describe an image as decoded.

    Args:
        pixels: ``(H, W, C)``, any dtype, all finite.

    Returns:
        ``(30,)``: colour (3), quantiles of grey between its 1st and 99th percentile (5), means of a 4x4 grid (16),
        shape, texture, share of background; signed logarithm of the lower percentile, logarithm of the larger size of
        the two, and as a share of it how far the lower one is below zero.
    """
    small = _reduced(pixels)
    grey = reduce(np.add, small) / len(small)
    ordered = np.sort(grey, axis=None)  # vectorised, which finding seven places one after the other is not
    low, *inner, high = np.quantile(ordered, _ENDS, overwrite_input=True)
    span = max(float(high - low), 1e-12)
    level = np.clip((grey - low) / span, 0.0, 1.0)
    coarse = _pooled(level, _COARSE)
    texture = sum(float(np.abs(np.diff(coarse, axis=axis)).mean()) for axis in (0, 1) if coarse.shape[axis] > 1)
    height, width = pixels.shape[:2]
    return np.concatenate(
        [
            _colour(small, span),
            (np.array(inner) - low) / span,
            _pooled(level, _BLOCKS).ravel(),
            [np.log(width / height), np.log(texture + 1e-3), float((level <= 0.02).mean())],
            _values(float(low), float(high)),
        ]
    )


@dataclass(frozen=True, eq=False)
class Appearance:
    """How the training images look.

    Args:
        images: How many were described.
        centre: ``(27,)`` mean of their look.
        precision: ``(27, 27)`` inverse of its covariance.
        limit: Distance (Mahalanobis) from which an image looks foreign.
        values: Between what the three numbers of their values lie, ``(low, high)`` each.
    """

    images: int
    centre: Floats64
    precision: Floats64
    limit: float
    values: tuple[tuple[float, float], ...]

    @classmethod
    def fit(cls, described: Floats64, patients: NDArray[Any], held_out: Floats64 | None = None) -> Self | None:
        """Learn how images look; None from too few of them.

        Args:
            described: ``(N, 29)``, from ``describe_image``, of training images.
            patients: ``(N,)`` whose they are: the limit is that of patients who were left out.
            held_out: ``(M, 29)`` of validation images, of which at most one in 50 is to look foreign.
        """
        names, index = np.unique(patients, return_inverse=True)
        if len(described) < FEWEST_IMAGES or len(names) < _FEWEST_PATIENTS:
            return None
        look = described[:, :_LOOK]
        folds = np.random.default_rng(0).permutation(len(names))[index] % _FOLDS
        apart = [mahalanobis(look[folds == one], *ellipsoid(look[folds != one])) for one in range(_FOLDS)]
        limit = _FACTOR * float(np.quantile(np.concatenate(apart), _USUAL))
        centre, precision = ellipsoid(look)
        if held_out is not None and len(held_out) >= FEWEST_IMAGES:
            limit = max(limit, float(np.quantile(mahalanobis(held_out[:, :_LOOK], centre, precision), _HELD_OUT)))
        return cls(len(described), centre, precision, limit, tuple(map(_widened, described[:, _LOOK:].T, _MARGINS)))

    def distance(self, described: Floats64) -> float:
        """Return how far an image is from how those of the training look, in shares of the limit."""
        return float(mahalanobis(described[None, :_LOOK], self.centre, self.precision)[0]) / self.limit

    def spread(self) -> Floats64:
        """Return the standard deviation of each number of the look of the training images, ``(27,)``."""
        return np.asarray(np.sqrt(np.diag(np.linalg.inv(self.precision))))

    def is_unlike(self, described: Floats64) -> bool:
        """Whether there is something to warn of; ``described`` as from ``describe_image``."""
        return bool(self.said(described))

    def warnings(self, pixels: NDArray[Any]) -> tuple[str, ...]:
        """Return in a sentence each how an image is unlike those of the training; no value is repeated."""
        return self.said(describe_image(pixels))

    def said(self, described: Floats64) -> tuple[str, ...]:
        """Return the same of an image that is described already."""
        found = []
        pairs = zip(described[_LOOK:], self.values, strict=True)
        usual, *scale = (low <= value <= high for value, (low, high) in pairs)
        if self.distance(described) > 1.0 or not usual:
            found.append("the image looks unlike those of the training")
        if not all(scale):
            found.append("the pixel values are on another scale than those of the training images")
        return tuple(found)

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types, for the bundle."""
        upper = self.precision[np.triu_indices(_LOOK)]
        return {
            "images": self.images,
            "centre": [_short(value) for value in self.centre],
            "precision": [_short(value) for value in upper],
            "limit": _short(self.limit),
            "values": [[_short(low), _short(high)] for low, high in self.values],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Take back what ``plain`` returned.

        Raises:
            ValueError: If it is no such value.
        """
        try:
            images, limit = int(plain["images"]), float(plain["limit"])
            centre, upper = np.array(plain["centre"], float), np.array(plain["precision"], float)
            values = [(float(low), float(high)) for low, high in plain["values"]]
        except (KeyError, TypeError) as error:
            raise ValueError("expected how the training images look") from error
        numbers = np.concatenate([centre.ravel(), upper.ravel(), [limit], np.ravel(values)])
        if centre.shape != (_LOOK,) or upper.shape != (_LOOK * (_LOOK + 1) // 2,) or not np.isfinite(numbers).all():
            raise ValueError(f"expected {_LOOK} numbers of how the training images look, and their precision")
        if limit <= 0 or len(values) != len(_MARGINS):
            raise ValueError(f"expected a limit above 0 and {len(_MARGINS)} ranges of values")
        precision = np.zeros((_LOOK, _LOOK))
        precision[np.triu_indices(_LOOK)] = upper
        precision = precision + np.triu(precision, 1).T
        return cls(images, centre, precision, limit, tuple(values))


def _reduced(pixels: NDArray[Any]) -> Floats64:
    """Means of square blocks, ``(C, h, w)``, so that the shorter side has 128 to 255; a smaller image as it is."""
    pixels = pixels[:: max(min(pixels.shape[:2]) // _ENOUGH, 1), :: max(min(pixels.shape[:2]) // _ENOUGH, 1)]
    height, width = pixels.shape[:2]
    side = max(min(height, width) // _SIDE, 1)
    rows, columns = height // side, width // side
    blocks = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, -1)
    wide = np.uint32 if pixels.dtype in (np.uint8, np.uint16) else np.float64  # whole numbers add up in half the time
    total = np.zeros((rows, columns, blocks.shape[-1]), wide)
    for row, column in product(range(side), repeat=2):  # NumPy takes ten times as long to sum along such short axes
        total += blocks[:, row, :, column]
    return np.ascontiguousarray(np.moveaxis(total, 2, 0)) / float(side**2)


def _pooled(level: Floats64, side: int) -> Floats64:
    """Means of a grid of ``side`` by ``side`` parts, or fewer of a smaller image."""
    for axis in (0, 1):
        count = min(side, level.shape[axis]) if side != _BLOCKS else side
        edges = np.linspace(0, level.shape[axis], count + 1).astype(int)
        sizes = np.maximum(np.diff(edges), 1)  # a part without a row of its own is the row that it begins at
        level = np.add.reduceat(level, edges[:-1], axis) / np.expand_dims(sizes, 1 - axis)
    return level


def _colour(small: Floats64, span: float) -> list[float]:
    """How much the second and third channel differ from the first, and how colourful the image is; grey is none."""
    means = small.mean(axis=(1, 2))
    first, middle, last = (means[0], means[1], means[2]) if len(means) == 3 else (0.0, 0.0, 0.0)
    colour = float((reduce(np.maximum, small) - reduce(np.minimum, small)).mean()) / span
    return [float(first - middle) / span, float(last - middle) / span, float(np.log(colour + 0.02))]


def ellipsoid(look: Floats64) -> tuple[Floats64, Floats64]:
    """Return the centre of rows ``(N, F)`` and their inverse covariance, that shrunk towards its diagonal."""
    low, high = np.quantile(look, [0.1, 0.9], axis=0)
    scale = np.maximum((high - low) / 2.56, 0.02)
    covariance = np.cov((look / scale).T)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.diag(np.diag(covariance)) + _RIDGE * np.eye(len(scale))
    return look.mean(axis=0), np.linalg.inv(covariance) / np.outer(scale, scale)


def mahalanobis(look: Floats64, centre: Floats64, precision: Floats64) -> Floats64:
    """Return how far rows ``(N, F)`` are from the centre of others, in their standard deviations, ``(N,)``."""
    apart = look - centre
    squares = np.einsum("ij,jk,ik->i", apart, precision, apart)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def _values(low: float, high: float) -> list[float]:
    """How dark the darkest parts are, how large values are and how far they go below zero.

    The latter tell 8 bits from 12, and Hounsfield units from raw values.
    """
    largest = max(abs(low), abs(high))
    darkest = float(np.copysign(np.log1p(abs(low)), low))
    return [darkest, float(np.log1p(largest)), min(low, 0.0) / largest if largest else 0.0]


def _widened(column: Floats64, least: float) -> tuple[float, float]:
    """The range of values with a margin of a quarter of it, or the least one."""
    low, high = float(column.min()), float(column.max())
    margin = max(least, (high - low) / 4)
    return low - margin, high + margin


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
