"""Explaining several images into a folder: arrays, pictures, and the facts of all of them as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import UserError
from medloom.explanation.asked import Asked, evidence
from medloom.explanation.checking import MOST_IMAGES, check_maps
from medloom.explanation.drawing import drawn, shown
from medloom.explanation.kinds import ask
from medloom.explanation.metadata import contributions
from medloom.explanation.methods import Map, Seen, map_of
from medloom.files import read_json, write_bytes, write_json
from medloom.imaging import encode_png
from medloom.inference import Predictor, Prepared
from medloom.inference.answers.base import DIGITS, npy_bytes
from medloom.registry import EXPLANATIONS

__all__ = ["FACTS", "Unseen", "explain", "read_explanation", "seen_of"]

Facts = dict[str, Any]
Floats32 = NDArray[np.float32]

FACTS = "explanation.json"
"""Its name in the folder that is written to."""


@dataclass(frozen=True)
class Unseen:
    """An image that could not be answered.

    Args:
        name: What it is called.
        error: Why.
    """

    name: str
    error: str


def seen_of(predictor: Predictor, name: str, prepared: Prepared, words: Mapping[str, Any]) -> Seen:
    """Ask the network about one image, as it is: without further views, and without the calibration.

    Args:
        predictor: The model.
        name: What the image is called.
        prepared: The image as the network sees it.
        words: Its metadata in words, by column.
    """
    answer = predictor.runtime.run(prepared.network_input[None], prepared.table_nf)[0]
    return Seen(name, prepared, answer, dict(words))


def explain(
    predictor: Predictor,
    images: Iterable[Seen | Unseen],
    folder: Path,
    method: str,
    *,
    about: str = "",
    check: bool = True,
    pseudonyms: bool = False,
) -> Facts:
    """Explain images and write what was found.

    Writes for each image ``maps/NAME.npy`` (float32, from -1 to 1 as shares of the largest), ``pictures/NAME.png`` and
    ``pictures/NAME_image.png``, and ``explanation.json``.

    Args:
        predictor: The model.
        images: What was answered, or could not be.
        folder: Where to write.
        method: A name of ``medloom.registry.EXPLANATIONS``.
        about: The class, label or number that is asked about; empty for the usual one, see ``ask``.
        check: Whether some of the maps are checked, see ``check_maps``.
        pseudonyms: Whether images are called by pseudonyms, so that a report may show them.

    Returns:
        What ``explanation.json`` holds: ``method``, ``pseudonyms``, ``images``, ``check`` and ``metadata``.

    Raises:
        UserError: If there is no such method or name, the runtime cannot do it, or the network has no such map.
    """
    found: list[Facts] = []
    kept: dict[bool, list[tuple[Seen, Asked]]] = {True: [], False: []}
    for number, image in enumerate(images, start=1):
        if isinstance(image, Unseen):
            found.append({"image": image.name, "error": image.error})
            continue
        asked = ask(predictor, image.answer, about)
        found.append(_one(predictor, image, asked, folder, method, f"{number:04d}"))
        kept[asked.found] += [(image, asked)] if len(kept[asked.found]) < MOST_IMAGES else []
    checked = kept[True] or kept[False]  # of a mask without the class, maps of any network are of the background
    facts = {
        "method": method,
        "says": EXPLANATIONS[method].summary,
        "pseudonyms": pseudonyms,
        "images": found,
        "check": check_maps(predictor, checked, method) if check and checked else {},
        "metadata": _over_images(found),
    }
    write_json(folder / FACTS, facts)
    return facts


def read_explanation(folder: Path) -> Facts:
    """Return what ``explain`` wrote into a folder; nothing where it did not."""
    path = folder / FACTS
    found: Facts = read_json(path) if path.is_file() else {}
    return found


def _one(predictor: Predictor, seen: Seen, asked: Asked, folder: Path, method: str, number: str) -> Facts:
    made = map_of(predictor, seen, asked, method)
    if made is None:
        raise UserError(
            f"the network has no feature map that {method} could show; occlusion asks for answers alone and works"
        )
    told = contributions(predictor, seen, asked)
    how_much = float(evidence(seen.answer[None], asked, predictor.target.activation)[0])
    return {
        "image": seen.name,
        "about": asked.name,
        "found": asked.found,
        "evidence": how_much,
        "value": _value(predictor, seen, asked),
        **_written(predictor, seen, made, folder, number),
        **({} if made.gap is None else {"gap": made.gap}),
        **({} if told is None else {"metadata": told.plain()}),
        "error": "",
    }


def _written(predictor: Predictor, seen: Seen, made: Map, folder: Path, number: str) -> Facts:
    """Write the array and the pictures; the largest value is what 1 in the array stands for."""
    largest = float(np.abs(made.values).max())
    share = made.values / np.float32(largest) if largest > 0 else made.values
    pixels, values = _laid(predictor, seen.prepared, share)
    picture = shown(pixels)
    files = {"map": f"maps/{number}.npy", "picture": f"pictures/{number}.png", "shown": f"pictures/{number}_image.png"}
    write_bytes(folder / files["map"], npy_bytes(values))
    write_bytes(folder / files["picture"], encode_png(drawn(picture, values)))
    write_bytes(folder / files["shown"], encode_png(picture))
    return {**files, "largest": largest, "unit": made.unit}


def _laid(predictor: Predictor, prepared: Prepared, map_hw: Floats32) -> tuple[NDArray[Any], Floats32]:
    """Pixels and map in the image's own geometry; where the network sees a part of it alone, as it sees it."""
    if predictor.preprocess.crop is not None:
        return np.moveaxis(prepared.own_input, 0, 2), map_hw
    both = np.stack([map_hw.clip(0.0, 1.0), (-map_hw).clip(0.0, 1.0)])
    speaks_for, against = prepared.restored(both, predictor.preprocess)
    return prepared.pixels, speaks_for - against


def _value(predictor: Predictor, seen: Seen, asked: Asked) -> float:
    """The probability that is asked about, calibrated, of masks its mean over the pixels; or the number."""
    chosen = predictor.calibrated(seen.answer[None])[0][asked.output]
    value = float(chosen) if asked.region is None else float(chosen[asked.region].mean())
    return round(1.0 - value if asked.against else value, DIGITS)


def _over_images(found: Sequence[Facts]) -> Facts:
    """How much each column adds on average, without its sign; nothing without metadata."""
    each = [one["metadata"]["columns"] for one in found if "metadata" in one]
    if not each:
        return {}
    return {
        "images": len(each),
        "mean_size": {column: float(np.mean([abs(one[column]) for one in each])) for column in each[0]},
    }
