"""What a ``dataset.json`` says, of the Medical Segmentation Decathlon and of nnU-Net in both versions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from medloom.errors import DataError

__all__ = ["Case", "Description", "read_description"]

_IGNORE = "ignore"
_ENDING = ".nii.gz"
_MOST_BYTES = 2**26


@dataclass(frozen=True)
class Case:
    """A training case.

    Args:
        images: Its image, or a file for each channel, beside ``dataset.json``; of nnU-Net without ``_0000``.
        mask: Its mask.
    """

    images: tuple[str, ...]
    mask: str


@dataclass(frozen=True)
class Description:
    """What the file says.

    Args:
        channels: Names of the channels in order.
        labels: Value of each class, the background first.
        ignored: The value that counts nowhere; None if there is none.
        ending: How the names of files end, with a dot.
        cases: The training cases; empty where the file lists none.
        count: ``numTraining``; None where it is not said.
    """

    channels: tuple[str, ...]
    labels: dict[str, int]
    ignored: int | None
    ending: str
    cases: tuple[Case, ...]
    count: int | None


def read_description(data: bytes) -> Description:
    """Read a ``dataset.json``.

    Args:
        data: The file.

    Raises:
        DataError: If it is no JSON, or lacks channels or classes, or has classes that are several values.

    Example:
        >>> text = b'{"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Left Atrium"}, "training": []}'
        >>> found = read_description(text)
        >>> found.channels, found.labels
        (('MRI',), {'background': 0, 'Left Atrium': 1})
    """
    if len(data) > _MOST_BYTES:
        raise DataError(f"dataset.json has {len(data):,} bytes; expected at most {_MOST_BYTES:,}")
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DataError("dataset.json is no JSON in UTF-8") from error
    if not isinstance(found, dict):
        raise DataError("dataset.json holds no object; expected channel_names (or modality) and labels")
    labels = _labels(found.get("labels"))
    ignored = labels.pop(_IGNORE, None)
    cases = _cases(found)
    return Description(_channels(found), labels, ignored, _ending(found, cases), cases, _count(found))


def _channels(found: Mapping[str, Any]) -> tuple[str, ...]:
    named = found.get("channel_names", found.get("modality"))
    if not isinstance(named, dict) or not named or not all(str(key).isdecimal() for key in named):
        raise DataError('dataset.json: expected channel_names (or modality) such as {"0": "T1", "1": "T2"}')
    return tuple(str(named[key]).strip() for key in sorted(named, key=int))


def _labels(found: object) -> dict[str, int]:
    """Names and values, whichever stands first."""
    if not isinstance(found, dict) or len(found) < 2:
        raise DataError('dataset.json: expected labels such as {"background": 0, "liver": 1}')
    if any(isinstance(value, list) for value in found.values()):
        raise DataError(
            "dataset.json: a class of several values (regions) is not read; name each value once in labels, as it "
            "stands in the masks"
        )
    turned = all(str(key).isdecimal() for key in found)
    pairs = [(value, key) if turned else (key, value) for key, value in found.items()]
    if not all(str(value).isdecimal() for _, value in pairs):
        raise DataError("dataset.json: expected a whole number from 0 for each of labels")
    labels = {str(name).strip(): int(value) for name, value in pairs}
    if len(labels) < len(pairs) or len(set(labels.values())) < len(pairs):
        raise DataError("dataset.json: two of labels have the same name or the same value")
    return dict(sorted(labels.items(), key=lambda pair: pair[1]))


def _cases(found: Mapping[str, Any]) -> tuple[Case, ...]:
    """What ``training`` lists, or ``dataset``, where nnU-Net keeps paths of its own."""
    listed, kept = found.get("training", []), found.get("dataset", {})
    if isinstance(kept, dict) and kept:
        return tuple(_case(one.get("images"), one.get("label")) for one in _objects(kept.values()))
    if not isinstance(listed, list):
        raise DataError("dataset.json: expected a list in training")
    return tuple(_case(one.get("image"), one.get("label")) for one in _objects(listed))


def _objects(found: Iterable[Any]) -> list[dict[str, Any]]:
    listed = list(found)
    if not all(isinstance(one, dict) for one in listed):
        raise DataError("dataset.json: expected an image and a label for each training case")
    return listed


def _case(images: object, mask: object) -> Case:
    paths = images if isinstance(images, list) else [images]
    if not paths or not all(isinstance(path, str) for path in (*paths, mask)):
        raise DataError("dataset.json: expected an image and a label for each training case")
    return Case(tuple(_inside(str(path)) for path in paths), _inside(str(mask)))


def _inside(path: str) -> str:
    """A path beside ``dataset.json``; it is only ever compared with those of files that are there."""
    return path.replace("\\", "/").removeprefix("./")


def _ending(found: Mapping[str, Any], cases: tuple[Case, ...]) -> str:
    said = found.get("file_ending")
    if isinstance(said, str) and said:
        return said if said.startswith(".") else f".{said}"
    masks = [case.mask for case in cases]
    if masks and not all(mask.endswith(_ENDING) for mask in masks):
        name = masks[0].rpartition("/")[2]
        return name[name.find(".") :] if "." in name else ""
    return _ENDING


def _count(found: Mapping[str, Any]) -> int | None:
    count = found.get("numTraining")
    return count if isinstance(count, int) else None
