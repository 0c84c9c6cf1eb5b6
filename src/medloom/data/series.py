"""Of folders that hold several DICOM series, the files of one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from medloom.data.layouts.base import Read, list_images
from medloom.errors import DataError, DecodeError
from medloom.imaging import FILE_BUDGET
from medloom.imaging.series import series_uid
from medloom.wording import counted

__all__ = ["Chosen", "of_series"]


@dataclass(frozen=True)
class Chosen:
    """The files that a data set is made of.

    Args:
        names: Their names.
        notes: How many were left out.
    """

    names: list[str]
    notes: tuple[str, ...] = ()


def of_series(names: Sequence[str], read: Read, series: str | None) -> Chosen:
    """Leave out DICOM files of other series; files that are no DICOM images stay.

    Args:
        names: Names of all files.
        read: Gives the bytes of a file.
        series: An index in the order of the UIDs in each folder, counted from 0, or a UID; None keeps all.

    Raises:
        DataError: If there is no such series; lists those that there are, by folder.
    """
    if series is None:
        return Chosen(list(names))
    uids = {name: uid for name in list_images(names, read) if (uid := _uid(name, read)) is not None}
    folders: dict[str, dict[str, str]] = defaultdict(dict)
    for name, uid in uids.items():
        folders[str(PurePosixPath(name).parent)][name] = uid
    wanted = {folder: _wanted(found, series) for folder, found in folders.items()}
    _check(folders, wanted, series)
    others = {name for folder, found in folders.items() for name, uid in found.items() if uid != wanted[folder]}
    said = f"{counted(len(others), 'DICOM file')} of other series than data.series: {series} left out."
    return Chosen([name for name in names if name not in others], (said,) if others else ())


def _uid(name: str, read: Read) -> str | None:
    """The series of a file; None for what is no DICOM image, or none that can be read, which is said elsewhere."""
    try:
        return series_uid(read(name), budget=FILE_BUDGET)
    except (DecodeError, DataError, OSError):
        return None


def _wanted(found: Mapping[str, str], series: str) -> str | None:
    """The UID that is meant in a folder; None where there is none."""
    uids = sorted(set(found.values()))
    if series in uids:
        return series
    return uids[int(series)] if series.isdecimal() and int(series) < len(uids) else None


def _check(folders: Mapping[str, Mapping[str, str]], wanted: Mapping[str, str | None], series: str) -> None:
    """An index must be there in every folder, a UID in one of them."""
    missing = [folder for folder, uid in wanted.items() if uid is None]
    if missing and (series.isdecimal() or len(missing) == len(folders)):
        raise DataError(f"data.series: {series} is not there", [_listed(folder, folders[folder]) for folder in missing])
    if not folders:
        raise DataError(f"data.series: {series} chooses a DICOM series, and there are no DICOM images")


def _listed(folder: str, found: Mapping[str, str]) -> str:
    counts = [count for _, count in sorted(Counter(found.values()).items())]
    said = (f"series {number}: {counted(count, 'file')}" for number, count in enumerate(counts))
    return f"{folder}: {', '.join(said)}"
