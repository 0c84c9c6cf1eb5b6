"""The wire format of protobuf, read without a library: for looking into a model before a runtime does."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["fields", "varint"]

_SKIP = {1: 8, 5: 4}


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of one protobuf message; fixed-width numbers are given as 0.

    Source: https://protobuf.dev/programming-guides/encoding/
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(data, at)
            yield number, value
        elif kind == 2:
            length, at = varint(data, at)
            if at + length > len(data):
                raise ValueError("truncated")
            yield number, data[at : at + length]
            at += length
        elif kind in _SKIP:
            at += _SKIP[kind]
        else:
            raise ValueError(f"unknown wire type {kind}")


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and where it ends.

    Raises:
        IndexError: If the data end within it.
        ValueError: If it is longer than a number is.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("number too long")
