"""The golden example: a made-up image with the answer the model gave when it was packaged."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import VerifyError
from medloom.imaging import decode
from medloom.inference import LabelPredictor, Prediction, Predictor
from medloom.inference.encoding import mask_png, probabilities_npy
from medloom.packaging.bundle import read_bundle
from medloom.packaging.manifest import Golden

__all__ = ["GOLDEN", "VerifyReport", "make_golden", "verify"]

GOLDEN_MASK = "golden/mask.png"
GOLDEN = Golden(input="golden/input.npy", probabilities="golden/probabilities.npy", mask=GOLDEN_MASK, tolerance=1e-3)
"""Where the example lies, and the largest difference in probability that ``verify`` lets through."""

MASK_TOLERANCE = 1e-3
"""Largest share of the mask's pixels that may differ: a probability may lie right on the threshold."""

_SEED = 2026


@dataclass(frozen=True)
class VerifyReport:
    """What ``verify`` found.

    Args:
        name: Name of the recipe.
        phantom: Whether the model learned from phantoms.
        runtime: What ran the network.
        files: Number of files whose checksum is right.
        max_difference: Largest difference in probability from the packaged answer.
        tolerance: Largest difference that is let through.
        differing_px: Pixels of the mask that differ.
        seconds: Time it took.
    """

    name: str
    phantom: bool
    runtime: str
    files: int
    max_difference: float
    tolerance: float
    differing_px: int
    seconds: float


def make_golden(predictor: Predictor | LabelPredictor) -> dict[str, bytes]:
    """Make the golden files of a model: a seeded image that shows nobody, and the model's answer.

    Args:
        predictor: The model at its operating point.

    Returns:
        Name in the bundle to content.
    """
    pixels = _synthetic_image(predictor.preprocess.config.size, len(predictor.channels))
    image = _npy(pixels)
    if isinstance(predictor, LabelPredictor):
        return {GOLDEN.input: image, GOLDEN.probabilities: _npy(_scores(predictor, image))}
    prediction = predictor.predict(image)
    return {
        GOLDEN.input: image,
        GOLDEN.probabilities: probabilities_npy(prediction),
        GOLDEN_MASK: mask_png(prediction),
    }


def verify(path: str | Path, *, runtime: str | None = None) -> VerifyReport:
    """Check every file of a bundle and replay its golden example.

    Args:
        path: A ``model.tar.gz``, or the folder that it was extracted to.
        runtime: ``onnx``, ``openvino`` or ``torch``; the bundle's own choice by default.

    Returns:
        What was found, if all is well.

    Raises:
        BundleError: If the bundle is damaged, tampered with or of another format.
        VerifyError: If the model gives another answer than when it was packaged.
    """
    start = time.perf_counter()
    with read_bundle(path) as bundle:
        manifest, folder = bundle.manifest, bundle.folder
        predictor = bundle.predictor(runtime=runtime)
        image = (folder / manifest.golden.input).read_bytes()
        expected = _read_npy(folder / manifest.golden.probabilities)
        if isinstance(predictor, LabelPredictor):
            difference, differing = _close(_scores(predictor, image), expected, manifest.golden.tolerance), 0
        else:
            expected_mask = decode((folder / (manifest.golden.mask or "")).read_bytes()).pixels[..., 0]
            difference, differing = _compare(
                predictor.predict(image), expected, expected_mask, manifest.golden.tolerance
            )
    return VerifyReport(
        name=manifest.name,
        phantom=manifest.phantom,
        runtime=predictor.runtime.name,
        files=len(manifest.files),
        max_difference=difference,
        tolerance=manifest.golden.tolerance,
        differing_px=differing,
        seconds=time.perf_counter() - start,
    )


def _compare(
    found: Prediction, expected: NDArray[Any], expected_mask: NDArray[Any], tolerance: float
) -> tuple[float, int]:
    difference = _close(found.probabilities, expected, tolerance)
    mask = decode(mask_png(found)).pixels[..., 0]
    differing = int(np.count_nonzero(mask != expected_mask))
    if differing > max(1.0, MASK_TOLERANCE * mask.size):
        raise VerifyError(f"the mask of the golden example differs in {differing} of {mask.size} pixels")
    return difference, differing


def _close(found: NDArray[Any], expected: NDArray[Any], tolerance: float) -> float:
    if found.shape != expected.shape:
        raise VerifyError(f"the golden answer has shape {found.shape}, expected {expected.shape}")
    difference = float(np.abs(found - expected).max())
    if not difference <= tolerance:
        raise VerifyError(
            f"the model's answer to the golden example is off by {difference:.2g} in probability; "
            f"at most {tolerance:g} is let through. The runtime computes differently here, or the weights are wrong."
        )
    return difference


def _scores(predictor: LabelPredictor, image: bytes) -> NDArray[np.float32]:
    """The network's answer, with blank metadata where it takes some."""
    return predictor.run(predictor.prepare(image).network_input[None], predictor.encode([{}]))


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _read_npy(path: Path) -> NDArray[Any]:
    """Read our own probabilities; the file's checksum was compared before."""
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _synthetic_image(size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """A bright ellipse with a brighter spot and noise, a little larger than the network's image."""
    height, width = size[0] + size[0] // 8, size[1]
    rng = np.random.default_rng(_SEED)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    head = (y / 0.85) ** 2 + (x / 0.7) ** 2 < 1
    spot = np.exp(-((y + 0.2) ** 2 + (x - 0.3) ** 2) / 0.02)
    planes = [head * (70.0 + 25.0 * channel % 60 + 90.0 * spot) for channel in range(channels)]
    noisy = np.stack(planes, axis=-1) + head[..., None] * rng.normal(0.0, 6.0, (height, width, channels))
    image: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return image
