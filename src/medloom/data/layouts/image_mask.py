"""``image-mask``: any folder of images and masks, described by two patterns.

``{patient}``, ``{sample}`` and ``{channel}`` each match one part of a path, without a slash; everything else
is literal. A pattern may begin anywhere in the path: ``images/{sample}.png`` also finds
``set/images/7.png``. With ``{channel}`` in the image's pattern each of the recipe's channels is a file. ``{split}``
matches what a published part is called, such as ``train`` or ``Test``, and ``{folder}`` anything that says nothing.
``{part}`` in the mask's pattern matches what tells several masks of one image apart, or nothing, and ``{class}`` the
name of a class where each has a file. A number says how many characters there are: ``Image_{patient:2}{sample}.jpg``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from medloom.data.layouts.base import PART_OF, Item, Listing, Problem, Read, is_image, natural_key
from medloom.errors import RecipeError
from medloom.recipe import MasksRecipe, Recipe
from medloom.wording import counted

__all__ = ["ClassOfFile", "ImageMask", "build"]

_HINT = "Put {patient} into data.image and the pattern beside it."
_FIELDS = {
    "image": ("patient", "sample", "split", "folder", "channel"),
    "mask": ("patient", "sample", "split", "folder", "part", "class"),
    "array": ("patient", "sample", "split", "folder"),
}
"""What a pattern may have; the first four stand in both or in neither."""

_MEANT = {"split": f"(?i:{'|'.join(PART_OF)})", "part": "[^/]*?"}
"""What a field matches; ``{class}`` one of the classes but the background, every other one at least one character."""

_OF_MASKS = {"part", "class"}
_FIELD = re.compile(r"\{([^{}:]*)(?::(\d{1,2}))?\}")

Key = tuple[str, str, str, str]  # what says nothing, patient, sample, part of a published split


@dataclass(frozen=True)
class _Pattern:
    """A compiled pattern."""

    text: str
    key: str
    fields: tuple[str, ...]
    literal: int
    expression: re.Pattern[str]

    def match(self, name: str) -> dict[str, str] | None:
        found = self.expression.fullmatch(name)
        return found.groupdict(default="") if found else None


@dataclass(frozen=True)
class ClassOfFile:
    """Says of which class the file of a mask is, where each class has its own.

    Args:
        mask: Pattern of the mask's path, with ``{class}``.
        classes: Names of the classes, the background first.

    Example:
        >>> ClassOfFile("{sample}_{class}.png", ("background", "MA", "HE"))("set/7_HE.png")
        'HE'
    """

    mask: str
    classes: tuple[str, ...]

    def __call__(self, file: str) -> str:
        """Return the class; empty for a file that is no mask."""
        return (_compile(self.mask, "mask", self.classes).match(file) or {}).get("class", "")


class ImageMask:
    """Samples by a pattern for the image and a pattern for the mask.

    Args:
        image: Pattern of an image's path; has ``{sample}``, ``{patient}`` or both, and may have ``{channel}``. Without
            ``{patient}``, each sample counts as a patient of its own; without ``{sample}``, each patient has one image.
            May have ``{split}`` and ``{folder}``.
        mask: Pattern of the mask's path with the image's names, but for ``{channel}``; may have ``{part}`` or
            ``{class}``.
        channels: Names of the channels in order.
        missing_channel: ``refuse``, ``zeros`` or ``copy:NAME``: what a missing channel file gets.
        key: The recipe's key that holds the pattern of the mask, for messages.
        classes: Names of the classes, the background first; for ``{class}``.

    Raises:
        RecipeError: If a pattern cannot work.

    Example:
        >>> layout = ImageMask("{patient}/{sample}.png", "{patient}/{sample}_seg.png", ("grey",), "refuse")
        >>> [item.mask for item in layout.find(["a/1.png", "a/1_seg.png"]).items]
        ['a/1_seg.png']
    """

    def __init__(
        self,
        image: str,
        mask: str,
        channels: tuple[str, ...] = ("grey",),
        missing_channel: str = "refuse",
        key: str = "mask",
        classes: tuple[str, ...] = (),
    ) -> None:
        self._image = _compile(image, "image")
        self._mask = _compile(mask, key, classes)
        self._channels = channels
        self._missing = missing_channel
        if image == mask:
            raise RecipeError(f"data.image and data.{key} are the same pattern: {image!r}")
        if set(self._mask.fields) - _OF_MASKS != set(self._image.fields) - {"channel"}:
            raise RecipeError(
                f"data.{key}: {mask!r} must have the names of data.image ({', '.join(self._image.fields)}) "
                "but for {channel}"
            )

    def find(self, names: Sequence[str], read: Read | None = None) -> Listing:
        """Return the samples among ``names``.

        Args:
            names: Relative POSIX paths.
            read: Not used: the names say all.

        Returns:
            The samples; images without masks, masks without images, and what ``missing_channel`` refuses
            are problems. Images that fit neither pattern are counted in a note.
        """
        images: dict[Key, dict[str, str]] = {}
        masks: dict[Key, list[str]] = {}
        others = 0
        for name in names:
            pattern, found = self._match(name)
            channel = found.get("channel", "")
            if pattern is self._mask:
                masks.setdefault(_key(found), []).append(name)
            elif pattern is self._image and (not self._per_channel or channel in self._channels):
                images.setdefault(_key(found), {})[channel] = name
            else:
                others += is_image(name)
        items, problems = self._pair(images, masks)
        named = "{patient} of data.image" if "patient" in self._image.fields else ""
        return Listing(items, tuple(problems), self._notes(others), patients=named, patients_hint=_HINT)

    def expects(self) -> str:
        """Return what files it looks for."""
        return f"images like {self._image.text} with masks like {self._mask.text}"

    def rules(self) -> dict[str, Any]:
        """Return what decides the outcome."""
        patterns = {"image": self._image.text, "mask": self._mask.text}
        rule = {"channels": list(self._channels), "missing_channel": self._missing}
        return {"layout": "image-mask", "version": 1, **patterns, **rule}

    @property
    def _per_channel(self) -> bool:
        return "channel" in self._image.fields

    def _match(self, name: str) -> tuple[_Pattern | None, dict[str, str]]:
        """Which pattern a path fits; of two the one that says more: ``{sample}.png`` fits ``7_seg.png`` too."""
        for pattern in sorted((self._mask, self._image), key=lambda pattern: -pattern.literal):
            if found := pattern.match(name):
                return pattern, found
        return None, {}

    def _notes(self, others: int) -> tuple[str, ...]:
        fit = counted(others, "image fits", "images fit")
        notes = [f"{fit} neither data.image nor data.{self._mask.key}: left out"] if others else []
        return tuple(notes)

    def _pair(
        self, images: Mapping[Key, dict[str, str]], masks: Mapping[Key, list[str]]
    ) -> tuple[tuple[Item, ...], list[Problem]]:
        items: list[Item] = []
        problems: list[Problem] = []
        for key in sorted(images.keys() | masks.keys(), key=_order):
            files, (mask, *more) = images.get(key, {}), sorted(masks.get(key, [""]), key=natural_key)
            if not files:
                problems += [Problem("missing_image", one, "a mask without its image") for one in (mask, *more)]
            elif not mask:
                problems.append(Problem("missing_mask", min(files.values()), "an image without its mask"))
            else:
                found = self._channel_files(files)
                if isinstance(found, str):
                    problems.append(Problem("missing_channel", mask, found))
                else:
                    items.append(_item(key, found, mask, tuple(more)))
        return tuple(items), problems

    def _channel_files(self, files: Mapping[str, str]) -> tuple[str, ...] | str:
        """Paths in the order of the channels, or why they cannot be had."""
        if not self._per_channel:
            return (files[""],)
        rule, _, source = self._missing.partition(":")
        absent = [channel for channel in self._channels if channel not in files]
        if absent and (rule == "refuse" or (rule == "copy" and source in absent)):
            return f"this sample has no file for {', '.join(absent)}; see data.missing_channel"
        fallback = files[source] if rule == "copy" and absent else ""
        return tuple(files.get(channel, fallback) for channel in self._channels)


def build(recipe: Recipe) -> ImageMask:
    """Return the layout with a recipe's patterns."""
    masks = MasksRecipe.of(recipe)
    data, classes = masks.data, tuple(masks.target.mask_values)
    return ImageMask(data.image, data.mask, data.channels, data.missing_channel, classes=classes)


