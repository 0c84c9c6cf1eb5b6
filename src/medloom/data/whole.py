"""Bytes from anywhere that are a whole volume: one file, or a zip with the files of one DICOM series."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath

from medloom.data.archive import Limits
from medloom.data.sources import Source, ZipSource
from medloom.errors import DataError, DecodeError
from medloom.imaging import (
    DEFAULT_BUDGET,
    FORMATS_BY_SUFFIX,
    Budget,
    Volume,
    read_frames,
    read_series,
    read_volume,
    sniff,
)
from medloom.imaging.checks import check_encoded
from medloom.imaging.dicom_sources import Sources, read_source, read_source_series
from medloom.imaging.registry import check_declared

__all__ = [
    "ZIP_MAGIC",
    "ZIP_TYPES",
    "dicom_files",
    "has_dicom",
    "may_be_dicom",
    "may_be_whole",
    "open_zip",
    "read_sources",
    "read_whole",
]

_DICOM_SUFFIXES = tuple(suffix for suffix, name in FORMATS_BY_SUFFIX.items() if name == "dicom")
_DICOM_INDEX = "DICOMDIR"
_VOLUME_FORMATS = frozenset({"dicom", "nifti"})
ZIP_MAGIC = b"PK\x03\x04"
"""How a zip begins."""

_HEAD = 2**12
_BYTES = "application/octet-stream"
_MOST_LISTED = 5
_NAMELESS = re.compile(r"series|slices")
"""What is said of a series as a whole counts its slices and names no file."""

ZIP_TYPES = ("application/zip", "application/x-zip-compressed")
"""Media types of a zip."""


def may_be_whole(data: bytes) -> bool:
    """Whether bytes begin as those of a format do that can hold a volume; nothing else of them is looked at."""
    try:
        return data.startswith(ZIP_MAGIC) or sniff(data) in _VOLUME_FORMATS
    except DecodeError:
        return False


def may_be_dicom(data: bytes) -> bool:
    """Whether bytes begin as DICOM does, or a zip, which may hold a series; nothing else of them is looked at."""
    return data.startswith(ZIP_MAGIC) or _is_dicom(data)


def read_whole(
    data: bytes, *, content_type: str | None = None, series: str | None = None, budget: Budget = DEFAULT_BUDGET
) -> Volume | None:
    """Read bytes from anywhere as a volume: NIfTI, the frames of a DICOM file, or a zip with the files of one series.

    Args:
        data: The encoded volume.
        content_type: What they are said to be; checked against what they are.
        series: Which series of a zip that holds several, by its index or UID.
        budget: What it may cost, all files of a zip together.

    Returns:
        The volume; None for an image.

    Raises:
        DecodeError: Whatever is wrong with the input.
    """
    check_encoded(data, budget)
    declared = (content_type or "").partition(";")[0].strip().lower()
    if data.startswith(ZIP_MAGIC):
        _check_zip(declared)
        return _zipped(data, series, budget)
    if declared in ZIP_TYPES:
        raise DecodeError("mismatch", f"the input was declared as {declared} but is no zip", field="Content-Type")
    if series is not None:
        raise DecodeError("unsupported", "a series can be chosen in a zip of DICOM files; the input is another")
    check_declared(content_type, sniff(data))
    try:
        return read_volume(data, budget=budget) or read_frames(data, budget=budget)
    except DataError as error:  # such as of frames that cannot be decoded; it names slices by their numbers
        raise DecodeError("corrupt", "; ".join((error.summary, *error.problems[:_MOST_LISTED]))) from error


def read_sources(
    data: bytes,
    *,
    content_type: str | None = None,
    series: str | None = None,
    page: int | None = None,
    whole: bool = False,
    budget: Budget = DEFAULT_BUDGET,
) -> Sources | None:
    """Read what DICOM bytes hand on to what is made from them, such as a segmentation.

    Args:
        data: What was predicted: one file, or a zip with the files of one series.
        content_type: What they are said to be; checked against what they are.
        series: Which series of a zip that holds several, by its index or UID.
        page: Which frame of a file was predicted; None for the only one.
        whole: Whether it was predicted as a volume, as `read_whole` reads it.
        budget: What it may cost.

    Returns:
        What they say, with the slices of a volume in the order of its voxels; None where they are no DICOM.

    Raises:
        DecodeError: If they are damaged, or lack what an object made from them must repeat.
    """
    check_encoded(data, budget)
    try:
        if data.startswith(ZIP_MAGIC):
            with open_zip(data, content_type, budget) as source:
                if not has_dicom(source):
                    return None
                files = dicom_files(source, source.names())
            return read_source_series(files, series=series, budget=budget)
        if not _is_dicom(data):
            return None
        return read_source_series([data], budget=budget) if whole else read_source(data, page=page, budget=budget)
    except DataError as error:  # what it lists counts slices and names no file
        raise DecodeError("unsupported", f"it is no one DICOM series: {error.summary}") from error


@contextmanager
def open_zip(data: bytes, content_type: str | None, budget: Budget = DEFAULT_BUDGET) -> Iterator[ZipSource]:
    """Open a zip from anywhere, to be read inside the ``with`` block.

    Args:
        data: The zip.
        content_type: What it is said to be.
        budget: What its files may cost together.

    Raises:
        DecodeError: If it is damaged, not safe, or declared as something else. Names of files, which may be those of
            patients, are not repeated.
    """
    check_encoded(data, budget)
    _check_zip((content_type or "").partition(";")[0].strip().lower())
    try:
        with ZipSource(data, _limits(budget)) as source:
            yield source
    except DataError as error:
        raise DecodeError("corrupt", "the zip is damaged or not safe to read") from error


def _check_zip(declared: str) -> None:
    if declared not in (*ZIP_TYPES, "", _BYTES):
        raise DecodeError("mismatch", f"the input was declared as {declared} but is a zip", field="Content-Type")


def _limits(budget: Budget) -> Limits:
    return Limits(
        entries=budget.max_frames,
        total_bytes=budget.max_decoded_bytes,
        file_bytes=budget.max_decoded_bytes,
        ratio=budget.max_ratio,
    )


def _zipped(data: bytes, series: str | None, budget: Budget) -> Volume:
    try:
        with ZipSource(data, _limits(budget)) as source:
            files = dicom_files(source, source.names())
            return read_series(files, series=series, budget=budget, most_bytes=budget.max_decoded_bytes)
    except DataError as error:  # what it lists are names of files, which may be those of patients
        listed = f": {'; '.join(error.problems[:_MOST_LISTED])}" if _NAMELESS.search(error.summary) else ""
        raise DecodeError("corrupt", f"the zip is no DICOM series: {error.summary}{listed}") from error


def has_dicom(source: Source) -> bool:
    """Whether one of the files is called or begins like DICOM."""
    names = (name for name in source.names() if PurePosixPath(name).name.upper() != _DICOM_INDEX)
    return any(name.lower().endswith(_DICOM_SUFFIXES) or _is_dicom(source.head(name, _HEAD)) for name in names)


def dicom_files(source: Source, names: Sequence[str]) -> list[bytes]:
    """Read what is called or begins like DICOM; folders of a scanner hold indexes and notes as well.

    Args:
        source: Where the files are.
        names: Which of them may be taken.

    Raises:
        DataError: If there is none.
    """
    found = []
    for name in names:
        if PurePosixPath(name).name.upper() == _DICOM_INDEX:
            continue
        data = source.read(name)
        if name.lower().endswith(_DICOM_SUFFIXES) or _is_dicom(data):
            found.append(data)
    if not found:
        raise DataError("there are no DICOM files in it; expected those of one series")
    return found


def _is_dicom(data: bytes) -> bool:
    try:
        return sniff(data) == "dicom"
    except DecodeError:
        return False
