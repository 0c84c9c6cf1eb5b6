"""Paint an ``Anatomy`` slice by slice.

Shapes: ``YX`` is (size, size), ``CYX`` is (3, size, size). Lengths are in units of half an image, ``z`` runs
from 0 (skull base) to 1 (vertex), intensities are in units of normal brain until the scanner comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medloom.data.phantom.anatomy import Anatomy, Blob

__all__ = ["paint_patient"]

FloatArray = npt.NDArray[np.floating]
ByteArray = npt.NDArray[np.uint8]

# Intensity of each tissue before contrast, in FLAIR and after contrast, in units of normal brain.
_MUSCLE = (0.75, 0.7, 0.85)
_BONE = (0.14, 0.1, 0.14)
_CSF = (0.5, 0.24, 0.52)
_AIR = (0.06, 0.05, 0.06)
_GREY_MATTER = (0.86, 1.14, 0.94)
_WHITE_MATTER = (1.14, 0.88, 1.08)
_SINUS = (0.9, 0.8, 2.1)


@dataclass(frozen=True)
class _Plane:
    """The head's own coordinates at one slice and the random fields there."""

    z: float
    x: FloatArray
    y: FloatArray
    radius: FloatArray
    edge: float
    fields: dict[str, FloatArray]


def paint_patient(anatomy: Anatomy, size: int, rng: np.random.Generator) -> Iterator[tuple[ByteArray, ByteArray]]:
    """Yield the slices of a patient from the skull base upwards.

    Args:
        anatomy: The patient.
        size: Height and width in pixels.
        rng: Generator of the noise.

    Yields:
        Image, uint8 (size, size, 3), and mask, uint8 (size, size) with 0 and 255.
    """
    x, y = _head_coordinates(anatomy, size)
    bases = {name: _basis(np.linspace(0, 1, size), grid.shape[1]) for name, grid in anatomy.fields.items()}
    heights = np.linspace(0, 1, anatomy.slices)
    through = {name: _basis(heights, grid.shape[0]) for name, grid in anatomy.fields.items()}
    for index, z in enumerate(heights.tolist()):
        if index < anatomy.blank[0] or index >= anatomy.slices - anatomy.blank[1]:
            yield _blank(anatomy, size, rng)
            continue
        fields = {name: _field(grid, through[name][index], bases[name]) for name, grid in anatomy.fields.items()}
        plane = _Plane(z, x, y, _radius(anatomy, x, y, z, fields["outline"]), 4.0 / size, fields)
        tissue, mask = _tissue(anatomy, plane)
        _cut(anatomy, plane, tissue, index)
        yield _scan(anatomy, plane, tissue, rng), mask


def _head_coordinates(anatomy: Anatomy, size: int) -> tuple[FloatArray, FloatArray]:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    down, right = np.meshgrid(axis - anatomy.shift[1], axis - anatomy.shift[0], indexing="ij")
    cos, sin = np.float32(np.cos(anatomy.tilt)), np.float32(np.sin(anatomy.tilt))
    return cos * right + sin * down, cos * down - sin * right


def _basis(positions: npt.NDArray[np.float64], knots: int) -> FloatArray:
    """Cubic B-splines at ``positions`` in [0, 1], scaled so that unit knots give a field of about unit deviation."""
    from scipy.interpolate import BSpline  # half a second that phantoms which are there need not pay

    borders = np.arange(-3, knots + 1) / (knots - 3)
    inside = np.clip(positions, 0.0, 1.0 - 1e-9)
    splines = BSpline.design_matrix(inside, borders, 3).toarray()
    return (splines / 0.69).astype(np.float32)


def _field(grid: FloatArray, weights: FloatArray, basis: FloatArray) -> FloatArray:
    """Smooth random field (YX) at the height that ``weights`` stand for."""
    level: FloatArray = np.tensordot(weights, grid, axes=1)
    return np.asarray(basis @ level @ basis.T, dtype=np.float32)


