"""Tensors as the Open Inference Protocol sends them: as JSON, or as bytes behind it.

A tensor says its type, its shape, and how many bytes it has; these are compared with each other before anything is
made of them. Shapes: N images, or N of anything else.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from medloom.serving.media_types import not_taken
from medloom.serving.problems import Problem
from medloom.serving.strict_json import MALFORMED, read_list, read_object

__all__ = ["DATATYPES", "Asked", "Output", "Sent", "Tensor", "inflate", "read_infer", "write_infer"]

DATATYPES: dict[str, str] = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""How NumPy calls the datatypes of the protocol; one more, BYTES, has elements of any length."""

BYTES = "BYTES"
_SIZE = "binary_data_size"

_MOST_TENSORS = 16
_MOST_AXES = 8
_MOST_ITEMS = 1024
_MOST_SAID = 2**13
_MOST_NUMBERS = 2**21
"""Most numbers of a tensor in JSON, which take 16 times their bytes in memory; the binary form has no such limit."""

_PIECE = 1024
"""Packed bytes that are unpacked at once; at most a thousand times as many come out."""

_LENGTH = struct.Struct("<I")
_NUMBER = b"0123456789+-.eE,[] \t\r\n"
_WHOLE = b"0123456789-,[] \t\r\n"
_REQUEST_KEYS = ("id", "parameters", "inputs", "outputs")
_INPUT_KEYS = ("name", "shape", "datatype", "parameters", "data")
_OUTPUT_KEYS = ("name", "parameters")

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """A tensor that came in.

    Args:
        name: What the client calls it.
        datatype: One of ``DATATYPES``, or ``BYTES``.
        shape: As many numbers as it has axes.
        parameters: What else is said of it.
        items: Its elements, of ``BYTES``; in JSON they are text, in UTF-8 here.
        numbers: Its elements in its shape, of any other datatype.
        in_json: Whether it came as JSON.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Parameters
    items: tuple[bytes, ...] = ()
    numbers: NDArray[Any] | None = None
    in_json: bool = False


@dataclass(frozen=True)
class Output:
    """An output that was asked for.

    Args:
        name: Of the output.
        binary: Whether it shall come as bytes behind the JSON.
    """

    name: str
    binary: bool = False


@dataclass(frozen=True)
class Asked:
    """A request.

    Args:
        id: What the client calls it; None if it does not.
        inputs: By name.
        outputs: What is wanted; empty for whatever there is.
        binary: How an output comes that does not say.
    """

    id: str | None
    inputs: Mapping[str, Sent]
    outputs: tuple[Output, ...] = ()
    binary: bool = False


@dataclass(frozen=True)
class Tensor:
    """A tensor that goes out.

    Args:
        name: What it is called.
        values: Its elements in its shape; of ``BYTES`` a list of them.
        binary: Whether it goes as bytes behind the JSON.
    """

    name: str
    values: NDArray[Any] | Sequence[bytes]
    binary: bool = False


def inflate(body: bytes, encoding: str, most: int) -> bytes:
    """Undo a ``Content-Encoding``, of which no more than a limit comes out.

    Args:
        body: As it came.
        encoding: ``gzip``, ``deflate`` or ``identity``.
        most: Bytes that may come out.

    Raises:
        Problem: 415 for another encoding, 413 for too many bytes, 400 for what is damaged or has something behind it.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Problem(415, "unsupported_encoding", not_taken("Content-Encoding", encoding))
    wbits = 31 if encoding == "gzip" else zlib.MAX_WBITS
    try:
        size_bytes = _unpacked_bytes(body, wbits, most)
        return zlib.decompress(body, wbits, max(1, size_bytes))  # memory is taken once, and for what is there
    except zlib.error as error:
        raise _bad(f"the body is not one whole {encoding} stream") from error


def _unpacked_bytes(body: bytes, wbits: int, most: int) -> int:
    """Count what comes out without keeping it."""
    packed, found, start = zlib.decompressobj(wbits), 0, 0
    while start < len(body) and not packed.eof:
        found += len(packed.decompress(body[start : start + _PIECE]))
        start += _PIECE
        if found > most:
            raise Problem(413, "too_large", f"the unpacked body is larger than {most} bytes")
    if not packed.eof or packed.unused_data or start < len(body):
        raise zlib.error
    return found


