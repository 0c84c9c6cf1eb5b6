"""The elements of a DICOM file: where each one lies, found without recursion and without copying a value.

Every element is stepped over up to the end of the file, so that a file that was cut anywhere is known before its
pixels are looked at. Only the elements in `TAGS` are kept, and only when asked for are they read: names, dates and
identifiers of a patient are never decoded, so they can be in no message.

Source: DICOM PS3.5, sections 6 and 7 and annex A.4; PS3.10, section 7.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from medloom.errors import DecodeError
from medloom.imaging.dicom_tags import PIXELS, TAGS

__all__ = ["DataSet", "Element", "Reader", "Span"]

_KEPT = frozenset(TAGS.values())
_PIXELS = TAGS["PixelData"]
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS = 0xFFFE
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)  # fmt: skip
_MAX_DEPTH = 64
_MAX_ELEMENTS = 500_000  # about a second; 2,000 frames with their functional groups have 150,000
_MAX_FRAGMENTS = 100_000
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d{1,12}")
_NO_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


class Span(NamedTuple):
    """Bytes ``start`` to ``end`` of the file."""

    start: int
    end: int


class Element(NamedTuple):
    """One element: its type (empty where the file does not say), and where its value lies.

    The end is -1 where the length is undefined; then the value is items up to a delimiter.
    """

    tag: int
    vr: bytes
    start: int
    end: int


@dataclass
class Reader:
    """Reads heads of elements from bytes in one byte order, and counts them.

    Args:
        data: The data set.
        little: Whether it is little-endian.
        seen: Elements stepped over so far.
    """

    data: bytes
    little: bool
    seen: int = 0
    _short: struct.Struct = field(init=False, repr=False)
    _pair: struct.Struct = field(init=False, repr=False)
    _long: struct.Struct = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Choose the byte order."""
        order = "<" if self.little else ">"
        self._short, self._pair, self._long = (struct.Struct(order + kind) for kind in ("H", "HH", "L"))

    def tag(self, at: int) -> int:
        """Return the tag of the element whose head begins at ``at``.

        Raises:
            DecodeError: ``truncated`` past the end of the file.
        """
        self._room(at, 4, at + 4)
        group, number = self._pair.unpack_from(self.data, at)
        return int(group << 16 | number)

    def element(self, at: int, end: int, *, implicit: bool) -> Element:
        """Return the element whose head begins at ``at`` and that must end by ``end``.

        Raises:
            DecodeError: ``truncated`` past the end of the file, ``corrupt`` past the end of what holds it.
        """
        self.seen += 1
        if self.seen > _MAX_ELEMENTS:
            raise DecodeError("too_large", f"the file has more than {_MAX_ELEMENTS} elements")
        self._room(at, 8, end)
        group, number = self._pair.unpack_from(self.data, at)
        vr, start, length = self._length(at, end, implicit=implicit or group == _DELIMITERS)
        if length == _UNDEFINED:
            return Element(group << 16 | number, vr, start, -1)
        self._room(start, length, end)
        return Element(group << 16 | number, vr, start, start + length)

    def _room(self, at: int, length: int, end: int) -> None:
        if at + length > len(self.data):
            raise DecodeError("truncated", f"the file ends after {len(self.data)} bytes, within an element")
        if at + length > end:
            raise DecodeError("corrupt", "an element is longer than the item that holds it")

    def _length(self, at: int, end: int, *, implicit: bool) -> tuple[bytes, int, int]:
        """Return type, start of the value, and its length."""
        if implicit:
            return b"", at + 8, self._long.unpack_from(self.data, at + 4)[0]
        vr = self.data[at + 4 : at + 6]
        if not (vr.isalpha() and vr.isupper()):
            raise DecodeError("corrupt", "an element has no value representation", hint="Export the file again.")
        if vr not in _LONG_VRS:
            return vr, at + 8, self._short.unpack_from(self.data, at + 6)[0]
        self._room(at, 12, end)
        return vr, at + 12, self._long.unpack_from(self.data, at + 8)[0]

    def after(self, element: Element, *, implicit: bool) -> int:
        """Return where the next element begins."""
        if element.end >= 0:
            return element.end
        return self._end_of_items(element.start, implicit=implicit or element.vr == b"UN")

    def _end_of_items(self, at: int, *, implicit: bool) -> int:
        """Return the end of a value of undefined length, however deep it nests: a stack, not recursion."""
        in_items, implicits = [True], [implicit]
        while in_items:
            if len(in_items) > 2 * _MAX_DEPTH:
                raise DecodeError("too_large", f"sequences are nested more than {_MAX_DEPTH} deep")
            found = self.element(at, len(self.data), implicit=implicits[-1])
            at = max(found.start, found.end)
            if found.tag == (_SEQUENCE_END if in_items[-1] else _ITEM_END):
                in_items.pop()
                implicits.pop()
            elif in_items[-1] and found.tag != _ITEM:
                raise DecodeError("corrupt", "a sequence holds something else than items")
            elif found.end < 0:
                in_items.append(not in_items[-1])
                implicits.append(implicits[-1] or found.vr == b"UN")
        return at

    def values(self, at: int, tags: Collection[int], *, implicit: bool) -> dict[int, bytes]:
        """Return the values of a few elements of a data set, which come in rising order of their tags.

        Args:
            at: Where its first element begins.
            tags: Which elements; those that are not there, or whose length is not defined, are left out.
            implicit: Whether its elements do not say their type.

        Raises:
            DecodeError: ``truncated`` if the bytes end before these elements; otherwise if the file is damaged.
        """
        found, last = dict[int, bytes](), max(tags)
        while at < len(self.data):
            element = self.element(at, len(self.data), implicit=implicit)
            if element.tag > last:
                break
            if element.tag in tags and element.end >= 0:
                found[element.tag] = self.data[element.start : element.end]
            at = self.after(element, implicit=implicit)
        return found

    def items(self, element: Element, *, implicit: bool) -> Iterator[Span]:
        """Yield what each item of a sequence, or each fragment of encapsulated pixels, holds."""
        implicit = implicit or element.vr == b"UN"
        at, end = element.start, element.end if element.end >= 0 else len(self.data)
        while at < end or element.end < 0:
            item = self.element(at, end, implicit=True)
            if item.tag == _SEQUENCE_END and element.end < 0:
                return
            if item.tag != _ITEM:
                raise DecodeError("corrupt", "a sequence holds something else than items")
            at = self._end_of_item(item, implicit=implicit)
            yield Span(item.start, at if item.end >= 0 else at - 8)

    def _end_of_item(self, item: Element, *, implicit: bool) -> int:
        if item.end >= 0:
            return item.end
        at = item.start
        while True:
            found = self.element(at, len(self.data), implicit=implicit)
            if found.tag == _ITEM_END:
                return found.start
            at = self.after(found, implicit=implicit)


