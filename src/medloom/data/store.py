"""The pixel store: what ``prepare`` decoded, once, at the recipe's size, memory-mapped in its narrow dtype.

A folder named by a hash of the inputs and of everything deterministic that was done to them::

    images.npy          (N, C, h, w)    uint8, uint16 or float32
    masks.npy           (N, h, w)       uint8 class indices, 255 for a pixel that counts nowhere
    normalisation.npy   (N, 2, C)       float32 offset and scale
    foreground.npy      (N,)            int64 foreground pixels in masks.npy
    index.json          sample ids by row ("" for a sample that was set aside), key, and what was found

Without masks there is neither masks.npy nor foreground.npy.

It appears under its name only when it is complete.
"""

from __future__ import annotations

import json
import math
import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DataError
from medloom.files import TemporaryFolder, disk_full, is_disk_full, read_json, sync_folder, write_text
from medloom.locks import share
from medloom.targets import foreground_of

__all__ = ["STORE_FORMAT", "PixelStore", "StoreWriter"]

STORE_FORMAT = 3
"""Raised whenever the same inputs would give another store."""

_BUILDING = ".building."
_ARRAYS = ("images", "normalisation")
_MASK_ARRAYS = ("masks", "foreground")


class PixelStore:
    """Read-only view of a store.

    Args:
        path: Its folder.

    Raises:
        DataError: If there is no complete store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._in_use()
            self.index: dict[str, Any] = read_json(path / "index.json")
            names = (*_ARRAYS, *_MASK_ARRAYS) if self.has_masks else _ARRAYS
            loaded = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in names}
        except (OSError, ValueError) as error:
            raise DataError("the pixel store is not there or damaged; run `medloom prepare` again") from error
        self.images: NDArray[Any] = loaded["images"]
        """``(N, C, h, w)`` in the narrow dtype."""
        self.offset: NDArray[np.float32] = loaded["normalisation"][:, 0]
        """``(N, C)``."""
        self.scale: NDArray[np.float32] = loaded["normalisation"][:, 1]
        """``(N, C)``: normalised = (image - offset) * scale."""
        self._masks = loaded

    def _in_use(self) -> None:
        """Keep the store from being removed as long as this lives, and note that it was used."""
        weakref.finalize(self, os.close, share(self.path))
        with suppress(OSError):  # a cache that others own
            os.utime(self.path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store; see the class."""
        return cls(path)

    def __len__(self) -> int:
        """Number of rows, those of samples that were set aside included."""
        return len(self.images)

    @property
    def has_masks(self) -> bool:
        """Whether it holds masks."""
        return bool(self.index.get("masks", True))

    @property
    def masks(self) -> NDArray[np.uint8]:
        """``(N, h, w)`` class indices; DataError where there are none."""
        return self._mask_array("masks")

    @property
    def foreground_px(self) -> NDArray[np.int64]:
        """``(N,)`` foreground pixels at the store's size; DataError where there are none."""
        return self._mask_array("foreground")

    @property
    def key(self) -> str:
        """Hash of the inputs and of what was done to them."""
        return str(self.index["key"])

    @property
    def sample_ids(self) -> list[str]:
        """Sample of each row; empty text for one that was set aside."""
        return [str(sample) for sample in self.index["sample_ids"]]

    @property
    def nbytes(self) -> int:
        """Bytes of images and masks."""
        return int(self.images.nbytes + (self.masks.nbytes if self.has_masks else 0))

    def rows(self, sample_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each sample.

        Raises:
            DataError: If the store does not hold one of them.
        """
        try:
            return np.array([self._rows[sample] for sample in sample_ids], np.int64)
        except KeyError as error:
            raise DataError(f"the pixel store does not hold sample {error}; run `medloom prepare` again") from error

    def _mask_array(self, name: str) -> NDArray[Any]:
        if not self.has_masks:
            raise DataError("this pixel store has no masks")
        array: NDArray[Any] = self._masks[name]
        return array

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {sample: row for row, sample in enumerate(self.sample_ids) if sample}


class StoreWriter:
    """Fills a store row by row, also from several processes, beside the place where it will stand.

    Args:
        folder: Folder that holds the stores.
        count: N.
        shape: C, h, w.
        dtype: Of the images.
        masks: Whether the samples have masks.

    Example:
        >>> with StoreWriter(tmp, 2, (3, 64, 64), np.uint8) as writer:  # doctest: +SKIP
        ...     writer.put(0, image, mask, offset, scale)
        ...     store = writer.publish("0a1b", ["P001-001", ""], {})
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any] | type,
        *,
        masks: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dtype = np.dtype(dtype)
        """Of the images."""
        self._folder = folder
        self._temporary = TemporaryFolder(_BUILDING, folder)
        self._beside = self._temporary.path
        channels, *size = shape
        self._files: dict[str, _Rows] = {}
        try:
            self._reserve_files(count, channels, tuple(size), masks=masks)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _reserve_files(self, count: int, channels: int, size: tuple[int, ...], *, masks: bool) -> None:
        """Make the files with all the room that they need; a full disk is found out here."""
        shapes = {
            "images": ((count, channels, *size), self.dtype),
            "normalisation": ((count, 2, channels), np.dtype(np.float32)),
        }
        if masks:
            shapes["masks"] = ((count, *size), np.dtype(np.uint8))
            shapes["foreground"] = ((count,), np.dtype(np.int64))
        for name, (shape, dtype) in shapes.items():
            self._files[name] = _Rows(self._beside / f"{name}.npy", shape, dtype)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was not published."""
        for file in self._files.values():
            file.close()
        self._temporary.remove()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock of the folder with the process that made it."""
        return {**vars(self), "_temporary": None}

    def put(
        self,
        row: int,
        image: NDArray[Any],
        mask: NDArray[np.uint8] | None,
        offset: NDArray[np.float32],
        scale: NDArray[np.float32],
    ) -> None:
        """Write one sample.

        Args:
            row: Where.
            image: ``(C, h, w)`` in the store's dtype.
            mask: ``(h, w)`` class indices; None in a store without masks.
            offset: ``(C,)``.
            scale: ``(C,)``.
        """
        self._files["images"].put(row, image)
        self._files["normalisation"].put(row, np.stack([offset, scale]))
        if ("masks" in self._files) != (mask is not None):
            raise ValueError("a store has a mask for every sample or for none")
        # The room that was reserved reads as zeros: a blank mask, and most are, is there already.
        if mask is not None and mask.any():
            self._files["masks"].put(row, mask)
            self._files["foreground"].put(row, np.array(np.count_nonzero(foreground_of(mask))))

    def publish(self, key: str, sample_ids: Sequence[str], found: dict[str, Any]) -> Path:
        """Flush everything to the disk and give the store its name.

        Args:
            key: The name; a store that already has it stays, for it holds the same.
            sample_ids: Sample of each row, empty text for one that was set aside.
            found: JSON facts to keep with it.

        Returns:
            The store's folder.
        """
        for file in self._files.values():
            file.flush()
        # Without indentation, which takes a second for a hundred thousand samples.
        facts = {"key": key, "masks": "masks" in self._files, "sample_ids": list(sample_ids), **found}
        index = json.dumps(facts, allow_nan=False)
        write_text(self._beside / "index.json", index)
        path = self._folder / key
        self._beside.chmod(0o755)
        try:
            self._beside.rename(path)
        except OSError:
            if not (path / "index.json").is_file():
                raise
        self._temporary.remove()  # its lock too, which would keep everyone from the store
        sync_folder(self._folder)
        return path


