"""Checks that every format shares: the budget, the choice of a page, and the one error family."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.types import Budget, Header, Pixels

__all__ = ["check_encoded", "check_finite", "check_header", "choose_page", "guard"]


def check_encoded(data: bytes, budget: Budget) -> None:
    """Refuse inputs that are empty or too long to look at.

    Raises:
        DecodeError: ``empty`` or ``too_large``.
    """
    if not data:
        raise DecodeError("empty", "the input has no bytes; expected an image")
    if len(data) > budget.max_bytes:
        raise DecodeError("too_large", f"the input has {len(data)} bytes; the limit is {budget.max_bytes}")


def check_header(header: Header, encoded_bytes: int, budget: Budget) -> Header:
    """Compare a header with the budget, in exact integers, before any allocation.

    Returns:
        The same header.

    Raises:
        DecodeError: ``corrupt`` for an image without pixels, ``too_large`` for one over the budget.
    """
    if min(header.shape) < 1:
        raise DecodeError("corrupt", f"the header says {_size(header)}; an image has at least one pixel")
    _check_pages(header.pages, budget)
    pixels = header.height * header.width
    if pixels > budget.max_pixels:
        raise DecodeError(
            "too_large", f"the header says {_size(header)}, {pixels} pixels; the limit is {budget.max_pixels}"
        )
    if header.nbytes > budget.max_decoded_bytes:
        raise DecodeError(
            "too_large", f"it would decode to {header.nbytes} bytes; the limit is {budget.max_decoded_bytes}"
        )
    if header.nbytes > budget.ratio_above_bytes and header.nbytes > budget.max_ratio * encoded_bytes:
        raise DecodeError(
            "too_large",
            f"{encoded_bytes} bytes would decode to {header.nbytes}; the limit is {budget.max_ratio}:1 "
            f"above {budget.ratio_above_bytes} bytes",
        )
    return header


def _check_pages(pages: int, budget: Budget) -> None:
    if pages > budget.max_frames:
        raise DecodeError("too_large", f"the file has {pages} pages; the limit is {budget.max_frames}")


def _size(header: Header) -> str:
    return f"{header.height}×{header.width}×{header.channels}"


def check_finite(pixels: Pixels) -> None:
    """Refuse NaN and infinite pixels.

    Raises:
        DecodeError: ``non_finite``.
    """
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DecodeError("non_finite", "the image holds NaN or infinite pixels", hint="Replace them by a number.")


def choose_page(page: int | None, pages: int) -> int:
    """Return the page to decode, counted from 0.

    Raises:
        DecodeError: ``page_required`` if there are several and none was named, or the named one is not there.
    """
    if page is None and pages > 1:
        raise DecodeError(
            "page_required", f"the file has {pages} pages", field="page", hint=f"Pass page=0 to page={pages - 1}."
        )
    chosen = page or 0
    if not 0 <= chosen < pages:
        raise DecodeError(
            "page_required",
            f"page {chosen} was asked for; the file has {pages}",
            field="page",
            hint=f"Pass page=0 to page={pages - 1}." if pages > 1 else "Leave page out.",
        )
    return chosen


@contextmanager
def guard(format_name: str) -> Iterator[None]:
    """Turn every foreign exception into a `DecodeError`.

    The text of the foreign exception stays in the chain: it can quote the file, so it is not in the message.
    """
    try:
        yield
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError("too_large", f"there is not enough memory to decode this {format_name} image") from error
    except Exception as error:
        raise DecodeError(
            "corrupt", f"the {format_name} data cannot be decoded ({type(error).__name__})", hint="Export it again."
        ) from error
