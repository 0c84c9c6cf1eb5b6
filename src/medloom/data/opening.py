"""From what a user named to the files in it: a folder, a zip, or a place in a bucket."""

from __future__ import annotations

from pathlib import Path

from medloom.data.buckets import SCHEME, BucketSource, Place, place_of
from medloom.data.sources import FolderSource, Source, ZipSource, is_zip
from medloom.errors import DataError

__all__ = ["Images", "absolute", "images_at", "name_of", "open_source"]

Images = Path | Place
"""Where images are."""


def images_at(named: str | Images) -> Images:
    """Return where images are that a user named; nothing is looked for.

    Args:
        named: Path of a folder or of a zip file, or ``s3://bucket/prefix/``.

    Raises:
        DataError: If it begins as a URI does and is none of S3.

    Example:
        >>> images_at("brain.zip"), images_at("s3://scans/brain")
        (PosixPath('brain.zip'), Place(bucket='scans', key='brain/'))
    """
    if isinstance(named, Place):
        return named
    text = str(named)
    if isinstance(named, Path) or "://" not in text:
        return Path(named).expanduser()
    if not text.startswith(SCHEME):
        raise DataError(f"{text}: expected a folder, a zip file or {SCHEME}BUCKET/FOLDER/")
    place = place_of(text)
    if place.key.endswith(".zip"):
        raise DataError(f"{text}: a zip in a bucket is not read; unpack it there, or copy it here and name the copy")
    return place if not place.key or place.key.endswith("/") else place._replace(key=f"{place.key}/")


def absolute(images: Images) -> str:
    """Return what names images from every folder of this machine."""
    return str(images.absolute() if isinstance(images, Path) else images)


def name_of(images: Images) -> str:
    """Return what images are called: the name of their folder or zip, or the last one in a bucket.

    Example:
        >>> name_of(Path("data/brain.zip")), name_of(Place("scans", "mri/brain/")), name_of(Place("scans", ""))
        ('brain', 'brain', 'scans')
    """
    if isinstance(images, Path):
        return images.absolute().stem
    return images.key.rstrip("/").rpartition("/")[2] or images.bucket


def open_source(location: str | Images) -> Source:
    """Open the folder, the zip archive or the part of a bucket that a user named.

    Args:
        location: Path of a folder or of a zip file, or ``s3://bucket/prefix/``.

    Returns:
        A source; close it, or use it as a context manager.

    Raises:
        DataError: If it is none of them, or an unsafe archive.
        UserError: If the bucket cannot be listed.
        ServerError: If that may be so for now only.

    Example:
        >>> with open_source("brain.zip") as source:  # doctest: +SKIP
        ...     source.names()
    """
    path = images_at(location)
    if isinstance(path, Place):
        return BucketSource(path)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise DataError(f"{location} does not exist")
    if not is_zip(path):
        raise DataError(f"{location} is neither a folder nor a zip file; unpack it and name the folder")
    return ZipSource(path)
