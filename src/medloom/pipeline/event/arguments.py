"""The twelve arguments of the event, each with its default and its type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from medloom.errors import UserError
from medloom.wording import nearest

__all__ = ["Arguments", "read_arguments"]

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
_BOOLEANS = ("is_dropbox", "is_train", "has_labels")
_NUMBERS = {"num_classes": (2, 1000), "num_machines": (1, 10_000), "num_channels": (1, 64)}
_STYLES = ("single", "array")
_SECRET = "auth_token"  # noqa: S105 - the name of an argument
_DROPBOX = (
    "is_dropbox: images are not read from Dropbox; bring them to S3, with `rclone copy dropbox:FOLDER "
    "s3:BUCKET/FOLDER` or, from a synchronised folder, `aws s3 cp --recursive FOLDER "
    "s3://BUCKET/FOLDER`, and name the bucket in images_bucket"
)


@dataclass(frozen=True)
class Arguments:
    """What an event says.

    Args:
        is_dropbox: Refused when true: images come from buckets on S3 and from folders.
        folder_name: The folder of the images in ``images_bucket``, and of the labels in theirs; empty: all of them.
        images_bucket: Name of a bucket, ``s3://BUCKET/PREFIX``, or a folder on this machine.
        is_train: Train a model; else predict with one.
        has_labels: Whether there are labels, which training needs and predictions are measured on.
        label_style: ``single``: a CSV with one label for each image; ``array``: an ``.npy`` file for each image.
        images_labels_bucket: Where the labels are, as ``images_bucket``; empty: among the images.
        model_bucket_name: Where the trained model is put or, to predict, is found, as ``images_bucket``.
        num_classes: How many classes there are, the background among them; None: as the labels say, of masks 2.
        num_machines: Machines to work on; this machine is one.
        num_channels: Channels of the images.
    """

    is_dropbox: bool = False
    folder_name: str = ""
    images_bucket: str = "images"
    is_train: bool = True
    has_labels: bool = True
    label_style: Literal["single", "array"] = "single"
    images_labels_bucket: str = ""
    model_bucket_name: str = "models"
    num_classes: int | None = None
    num_machines: int = 1
    num_channels: int = 1


def read_arguments(path: Path) -> Arguments:
    """Read an event from a JSON file. What ``auth_token`` holds is neither kept nor shown.

    Raises:
        UserError: If an argument is unknown, or is not what it has to be.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file; expected an event as JSON") from error
    except (ValueError, RecursionError) as error:  # which may quote the token
        raise UserError(f'{path} is not JSON; expected an object such as {{"images_bucket": "scans"}}') from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected a JSON object with the arguments of the event")
    return _arguments(found)


def _arguments(found: Mapping[str, Any]) -> Arguments:
    names = [field.name for field in fields(Arguments)]
    for name in found:
        if name not in (*names, _SECRET):
            valid = sorted([*names, _SECRET])
            raise UserError(f"there is no argument {name!r}{nearest(name, valid)}; expected {', '.join(valid)}")
    given: dict[str, Any] = {name: _value(name, found[name]) for name in names if name in found}
    event = Arguments(**{name: value for name, value in given.items() if value is not None})
    _check(event)
    return event


def _value(name: str, value: object) -> object:
    if name in _BOOLEANS:
        return _boolean(name, value)
    if name in _NUMBERS:
        return _number(name, value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise UserError(f"{name}: expected a text; got {json.dumps(value)}")
    return value


def _boolean(name: str, value: object) -> bool:
    word = "" if value is None else str(value).strip().lower()
    if word not in _WORDS:
        raise UserError(f"{name}: expected true, false, 1, 0, yes, no, or an empty text for false; got {value!r}")
    return _WORDS[word]


def _number(name: str, value: object) -> int | None:
    if value is None or value == "":
        return None
    least, most = _NUMBERS[name]
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or not least <= int(text[:9]) <= most:
        raise UserError(f"{name}: expected a whole number from {least} to {most}; got {value!r}")
    return int(text)


def _check(event: Arguments) -> None:
    if event.is_dropbox:
        raise UserError(_DROPBOX)
    if event.label_style not in _STYLES:
        known = nearest(event.label_style, _STYLES)
        raise UserError(f"label_style: there is no {event.label_style!r}{known}; expected single or array")
    if event.is_train and not event.has_labels:
        raise UserError(
            "is_train: training needs labels; set has_labels to true and say where they are, or is_train to false"
        )
