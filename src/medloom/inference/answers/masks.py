"""Masks: a class for each pixel, in the geometry of the image that came in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from medloom.errors import VerifyError
from medloom.imaging import Volume, decode, encode_png
from medloom.inference.answers.base import (
    DIGITS,
    JSON,
    NPY,
    PNG,
    PROBABILITIES,
    Difference,
    Kinded,
    Point,
    Prediction,
    Rating,
    check_keys,
    compare_probabilities,
    golden_file,
    is_share,
    npy_bytes,
    place_said,
    remarks,
)
from medloom.inference.answers.certainty import OF_MASKS, mask_certainty
from medloom.inference.answers.figures import (
    ClassFigures,
    MaskAnswer,
    class_probabilities,
    count_classes,
    figures,
    measure,
)
from medloom.inference.answers.mask_volume import VolumePrediction, voxel_ml
from medloom.inference.novelty import Novelty
from medloom.inference.pictures import run_lengths
from medloom.inference.postprocess import (
    CONNECTIVITY,
    Threshold,
    decided,
    erase_small,
    foreground_probability,
    to_mask,
)
from medloom.inference.prepared import Prepared
from medloom.inference.views import View
from medloom.targets import Target
from medloom.transforms.preprocess import Preprocess

__all__ = ["MaskAnswers", "MaskPoint", "MaskPrediction", "mask_png"]

Floats32 = NDArray[np.float32]
Mask = NDArray[np.uint8]

_SUM = "the sum of p[k] / thresholds[k - 1] over the foreground classes, in their order"
_LARGEST = "the largest of p[k] / thresholds[k - 1], the first of equals"

_MASK = "mask.png"
_MASK_TOLERANCE = 1e-3
"""Largest share of the mask's pixels that may differ: a probability may lie right on the threshold."""


@dataclass(frozen=True)
class MaskPoint(Kinded):
    """Where a pixel becomes foreground.

    Args:
        threshold: Foreground probability from which a pixel is foreground, 0..1; or one above 0 for each of several
            foreground classes, see ``medloom.inference.postprocess``.
        min_region_px: Smallest region that is kept, in pixels of the network's image; 0 or 1 keeps all.

    Raises:
        ValueError: If one of them is impossible.
    """

    threshold: Threshold = 0.5
    min_region_px: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.threshold, tuple):
            if len(self.threshold) < 2 or not all(0.0 < one <= 1.0 for one in self.threshold):
                raise ValueError(f"thresholds are {self.threshold}; there must be several, above 0 and at most 1")
        elif not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold is {self.threshold}; it must lie between 0 and 1")
        if self.min_region_px < 0:
            raise ValueError(f"min_region_px is {self.min_region_px}; it must not be negative")

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        if isinstance(self.threshold, tuple):
            return {"thresholds": list(self.threshold), "min_region_px": self.min_region_px}
        return {"threshold": self.threshold, "min_region_px": self.min_region_px}

    def of_class(self, index: int) -> float:
        """Return the threshold of a foreground class by its number; the background is 0."""
        return self.threshold[index - 1] if isinstance(self.threshold, tuple) else self.threshold