def read_infer(body: bytes, header_length: str | None) -> Asked:
    """Take the body of an ``infer`` apart.

    Args:
        body: All of it, unpacked.
        header_length: What ``Inference-Header-Content-Length`` says: how many bytes of it are JSON; None for all.

    Raises:
        Problem: 400 for what is not of the protocol or does not fit together.
    """
    header, rest = _split(body, header_length)
    try:
        asked = read_object(header, _REQUEST_KEYS)
        inputs = _inputs(asked.get("inputs", msgspec.Raw(b"[]")), rest)
        outputs = read_list(asked.get("outputs", msgspec.Raw(b"[]")), _MOST_TENSORS)
        parameters = _parameters(asked.get("parameters"))
        binary = parameters.get("binary_data_output") is True
        named = None if "id" not in asked else msgspec.json.decode(_short(asked["id"]), type=str)
        return Asked(named, inputs, tuple(_output(one, binary) for one in outputs), binary)
    except msgspec.ValidationError as error:
        raise _bad(f"the JSON is not that of an inference request: {error}") from error
    except MALFORMED as error:
        raise _bad("the body does not begin with sound JSON") from error


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    text = header_length.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= len(body)):
        raise _bad("Inference-Header-Content-Length is no number of bytes that the body has")
    return body[: int(text)], memoryview(body)[int(text) :]


def _inputs(data: msgspec.Raw, rest: memoryview) -> dict[str, Sent]:
    found: dict[str, Sent] = {}
    for one in read_list(data, _MOST_TENSORS):
        sent, rest = _input(read_object(one, _INPUT_KEYS), rest)
        if sent.name in found:
            raise _bad("two inputs have one name")
        found[sent.name] = sent
    if rest:
        raise _bad(f"{len(rest)} bytes behind the JSON belong to no input")
    if not found:
        raise _bad("the request has no inputs")
    return found


def _input(one: Mapping[str, Any], rest: memoryview) -> tuple[Sent, memoryview]:
    if not {"name", "shape", "datatype"} <= one.keys():
        raise _bad("an input needs a name, a shape and a datatype")
    name, datatype = (msgspec.json.decode(_short(one[key]), type=str) for key in ("name", "datatype"))
    shape = tuple(msgspec.json.decode(_short(one["shape"]), type=list[int]))
    if datatype != BYTES and datatype not in DATATYPES:
        raise _bad(f"the datatype of an input is not known; expected BYTES or one of {', '.join(DATATYPES)}")
    if not 0 < len(shape) <= _MOST_AXES or min(shape) < 1:
        raise _bad(f"the shape of an input is none; expected 1 to {_MOST_AXES} numbers from 1")
    parameters = _parameters(one.get("parameters"))
    size = parameters.pop(_SIZE, None)
    if (size is None) == ("data" not in one):
        raise _bad(f"an input needs either data, or {_SIZE} and its bytes behind the JSON")
    if size is None:
        return _from_json(Sent(name, datatype, shape, parameters, in_json=True), one["data"]), rest
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(rest):
        raise _bad(f"the {_SIZE} of an input is no number of bytes that are there")
    return _from_bytes(Sent(name, datatype, shape, parameters), rest[:size]), rest[size:]


def _from_bytes(sent: Sent, data: memoryview) -> Sent:
    count = math.prod(sent.shape)
    if sent.datatype == BYTES:
        return _with_items(sent, _elements(data, _few(count)))
    kind = np.dtype(DATATYPES[sent.datatype])
    if count * kind.itemsize != len(data):
        raise _bad(f"the shape of an input needs {count * kind.itemsize} bytes and {len(data)} came")
    return _with_numbers(sent, np.frombuffer(data, kind).reshape(sent.shape))


def _elements(data: memoryview, count: int) -> tuple[bytes, ...]:
    """Elements of any length, each with its length before it."""
    if count * _LENGTH.size > len(data):
        raise _bad(f"the shape of an input needs {count} elements and their bytes are too few")
    found, at = list[bytes](), 0
    while at + _LENGTH.size <= len(data) and len(found) < count:
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        found.append(bytes(data[at - length : at]))
    if at != len(data) or len(found) != count:
        raise _bad("the elements of an input of BYTES do not fit its shape or its size")
    return tuple(found)


def _from_json(sent: Sent, data: msgspec.Raw) -> Sent:
    count, text = math.prod(sent.shape), bytes(data)
    if sent.datatype == BYTES:
        return _with_items(sent, tuple(item.encode("utf-8") for item in _texts(text, _few(count))))
    if text.count(b",") >= count:
        raise _bad(f"the shape of an input needs {count} numbers and more came")
    if count > _MOST_NUMBERS:
        raise _bad(f"an input has {count} numbers; as JSON at most {_MOST_NUMBERS} are taken, more in the binary form")
    return _with_numbers(sent, _numbers(text, sent))


