"""What a user names to be predicted: files, folders and zips, volumes, and folders that are one DICOM series each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from medloom.data.layouts.base import list_images
from medloom.data.sources import FolderSource, Source, open_source
from medloom.data.whole import dicom_files
from medloom.errors import DataError
from medloom.imaging import (
    Budget,
    Volume,
    read_frames,
    read_series,
    read_volume,
    strip_suffix,
)

if TYPE_CHECKING:
    from medloom.inference.prepared import Prepared

__all__ = ["Entry", "ImageFile", "SeriesFolder", "open_images", "read_input"]

_ZIP = ".zip"


@dataclass(frozen=True)
class ImageFile:
    """One image that can be read.

    Args:
        name: As the user knows it: the file's name, or the path inside the folder or zip.
        read: Gives its bytes.
        place: Its whole path, by the end of which a table may name it; the name alone if empty.
        beside: Prepares it with the slices beside it, for a model that sees them; None where they are not known.
    """

    name: str
    read: Callable[[], bytes]
    place: str = ""
    beside: Callable[[], Prepared] | None = None

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
    """

    name: str
    read: Callable[[], list[bytes]]
    place: str = ""
    series: str | None = None

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
    with ExitStack() as stack:
        images: list[Entry] = []
        for path in map(Path, paths):
            place = path.expanduser().resolve()
            if path.is_file() and path.suffix.lower() != _ZIP:
                read = partial(FolderSource(path.parent).read, path.name)  # bounded, as in a folder
                images.append(ImageFile(path.name, read, place.as_posix()))
                continue
            source = stack.enter_context(open_source(path))
            names = [name for name in sorted(source.names()) if not any(fnmatch(name, one) for one in skip)]
            if series is not None:
                read_all = partial(dicom_files, source, names)
                images.append(SeriesFolder(place.name, read_all, place.as_posix(), series or None))
            else:
                images += (
                    ImageFile(name, read, f"{strip_suffix(place.as_posix(), (_ZIP,))}/{name}")
                    for name, read in _readers(source, names)
                )
        yield images


def _readers(source: Source, names: Sequence[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    images = set(list_images(names, source.read))
    for name in names:
        if name in images:
            yield name, partial(source.read, name)
        elif name.lower().endswith(_ZIP):
            yield name, _refuse_zip


def _refuse_zip() -> bytes:
    raise DataError("a zip inside a folder or zip is not opened; name it by itself, or leave it out with --skip")


def read_input(image: Entry, *, page: int | None, budget: Budget, frames: bool = True) -> Volume | bytes:
    """Read a volume whole, where the input is one and no page of it was asked for; else give its bytes.

    Args:
        image: What to read.
        page: Page that was asked for; None takes all of a file that is a volume. A DICOM series is always taken whole.
        budget: What one file may cost.
        frames: Whether the frames of one DICOM file are taken for a volume where they are one, in the order in which
            they lie in the patient; else their numbers are those in the file.

    Raises:
        DataError: If the files are not one whole series.
        DecodeError: If the bytes are not an acceptable image.
    """
    if isinstance(image, SeriesFolder):
        return read_series(image.read(), series=image.series, budget=budget)
    data = image.read()
    if page is not None:
        return data
    return read_volume(data, budget=budget) or (read_frames(data, budget=budget) if frames else None) or data