def _radius(anatomy: Anatomy, x: FloatArray, y: FloatArray, z: float, outline: FloatArray) -> FloatArray:
    """Distance from the axis of the head, 1 on the skin."""
    taper = _taper(z)
    # A head is broader behind the ears than at the forehead.
    width = anatomy.width * taper * (1 + 0.12 * y / anatomy.height)
    return np.asarray(_length(x / width, y / (anatomy.height * taper)) + 0.012 * outline, dtype=np.float32)


def _taper(z: float) -> float:
    """Size of the head at height ``z``, 1 at its widest."""
    return float(np.sqrt(max(1 - ((z - 0.42) / 0.66) ** 2, 0.02))) if z > 0.42 else 0.9 + 0.1 * z / 0.42


def _length(x: FloatArray, y: FloatArray) -> FloatArray:
    """Like ``np.hypot``, which guards against overflow at five times the price."""
    return np.asarray(np.sqrt(x * x + y * y), dtype=np.float32)


def _inside(distance: FloatArray, edge: float) -> FloatArray:
    """1 where ``distance`` is negative, 0 where it is positive, a ramp of width ``edge`` between."""
    return np.asarray(np.clip(np.float32(0.5) - distance / np.float32(edge), 0, 1))


def _paint(tissue: FloatArray, alpha: FloatArray, values: tuple[float, float, float]) -> None:
    for channel, value in zip(tissue, values, strict=True):
        channel += alpha * (np.float32(value) - channel)


def _tissue(anatomy: Anatomy, plane: _Plane) -> tuple[FloatArray, ByteArray]:
    """Everything inside the head, CYX, and the mask, YX."""
    tissue = np.zeros((3, *plane.x.shape), dtype=np.float32)
    brain = _inside(plane.radius - 0.84, plane.edge * 2)
    _head(tissue, anatomy, plane, brain)
    fluid = _fluid(anatomy, plane) * brain
    _paint(tissue, fluid, _CSF)
    _face(tissue, anatomy, plane)
    for decoy in anatomy.decoys:
        _blob(tissue, plane, decoy, brain * (1 - fluid))
    mask = np.zeros(plane.x.shape, dtype=np.uint8)
    for lesion in anatomy.lesions:
        mask |= _blob(tissue, plane, lesion, brain * (1 - 0.8 * fluid))
    return tissue, mask * np.uint8(255)


def _head(tissue: FloatArray, anatomy: Anatomy, plane: _Plane, brain: FloatArray) -> None:
    _paint(tissue, _inside(plane.radius - 1.0, plane.edge * 2), anatomy.fat)
    _paint(tissue, _inside(plane.radius - 0.93, plane.edge * 2), _BONE)
    _paint(tissue, _inside(plane.radius - 0.875, plane.edge * 2), _CSF)
    grey = np.clip(0.5 + 0.45 * plane.fields["texture"], 0, 1)
    _paint(tissue, brain, _WHITE_MATTER)
    _paint(tissue, brain * grey, _GREY_MATTER)
    falx = _inside(np.abs(plane.x) - 0.008, plane.edge) * brain * np.float32(plane.z > 0.45)
    _paint(tissue, falx, _CSF)
    behind = plane.y - 0.84 * anatomy.height * _taper(plane.z)
    sinus = _inside(_length(plane.x, behind) - 0.04, 0.03)
    _paint(tissue, sinus * np.float32(plane.z > 0.2), _SINUS)


def _fluid(anatomy: Anatomy, plane: _Plane) -> FloatArray:
    """Ventricles and the furrows of the cortex, as a share of each pixel."""
    rise = 1 - ((plane.z - 0.55) / 0.2) ** 2
    long, wide = 0.24 * anatomy.ventricle * anatomy.height, 0.075 * anatomy.ventricle * anatomy.width
    # Two commas, further apart in front and behind than in the middle.
    bend = np.abs(plane.x) - (0.09 + 0.5 * plane.y**2 / anatomy.height) * anatomy.width * 1.2
    comma = _length(bend / wide, (plane.y + 0.02) / long) - 0.15 * plane.fields["lesion"] - np.sqrt(max(rise, 0.0))
    ventricles = _inside(comma, 0.3) if rise > 0 else np.zeros_like(comma)
    furrow = _inside(np.abs(plane.fields["sulci"]) - 0.12, 0.2)
    depth = np.clip(4 * plane.radius - 2.2, 0, 1)
    return np.asarray(np.maximum(ventricles, 0.85 * furrow * depth))


