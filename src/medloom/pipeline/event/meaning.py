"""From an event to the recipe that it means, by what its labels are."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from medloom.data.layouts.base import is_image
from medloom.data.sources import Source
from medloom.errors import UserError
from medloom.files import write_bytes
from medloom.imaging.npy import read_array
from medloom.pipeline.event.arguments import Arguments
from medloom.recipe import builtin_text, parse_recipe

__all__ = ["Meaning", "arranged", "meaning_of"]

IMAGES, MASKS, TABLE = "images", "labels", "labels.csv"
"""How images, masks and labels are called in the folder that a recipe of an event is run on."""

_CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}
_COLOURS = {1: "grey", 3: "rgb"}
_MASKS_RECIPE = "image-mask"


@dataclass(frozen=True)
class Meaning:
    """What an event means.

    Args:
        recipe: The recipe, as YAML.
        table: The label file; None where labels are masks, or there are none.
        masks: Whether the labels are maps of classes.
        columns: Columns of the label file: the image, then the labels.
    """

    recipe: str
    table: bytes | None = None
    masks: bool = False
    columns: tuple[str, ...] = ()


def meaning_of(event: Arguments, images: Source, labels: Source, base: str) -> Meaning:
    """Work out the recipe of an event.

    Args:
        event: The arguments.
        images: The images.
        labels: The labels.
        base: Built-in recipe of models for labels.

    Raises:
        UserError: If the labels are not what the event says.
    """
    if event.label_style == "single":
        table = _table(labels)
        return _of_table(event, table, base, _label_column(_rows(table)[0]))
    arrays = [name for name in labels.walk() if name.lower().endswith(".npy")]
    pictures = {_stem(name) for name in images.walk() if is_image(name)}
    own = [name for name in arrays if _stem(name) in pictures]
    if not own:
        raise UserError("label_style: array expects an .npy file for each image, of the same name; there is none")
    shape = read_array(labels.read(own[0])).shape
    if len(shape) == 2:
        return _of_masks(event, images)
    return _of_table(event, _from_vectors(labels, own, event.num_classes), base)


def arranged(folder: Path, meaning: Meaning, images: Path, labels: Path) -> Path:
    """Make the folder that the recipe is run on: links to images and masks, or beside the images the label file."""
    folder.mkdir(parents=True, exist_ok=True)
    _link(folder / IMAGES, images)
    if meaning.masks:
        _link(folder / MASKS, labels)
    elif meaning.table is not None:
        write_bytes(folder / TABLE, meaning.table)
    return folder


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve(), target_is_directory=True)


def _label_column(columns: list[str]) -> str:
    """Return the column with the label: the second of two, else the one of that name."""
    if len(columns) == 2:
        return columns[1]
    if "label" not in columns[1:]:
        raise UserError(f"the label file has {len(columns)} columns; call the one with the label `label`, or leave two")
    return "label"


def _of_table(event: Arguments, table: bytes, base: str, label: str | None = None) -> Meaning:
    """With the column of the only label, or None where every column but the first is one."""
    rows = _rows(table)
    columns = tuple(rows[0]) if label is None else (rows[0][0], label)
    place = rows[0].index(columns[1])
    words = {row[place].strip() for row in rows[1:] if len(row) > place and row[place].strip()}
    wanted = event.num_classes
    found = len(words) if len(columns) == 2 else len(columns) - 1
    if wanted is not None and wanted != found:
        raise UserError(f"num_classes: the event says {wanted}, the labels have {found}; correct one of them")
    labels: dict[str, Any] = {"file": TABLE, "image": columns[0]}
    changes = {"data": {"labels": labels}, "target": {"columns": list(columns[1:])}}
    return Meaning(_written(event, base, changes), table, columns=columns)


def _of_masks(event: Arguments, images: Source) -> Meaning:
    suffixes = Counter(PurePosixPath(name).suffix for name in images.walk() if is_image(name))
    suffix = suffixes.most_common(1)[0][0]
    classes = ["background", *(f"class-{number}" for number in range(1, event.num_classes or 2))]
    data = {"layout": "array", "image": f"{IMAGES}/{{sample}}{suffix}", "mask": f"{MASKS}/{{sample}}.npy"}
    changes = {"data": data, "target": {"mask_values": {name: number for number, name in enumerate(classes)}}}
    return Meaning(_written(event, _MASKS_RECIPE, changes), masks=True)


def _written(event: Arguments, base: str, changes: dict[str, Any]) -> str:
    """Return a built-in recipe with changes, checked, as YAML."""
    values = yaml.safe_load(builtin_text(base))
    count = event.num_channels
    channels = _CHANNELS.get(count, tuple(f"channel-{number}" for number in range(1, count + 1)))
    common = {
        "name": "pipeline",
        "description": f"What an event of the serverless pipeline means, from {base}",
        "data": {"channels": list(channels)},
        "preprocess": {"colour": _COLOURS.get(count, "as-is")},
    }
    for section in (common, changes):
        for key, value in section.items():
            values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    parse_recipe(text)
    return text


def _table(labels: Source) -> bytes:
    names = [name for name in labels.walk() if name.lower().endswith(".csv")]
    if len(names) != 1:
        raise UserError(
            f"label_style: single expects one CSV with the image's name and its label; there are {len(names)} "
            "where the labels are"
        )
    return labels.read(names[0])


def _rows(table: bytes) -> list[list[str]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(table.decode("utf-8-sig"))) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError("the label file is no CSV in UTF-8") from error
    if len(rows) < 2 or len(rows[0]) < 2 or len(set(rows[0])) < len(rows[0]):
        raise UserError("the label file: expected a first line with names, such as image,label, and a line an image")
    return rows


def _from_vectors(labels: Source, names: list[str], wanted: int | None) -> bytes:
    """Return a CSV of vectors, one an image."""
    vectors = {_stem(name): read_array(labels.read(name)).reshape(-1) for name in names}
    lengths = {len(vector) for vector in vectors.values()}
    if len(lengths) != 1:
        raise UserError(
            f"label_style: arrays of one set have one length; these have {', '.join(map(str, sorted(lengths)))}"
        )
    if len(vectors) != len(names):
        raise UserError("label_style: several arrays have the same name in different folders; give each image its own")
    count = lengths.pop()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["image", *(f"class-{number}" for number in range(count))] if count > 1 else ["image", "label"])
    writer.writerows([stem, *(f"{value:g}" for value in vector)] for stem, vector in vectors.items())
    return out.getvalue().encode()


def _stem(name: str) -> str:
    return PurePosixPath(name).name.partition(".")[0] if name.lower().endswith(".nii.gz") else PurePosixPath(name).stem