class _Rows:
    """A ``.npy`` file that is written row by row, in any order, also by several processes.

    Writing is three times faster than through a fresh memory map, which takes a page fault every 4 KiB.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._shape, self._dtype = shape[1:], dtype
        with path.open("wb") as handle:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(handle, header)
            self._start = handle.tell()
            self._row_bytes = dtype.itemsize * math.prod(self._shape)
            handle.flush()
            _reserve(path, handle.fileno(), self._start + self._row_bytes * shape[0])
        self._path = path
        self._handle = os.open(path, os.O_WRONLY)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_handle": -1}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._handle = os.open(self._path, os.O_WRONLY)  # another process has no use for a number of this one

    def put(self, row: int, values: NDArray[Any]) -> None:
        if values.shape != self._shape:
            raise ValueError(f"a row has the shape {self._shape}, not {values.shape}")
        data = np.ascontiguousarray(values, dtype=self._dtype).reshape(-1).view(np.uint8).data
        position = self._start + row * self._row_bytes
        while data:
            written = os.pwrite(self._handle, data, position)
            data, position = data[written:], position + written

    def flush(self) -> None:
        os.fsync(self._handle)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _reserve(path: Path, handle: int, size: int) -> None:
    """Give a file its size, and its room on the disk where that can be had: a full disk is found out now."""
    try:
        os.posix_fallocate(handle, 0, size)
    except (AttributeError, OSError) as error:
        if is_disk_full(error):
            raise disk_full(path, size, error) from error
        os.truncate(handle, size)
