"""The golden example: a made-up image with the answer the model gave when it was packaged."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from medloom.errors import BundleError, DecodeError, InputError
from medloom.imaging import DEFAULT_BUDGET, Budget, Image, decode
from medloom.inference import Difference, Prediction, Predictor
from medloom.inference.answers.base import npy_bytes
from medloom.inference.stacks import joined
from medloom.packaging.bundle import Bundle, build_predictor, read_bundle
from medloom.packaging.fingerprint import check_novelty, novelty_bytes
from medloom.packaging.manifest import GOLDEN_FOLDER, Golden, Manifest, golden_files
from medloom.packaging.replay import FencedRuntime
from medloom.targets import Target
from medloom.transforms.preprocess import Preprocess
from medloom.wording import one_line

__all__ = ["VerifyReport", "golden_entry", "make_golden", "replay", "verify"]

_INPUT = GOLDEN_FOLDER + "input.npy"
_NOVELTY = GOLDEN_FOLDER + "novelty.json"
_TOLERANCES = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2, "int8": 1e-1}
"""Largest difference in probability that ``verify`` lets through, by what the network is computed in. In few bits a sum
that is rounded the other way on another processor moves an activation by a whole step."""

_SEED = 2026
_LIMIT_S, _LIMIT_OF_VIEW_S = 40.0, 10.0


@dataclass(frozen=True)
class VerifyReport:
    """What ``verify`` found.

    Args:
        name: Name of the recipe.
        phantom: Whether the model learned from phantoms.
        runtime: What ran the network.
        precision: In what it was computed.
        files: Number of files whose checksum is right.
        max_difference: Largest difference in probability from the packaged answer.
        tolerance: Largest difference that is let through.
        differing_px: Pixels of the mask that differ; 0 where the answer has none.
        seconds: Time it took.
        validations: On which other sources than its own the model was measured.
    """

    name: str
    phantom: bool
    runtime: str
    files: int
    max_difference: float
    tolerance: float
    differing_px: int
    seconds: float
    validations: tuple[str, ...] = ()
    precision: str = "fp32"


def golden_entry(target: Target, precision: str = "fp32") -> Golden:
    """Return what the manifest says about the golden example of such a model, computed in such a precision."""
    return Golden(input=_INPUT, answer=golden_files(target), tolerance=_TOLERANCES[precision])


def make_golden(predictor: Predictor) -> dict[str, bytes]:
    """Make the golden files of a model: a seeded image that shows nobody, and the model's answer.

    Args:
        predictor: The model at its operating point.

    Returns:
        Name in the bundle to content.
    """
    channels = len(predictor.channels) * (2 * predictor.context + 1)
    image = npy_bytes(_synthetic_image(_size(predictor.preprocess), channels))
    answer = _answer(predictor, image)
    files = {_INPUT: image, **{GOLDEN_FOLDER + name: content for name, content in answer.golden().items()}}
    return files if answer.novelty is None else {**files, _NOVELTY: novelty_bytes(answer.novelty)}


def verify(path: str | Path, *, runtime: str | None = None) -> VerifyReport:
    """Check every file of a bundle and replay its golden example, in a process with limits of time and memory.

    Args:
        path: A ``model.tar.gz``, or the folder that it was extracted to.
        runtime: ``onnx``, ``openvino`` or ``torch``; the bundle's own choice by default.

    Returns:
        What was found, if all is well.

    Raises:
        BundleError: If the bundle is damaged, tampered with or of another format, or its model
            cannot be run within the limits.
        VerifyError: If the model gives another answer than when it was packaged.
    """
    start = time.perf_counter()
    with read_bundle(path) as bundle:
        manifest, found = bundle.manifest, _replay(bundle, runtime or bundle.manifest.runtime)
    return VerifyReport(
        name=manifest.name,
        phantom=manifest.phantom,
        runtime=runtime or manifest.runtime,
        files=len(manifest.files),
        max_difference=found.probability,
        tolerance=manifest.golden.tolerance,
        differing_px=found.mask_px,
        seconds=time.perf_counter() - start,
        validations=tuple(one.name for one in manifest.validations),
        precision=manifest.precision_with(runtime or manifest.runtime),
    )


def _replay(bundle: Bundle, runtime: str) -> Difference:
    """Ask the model about the golden example, in a process of its own."""
    folder, manifest = bundle.folder, bundle.manifest
    limit_s, precision = _LIMIT_S + _LIMIT_OF_VIEW_S * manifest.views, manifest.precision_with(runtime)
    with FencedRuntime(folder, runtime, limit_s, precision) as fenced:
        return replay(bundle, build_predictor(manifest, fenced, bundle.fingerprint))


def replay(bundle: Bundle, predictor: Predictor) -> Difference:
    """Ask a bundle's predictor about the golden example, in this process.

    Raises:
        BundleError: If the example is damaged.
        VerifyError: If the model gives another answer than when it was packaged.
    """
    folder, manifest = bundle.folder, bundle.manifest
    measured = replace(predictor, budget=_budget(manifest))
    try:
        image = (folder / manifest.golden.input).read_bytes()
        golden = {PurePosixPath(name).name: (folder / name).read_bytes() for name in manifest.golden.answer}
        found = _answer(measured, image)
        if found.novelty is not None:
            check_novelty(found.novelty, bundle.listed(_NOVELTY))
        return found.difference(golden, manifest.golden.tolerance)
    except (DecodeError, InputError) as error:
        raise BundleError(f"the golden example is damaged ({one_line(str(error))})") from error


def _answer(predictor: Predictor, image: bytes) -> Prediction:
    """Ask about the golden image; of a model with context its channels are those of the slices, one after the other."""
    shown = _measured(image, predictor.preprocess, predictor.budget)
    if not predictor.context:
        return predictor.predict(shown)
    whole = decode(shown, budget=predictor.budget) if isinstance(shown, bytes) else shown
    if whole.pixels.shape[2] % (2 * predictor.context + 1):
        raise InputError(f"it has {whole.pixels.shape[2]} channels, which are not those of the slices that are seen")
    planes = np.split(whole.pixels, 2 * predictor.context + 1, axis=2)
    slices = [predictor.prepare_slice(replace(whole, pixels=np.ascontiguousarray(plane))) for plane in planes]
    return predictor.answer([joined(slices)])[0]


def _size(preprocess: Preprocess) -> tuple[int, int]:
    """A little larger than the network's image; smaller where an image must fit into it, for it is not shrunk."""
    height, width = preprocess.size
    return (height + height // 8, width) if preprocess.spacing is None else (height * 3 // 4, width * 3 // 4)


def _measured(image: bytes, preprocess: Preprocess, budget: Budget = DEFAULT_BUDGET) -> Image | bytes:
    """Say of the golden image, which cannot say it itself, that its pixels have the size that they are to have."""
    if preprocess.spacing is None:
        return image
    return replace(decode(image, budget=budget), spacing_mm=preprocess.spacing)


def _budget(manifest: Manifest) -> Budget:
    """What the golden image may cost: no more than the one that Medloom makes, with room to spare."""
    height, width = manifest.preprocess.size
    return Budget(max_pixels=2 * height * width)


def _synthetic_image(size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """A bright ellipse with a brighter spot and noise."""
    height, width = size
    rng = np.random.default_rng(_SEED)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    head = (y / 0.85) ** 2 + (x / 0.7) ** 2 < 1
    spot = np.exp(-((y + 0.2) ** 2 + (x - 0.3) ** 2) / 0.02)
    planes = [head * (70.0 + 25.0 * channel % 60 + 90.0 * spot) for channel in range(channels)]
    noisy = np.stack(planes, axis=-1) + head[..., None] * rng.normal(0.0, 6.0, (height, width, channels))
    image: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return image
