"""How uncertain a mask is, pixel by pixel: how far views of the image and members of an ensemble disagree.

Every view of the image (itself, its mirror image, and both moved) and every network of an ensemble gives an answer.
With ``p`` their mean, ``H`` the entropy over the classes by that of equally likely ones:

- ``entropy``: ``H(p)``, all that is uncertain, be it because the image does not show it or because the answers differ;
- ``mutual-information``: ``H(p)`` minus the mean of their own entropies, what is uncertain because they differ;
- ``variance``: four times the variance of their foreground probability, 1 where half are sure of it and half are not.

Source: Smith and Gal, Understanding Measures of Uncertainty for Adversarial Example Detection, UAI 2018 (section 3.2);
Wang et al., Aleatoric uncertainty estimation with test-time augmentation, Neurocomputing 338 (2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medloom.errors import BundleError
from medloom.imaging import Volume
from medloom.imaging.canonical import along
from medloom.inference.postprocess import foreground_probability
from medloom.inference.prepared import Prepared
from medloom.inference.runtimes import members_of
from medloom.inference.views import view
from medloom.registry import UNCERTAINTIES, check_name

if TYPE_CHECKING:
    from medloom.inference.predictor import Predictor

__all__ = ["uncertain_slices", "uncertainty_map"]

Floats32 = NDArray[np.float32]
Floats64 = NDArray[np.float64]

_FEWEST_VIEWS = 2
"""The image and its mirror image, also of a model that looks once: one answer cannot disagree with itself."""


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the answers that show a pixel.

    Args:
        answers: How many there are, ``(h, w)``.
        probabilities: Of each class, ``(C, h, w)``.
        squares: Of the foreground probability, ``(h, w)``.
        entropies: Of the answers' own entropies, ``(h, w)``.
    """

    answers: Floats64
    probabilities: Floats64
    squares: Floats64
    entropies: Floats64


def uncertainty_map(predictor: Predictor, prepared: Prepared, measure: str = "entropy") -> Floats32:
    """Return how uncertain each pixel of a mask is, in the geometry of the image that came in.

    The network looks at the model's own views, at least at the image and its mirror image. The calibration corrects
    each answer by itself; the mask is that of the model's own views, as always.

    Args:
        predictor: A model for masks.
        prepared: The image, from ``Predictor.prepare``.
        measure: ``entropy``, ``mutual-information`` or ``variance``; see this module.

    Returns:
        ``(H, W)`` float32, 0 (certain) to 1.

    Raises:
        UserError: If there is no such measure.

    Example:
        >>> uncertainty_map(predictor, predictor.prepare("slice.png"), "variance").shape  # doctest: +SKIP
        (256, 256)
    """
    check_name("uncertainty", measure, UNCERTAINTIES)
    found = _MEASURES[measure](_sums(predictor, prepared))
    restored = prepared.restored(np.asarray(np.clip(found, 0.0, 1.0), np.float32)[None], predictor.preprocess)
    return np.asarray(restored[0])


def uncertain_slices(
    predictor: Predictor, volume: Volume, seen: Callable[[int], Prepared], measure: str = "entropy"
) -> Floats32:
    """Return how uncertain each voxel of the mask of a volume is, in that volume's own geometry.

    Args:
        predictor: A model for masks.
        volume: The volume.
        seen: What prepares each slice along the plane that the model takes, by its number.
        measure: As for ``uncertainty_map``.

    Returns:
        ``(D, H, W)`` float32, 0 to 1.
    """
    _, axis = along(volume, predictor.orientation)
    maps = np.empty(volume.voxels.shape, np.float32)
    cut = np.moveaxis(maps, axis, 0)
    for number in range(len(cut)):
        cut[number] = uncertainty_map(predictor, seen(number), measure)
    return maps


def _sums(predictor: Predictor, prepared: Prepared) -> _Sums:
    height, width = prepared.network_input.shape[1:]
    found = _Sums(*(np.zeros(shape) for shape in ((height, width), (max(2, predictor.target.outputs), height, width))),
                  *(np.zeros((height, width)) for _ in range(2)))  # fmt: skip
    for probabilities, shown in _answers(predictor, prepared):
        classes = _classes(probabilities)
        found.answers[...] += shown
        found.probabilities[...] += classes * shown
        found.squares[...] += foreground_probability(probabilities).astype(np.float64) ** 2 * shown
        found.entropies[...] += _entropy(classes) * shown
    return found


def _answers(predictor: Predictor, prepared: Prepared) -> Iterator[tuple[Floats32, Floats32 | np.float32]]:
    """The probabilities ``(K, h, w)`` of every member for every view, and which pixels the view shows."""
    batch = prepared.network_input[None]
    for number in range(max(_FEWEST_VIEWS, predictor.views)):
        one = view(number, *batch.shape[2:])
        members = members_of(predictor.runtime, one.apply(batch), prepared.table_nf)
        expected = (1, predictor.target.outputs, *batch.shape[2:])
        if members.shape[1:] != expected:
            raise BundleError(f"a member of the model answers with the shape {members.shape[1:]}; expected {expected}")
        for member in members:
            back, shown = one.undo(predictor.calibrated(member)[0])
            yield back, shown


def _classes(probabilities_khw: Floats32) -> Floats64:
    """The probability of each class, the background first."""
    wide = probabilities_khw.astype(np.float64)
    return np.concatenate([1.0 - wide, wide]) if len(wide) == 1 else wide


def _entropy(classes: Floats64) -> Floats64:
    """Entropy over the classes, as a share of that of equally likely ones."""
    logarithms = np.log(np.where(classes > 0.0, classes, 1.0))
    return np.asarray(-(classes * logarithms).sum(axis=0) / np.log(len(classes)))


def _total(sums: _Sums) -> Floats64:
    return _entropy(sums.probabilities / sums.answers)


def _mutual_information(sums: _Sums) -> Floats64:
    return np.asarray(_total(sums) - sums.entropies / sums.answers)


def _variance(sums: _Sums) -> Floats64:
    mean = sums.probabilities[1:].sum(axis=0) / sums.answers
    return np.asarray(4.0 * (sums.squares / sums.answers - mean**2))


_MEASURES: dict[str, Callable[[_Sums], Floats64]] = {
    "entropy": _total,
    "mutual-information": _mutual_information,
    "variance": _variance,
}