def _face(tissue: FloatArray, anatomy: Anatomy, plane: _Plane) -> None:
    """Below the brain: fat, muscle and air in front, bright in every channel and easily taken for a lesion."""
    share = np.float32(np.clip((0.38 - plane.z) / 0.16, 0, 1))
    if share == 0:
        return
    front = share * _inside(plane.y + 0.05 - 0.6 * max(0.15 - plane.z, 0.0), 0.12) * _inside(plane.radius - 0.93, 0.04)
    relief = plane.fields["face"]
    _paint(tissue, front, _MUSCLE)
    _paint(tissue, front * _inside(0.5 - relief, 0.5), anatomy.fat)
    _paint(tissue, front * _inside(relief + 0.8, 0.3), _AIR)


def _blob(tissue: FloatArray, plane: _Plane, blob: Blob, where: FloatArray) -> ByteArray:
    """Paint a blob within ``where`` and return its outline as 0 and 1, YX."""
    height = 1 - ((plane.z - blob.z) / blob.reach) ** 2
    if height <= 0:
        return np.zeros(plane.x.shape, dtype=np.uint8)
    radius = blob.radius * max(float(np.sqrt(height)), 0.3)
    away = _length(plane.x - blob.x, plane.y - blob.y) / radius
    away = away + blob.roughness * plane.fields["lesion"] - 1
    mottled = 1 + 0.08 * plane.fields["sulci"]
    alpha = _inside(away - 0.02, 0.3) * where * np.clip(mottled, 0.6, 1)
    _paint(tissue, alpha, blob.values)
    if blob.core is not None:
        _paint(tissue, _inside(away + 0.55, 0.25) * where, blob.core)
    return ((away < 0) & (where > 0.5)).astype(np.uint8)


def _cut(anatomy: Anatomy, plane: _Plane, tissue: FloatArray, index: int) -> None:
    """Cut a sequence off along a slanted line in the outermost slice of an end."""
    first, last = anatomy.blank[0], anatomy.slices - anatomy.blank[1] - 1
    channel = anatomy.missing[0] if index == first else anatomy.missing[1] if index == last else None
    if channel is not None:
        tissue[channel] *= plane.y > 0.6 * plane.x + 0.1


def _scan(anatomy: Anatomy, plane: _Plane, tissue: FloatArray, rng: np.random.Generator) -> ByteArray:
    """What the scanner makes of it: coil sensitivity, grey levels, noise that is never negative."""
    coil = 1 + anatomy.bias * np.clip(plane.fields["bias"], -1.8, 1.8)
    for channel, gain in zip(tissue, anatomy.gains, strict=True):
        channel *= coil * np.float32(gain)
    return _bytes(tissue + _noise(rng, tissue.shape, anatomy.noise), anatomy.floor)


def _blank(anatomy: Anatomy, size: int, rng: np.random.Generator) -> tuple[ByteArray, ByteArray]:
    noise = _noise(rng, (3, size, size), 0.4 * anatomy.noise)
    return _bytes(noise, anatomy.floor), np.zeros((size, size), dtype=np.uint8)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> FloatArray:
    """Sum of four uniform bytes, centred: close to normal and six times as fast as the normal generator."""
    uniform = np.frombuffer(rng.bytes(4 * int(np.prod(shape))), dtype=np.uint8).reshape(4, *shape)
    total = uniform.sum(axis=0, dtype=np.uint16).astype(np.float32)
    return np.asarray((total - 510) * np.float32(std / 147.8), dtype=np.float32)


def _bytes(levels: FloatArray, floor: float) -> ByteArray:
    grey = np.minimum(np.abs(levels) + np.float32(floor), 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(grey, 0, -1))
