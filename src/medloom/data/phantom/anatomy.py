"""What one phantom patient is like: every random choice, drawn before anything is painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Anatomy", "Blob", "sample_anatomy"]

FloatArray = npt.NDArray[np.float32]

# Number of knots of each random field: through the stack, and along each side of a slice.
_FIELDS: dict[str, tuple[int, int]] = {
    "outline": (6, 7),
    "texture": (14, 44),
    "sulci": (12, 30),
    "face": (9, 22),
    "lesion": (8, 16),
    "bias": (4, 4),
}

_REFERENCE_PX = 256.0**2


@dataclass(frozen=True)
class Blob:
    """An irregular ellipsoid inside the head.

    Lengths are in units of half an image; ``z`` runs from 0 (skull base) to 1 (vertex).

    Args:
        x: Centre, to the right.
        y: Centre, downwards (the back of the head).
        z: Centre through the stack.
        radius: Radius in the plane of its largest slice.
        reach: Half of its extent in ``z``.
        roughness: How far the outline departs from the ellipse, as a share of the radius.
        values: Intensity of each channel, in units of normal brain.
        core: Intensity of each channel in the centre, or None if it is as the rest.
    """

    x: float
    y: float
    z: float
    radius: float
    reach: float
    roughness: float
    values: tuple[float, float, float]
    core: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Anatomy:
    """One patient, before painting.

    Args:
        slices: Number of slices.
        blank: Empty slices at the lower and at the upper end.
        width: Half the width of the head.
        height: Half its length, front to back.
        shift: Offset of its centre (x, y).
        tilt: Rotation in radians.
        ventricle: Size of the ventricles, 1 is usual.
        gains: Grey level of normal brain in each channel.
        fat: Intensity of fat in each channel, in units of normal brain; scanners differ most in it.
        noise: Standard deviation of the noise in grey levels.
        floor: Grey level of the background.
        bias: Strength of the smooth change of brightness over the image.
        missing: For each end of the stack, the channel that is cut off there, or None.
        lesions: What the mask shows.
        decoys: What looks like a lesion in one respect and is none.
        fields: Knots of each random field, float32 (through, side, side).
    """

    slices: int
    blank: tuple[int, int]
    width: float
    height: float
    shift: tuple[float, float]
    tilt: float
    ventricle: float
    gains: tuple[float, float, float]
    fat: tuple[float, float, float]
    noise: float
    floor: float
    bias: float
    missing: tuple[int | None, int | None]
    lesions: tuple[Blob, ...]
    decoys: tuple[Blob, ...]
    fields: dict[str, FloatArray]


def sample_anatomy(rng: np.random.Generator, slices: tuple[int, int]) -> Anatomy:
    """Draw one patient.

    The ranges follow the LGG brain-MRI set: 20 to 88 slices with most patients below 40, 14 to 60 % of them
    with a lesion, lesions of 600 to 4,700 pixels in 256 x 256, brain at 35 to 80 grey levels with FLAIR
    sometimes far darker than the other channels.

    Args:
        rng: The patient's own generator.
        slices: Fewest and most slices.

    Returns:
        The patient.
    """
    low, high = slices
    count = low + round((high - low) * float(rng.beta(0.9, 1.9)))
    width = float(rng.uniform(0.62, 0.78))
    lesions = _lesions(rng, width)
    return Anatomy(
        slices=count,
        blank=(int(rng.choice([0, 0, 0, 1])), int(rng.choice([0, 0, 1, 2]))),
        width=width,
        height=width * float(rng.uniform(1.1, 1.25)),
        shift=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.03))),
        tilt=float(rng.normal(0, 0.07)),
        ventricle=float(rng.uniform(0.7, 1.35)),
        gains=_gains(rng),
        fat=(float(rng.uniform(1.4, 3.4)), float(rng.uniform(1.3, 2.8)), float(rng.uniform(1.4, 3.4))),
        noise=float(rng.uniform(0.8, 2.6)),
        floor=float(rng.choice([0.0, 0.0, 0.0, 2.0])),
        bias=float(rng.uniform(0.08, 0.28)),
        missing=(_cut_channel(rng), _cut_channel(rng)),
        lesions=lesions,
        decoys=_decoys(rng, width, lesions[0]),
        fields={
            name: rng.standard_normal((deep, wide, wide), dtype=np.float32) for name, (deep, wide) in _FIELDS.items()
        },
    )


def _gains(rng: np.random.Generator) -> tuple[float, float, float]:
    """Scanner scaling: the channels of a patient rise and fall together, FLAIR with a mind of its own."""
    common = float(rng.lognormal(np.log(58), 0.2))
    flair = common * float(rng.lognormal(0.0, 0.12)) * (0.45 if rng.random() < 0.08 else 1.0)
    return common * float(rng.lognormal(0, 0.08)), flair, common * float(rng.lognormal(0, 0.08))


def _cut_channel(rng: np.random.Generator) -> int | None:
    """At the ends of a stack a sequence is often cut off, because the sequences were registered to each other."""
    return int(rng.integers(0, 3)) if rng.random() < 0.4 else None


def _lesions(rng: np.random.Generator, width: float) -> tuple[Blob, ...]:
    area_px = float(np.clip(rng.lognormal(np.log(1750), 0.45), 700, 4700))
    radius = 2 * float(np.sqrt(1.3 * area_px / (np.pi * _REFERENCE_PX)))
    reach = float(np.clip(rng.normal(0.19, 0.05), 0.08, 0.30))
    flair = float(rng.uniform(1.3, 2.0))
    values = (float(rng.uniform(0.68, 0.98)), flair, float(rng.uniform(0.72, 1.05)))
    core = (0.55, 0.75 * flair, 0.5) if rng.random() < 0.3 else None
    angle, far = float(rng.uniform(0, 2 * np.pi)), width * float(rng.uniform(0.3, 0.62))
    first = Blob(
        x=far * float(np.cos(angle)),
        y=far * float(np.sin(angle)),
        z=float(rng.uniform(0.22 + reach, 0.92 - reach)),
        radius=radius,
        reach=reach,
        roughness=float(rng.uniform(0.12, 0.3)),
        values=values,
        core=core,
    )
    if rng.random() >= 0.15:
        return (first,)
    return first, _satellite(rng, first)


def _satellite(rng: np.random.Generator, lesion: Blob) -> Blob:
    """A second, smaller lesion within the slices of the first, so that a patient keeps one run of slices."""
    return Blob(
        x=-lesion.x * float(rng.uniform(0.6, 1.0)),
        y=lesion.y * float(rng.uniform(0.4, 1.0)),
        z=lesion.z,
        radius=lesion.radius * float(rng.uniform(0.35, 0.6)),
        reach=lesion.reach * 0.7,
        roughness=0.2,
        values=lesion.values,
    )


def _decoys(rng: np.random.Generator, width: float, lesion: Blob) -> tuple[Blob, ...]:
    """Bright caps of the ventricles (on both sides, FLAIR only) and deposits that are bright in every channel."""
    caps_z, bright = float(rng.uniform(0.5, 0.68)), float(rng.uniform(1.25, 1.6))
    cap_y, cap = -float(rng.uniform(0.3, 0.36)) * width, float(rng.uniform(0.035, 0.06))
    caps = [Blob(side * 0.22 * width, cap_y, caps_z, cap, 0.1, 0.15, (0.95, bright, 0.95)) for side in (-1.0, 1.0)]
    return (*caps, *(_deposit(rng, width, lesion) for _ in range(int(rng.integers(1, 4)))))


def _deposit(rng: np.random.Generator, width: float, lesion: Blob) -> Blob:
    angle, far = float(rng.uniform(0, 2 * np.pi)), width * float(rng.uniform(0.25, 0.65))
    level = lesion.values[1] * float(rng.uniform(0.85, 1.2))
    return Blob(
        x=far * float(np.cos(angle)),
        y=far * float(np.sin(angle)),
        z=float(rng.uniform(0.3, 0.85)),
        radius=float(rng.uniform(0.05, 0.13)),
        reach=float(rng.uniform(0.06, 0.16)),
        roughness=float(rng.uniform(0.1, 0.3)),
        values=(level * 0.95, level, level),
    )
