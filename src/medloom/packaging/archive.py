"""``.tar.gz`` written the same way every time, and read without trusting it.

Written: sorted names, no times, no owners, so the same content gives the same bytes. Read: regular files
with plain names only; no link, device or extended header is ever followed, and bytes are counted as
they come out, not as headers declare them.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from medloom.errors import BundleError
from medloom.files import disk_full, is_disk_full, replacing

__all__ = ["PLAIN_NAME", "ArchiveLimits", "extract", "pack"]

PLAIN_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*"
"""What files of a bundle may be called."""

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20
_NAME = re.compile(rf"(\./)?{PLAIN_NAME}")
_RECORD = re.compile(rb"(\d{1,3}) [amc]time=-?[\d.]+\n")
"""A record of a pax header that says when, after its own length."""

_REPACK = "; pack bundles with `medloom package` or `tar --format=ustar`"


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may unpack to.

    Args:
        max_files: Entries, folders included.
        max_bytes: All bytes of the unpacked tar.
        max_ratio: Unpacked to packed bytes, looked at above ``ratio_above_bytes``.
        ratio_above_bytes: Archives that unpack to less may have any ratio.
    """

    max_files: int = 10_000
    max_bytes: int = 4 * 2**30
    max_ratio: int = 100
    ratio_above_bytes: int = 16 * 2**20

    def allowed_bytes(self, packed_bytes: int) -> int:
        """Return how many bytes an archive of this packed size may give."""
        return min(self.max_bytes, max(self.ratio_above_bytes, self.max_ratio * packed_bytes))


def pack(path: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write a ``.tar.gz`` atomically; the same files give the same bytes.

    Args:
        path: Where the archive is written.
        files: Name in the archive to content, or to the file that holds it.
    """
    with (
        replacing(path) as beside,
        beside.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in sorted(files):
            content = files[name]
            entry = tarfile.TarInfo(name)  # its defaults: mode 0644, owner 0, time 0
            entry.size = content.stat().st_size if isinstance(content, Path) else len(content)
            with content.open("rb") if isinstance(content, Path) else BytesIO(content) as source:
                tar.addfile(entry, source)


def extract(archive: Path, destination: Path, limits: ArchiveLimits = ArchiveLimits()) -> list[str]:
    """Unpack regular files of a ``.tar.gz`` into an empty folder.

    Args:
        archive: The archive.
        destination: An existing, empty folder.
        limits: How much may come out.

    Returns:
        The names of the files.

    Raises:
        BundleError: If the archive is damaged, too large, or holds anything but regular files with plain names.
    """
    allowed = limits.allowed_bytes(archive.stat().st_size)
    try:
        with gzip.open(archive) as unzipped:
            return _extract_all(_Counted(unzipped, allowed), destination, limits)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, tarfile.HeaderError) as error:
        if is_disk_full(error):
            raise disk_full(destination / archive.name, archive.stat().st_size, error) from error
        raise BundleError(f"{archive.name} is not a sound .tar.gz ({error})") from error


class _Counted:
    """A stream that stops at a number of bytes."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, allowed: int) -> None:
        self._stream = stream
        self._left = allowed

    def read(self, count: int) -> bytes:
        data = self._stream.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise BundleError("the bundle unpacks to too many bytes for its size; it was not made by Medloom")
        return data

    def read_exactly(self, count: int) -> bytes:
        data = self.read(count)
        if len(data) < count:
            raise BundleError("the bundle is cut short; copy it again")
        return data


def _extract_all(stream: _Counted, destination: Path, limits: ArchiveLimits) -> list[str]:
    names: list[str] = []
    seen: set[str] = set()
    entries = 0
    while (block := stream.read_exactly(_BLOCK)).strip(b"\0"):
        entries += 1
        if entries > limits.max_files:
            raise BundleError(f"the bundle holds more than {limits.max_files} entries; it was not made by Medloom")
        entry = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        if entry.type == tarfile.DIRTYPE and entry.size == 0:
            continue
        if entry.type == tarfile.XHDTYPE:
            _pass_over_times(stream, entry)
            continue
        name = _checked_name(entry)
        if name.lower() in seen:
            raise BundleError(f"the bundle holds {name} twice")
        seen.add(name.lower())
        names.append(name)
        _extract_one(stream, entry.size, destination / name)
    while stream.read(_CHUNK):  # to the end: gzip compares its checksum there
        pass
    return names


def _pass_over_times(stream: _Counted, entry: tarfile.TarInfo) -> None:
    """Skip what Python's ``tarfile``, and with it SageMaker's local mode, says of when a file was made.

    Anything else in such a header, as another name or size for the file behind it, is refused.

    Source: POSIX.1-2001, pax interchange format.
    """
    if entry.size > _BLOCK:
        raise BundleError(f"the bundle holds {entry.name!r}, which is not a regular file" + _REPACK)
    rest = stream.read_exactly(entry.size)
    stream.read_exactly(-entry.size % _BLOCK)
    while rest:
        found = _RECORD.match(rest)
        if found is None or found.end() != int(found[1]):
            raise BundleError(f"the bundle holds {entry.name!r}, which is not a regular file" + _REPACK)
        rest = rest[found.end() :]


def _checked_name(entry: tarfile.TarInfo) -> str:
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise BundleError(f"the bundle holds {entry.name!r}, which is not a regular file" + _REPACK)
    if not _NAME.fullmatch(entry.name):
        raise BundleError(f"the bundle holds a file with the name {entry.name!r}, which is not plain" + _REPACK)
    return entry.name.removeprefix("./")


def _extract_one(stream: _Counted, size: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("xb") as out:
        path.chmod(0o600)
        for start in range(0, size, _CHUNK):
            out.write(stream.read_exactly(min(_CHUNK, size - start)))
    stream.read_exactly(-size % _BLOCK)