@dataclass(frozen=True)
class DataSet:
    """A data set or an item of a sequence; its elements are found when first asked for.

    Args:
        reader: Reads the bytes that hold it.
        span: Where it lies.
        implicit: Whether its elements do not say their type.
    """

    reader: Reader
    span: Span
    implicit: bool

    @cached_property
    def elements(self) -> dict[int, Element]:
        """The kept elements by tag. All are stepped over, up to the end.

        Raises:
            DecodeError: ``truncated``, ``corrupt`` or ``too_large``.
        """
        found, at = dict[int, Element](), self.span.start
        while at < self.span.end:
            element = self.reader.element(at, self.span.end, implicit=self.implicit)
            at = self.reader.after(element, implicit=self.implicit)
            if element.tag in _KEPT and found.setdefault(element.tag, element) is not element:
                raise DecodeError("corrupt", "an element comes twice", field=_keyword(element.tag))
        return found

    def before_pixels(self) -> tuple[DataSet, str]:
        """Return this data set up to its pixels, which may go on past the end of the bytes, and their keyword.

        Raises:
            DecodeError: As `elements` does; ``truncated`` where no pixels come.
        """
        at = self.span.start
        while (tag := self.reader.tag(at)) not in PIXELS:
            at = self.reader.after(
                self.reader.element(at, self.span.end, implicit=self.implicit), implicit=self.implicit
            )
        return DataSet(self.reader, Span(self.span.start, at), self.implicit), PIXELS[tag]

    def __contains__(self, keyword: str) -> bool:
        element = self.elements.get(TAGS[keyword])
        return element is not None and element.end != element.start

    def bytes_of(self, keyword: str) -> bytes:
        """Return a value as it is stored; empty where it is not there."""
        element = self.elements.get(TAGS[keyword])
        if element is None:
            return b""
        if element.end < 0:
            raise DecodeError("corrupt", f"{keyword} is a sequence; expected a value", field=keyword)
        return self.reader.data[element.start : element.end]

    def text(self, keyword: str) -> str:
        """Return a value in ASCII without its padding; empty where it is not there."""
        return self.bytes_of(keyword).decode("ascii", "replace").strip(" \0")

    def integers(self, keyword: str, *, signed: bool = False) -> tuple[int, ...]:
        """Return a value of 16-bit numbers.

        Raises:
            DecodeError: ``corrupt`` if it is of another type.
        """
        return self._numbers(keyword, (b"US", b"SS", b"OW"), "h" if signed else "H")

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Return one 16-bit number without sign.

        Raises:
            DecodeError: ``corrupt`` if it is of another type, or not there and there is no default.
        """
        found = self.integers(keyword)
        if not found and default is not None:
            return default
        if len(found) != 1:
            raise DecodeError("corrupt", f"{keyword} has {len(found)} values; expected 1", field=keyword)
        return found[0]

    def count(self, keyword: str) -> int:
        """Return a whole number written as text; 1 where it is not there.

        Raises:
            DecodeError: ``corrupt`` if it is no number above 0.
        """
        text = self.text(keyword)
        if not text:
            return 1
        if not _INTEGER.fullmatch(text) or int(text) < 1:
            raise DecodeError("corrupt", f"{keyword} is no number above 0", field=keyword)
        return int(text)

    def decimals(self, keyword: str) -> tuple[float, ...]:
        """Return numbers written as text; empty where there are none.

        Raises:
            DecodeError: ``non_finite`` for NaN and infinity, ``corrupt`` for what is no number.
        """
        text = self.text(keyword)
        parts = [part.strip() for part in text.split("\\")] if text else []
        for part in parts:
            if _NO_NUMBER.fullmatch(part) or (_DECIMAL.fullmatch(part) and not math.isfinite(float(part))):
                raise DecodeError("non_finite", f"{keyword} is not a finite number", field=keyword)
            if not _DECIMAL.fullmatch(part):
                raise DecodeError("corrupt", f"{keyword} is not a number", field=keyword)
        return tuple(float(part) for part in parts)

    def reals(self, keyword: str, bits: int) -> tuple[float, ...]:
        """Return a value of floating-point numbers of 32 or 64 bits, which may be NaN; empty where it is not there.

        Raises:
            DecodeError: ``corrupt`` if it is of another type.
        """
        return self._numbers(keyword, (b"FL",), "f") if bits == 32 else self._numbers(keyword, (b"FD",), "d")

    def _numbers(self, keyword: str, vrs: tuple[bytes, ...], code: str) -> tuple[Any, ...]:
        """Unpack a value of one of these types, or of an unknown one, by a format character of ``struct``."""
        value, element, width = self.bytes_of(keyword), self.elements.get(TAGS[keyword]), struct.calcsize(f"={code}")
        vr = element.vr if element else b""
        if vr not in (b"", b"UN", *vrs) or len(value) % width:
            raise DecodeError(
                "corrupt",
                f"{keyword} is {len(value)} bytes of type {vr.decode('ascii')}; expected {8 * width}-bit numbers",
                field=keyword,
            )
        return struct.unpack(f"{'<' if self.reader.little else '>'}{len(value) // width}{code}", value)

    def items(self, keyword: str) -> tuple[DataSet, ...]:
        """Return the items of a sequence; empty where it is not there."""
        element = self.elements.get(TAGS[keyword])
        if element is None:
            return ()
        if element.vr not in (b"", b"SQ", b"UN"):
            raise DecodeError("corrupt", f"{keyword} is no sequence", field=keyword)
        implicit = self.implicit or element.vr == b"UN"
        return tuple(
            DataSet(self.reader, span, implicit) for span in self.reader.items(element, implicit=self.implicit)
        )

    def fragments(self) -> tuple[Span, ...]:
        """Return the fragments of the encapsulated pixels, the offset table first.

        Raises:
            DecodeError: ``corrupt`` if the pixels are not encapsulated, ``too_large`` for too many fragments.
        """
        element = self.elements[_PIXELS]
        if element.end >= 0:
            raise DecodeError("corrupt", "the pixels are not encapsulated, as compressed ones are", field="PixelData")
        spans = tuple(self.reader.items(element, implicit=True))
        if not spans or len(spans) > _MAX_FRAGMENTS:
            raise DecodeError("too_large" if spans else "corrupt", f"there are {len(spans)} fragments of pixels")
        return spans


def _keyword(tag: int) -> str:
    return next(name for name, known in TAGS.items() if known == tag)
