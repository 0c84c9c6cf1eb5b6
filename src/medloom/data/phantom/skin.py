"""Phantom photographs of skin in the files of *SIIM-ISIC Melanoma Classification*: a CSV and JPEGs.

A melanoma has a ragged border, several colours and less symmetry, each a little or a lot, and benign lesions have some
of it too; its patients are older and it sits elsewhere. Skin tone, hairs, light, zoom and size say nothing.

Source of the layout: Rotemberg et al. 2021, doi:10.1038/s41597-021-00815-z.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medloom.data.phantom.plan import PhantomPlan
from medloom.data.phantom.texture import encode_jpeg, grid, smooth_field, soft
from medloom.files import write_text

__all__ = ["COLUMNS", "skin_image", "write_skin"]

PREVALENCE = 0.018
"""Share of melanomas in the published set."""

COLUMNS = (
    "image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis", "benign_malignant",
    "target",
)  # fmt: skip
"""Columns of ``train.csv``, as published."""

FloatArray = npt.NDArray[np.floating]

_SITES = ("torso", "lower extremity", "upper extremity", "head/neck", "palms/soles", "oral/genital")
_BENIGN_SITES = (0.53, 0.26, 0.145, 0.05, 0.01, 0.005)
_MELANOMA_SITES = (0.36, 0.15, 0.19, 0.27, 0.02, 0.01)
_BLANK = {"sex": 0.01, "age_approx": 0.03, "anatom_site_general_challenge": 0.03}

_TONES = ((0.92, 0.78, 0.7), (0.86, 0.68, 0.57), (0.76, 0.57, 0.45), (0.58, 0.4, 0.3))
_BROWN = np.array((0.42, 0.26, 0.18), np.float32)
_COLOURS = np.array([(0.12, 0.09, 0.09), (0.33, 0.36, 0.46), (0.62, 0.22, 0.2), (0.82, 0.74, 0.72)], np.float32)
"""Black, blue-grey, red and white: what a melanoma may show beside brown."""


@dataclass(frozen=True)
class _Person:
    """Who has the lesions."""

    name: str
    sex: str
    age: float
    tone: FloatArray
    hairs: float
    melanomas: tuple[bool, ...]


def write_skin(plan: PhantomPlan, destination: Path) -> Iterator[dict[str, str | int]]:
    """Write patient after patient: ``melanoma/train_jpg/ISIC_0003002.jpg``, and ``melanoma/train.csv`` at the end.

    Args:
        plan: Number of patients, lesions a patient, size, share of melanomas, and the seed.
        destination: The folder to fill.

    Yields:
        Facts of the patient that was written.
    """
    folder = destination / "melanoma" / "train_jpg"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    lesions = 0
    for index in range(1, plan.patients + 1):
        rng = np.random.default_rng([plan.seed, 3, index])
        person = _person(rng, plan, index, lesions)
        for number, melanoma in enumerate(person.melanomas, start=1):
            name = f"ISIC_{1000 * index + number:07d}"
            picture = skin_image(rng, plan.size, melanoma=melanoma, tone=person.tone, hairs=person.hairs)
            (folder / f"{name}.jpg").write_bytes(encode_jpeg(picture))
            rows.append(_row(rng, person, name, melanoma=melanoma))
        lesions += len(person.melanomas)
        yield {"patient": person.name, "images": len(person.melanomas), "melanomas": sum(person.melanomas)}
    write_text(destination / "melanoma" / "train.csv", _table(rows))


def skin_image(
    rng: np.random.Generator,
    size: int,
    *,
    melanoma: bool,
    tone: FloatArray | None = None,
    hairs: float = 0.5,
) -> npt.NDArray[np.uint8]:
    """Return a photograph of one lesion.

    Args:
        rng: Every random choice.
        size: Height and width in pixels.
        melanoma: Whether it is malignant.
        tone: Colour of the skin, (3,) in 0..1; drawn if None.
        hairs: How hairy the skin is, 0 to 1.

    Returns:
        (size, size, 3) uint8.

    Example:
        >>> skin_image(np.random.default_rng(0), 64, melanoma=False).shape
        (64, 64, 3)
    """
    x, y = grid(size, size)
    tone = _tone(rng) if tone is None else tone
    rough = np.float32(rng.beta(5, 2.5) if melanoma else rng.beta(1.7, 7))
    motley = np.float32(rng.beta(5, 2.5) if melanoma else rng.beta(1.4, 8))
    picture = tone + np.float32(0.025) * smooth_field(rng, x.shape, 40)[..., None]
    inside, depth = _outline(rng, x, y, rough)
    colour = _BROWN * np.float32(rng.uniform(0.7, 1.35)) + np.float32(0.3) * (tone - tone.mean())
    lesion = colour + np.float32(0.06) * smooth_field(rng, x.shape, 24)[..., None] + 0.08 * depth[..., None]
    for shade in _COLOURS[rng.permutation(len(_COLOURS))[: 1 + int(3 * motley)]]:
        patch = soft(1.3 - 1.5 * motley - smooth_field(rng, x.shape, 6), 0.15)[..., None]
        lesion = lesion + patch * np.float32(0.85) * (shade - lesion)
    picture = picture + inside[..., None] * (lesion - picture)
    return _photograph(rng, x, y, _with_hairs(rng, x, y, picture, hairs))


def _person(rng: np.random.Generator, plan: PhantomPlan, index: int, lesions: int) -> _Person:
    """One patient; which of all lesions are melanomas is counted through, so that the share is exact."""
    share = PREVALENCE if plan.prevalence is None else plan.prevalence
    count = int(rng.integers(plan.slices[0], plan.slices[1] + 1))
    places = np.floor((np.arange(lesions, lesions + count + 1)) * share + 0.5)
    melanomas = rng.permutation(np.diff(places) > 0)
    ill = bool(melanomas.any())
    return _Person(
        name=f"IP_{index:07d}",
        sex="male" if rng.random() < (0.62 if ill else 0.5) else "female",
        age=float(np.clip(rng.normal(66, 11) if ill else rng.normal(44, 12), 10, 90)),
        tone=_tone(rng),
        hairs=float(rng.beta(1, 1.5)),
        melanomas=tuple(bool(melanoma) for melanoma in melanomas),
    )


def _tone(rng: np.random.Generator) -> FloatArray:
    tone = np.array(_TONES[int(rng.choice(len(_TONES), p=(0.4, 0.3, 0.2, 0.1)))], np.float32)
    return np.asarray(np.clip(tone + rng.normal(0, 0.03, 3), 0.2, 0.97), np.float32)


def _outline(
    rng: np.random.Generator, x: FloatArray, y: FloatArray, rough: np.float32
) -> tuple[FloatArray, FloatArray]:
    """How much of each pixel is lesion, and how far inside it is (0 to 1)."""
    right, down = rng.normal(0, 0.08, 2).astype(np.float32)
    angle = np.arctan2(y - down, x - right)
    radius = np.float32(rng.uniform(0.28, 0.55)) * np.ones_like(x)
    wave = np.zeros_like(x)
    for order in range(2, 12):
        amount = float(rng.normal()) * (0.14 if order == 2 else (0.03 + 0.2 * float(rough)) / order**0.5)
        wave += np.float32(amount) * np.cos(order * angle + np.float32(rng.uniform(0, 2 * np.pi)))
    distance = np.hypot(x - right, y - down) / (radius * np.clip(1 + 0.5 * wave, 0.4, 1.8))
    ragged = distance + 0.22 * rough * smooth_field(rng, x.shape, 18)
    edge = float(rng.uniform(0.03, 0.09)) * (1.3 - float(rough))
    return soft(ragged - 1, edge), np.asarray(np.clip(1 - ragged, 0, 1), np.float32)


def _with_hairs(
    rng: np.random.Generator, x: FloatArray, y: FloatArray, picture: FloatArray, hairs: float
) -> FloatArray:
    """Lay dark, slightly bent lines over the picture."""
    cover = np.zeros_like(x)
    for _ in range(int(rng.poisson(9 * hairs))):
        turn, bend = float(rng.uniform(0, np.pi)), float(rng.normal(0, 0.25))
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        away = np.abs(across - np.float32(rng.uniform(-0.9, 0.9)) - np.float32(bend) * along**2)
        cover = np.maximum(cover, soft(np.asarray(away - 0.008, np.float32), 0.004))
    return np.asarray(picture * (1 - 0.75 * cover[..., None]), np.float32)


def _photograph(rng: np.random.Generator, x: FloatArray, y: FloatArray, picture: FloatArray) -> npt.NDArray[np.uint8]:
    """Light that falls off, white balance, noise, and sometimes the dark corners of a dermoscope."""
    light = np.float32(rng.uniform(0.82, 1.1)) * (1 - np.float32(rng.uniform(0, 0.15)) * (x**2 + y**2))
    picture = picture * light[..., None] * rng.normal(1, 0.025, 3).astype(np.float32)
    if rng.random() < 0.25:
        picture = picture * soft(np.asarray(np.hypot(x, y) - rng.uniform(1.05, 1.2), np.float32), 0.02)[..., None]
    picture = picture + np.float32(0.012) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(255 * picture, 0, 255).astype(np.uint8))


def _row(rng: np.random.Generator, person: _Person, name: str, *, melanoma: bool) -> dict[str, str]:
    site = str(rng.choice(_SITES, p=_MELANOMA_SITES if melanoma else _BENIGN_SITES))
    diagnosis = (
        "melanoma" if melanoma else str(rng.choice(["unknown", "nevus", "seborrheic keratosis"], p=(0.8, 0.17, 0.03)))
    )
    cells = (
        name, person.name, person.sex, f"{5 * round(person.age / 5)}.0", site, diagnosis,
        "malignant" if melanoma else "benign", str(int(melanoma)),
    )  # fmt: skip
    row = dict(zip(COLUMNS, cells, strict=True))
    blanks = {column: "" for column, share in _BLANK.items() if rng.random() < share}
    return {**row, **blanks}


def _table(rows: Sequence[dict[str, str]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
