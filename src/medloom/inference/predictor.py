"""The only way from an image to a prediction, in three named steps: prepare, run, finish.

Validation, the test report, the command line and the server all call this object, so the figures that
are reported are the figures that are served.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medloom.inference.base import Input, PredictorBase, Prepared, finite
from medloom.inference.postprocess import OperatingPoint, erase_small, lesion_probability, to_mask

__all__ = ["Prediction", "Predictor"]

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about one image, in that image's own geometry.

    Args:
        probabilities: ``(K, H, W)`` float32: the lesion's (K = 1), or one for each class, the background first.
        mask: ``(H, W)`` uint8 class index, 0 = background.
        probability: Largest lesion probability of any pixel, before small regions are erased.
        area_px: Foreground pixels of the mask.
        area_mm2: Their area, or None if the image does not say how large its pixels are.
        operating_point: What turned probabilities into the mask.
    """

    probabilities: Floats
    mask: Mask
    probability: float
    area_px: int
    area_mm2: float | None
    operating_point: OperatingPoint

    @property
    def has_lesion(self) -> bool:
        """Whether the mask holds any foreground."""
        return self.area_px > 0


@dataclass(frozen=True)
class Predictor(PredictorBase):
    """A runtime with everything around it: raw image in, prediction in the image's own geometry out.

    Args:
        runtime: What runs the network.
        preprocess: The deterministic steps before and after it.
        classes: Names of the classes, the background first.
        channels: Names of the channels that an image must have, in order.
        operating_point: Threshold and smallest lesion.
        flips: Average over the image and its mirror image; doubles the time.
        budget: Limits for the bytes of one image.
        decoder: What decodes bytes.

    Example:
        >>> predictor = medloom.load("model.tar.gz")  # doctest: +SKIP
        >>> predictor.predict(Path("slice.tif").read_bytes()).area_px  # doctest: +SKIP
        812
    """

    operating_point: OperatingPoint
    flips: bool = False

    def predict(self, image: Input, *, content_type: str | None = None, page: int | None = None) -> Prediction:
        """Predict one image.

        Args:
            image: Bytes of a TIFF, PNG, JPEG or NPY, a decoded image, or pixels ``(H, W, C)`` or ``(H, W)``.
            content_type: What the bytes are said to be; checked against what they are.
            page: Page of a TIFF that has several.

        Returns:
            The prediction in the geometry of ``image``.

        Raises:
            DecodeError: If the bytes are not an acceptable image.
            InputError: If the image is sound but not what this model takes.
        """
        prepared = self.prepare(image, content_type=content_type, page=page)
        return self.finish(self.run(prepared.network_input[None])[0], prepared)

    def predict_batch(self, images: Sequence[Input]) -> list[Prediction]:
        """Predict several images, which may differ in size, in one call of the network.

        Raises:
            DecodeError: If the bytes of one are not an acceptable image.
            InputError: If one is sound but not what this model takes.
        """
        if not images:
            return []
        prepared = [self.prepare(image) for image in images]
        probabilities = self.run(np.stack([one.network_input for one in prepared]))
        return [self.finish(one, source) for one, source in zip(probabilities, prepared, strict=True)]

    def run(self, batch_nchw: Floats) -> Floats:
        """Run the network, and the mirror image if ``flips``.

        Args:
            batch_nchw: ``(N, C, h, w)`` float32, normalised.

        Returns:
            ``(N, K, h, w)`` float32 probabilities on the network's grid.

        Raises:
            MedloomError: If a probability is not finite.
        """
        probabilities = self.runtime.run(batch_nchw)
        if self.flips:
            mirrored = self.runtime.run(batch_nchw[..., ::-1])[..., ::-1]
            probabilities = (probabilities + mirrored) / np.float32(2.0)
        return finite(probabilities)

    def finish(self, probabilities_khw: Floats, prepared: Prepared) -> Prediction:
        """Bring the network's answer back to the image's geometry; see ``medloom.inference.postprocess``.

        Args:
            probabilities_khw: ``(K, h, w)`` float32 on the network's grid.
            prepared: The image it belongs to.
        """
        height, width = prepared.pixels.shape[:2]
        point = self.operating_point
        erased = erase_small(probabilities_khw, point)
        restored = self.preprocess.restore(probabilities_khw, height, width)
        kept = restored if erased is probabilities_khw else self.preprocess.restore(erased, height, width)
        mask = to_mask(kept, point.threshold)
        area_px = int(np.count_nonzero(mask))
        return Prediction(
            probabilities=restored,
            mask=mask,
            probability=float(lesion_probability(restored).max()),
            area_px=area_px,
            area_mm2=_area_mm2(area_px, prepared.spacing_mm),
            operating_point=point,
        )

    def at(self, operating_point: OperatingPoint) -> Predictor:
        """Return the same predictor at another operating point."""
        return replace(self, operating_point=operating_point)


def _area_mm2(area_px: int, spacing_mm: tuple[float, float] | None) -> float | None:
    """None also for a spacing so large that it says nothing; JSON has no number for the area."""
    area = math.inf if spacing_mm is None else area_px * spacing_mm[0] * spacing_mm[1]
    return area if math.isfinite(area) else None
