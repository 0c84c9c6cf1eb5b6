"""The gallery: pictures of test cases with their captions, in one format for every kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from medloom.files import read_json, write_bytes, write_json
from medloom.imaging import encode_png

__all__ = ["Gallery", "Group", "Item", "Scale", "gather_gallery", "heated", "write_gallery"]

Picture = NDArray[np.uint8]
_FILE = "gallery.json"
_HEAT = np.array([255, 40, 0], np.float32)


@dataclass(frozen=True)
class Scale:
    """How large what a picture shows is, for a bar on it.

    Args:
        width_px: Width of what is shown in pixels of the image.
        mm_per_px: Width of such a pixel in mm; None where it is not known.
    """

    width_px: int
    mm_per_px: float | None = None


@dataclass(frozen=True, eq=False)
class Item:
    """A case that is shown.

    Args:
        sample_id: Pseudonym of the sample.
        caption: What is said below the picture.
        order: Sort key; the least comes first.
        picture: (H, W, 3) uint8.
        heatmap: Where the network looked, of the same shape; None without.
        variant: Tells the heat maps of one sample apart.
        scale: How large what is shown is; None for no bar.
    """

    sample_id: str
    caption: str
    order: tuple[float, ...]
    picture: Picture
    heatmap: Picture | None = None
    variant: int = 0
    scale: Scale | None = None


@dataclass(frozen=True, eq=False)
class Group:
    """Cases that are shown under one title.

    Args:
        name: Short name, such as ``worst``.
        title: Title for people.
        most: Most cases that are shown.
        items: The cases, in order.
    """

    name: str
    title: str
    most: int
    items: Sequence[Item]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Everything that is shown.

    Args:
        groups: The groups, in order.
        note: What a reader must know of all pictures.
        heatmaps: What a heat map shows, in a sentence; empty where there is none.
        legend: Name and colour (``#rrggbb``) of what is drawn.
    """

    groups: Sequence[Group]
    note: str
    heatmaps: str = ""
    legend: Sequence[tuple[str, str]] = field(default=())


def heated(shown: Picture, heat_hw: NDArray[np.floating]) -> Picture:
    """Return a picture in which what a heat map shows is red.

    Args:
        shown: (H, W, 3) uint8.
        heat_hw: (h, w) in 0..1, of the same part of the image.
    """
    image = PillowImage.fromarray(heat_hw.astype(np.float32))
    heat = np.asarray(image.resize((shown.shape[1], shown.shape[0]), PillowImage.Resampling.BILINEAR))[..., None]
    mixed = shown * (1.0 - 0.6 * heat) + _HEAT * (0.6 * heat)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def write_gallery(folder: Path, gallery: Gallery) -> None:
    """Write ``gallery.json`` and the pictures in ``gallery/``.

    Args:
        folder: The run's ``evaluation`` folder.
        gallery: What is shown.
    """
    groups = [
        {
            "name": group.name,
            "title": group.title,
            "most": group.most,
            "items": [_write_item(folder, item) for item in group.items],
        }
        for group in gallery.groups
    ]
    legend = [list(entry) for entry in gallery.legend]
    facts = {"note": gallery.note, "heatmaps": gallery.heatmaps, "legend": legend, "groups": groups}
    write_json(folder / _FILE, facts)


def gather_gallery(folder: Path, folds: Sequence[Path]) -> None:
    """Write the gallery of all folds together, with copies of the pictures; every case is the test case of one fold.

    Args:
        folder: The ``evaluation`` folder of the whole.
        folds: The ``evaluation`` folders of the folds.
    """
    found = [read_json(fold / _FILE) for fold in folds]
    groups = []
    for place, group in enumerate(found[0]["groups"]):
        pairs = [(item, fold) for fold, one in zip(folds, found, strict=True) for item in one["groups"][place]["items"]]
        chosen = sorted(pairs, key=lambda pair: pair[0]["order"])[: group["most"]]
        for item, fold in chosen:
            _copy_pictures(item, fold, folder)
        groups.append({**group, "items": [item for item, _ in chosen]})
    write_json(folder / _FILE, {**found[0], "groups": groups})


def _write_item(folder: Path, item: Item) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": _write(folder, f"gallery/{item.sample_id}.png", item.picture)}
    if item.heatmap is not None:
        facts["heatmap"] = _write(folder, f"gallery/{item.sample_id}_heat_{item.variant}.png", item.heatmap)
    if item.scale is not None:
        facts["scale"] = asdict(item.scale)
    return {**facts, "sample_id": item.sample_id, "caption": item.caption, "order": list(item.order)}


def _write(folder: Path, name: str, picture: Picture) -> str:
    write_bytes(folder / name, encode_png(picture))
    return name


def _copy_pictures(item: dict[str, Any], fold: Path, folder: Path) -> None:
    for name in {item[key] for key in ("file", "heatmap") if key in item}:
        write_bytes(folder / name, (fold / name).read_bytes())
