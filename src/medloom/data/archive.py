"""Zip archives from anywhere, read without trusting a word of them.

An archive is checked as a whole before a byte of it is used, and every problem is named at once: names that
lead outside, links and devices, encryption, names that differ in case only, entries that overlap, too many
entries, too many bytes. What an entry says about its size counts for nothing: inflating stops at the declared
size and the result must have exactly that size and the CRC of the archive. Nothing is written to the disk.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medloom.errors import DataError

__all__ = ["DEFAULT_LIMITS", "Limits", "ZipReader"]

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_LOCAL_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # classic, strong, and masked headers
_PATCHED = 0x20
_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_DRIVE = re.compile(r"^[A-Za-z]:")


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most.

    Args:
        entries: Files and folders. The published LGG archive has 16,000 of them.
        total_bytes: All files together, unpacked.
        file_bytes: One file, unpacked.
        ratio: Unpacked bytes of the whole archive for each of its own bytes. A single blank mask may well
            be 400 times smaller than its pixels, so one entry by itself is not judged.
        ratio_above_bytes: Archives that unpack to less than this are not judged by their ratio.
    """

    entries: int = 100_000
    total_bytes: int = 4 * 2**30
    file_bytes: int = 2**30
    ratio: int = 100
    ratio_above_bytes: int = 16 * 2**20


DEFAULT_LIMITS = Limits()


