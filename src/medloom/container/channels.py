"""From the channels of a job to the folder or zip of its images, and to the parts that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medloom.container.environment import Channel
from medloom.data.layouts import build_layout
from medloom.data.layouts.base import Item
from medloom.data.opening import open_source
from medloom.data.sources import is_zip
from medloom.errors import DataError, UserError
from medloom.files import write_text
from medloom.recipe import Recipe
from medloom.wording import nearest

__all__ = ["RECIPE_CHANNEL", "Images", "gathered", "part_settings"]

PARTS = {
    "training": "train",
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""Which part of the images a channel is; ``training`` alone is all of them, to be divided."""

RECIPE_CHANNEL = "recipe"
"""A channel with the recipe, as one YAML file."""

_LIST = "medloom-{part}-list.txt"


@dataclass(frozen=True)
class Images:
    """The images of a job.

    Args:
        path: Folder or zip.
        parts: The parts that have a channel of their own, each a folder in ``path``; none where all are to be divided.
    """

    path: Path
    parts: tuple[str, ...] = ()


def gathered(channels: Mapping[str, Channel], scratch: Path) -> Images:
    """Find the images of a job; several channels become folders beside each other, without a copy.

    Args:
        channels: The channels by name; those that are for no images are left alone.
        scratch: An empty folder for links.

    Raises:
        UserError: If no channel is for training, one is empty, or they do not go together.
    """
    found: dict[str, Channel] = {}
    for name, channel in channels.items():
        part = PARTS.get(name)
        if part in found:
            raise UserError(f"the channels {found[part].name} and {name} are both for {part}; leave one of them out")
        if part is not None:
            _check(channel)
            found[part] = channel
    if "train" not in found:
        raise UserError(_none(channels))
    if len(found) == 1:
        return Images(_folder_or_zip(found["train"].folder))
    if "test" not in found:
        raise UserError(
            "there is a channel validation and no channel test, and metrics are of images that nothing was chosen by; "
            "add a channel test, or give all images in one channel training, which are then divided by patient"
        )
    for part, channel in found.items():
        _check_folder(channel)
        (scratch / part).symlink_to(channel.folder.absolute(), target_is_directory=True)
    return Images(scratch, tuple(sorted(found)))


def part_settings(recipe: Recipe, images: Images) -> dict[str, object]:
    """Return what makes a recipe keep to the channels: its layout may know them as parts, else they are listed.

    Only names are looked at, so what does not fit is said at once.

    Args:
        recipe: The recipe.
        images: Its images.

    Raises:
        DataError: If nothing in them is laid out as the recipe says; names no file.
    """
    with open_source(images.path) as source:
        names = source.names()
        listing = build_layout(recipe).find(names, source.read)
    if not listing.items:
        counts = f"{len(names):,} files, of which none is"
        raise DataError(
            f"data.layout={recipe.data.layout}: the channels hold {counts} laid out so; expected "
            f"{build_layout(recipe).expects()}",
            [f"{problem.file}: {problem.detail}" for problem in listing.problems],
        )
    if not images.parts:
        return {}
    kept = {"split.published": "respect"}
    if all(item.published == _channel_of(item) for item in listing.items):
        return dict(kept)
    for part in images.parts:
        lines = [name for item in listing.items for name in item.images[:1] if _channel_of(item) == part]
        write_text(images.path / _LIST.format(part=part), "".join(f"{line}\n" for line in dict.fromkeys(lines)))
    return {**kept, "split.lists": {part: _LIST.format(part=part) for part in images.parts}}


def _channel_of(item: Item) -> str:
    return next((name.partition("/")[0] for name in (*item.images, item.mask) if name), "")


def _check(channel: Channel) -> None:
    if channel.mode == "Pipe":
        raise UserError(f"channel {channel.name}: its TrainingInputMode is Pipe; expected File or FastFile")
    if not channel.folder.is_dir():
        raise UserError(f"channel {channel.name}: there is no folder {channel.folder}")
    if not any(channel.folder.iterdir()):
        raise UserError(
            f"channel {channel.name} is empty; does its S3 prefix end with a slash, and is it the right one?"
        )


def _check_folder(channel: Channel) -> None:
    if _folder_or_zip(channel.folder) != channel.folder:
        raise UserError(f"channel {channel.name} is a zip; of several channels each has to be a folder: unpack it")


def _folder_or_zip(folder: Path) -> Path:
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return files[0] if len(files) == 1 and files[0].is_file() and is_zip(files[0]) else folder


def _none(channels: Mapping[str, Channel]) -> str:
    there = f"the job has {', '.join(channels)}" if channels else "the job has none"
    guess = next((said for name in channels if (said := nearest(name, list(PARTS)))), "")
    return f"there is no channel training, or train: {there}{guess}"
