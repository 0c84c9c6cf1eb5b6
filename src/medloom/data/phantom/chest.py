"""Phantom chest radiographs in the folders of *Chest X-Ray Images (Pneumonia)*.

Exposure, contrast, body width, breast shadows, lines and markers differ between images and say nothing about the class;
what does is a cloudy patch inside a lung, with its own texture and a soft border.

Source of the layout: Kermany et al. 2018, doi:10.1016/j.cell.2018.02.010.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medloom.data.phantom.plan import PhantomPlan
from medloom.data.phantom.texture import encode_jpeg, grid, smooth_field, soft

__all__ = ["chest_image", "write_chest"]

PREVALENCE = 0.73
"""Share of pneumonia in the published set."""

FloatArray = npt.NDArray[np.floating]
_VIRUS = 0.35


@dataclass(frozen=True)
class _Patient:
    """Which class and part a patient belongs to, and the name of the files."""

    index: int
    ill: bool
    part: str


def write_chest(plan: PhantomPlan, destination: Path) -> Iterator[dict[str, str | int]]:
    """Write patient after patient: ``chest_xray/train/PNEUMONIA/person3_bacteria_301.jpeg`` and the like.

    As published, ``val`` is tiny: one patient in sixty of each class. A fifth is ``test``.

    Args:
        plan: Number of patients, images a patient, size, share of pneumonia, and the seed.
        destination: The folder to fill.

    Yields:
        Facts of the patient that was written.
    """
    share = PREVALENCE if plan.prevalence is None else plan.prevalence
    for patient in _patients(plan.patients, share):
        rng = np.random.default_rng([plan.seed, 2, patient.index])
        folder = destination / "chest_xray" / patient.part / ("PNEUMONIA" if patient.ill else "NORMAL")
        folder.mkdir(parents=True, exist_ok=True)
        count = int(rng.integers(plan.slices[0], plan.slices[1] + 1))
        cause = "virus" if rng.random() < _VIRUS else "bacteria"
        for number in range(1, count + 1):
            name = f"IM-{patient.index:04d}-{number:04d}.jpeg"
            if patient.ill:
                name = f"person{patient.index}_{cause}_{100 * patient.index + number}.jpeg"
            (folder / name).write_bytes(encode_jpeg(chest_image(rng, plan.size, ill=patient.ill)))
        yield {"patient": f"person{patient.index}", "part": patient.part, "images": count, "ill": int(patient.ill)}


def chest_image(rng: np.random.Generator, size: int, *, ill: bool) -> npt.NDArray[np.uint8]:
    """Return one radiograph.

    Args:
        rng: Every random choice.
        size: About the height and width in pixels; each image has its own.
        ill: Whether there are opacities in the lungs.

    Returns:
        (H, W) uint8.

    Example:
        >>> chest_image(np.random.default_rng(0), 64, ill=True).dtype
        dtype('uint8')
    """
    height, width = (max(24, round(size * float(rng.uniform(0.85, 1.2)))) for _ in range(2))
    x, y = grid(height, width)
    x = (x - np.float32(rng.normal(0, 0.04))) / np.float32(rng.uniform(0.88, 1.08))
    y = (y - np.float32(rng.normal(0, 0.04))) / np.float32(rng.uniform(0.9, 1.08))
    lungs = _lungs(rng, x, y)
    picture = _chest_wall(rng, x, y, lungs)
    clouds = _opacities(rng, x, y, lungs) if ill else np.zeros_like(x)
    picture += clouds * np.clip(0.72 - picture, 0, None)
    picture += _ribs(rng, x, y) * (0.4 + 0.6 * lungs)
    _decoys(rng, x, y, picture)
    return _expose(rng, picture)


def _patients(patients: int, share: float) -> Iterator[_Patient]:
    """Class and part of each patient, whatever the number of patients."""
    counts = [0, 0]
    for index in range(1, patients + 1):
        ill = int(index * share + 0.5) > int((index - 1) * share + 0.5)
        counts[ill] += 1
        place = counts[ill]
        part = "test" if place % 5 == 2 else "val" if place % 60 == 3 else "train"
        yield _Patient(index, ill, part)


def _lungs(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    """How much of each pixel is lung: two tall shapes, cut by the heart and by the domes of the diaphragm."""
    whole = np.zeros_like(x)
    for side in (-1.0, 1.0):
        across = (x - np.float32(side * rng.uniform(0.38, 0.44))) / np.float32(rng.uniform(0.27, 0.33))
        along = (y + np.float32(rng.uniform(0.02, 0.12))) / np.float32(rng.uniform(0.6, 0.7))
        # Lungs narrow towards their tip.
        across = across * (1 + 0.35 * np.clip(-along, 0, 1))
        dome = y - np.float32(rng.uniform(0.42, 0.56)) - np.float32(0.35) * (across * np.float32(0.35)) ** 2
        whole = np.maximum(whole, soft(np.abs(across) ** 2.4 + np.abs(along) ** 2.4 - 1, 0.1) * soft(dome, 0.03))
    heart = _ellipse(x, y, float(rng.uniform(0.06, 0.16)), 0.28, float(rng.uniform(0.24, 0.36)), 0.34)
    return np.asarray(whole * (1 - soft(heart, 0.08)), np.float32)


def _ellipse(x: FloatArray, y: FloatArray, right: float, down: float, wide: float, tall: float) -> FloatArray:
    """Negative inside an ellipse, in units of its radius."""
    return np.asarray(((x - right) / wide) ** 2 + ((y - down) / tall) ** 2 - 1, np.float32)


def _chest_wall(rng: np.random.Generator, x: FloatArray, y: FloatArray, lungs: FloatArray) -> FloatArray:
    """Soft tissue, spine and the vessels of the lungs."""
    body = soft(np.abs(x) - np.float32(rng.uniform(0.86, 0.98)) - 0.12 * y, 0.04)
    tissue = np.float32(rng.uniform(0.58, 0.7)) + np.float32(0.06) * smooth_field(rng, x.shape, 4)
    tissue = tissue + 0.14 * soft(np.abs(x) - 0.09, 0.03)
    air = np.float32(rng.uniform(0.16, 0.3)) + np.float32(0.03) * smooth_field(rng, x.shape, 5)
    # Vessels: fine, strongest near the middle.
    vessels = np.clip(np.abs(smooth_field(rng, x.shape, 22)) - 0.9, 0, 1) * np.clip(1 - 1.6 * (np.abs(x) - 0.2), 0, 1)
    breast = np.float32(rng.uniform(0, 0.14)) * soft(np.abs(y - 0.35) - 0.3, 0.1)
    inside = air + np.float32(rng.uniform(0.12, 0.22)) * vessels + breast
    return np.asarray((tissue + lungs * (inside - tissue)) * body, np.float32)


def _opacities(rng: np.random.Generator, x: FloatArray, y: FloatArray, lungs: FloatArray) -> FloatArray:
    """Cloudy patches inside the lungs, one to three; strength 0 to 1."""
    clouds = np.zeros_like(x)
    for _ in range(int(rng.integers(1, 4))):
        side = -1.0 if rng.random() < 0.5 else 1.0
        right, down = side * float(rng.uniform(0.3, 0.52)), float(rng.uniform(-0.35, 0.35))
        patch = _ellipse(x, y, right, down, float(rng.uniform(0.14, 0.26)), float(rng.uniform(0.16, 0.34)))
        ragged = patch + np.float32(0.5) * smooth_field(rng, x.shape, 9)
        texture = np.clip(0.75 + 0.25 * smooth_field(rng, x.shape, 26), 0, 1.2)
        clouds = np.maximum(clouds, soft(ragged, 0.25) * texture * np.float32(rng.uniform(0.5, 0.95)))
    return np.asarray(clouds * lungs, np.float32)


def _ribs(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    """Bright arcs that fall towards the sides, and the collar bones."""
    spacing, slope = float(rng.uniform(0.19, 0.24)), float(rng.uniform(0.25, 0.45))
    phase = (y - np.float32(slope) * np.abs(x) ** 1.5 + np.float32(rng.uniform(0, 0.2))) / np.float32(spacing)
    arcs = np.clip(np.cos(2 * np.pi * phase) - 0.45, 0, None) * soft(0.1 - np.abs(x), 0.03)
    collar = soft(np.abs(y + 0.72 + 0.25 * (0.5 - np.abs(x))) - 0.025, 0.012) * soft(0.08 - np.abs(x), 0.03)
    strength = np.float32(rng.uniform(0.08, 0.2))
    return np.asarray(strength * (arcs + 0.8 * collar), np.float32)


def _decoys(rng: np.random.Generator, x: FloatArray, y: FloatArray, picture: FloatArray) -> None:
    """A tube or wire, and a bright marker in a corner; neither says anything about the class."""
    if rng.random() < 0.4:
        bend = float(rng.uniform(-0.4, 0.4)) + float(rng.normal(0, 0.3)) * y + 0.2 * y**2
        picture += 0.25 * soft(np.abs(x - bend) - 0.008, 0.006) * soft(y - 0.4, 0.03)
    if rng.random() < 0.6:
        right, down = (-1.0 if rng.random() < 0.5 else 1.0) * 0.82, float(rng.uniform(-0.85, -0.7))
        picture += 0.5 * soft(np.maximum(np.abs(x - right), np.abs(y - down)) - 0.05, 0.01)


def _expose(rng: np.random.Generator, picture: FloatArray) -> npt.NDArray[np.uint8]:
    """Gamma, contrast, brightness, uneven exposure and noise, the same for both classes."""
    uneven = 1 + np.float32(0.06) * smooth_field(rng, picture.shape, 3)
    bright = np.clip(picture * uneven, 0, 1.3) ** np.float32(rng.uniform(0.75, 1.35))
    bright = np.float32(rng.uniform(0.7, 1.1)) * bright + np.float32(rng.uniform(-0.05, 0.14))
    bright = bright + np.float32(rng.uniform(0.008, 0.03)) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(255 * bright, 0, 255).astype(np.uint8))