class ZipReader:
    """Reads the files of a zip archive in place; can be sent to other processes.

    Args:
        archive: Its path, or its bytes.
        limits: What it may hold at most.

    Raises:
        DataError: If it is no zip archive or breaks a rule; lists every entry concerned.
    """

    def __init__(self, archive: Path | bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        self._archive = archive
        name, size = ("it", len(archive)) if isinstance(archive, bytes) else (archive.name, archive.stat().st_size)
        infos, end = _directory(archive, name)
        problems = list(_archive_problems(infos, size, limits)) or list(_problems(infos, end))
        if problems:
            raise DataError(f"{name} is not a safe zip archive", problems)
        self._entries = {info.filename: info for info in infos if not info.is_dir()}
        self._open()

    def _open(self) -> None:
        self._handle = -1 if isinstance(self._archive, bytes) else os.open(self._archive, os.O_RDONLY)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_handle": -1}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()  # another process has no use for a number of this one

    def names(self) -> list[str]:
        """Return the names of the files, in the order of the archive."""
        return list(self._entries)

    def stamp(self, name: str) -> str:
        """Return size and CRC of a file, as the archive states them."""
        info = self._entries[name]
        return f"{info.file_size}:{info.CRC:08x}"

    def read(self, name: str) -> bytes:
        """Return the content of one file.

        Raises:
            DataError: If the entry is damaged or lies about itself.
        """
        info = self._entries[name]
        data = _inflate(self._compressed(info), info)
        if len(data) != info.file_size:
            raise DataError(f"{name}: the archive states {info.file_size} bytes and holds another number")
        if zlib.crc32(data) != info.CRC:
            raise DataError(f"{name}: the checksum (CRC) does not fit; the archive is damaged, download it again")
        return data

    def head(self, name: str, most: int) -> bytes:
        """Return at most so many of a file's first bytes, without its checksum.

        Raises:
            DataError: If the entry is damaged.
        """
        info = self._entries[name]
        # Deflate may make its input longer, by a few bytes in each block.
        return _inflate(self._compressed(info, most + most // 8 + 1024), info, most)[:most]

    def close(self) -> None:
        """Close the archive."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> ZipReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at(self, count: int, offset: int) -> bytes:
        if isinstance(self._archive, bytes):
            return self._archive[offset : offset + count]
        return os.pread(self._handle, count, offset)

    def _compressed(self, info: zipfile.ZipInfo, most: int | None = None) -> bytes:
        """The entry's own bytes, or the first of them, after its local header was compared with the directory."""
        name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
        head = self._at(_LOCAL_HEADER.size + len(name), info.header_offset)
        if len(head) < _LOCAL_HEADER.size + len(name):
            raise DataError(f"{info.filename}: the archive ends before this entry")
        magic, _, flags, method, *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(head)
        agrees = magic == _LOCAL_MAGIC and method == info.compress_type and name_length == len(name)
        if not agrees or head[_LOCAL_HEADER.size :] != name or flags & (_ENCRYPTED | _PATCHED):
            raise DataError(f"{info.filename}: the archive's directory and the entry's own header disagree")
        start = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        size = info.compress_size if most is None else min(info.compress_size, most)
        data = self._at(size, start)
        if len(data) != size:
            raise DataError(f"{info.filename}: the archive ends inside this entry")
        return data


def _directory(archive: Path | bytes, name: str) -> tuple[list[zipfile.ZipInfo], int]:
    """The archive's entries, and where its directory starts."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive) if isinstance(archive, bytes) else archive) as opened:
            return opened.infolist(), opened.start_dir
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error) as error:
        raise DataError(f"{name} is not a readable zip archive: {error}") from error


def _archive_problems(infos: list[zipfile.ZipInfo], size: int, limits: Limits) -> Iterator[str]:
    """What is wrong with the archive as a whole."""
    if len(infos) > limits.entries:
        yield f"{len(infos)} entries; at most {limits.entries} are accepted"
    total = sum(info.file_size for info in infos)
    if total > limits.total_bytes:
        yield f"{total} bytes unpacked; at most {limits.total_bytes} are accepted: unpack it and name the folder"
    if total > limits.ratio_above_bytes and total > limits.ratio * size:
        yield f"unpacks to {total // max(1, size)} times its size; at most {limits.ratio} times is accepted"
    for info in infos:
        if info.file_size > limits.file_bytes:
            yield f"{info.filename!r}: {info.file_size} bytes unpacked; at most {limits.file_bytes} are accepted"


def _problems(infos: list[zipfile.ZipInfo], end: int) -> Iterator[str]:
    """What is wrong with the entries."""
    for info in infos:
        name = info.orig_filename
        reason = _bad_name(name) or _bad_kind(info)
        if reason:
            yield f"{name!r}: {reason}"
    yield from _collisions(infos)
    yield from _overlaps(infos, end)


def _bad_name(name: str) -> str | None:
    parts = name.removesuffix("/").split("/")
    if not name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "control characters or nothing in its name"
    if "\\" in name or _DRIVE.match(name) or name.startswith("/"):
        return "an absolute path, a drive letter or a backslash in its name"
    if any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255 for part in parts):
        return "a name that leads outside the archive or is not a plain path"
    return None


def _bad_kind(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > info.is_dir():
        return "a link, a device or another thing that is no regular file"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted; unpack it yourself and name the folder"
    if info.flag_bits & _PATCHED or info.compress_type not in _METHODS:
        return f"compressed in a way that is not supported ({info.compress_type}); stored and deflated are"
    if info.is_dir() and info.file_size:
        return "a folder with content"
    return None


def _collisions(infos: Iterable[zipfile.ZipInfo]) -> Iterator[str]:
    """Names that a file system without upper and lower case, or with one form of accents, takes for the same."""
    spelt: dict[str, str] = {}
    files: set[str] = set()
    for info in infos:
        path = info.filename.removesuffix("/")
        for part in (path, *(str(parent) for parent in PurePosixPath(path).parents)):
            other = spelt.setdefault(unicodedata.normalize("NFC", part).casefold(), part)
            if other != part:
                yield f"{path!r}: collides with {other!r}, which differs in case or accents only"
        if not info.is_dir():
            if path in files:
                yield f"{path!r}: there twice"
            files.add(path)
    for info in infos:
        yield from _file_and_folder(info, files)


def _file_and_folder(info: zipfile.ZipInfo, files: set[str]) -> Iterator[str]:
    path = info.filename.removesuffix("/")
    above = [str(parent) for parent in PurePosixPath(path).parents]
    if (info.is_dir() and path in files) or not files.isdisjoint(above):
        yield f"{path!r}: a file and a folder of the same name"


def _overlaps(infos: list[zipfile.ZipInfo], end: int) -> Iterator[str]:
    """Entries that share bytes, which is how a small archive unpacks to petabytes."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [*(info.header_offset for info in ordered[1:]), end]
    for info, limit in zip(ordered, starts, strict=False):
        if info.header_offset + _LOCAL_HEADER.size + info.compress_size > limit:
            yield f"{info.filename!r}: overlaps the next entry"


def _inflate(data: bytes, info: zipfile.ZipInfo, most: int | None = None) -> bytes:
    if info.compress_type == zipfile.ZIP_STORED:
        return data
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte more than declared shows a lie without unpacking all of it.
        return inflater.decompress(data, info.file_size + 1 if most is None else most)
    except zlib.error as error:
        raise DataError(f"{info.filename}: damaged in the archive ({error})") from error