@dataclass(frozen=True, eq=False)
class MaskPrediction(MaskAnswer):
    """What the model says about each pixel of one image, in that image's own geometry.

    Args:
        target: What is predicted; its names are the classes, the background first.
        probabilities: ``(K, H, W)`` float32: the foreground's (K = 1), or one for each class, the background first;
            before small regions are erased.
        mask: ``(H, W)`` uint8 class index, 0 = background; ``value_mask`` has the values of the training masks.
        point: What turned probabilities into the mask.
        pixel_mm2: Area of a pixel, or None if the image does not say how large its pixels are.
        warnings: How the image is unlike those of the training, a sentence each.
        notes: What decoding did to the image that a careful reader should know, such as turn it.
        quality: How good the mask is to be expected; None where the model cannot say.
        novelty: How far the image is from those of the training; None where the model cannot say.
    """

    target: Target
    probabilities: Floats32
    mask: Mask
    point: MaskPoint
    pixel_mm2: float | None = None
    forms: ClassVar[tuple[str, ...]] = (JSON, PNG, NPY)
    unit: ClassVar[str] = "pixels"
    volume: ClassVar[bool] = False
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    quality: Rating | None = None
    novelty: Novelty | None = None

    def placed(self, novelty: Novelty) -> Self:
        """Return it with how far the image is from those of the training, and a warning if that is far."""
        return replace(self, novelty=novelty, warnings=(*self.warnings, *novelty.warnings))

    def rated(self, rating: Rating) -> Self:
        """Return it with how good it is to be expected."""
        return replace(self, quality=rating)

    @cached_property
    def by_class(self) -> dict[str, ClassFigures]:
        """Area and largest probability of each foreground class, by its name."""
        counts = count_classes(self.mask, self.target)
        return figures(self.target, counts, class_probabilities(self.probabilities), pixel_mm2=self.pixel_mm2)

    @property
    def written_mask(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The mask as it is written to a file: ``value_mask``.

        Where an older bundle does not say the values, masks of one class are 0 and 255, others hold the class index.
        """
        if not self.target.values and len(self.probabilities) == 1:
            return self.mask * np.uint8(255)
        return self.value_mask

    @cached_property
    def probability(self) -> float:
        """Largest foreground probability of any pixel, before small regions are erased."""
        return float(foreground_probability(self.probabilities).max())

    @cached_property
    def area_px(self) -> int:
        """Foreground pixels of the mask."""
        return int(np.count_nonzero(self.mask))

    @property
    def area_mm2(self) -> float | None:
        """Their area, or None if the image does not say how large its pixels are."""
        return measure(self.area_px, self.pixel_mm2)

    @property
    def has_foreground(self) -> bool:
        """Whether the mask holds any foreground."""
        return self.area_px > 0

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types, with the figures and a run-length mask of each foreground class."""
        height, width = self.mask.shape
        return {
            "height": height,
            "width": width,
            "foreground": self.has_foreground,
            "probability": round(self.probability, DIGITS),
            "area_px": self.area_px,
            "area_mm2": self.area_mm2,
            "pixel_mm2": measure(1, self.pixel_mm2),
            "masks": [self._class(name, found) for name, found in self.by_class.items()],
            "operating_point": self.point.plain(),
            "classes": list(self.target.names),
            **({} if self.quality is None else {"quality": self.quality.plain()}),
            **place_said(self.novelty),
            **remarks(self.notes, self.warnings),
        }

    def _class(self, name: str, found: ClassFigures) -> dict[str, Any]:
        counts = run_lengths(self.mask == found.index)
        rle = {"size": list(self.mask.shape), "counts": counts}
        return {"class": name, **found.plain(), "area_mm2": found.area_mm2, "rle": rle}

    def encode(self, form: str = JSON, **more: object) -> bytes:
        """Return JSON, the mask as PNG (see ``mask_png``), or the probabilities as NPY.

        Args:
            form: ``application/json``, ``image/png`` or ``application/x-npy``.
            more: Further keys of the JSON.

        Raises:
            ValueError: For another form.
        """
        if form == JSON:
            return json.dumps({**self.plain(), **more}, allow_nan=False).encode()
        if form == PNG:
            return mask_png(self)
        if form == NPY:
            return npy_bytes(self.probabilities)
        raise ValueError(f"a mask cannot be encoded as {form}; expected {JSON}, {PNG} or {NPY}")

    def golden(self) -> dict[str, bytes]:
        """Return the probabilities and the mask, by file name."""
        return {PROBABILITIES: npy_bytes(self.probabilities), _MASK: mask_png(self)}

    def difference(self, golden: Mapping[str, bytes], tolerance: float) -> Difference:
        """Compare it with what ``golden`` returned earlier; one pixel in a thousand of the mask may differ.

        Raises:
            VerifyError: If it differs more.
        """
        probability = compare_probabilities(self.probabilities, golden, tolerance)
        expected = decode(golden_file(golden, _MASK)).pixels[..., 0]
        found = decode(mask_png(self)).pixels[..., 0]
        if found.shape != expected.shape:
            raise VerifyError(f"the mask of the golden example has shape {found.shape}, expected {expected.shape}")
        differing = int(np.count_nonzero(found != expected))
        if differing > max(1.0, _MASK_TOLERANCE * found.size):
            raise VerifyError(f"the mask of the golden example differs in {differing} of {found.size} pixels")
        return Difference(probability, differing)


@dataclass(frozen=True)
class MaskAnswers:
    """How masks are made; the rule is in ``medloom.inference.postprocess``."""

    forms: tuple[str, ...] = MaskPrediction.forms
    volume_forms: tuple[str, ...] = VolumePrediction.forms
    golden: tuple[str, ...] = (PROBABILITIES, _MASK)
    expects: str = "dice"
    certain_by: tuple[str, ...] = OF_MASKS

    def certainty(self, answer: Floats32, point: Point) -> tuple[float, ...]:
        """Return how sure a mask is; see ``mask_certainty``.

        Args:
            answer: ``(K, h, w)`` float32 on the network's grid.
            point: The operating point.
        """
        chosen = MaskPoint.of(point)
        kept = erase_small(answer, chosen.threshold, chosen.min_region_px)
        return mask_certainty(answer, decided(kept, chosen.threshold)[0])

    def at_least(self, preprocess: Preprocess) -> tuple[int, int] | None:
        """Return None: the answer is as large as the image."""
        return None

    def shape(self, batch: tuple[int, ...], outputs: int) -> tuple[int, ...]:
        """Return ``(N, K, h, w)``."""
        return batch[0], outputs, *batch[2:]

    def default_point(self, target: Target) -> MaskPoint:
        """Return a threshold of 0.5 at which every region is kept."""
        return MaskPoint()

    def point_from_plain(self, plain: Mapping[str, Any], target: Target) -> MaskPoint:
        """Take back what ``MaskPoint.plain`` returned.

        Raises:
            ValueError: If it is no such value.
        """
        several = "thresholds" in plain
        check_keys(plain, "thresholds" if several else "threshold", "min_region_px")
        given, smallest = plain["thresholds" if several else "threshold"], plain["min_region_px"]
        if several and (not isinstance(given, (list, tuple)) or len(given) != len(target.foreground)):
            raise ValueError(f"thresholds are {given!r}; expected one for each of {len(target.foreground)} classes")
        if not all(map(is_share, given if several else [given])):
            raise ValueError(f"threshold is {given!r}; expected a number between 0 and 1")
        if not isinstance(smallest, int) or isinstance(smallest, bool):
            raise ValueError(f"min_region_px is {smallest!r}; expected a whole number")
        return MaskPoint(tuple(map(float, given)) if several else float(given), smallest)

    def steps(self, target: Target, point: Point) -> dict[str, Any]:
        """Return the rule in words and numbers; see ``medloom.inference.postprocess``."""
        several = isinstance(MaskPoint.of(point).threshold, tuple)
        return {
            "mean": "for each pixel over the views that show it",
            "foreground": _SUM if several else "p[0]" if target.outputs == 1 else "1 - p[0]",
            "decision": "foreground >= 1" if several else "foreground >= threshold",
            "class": _LARGEST if several else "the largest of p[1:], the first of equals",
            "region_connectivity": CONNECTIVITY,
            "erased": "regions of fewer pixels than min_region_px, before restoring",
            "erased_probabilities": [0.0] if target.outputs == 1 else [1.0, *[0.0] * len(target.foreground)],
            "restored": "probabilities",
            "digits": DIGITS,
        }

    def mean(self, seen: Iterable[tuple[View, Floats32]]) -> Floats32:
        """Return the mean for each pixel over the views that show it."""
        total: Floats32 | np.float32 = np.float32(0.0)
        times: Floats32 | np.float32 = np.float32(0.0)
        for view, answer in seen:
            back, shown = view.undo(answer)
            total, times = total + back, times + shown
        return np.asarray(total / times, np.float32)

    def finish(
        self, answer: Floats32, prepared: Prepared, *, target: Target, point: Point, preprocess: Preprocess
    ) -> MaskPrediction:
        """Erase small regions, bring the probabilities back to the image's geometry and apply the threshold.

        Args:
            answer: ``(K, h, w)`` float32 on the network's grid.
            prepared: The image it belongs to.
            target: Whose names are the classes.
            point: The operating point.
            preprocess: Brings maps back to the geometry of the image.
        """
        chosen = MaskPoint.of(point)
        erased = erase_small(answer, chosen.threshold, chosen.min_region_px)
        restored = prepared.restored(answer, preprocess)
        kept = restored if erased is answer else prepared.restored(erased, preprocess)
        spacing = prepared.spacing_mm
        return MaskPrediction(
            target=target,
            probabilities=restored,
            mask=to_mask(kept, chosen.threshold),
            point=chosen,
            pixel_mm2=None if spacing is None else spacing[0] * spacing[1],
            warnings=prepared.warnings,
            notes=prepared.image.notes,
        )

    def gather(
        self, volume: Volume, slices: Iterable[Prediction], *, axis: int, target: Target, point: Point
    ) -> VolumePrediction:
        """Return the mask of the volume; only the answer to one slice at a time is wider than it."""
        ratings, novelties = list[Rating | None](), list[Novelty]()
        mask = np.empty(volume.voxels.shape, np.uint8)
        cut = np.moveaxis(mask, axis, 0)
        largest, probabilities = 0.0, np.zeros(len(target.foreground))
        warnings: Counter[str] = Counter()
        for number, prediction in enumerate(map(MaskPrediction.of, slices)):
            cut[number] = prediction.mask
            largest = max(largest, prediction.probability)
            warnings.update(prediction.warnings)
            ratings.append(prediction.quality)
            novelties += [] if prediction.novelty is None else [prediction.novelty]
            probabilities = np.maximum(probabilities, class_probabilities(prediction.probabilities))
        return VolumePrediction(
            target=target,
            mask=mask,
            point=MaskPoint.of(point),
            affine=volume.affine,
            slice_px=np.array([count_classes(plane, target) for plane in mask]),
            probability=largest,
            probabilities=probabilities,
            voxel_ml=voxel_ml(volume),
            warnings=tuple(f"{text}, in {count} of {len(mask)} slices" for text, count in warnings.items()),
            notes=volume.notes,
            ratings=tuple(one for one in ratings if one is not None),
            novelties=tuple(novelties),
        )


def mask_png(prediction: MaskPrediction) -> bytes:
    """Encode the mask as PNG in the image's size; its values are those of ``written_mask``."""
    return encode_png(prediction.written_mask, areas=True)