def _texts(text: bytes, count: int) -> list[str]:
    """Texts in one list, or each in a list of its own."""
    found = [_one_of(value) if bytes(value).lstrip()[:1] == b"[" else value for value in read_list(text, _MOST_ITEMS)]
    if len(found) != count:
        raise _bad(f"the shape of an input of BYTES needs {count} texts; {len(found)} came")
    return [msgspec.json.decode(one, type=str) for one in found]


def _one_of(data: msgspec.Raw) -> msgspec.Raw:
    (found,) = read_list(data, 1) or [msgspec.Raw(b"null")]
    return found


def _few(count: int) -> int:
    if count > _MOST_ITEMS:
        raise _bad(f"the shape of an input of BYTES says {count} elements; at most {_MOST_ITEMS} are taken")
    return count


def _numbers(text: bytes, sent: Sent) -> NDArray[Any]:
    kind = np.dtype(DATATYPES[sent.datatype])
    nested = 1 + sum(math.prod(sent.shape[:axis]) for axis in range(1, len(sent.shape)))
    plain = _NUMBER if kind.kind == "f" else _WHOLE
    truths = kind.kind == "b"
    if text.count(b"[") not in (1, nested) or (not truths and text.translate(None, plain)):
        raise _bad(f"the data of an input are not {sent.datatype} numbers, in one list or nested as its shape says")
    found = msgspec.json.decode(text, type=list[Any])
    try:
        with np.errstate(over="ignore"):  # what became infinite is refused
            array = np.asarray(found, None if truths else kind)
    except (ValueError, OverflowError, TypeError) as error:
        raise _bad(f"the data of an input do not fit its shape or are no {sent.datatype}") from error
    if array.dtype != kind or array.shape not in (sent.shape, (math.prod(sent.shape),)):
        raise _bad(f"the data of an input do not fit its shape or are no {sent.datatype}")
    return array.reshape(sent.shape)


def _with_items(sent: Sent, items: tuple[bytes, ...]) -> Sent:
    return Sent(sent.name, sent.datatype, sent.shape, sent.parameters, items=items, in_json=sent.in_json)


def _with_numbers(sent: Sent, numbers: NDArray[Any]) -> Sent:
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise _bad("an input holds numbers that are NaN or infinite")
    return Sent(sent.name, sent.datatype, sent.shape, sent.parameters, numbers=numbers, in_json=sent.in_json)


def _output(data: msgspec.Raw, binary: bool) -> Output:
    one = read_object(data, _OUTPUT_KEYS)
    if "name" not in one:
        raise _bad("an output needs a name")
    said = _parameters(one.get("parameters")).get("binary_data", binary)
    return Output(msgspec.json.decode(_short(one["name"]), type=str), said is True)


def _parameters(data: msgspec.Raw | None) -> Parameters:
    if data is None:
        return {}
    return msgspec.convert(read_object(_short(data)), dict[str, bool | int | float | str])


def _short(data: msgspec.Raw) -> bytes:
    if len(data) > _MOST_SAID:
        raise _bad(f"names, shapes and parameters may have {_MOST_SAID} bytes each")
    return bytes(data)


def write_infer(head: Mapping[str, Any], tensors: Sequence[Tensor]) -> tuple[bytes, int | None]:
    """Put an answer together.

    Args:
        head: What stands before the outputs, such as the name of the model.
        tensors: The outputs.

    Returns:
        The body, and how many bytes of it are JSON; None for all of them.
    """
    outputs, behind = [], list[bytes]()
    for one in tensors:
        said, data = _written(one)
        outputs.append(said)
        behind += [] if data is None else [data]
    header = msgspec.json.encode({**head, "outputs": outputs})
    return b"".join((header, *behind)), len(header) if any(one.binary for one in tensors) else None


def _written(one: Tensor) -> tuple[dict[str, Any], bytes | None]:
    if isinstance(one.values, np.ndarray):
        name = _NAMES[one.values.dtype.newbyteorder("<").str]
        said: dict[str, Any] = {"name": one.name, "shape": list(one.values.shape), "datatype": name}
        data = one.values.astype(DATATYPES[name], copy=False).tobytes() if one.binary else None
        plain: Any = None if one.binary else one.values.reshape(-1).tolist()
    else:
        said = {"name": one.name, "shape": [len(one.values)], "datatype": BYTES}
        data = b"".join(_LENGTH.pack(len(item)) + item for item in one.values) if one.binary else None
        plain = None if one.binary else [item.decode("utf-8") for item in one.values]
    return ({**said, "data": plain}, None) if data is None else ({**said, "parameters": {_SIZE: len(data)}}, data)


_NAMES = {np.dtype(kind).newbyteorder("<").str: name for name, kind in DATATYPES.items()}


def _bad(message: str) -> Problem:
    return Problem(400, "bad_tensor", message)
