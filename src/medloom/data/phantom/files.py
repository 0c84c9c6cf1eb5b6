"""Write phantom patients as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from medloom.data.phantom.anatomy import sample_anatomy
from medloom.data.phantom.chest import write_chest
from medloom.data.phantom.paint import paint_patient
from medloom.data.phantom.plan import PhantomPlan
from medloom.data.phantom.skin import write_skin
from medloom.errors import DataError
from medloom.files import read_json, write_json

__all__ = ["PHANTOM_FILE", "is_phantom", "make_phantom", "phantom_patient"]

PHANTOM_FILE = "phantom.json"
"""At the root of a phantom data set: what made it, and whether it is complete."""

_GENERATOR = 1
"""Raised whenever the same plan would give other images."""

ByteArray = npt.NDArray[np.uint8]


def is_phantom(folder: Path) -> bool:
    """Return whether a folder holds phantom images, complete or not."""
    return (folder / PHANTOM_FILE).is_file()


def phantom_patient(plan: PhantomPlan, index: int) -> Iterator[tuple[ByteArray, ByteArray]]:
    """Yield the slices of one patient, from the skull base upwards.

    Args:
        plan: Size, number of slices and seed; the number of patients changes nothing here.
        index: Which patient, counted from 1.

    Yields:
        Image, uint8 (size, size, 3): pre-contrast, FLAIR, post-contrast; mask, uint8 (size, size), 0 or 255.

    Example:
        >>> image, mask = next(phantom_patient(PhantomPlan(size=64), 1))
        >>> image.shape, mask.shape
        ((64, 64, 3), (64, 64))
    """
    rng = np.random.default_rng([plan.seed, index])
    low, high = sorted(plan.slices)
    return paint_patient(sample_anatomy(rng, (low, high)), plan.size, rng)


def make_phantom(
    plan: PhantomPlan,
    destination: Path,
    *,
    layout: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a phantom data set, or keep the one that is there when it is the same.

    The files are those of the set that ``plan.kind`` names. Brain MRI: ``kaggle_3m/<patient>/<patient>_<slice>.tif``
    with three interleaved channels in strips and ``..._mask.tif`` with 0 and 255 beside it. Chest X-rays:
    ``chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg``. Melanoma: ``melanoma/train.csv`` and
    ``melanoma/train_jpg/*.jpg``. ``phantom.json`` at the root says what they are. An interrupted call is completed by
    the next.

    Args:
        plan: What kind, how many patients, images and pixels, and the seed.
        destination: The folder to fill; missing, empty, or made by an earlier call.
        layout: The layout that will read them, to be compared with that of the kind.
        progress: Called with patients done and patients in all.

    Returns:
        ``destination``.

    Raises:
        DataError: If the layout is another, or if the folder holds anything else.
    """
    own, write = _KINDS[plan.kind]
    if layout not in (None, own):
        raise DataError(
            f"{plan.kind} phantoms come in the layout {own}, not {layout}; take images of your own, or a recipe with "
            f"the layout {own}"
        )
    facts = {"phantom": True, "generator": _GENERATOR, "layout": own, "config": plan.plain()}
    if _present(destination, facts):
        return destination
    write_json(destination / PHANTOM_FILE, {**facts, "complete": False})
    patients = []
    for index, patient in enumerate(write(plan, destination), start=1):
        patients.append(patient)
        if progress is not None:
            progress(index, plan.patients)
    write_json(destination / PHANTOM_FILE, {**facts, "complete": True, "patients": patients})
    return destination


def _present(destination: Path, facts: dict[str, Any]) -> bool:
    """Whether this very set is complete; refuse a folder that holds anything else."""
    if is_phantom(destination):
        found = read_json(destination / PHANTOM_FILE)
        if any(found.get(key) != value for key, value in facts.items()):
            raise DataError(
                f"{destination} holds phantom images made with other settings; name another folder or delete it"
            )
        return bool(found.get("complete"))
    if destination.is_dir() and any(destination.iterdir()):
        raise DataError(f"{destination} is not empty and no phantom data set; name a new folder for the phantoms")
    return False


def _write_brain(plan: PhantomPlan, destination: Path) -> Iterator[dict[str, str | int]]:
    for index in range(1, plan.patients + 1):
        yield _write_patient(plan, index, destination / "kaggle_3m")


def _write_patient(plan: PhantomPlan, index: int, folder: Path) -> dict[str, str | int]:
    name = f"TCGA_PH_{index:04d}_20000101"
    (folder / name).mkdir(parents=True, exist_ok=True)
    slices = lesions = 0
    for slices, (image, mask) in enumerate(phantom_patient(plan, index), start=1):
        _write_tiff(folder / name / f"{name}_{slices}.tif", image, "rgb")
        _write_tiff(folder / name / f"{name}_{slices}_mask.tif", mask, "minisblack")
        lesions += int(mask.any())
    return {"patient": name, "slices": slices, "lesions": lesions}


def _write_tiff(path: Path, pixels: ByteArray, photometric: str) -> None:
    """Write strips of about 8 KiB, as the real files have them."""
    row_bytes = pixels[0].nbytes
    tifffile.imwrite(
        path, pixels, photometric=photometric, rowsperstrip=-(-8192 // row_bytes), metadata=None, software=False
    )


_KINDS: dict[str, tuple[str, Callable[[PhantomPlan, Path], Iterator[dict[str, str | int]]]]] = {
    "brain-mri": ("lgg-mri", _write_brain),
    "chest-xray": ("folder-classes", write_chest),
    "melanoma": ("csv", write_skin),
}
"""Layout and writer of each kind."""