@cache
def _compile(text: str, key: str, classes: tuple[str, ...] = ()) -> _Pattern:
    """Turn a pattern into a regular expression; a name that comes twice must match the same text."""
    fields: list[str] = []
    expression = r"(?P<_root>(?:.*/)?)"
    position, last = 0, ""
    for found in _FIELD.finditer(text):
        name, width = found.groups()
        if name not in _FIELDS[key] or (name == "class" and not classes):
            raise RecipeError(f"data.{key}: {{{name}}} in {text!r} is not one of {', '.join(_FIELDS[key])}")
        if last and position == found.start() and name not in fields:
            raise RecipeError(
                f"data.{key}: nothing in {text!r} says where {{{last}}} ends and {{{name}}} begins; put the text that "
                f"stands between them there, or the number of characters of the first, such as {{{last}:2}}"
            )
        expression += re.escape(text[position : found.start()])
        expression += f"(?P={name})" if name in fields else f"(?P<{name}>{_meant(name, width, classes)})"
        fields += [name] if name not in fields else []
        position, last = found.end(), "" if width or name in _OF_MASKS else name
    if not {"sample", "patient"} & set(fields):
        raise RecipeError(
            f"data.{key}: {text!r} needs {{sample}}, the part that tells samples apart, or {{patient}} where each "
            "patient has one image"
        )
    expression += re.escape(text[position:])
    return _Pattern(text, key, tuple(fields), len(_FIELD.sub("", text)), re.compile(expression))


def _meant(name: str, width: str | None, classes: Sequence[str]) -> str:
    """What a field matches: by its name, or so many characters."""
    if name == "class":
        return "|".join(map(re.escape, sorted(classes[1:], key=len, reverse=True)))
    return f"[^/]{{{width}}}" if width else _MEANT.get(name, "[^/]+?")


def _key(found: Mapping[str, str]) -> Key:
    patient = found.get("patient", "")
    above = f"{found['_root']}{found.get('folder', '')}"
    return above, patient, found.get("sample", patient), found.get("split", "")


def _order(key: Key) -> tuple[Any, ...]:
    root, patient, sample, split = key
    return patient, root, natural_key(patient), natural_key(sample), split


def _item(key: Key, images: tuple[str, ...], mask: str, more: tuple[str, ...]) -> Item:
    _, patient, sample, split = key
    published = PART_OF.get(split.lower(), "")
    return Item(patient or sample, sample, images, mask, published=published, known=bool(patient), more_masks=more)
