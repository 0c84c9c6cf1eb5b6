"""What a user names to be predicted: files, folders and zips, volumes, and folders that are one DICOM series each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from medloom.data.layouts.base import is_one
from medloom.data.opening import open_source
from medloom.data.sources import FolderSource, Source
from medloom.data.whole import dicom_files, read_whole
from medloom.errors import DataError
from medloom.imaging import (
    Budget,
    Volume,
    read_series,
    sniff,
    strip_suffix,
)

if TYPE_CHECKING:
    from medloom.inference.prepared import Prepared, VolumeDecoder

__all__ = ["Entry", "ImageFile", "SeriesFolder", "images_of", "named_file", "open_images", "opened", "read_input"]

_ZIP = ".zip"
_HEAD = 2**12
"""Bytes by which the format of a file without a suffix is known."""

_NIFTI, _DICOM = "nifti", "dicom"


def _unknown() -> str:
    return ""


@dataclass(frozen=True)
class ImageFile:
    """One image that can be read.

    Args:
        name: As the user knows it: the file's name, or the path inside the folder or zip.
        read: Gives its bytes.
        place: Its whole path, by the end of which a table may name it; the name alone if empty.
        beside: Prepares it with the slices beside it, for a model that sees them; None where they are not known.
        stamp: Gives something cheap that changes when the file changes, its bytes first; see ``Source.stamp``.
    """

    name: str
    read: Callable[[], bytes]
    place: str = ""
    beside: Callable[[], Prepared] | None = None
    stamp: Callable[[], str] = _unknown

    @property
    def stem(self) -> str:
        """The name without the suffix of an image."""
        return strip_suffix(self.name)


@dataclass(frozen=True)
class SeriesFolder:
    """A folder or zip that is one DICOM series, or of which one is taken.

    Args:
        name: Name of the folder.
        read: Gives the bytes of its DICOM files.
        place: Its whole path, by the end of which a table may name it; the name alone if empty.
        series: Which one, by its index or UID; None where there is one alone.
        stamp: As of ``ImageFile``.
    """

    name: str
    read: Callable[[], list[bytes]]
    place: str = ""
    series: str | None = None
    stamp: Callable[[], str] = _unknown

    @property
    def stem(self) -> str:
        """The name as it is; dots in it are no suffix."""
        return self.name


Entry = ImageFile | SeriesFolder


@contextmanager
def open_images(
    paths: Iterable[str | Path], skip: Sequence[str] = (), *, series: str | None = None
) -> Iterator[list[Entry]]:
    """List the images in files, folders and zips, to be read inside the ``with`` block.

    A file that is named is always listed, whatever its suffix; in a folder or zip, only images are: by their
    suffix, or where they have none, as scanners write DICOM, by content. A zip in there is listed as well, and
    refuses to be read, so that its images do not silently go unpredicted.

    Args:
        paths: Files, folders and zips.
        skip: Patterns of names in folders and zips to leave out, such as ``*_mask.*``.
        series: Take each folder and zip as one DICOM series, whatever its files are called: the one of that index or
            UID, or with an empty text the only one.

    Raises:
        DataError: If a path is missing or a zip is not safe to read.
    """
    with opened(paths, skip, series=series) as images:
        yield list(images())


@contextmanager
def opened(
    paths: Iterable[str | Path], skip: Sequence[str] = (), *, series: str | None = None
) -> Iterator[Callable[[], Iterator[Entry]]]:
    """Give what lists the same images one by one, as often as it is asked, for more than there is memory for.

    All paths are opened before the first image is listed, so that a missing one is not found out at the end.

    Args:
        paths: As of ``open_images``.
        skip: As of ``open_images``.
        series: As of ``open_images``.

    Raises:
        DataError: As of ``open_images``.
    """
    with ExitStack() as stack:
        parts = [_part(path, skip, series, stack) for path in map(Path, paths)]
        yield lambda: (image for part in parts for image in part())


def named_file(path: Path, name: str) -> ImageFile:
    """Return a file that is named by itself.

    Args:
        path: Where it lies.
        name: What the user calls it.
    """
    source = FolderSource(path.parent)  # bounded, as in a folder
    place = path.expanduser().resolve().as_posix()
    return ImageFile(name, partial(source.read, path.name), place, stamp=partial(source.stamp, path.name))


def _part(path: Path, skip: Sequence[str], series: str | None, stack: ExitStack) -> Callable[[], Iterator[Entry]]:
    """What lists the images of one path."""
    if path.is_file() and path.suffix.lower() != _ZIP:
        return lambda: iter([named_file(path, path.name)])
    source = stack.enter_context(open_source(path))
    return images_of(source, path.expanduser().resolve().as_posix(), skip, series=series)


def images_of(
    source: Source, place: str, skip: Sequence[str] = (), *, series: str | None = None
) -> Callable[[], Iterator[Entry]]:
    """Return what lists the images of a source one by one, as often as it is asked.

    Args:
        source: An open source.
        place: Its whole path.
        skip: As of ``open_images``.
        series: As of ``open_images``.
    """
    if series is None:
        return partial(_images, source, strip_suffix(place, (_ZIP,)), skip)
    return lambda: iter([_series(source, place, skip, series)])


def _series(source: Source, place: str, skip: Sequence[str], series: str) -> SeriesFolder:
    names = list(_unskipped(source, skip))
    stamp = partial(_stamp_of_all, source, names)
    name = place.rpartition("/")[2]
    return SeriesFolder(name, partial(dicom_files, source, names), place, series or None, stamp)


def _images(source: Source, place: str, skip: Sequence[str]) -> Iterator[Entry]:
    head = partial(source.head, most=_HEAD)
    for name in _unskipped(source, skip):
        is_zip = name.lower().endswith(_ZIP)
        if not is_zip and not is_one(name, head):
            continue
        read = _refuse_zip if is_zip else partial(source.read, name)
        yield ImageFile(name, read, f"{place}/{name}", stamp=partial(source.stamp, name))


def _unskipped(source: Source, skip: Sequence[str]) -> Iterator[str]:
    return (name for name in source.walk() if not any(fnmatch(name, one) for one in skip))


def _stamp_of_all(source: Source, names: Sequence[str]) -> str:
    """Bytes of all files, and a digest of what each is called and of its own stamp."""
    stamps = [source.stamp(name) for name in names]
    digest = hashlib.sha256("\0".join([*names, *stamps]).encode(errors="surrogateescape")).hexdigest()
    return f"{sum(int(one.partition(':')[0]) for one in stamps)}:{digest}"


def _refuse_zip() -> bytes:
    raise DataError("a zip inside a folder or zip is not opened; name it by itself, or leave it out with --skip")


def read_input(
    image: Entry, *, page: int | None, budget: Budget, frames: bool = True, reader: VolumeDecoder = read_whole
) -> Volume | bytes:
    """Read a volume whole, where the input is one and no page of it was asked for; else give its bytes.

    Args:
        image: What to read.
        page: Page that was asked for; None takes all of a file that is a volume. A DICOM series is always taken whole.
        budget: What one file may cost.
        frames: Whether the frames of one DICOM file are taken for a volume where they are one, in the order in which
            they lie in the patient; else their numbers are those in the file.
        reader: What reads a file as a volume; a series is read here.

    Raises:
        DataError: If the files are not one whole series.
        DecodeError: If the bytes are not an acceptable image.
    """
    if isinstance(image, SeriesFolder):
        return read_series(image.read(), series=image.series, budget=budget)
    data = image.read()
    if page is not None or sniff(data) not in ((_NIFTI, _DICOM) if frames else (_NIFTI,)):
        return data
    return reader(data, budget=budget) or data
