"""One frame of a DICOM file: from stored bytes to samples.

Frames are decoded by imagecodecs (libjpeg-turbo, CharLS, OpenJPEG, PackBits) and simplejpeg, whose results are bounded
by a header that is read here first: the codestream must have the size that the data set announces. pydicom's own
decoders are not called: they warn and log where this code has to refuse, and pylibjpeg-rle ends the interpreter on
damaged input (a Rust panic is no `Exception`).

Source: DICOM PS3.5, section 8 and annexes A and G; PS3.3, section C.7.6.3.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import NamedTuple

import imagecodecs
import numpy as np
import simplejpeg

from medloom.errors import DecodeError
from medloom.imaging.dicom_elements import Span
from medloom.imaging.dicom_file import DicomFile
from medloom.imaging.dicom_module import YBR, PixelModule, check_length
from medloom.imaging.dicom_tags import TAGS
from medloom.imaging.types import Pixels

__all__ = ["read_frame"]

_MAX_RLE_RATIO = 64  # two bytes become 128 at most
_MAX_TILES = 65_535
_NO_PIXELS = b"\x5a\xc3" * 64
_PADS = b"\0\xff "  # with what writers fill up the last fragment
_JPEG_STARTS = {b"\xff\xd8\xff", b"\xff\x4f\xff"}


class _Stream(NamedTuple):
    """What the header of a compressed frame says; the colour transform is None where it says nothing."""

    rows: int
    columns: int
    samples: int
    precision: int
    process: int = 0
    ycc: bool | None = None
    signed: bool = False


def read_frame(file: DicomFile, module: PixelModule, number: int) -> tuple[Pixels, str]:
    """Return the samples of one frame.

    Args:
        file: The file.
        module: Its pixel module.
        number: Frame counted from 0.

    Returns:
        Array (H, W, C) of the module's dtype, and the colours that it is in: RGB, YBR or that of the module.

    Raises:
        DecodeError: If the frame is damaged, incomplete, or not what the header says.
    """
    kind = file.syntax.kind
    if module.real:  # compressed transfer syntaxes compress pixels of whole numbers only
        return _raw(file, module, number).astype(module.dtype), module.photometric
    if kind == "raw":
        return _settled(_raw(file, module, number), module), module.photometric
    frame = _encoded(file, module, number)
    if kind == "rle":
        return _settled(_rle(frame, module), module), module.photometric
    if module.allocated not in (8, 16):
        raise DecodeError("unsupported", f"JPEG with {module.allocated} bits is not read", field="BitsAllocated")
    if kind in ("jpeg", "jpeg_lossless"):
        return _jpeg(frame, module, lossless=kind == "jpeg_lossless")
    if kind == "jpeg_ls":
        return _jpeg_ls(frame, module)
    return _jpeg_2000(frame, module)


def _settled(samples: Pixels, module: PixelModule, stored: int = 0, high: int = -1) -> Pixels:
    """Give samples their type: move the highest stored bit up to the sign, and back; unused bits are gone."""
    stored = stored or module.stored
    high = high if high >= 0 else max(module.high, stored - 1)
    width = max(module.allocated, 8)
    settled: Pixels = np.ascontiguousarray(samples).astype(f"uint{width}", copy=False).view(module.dtype)
    up, down = width - 1 - high, width - stored
    if up:
        settled = settled << settled.dtype.type(up)
    if down:
        settled = settled >> settled.dtype.type(down)
    return settled if settled.flags.writeable else settled.copy()


def _raw(file: DicomFile, module: PixelModule, number: int) -> Pixels:
    value = file.data_set.elements[TAGS[module.keyword]]
    if value.end < 0:
        raise DecodeError("corrupt", "the pixels are encapsulated; their transfer syntax is not", field=module.keyword)
    check_length(module, value.end - value.start)
    data, little = file.data_set.reader.data, file.syntax.little
    swapped = not little and value.vr == b"OW" and module.allocated <= 8
    first, last = number * module.frame_bits, (number + 1) * module.frame_bits
    start, end = first // 8, -(-last // 8)
    if swapped:  # bytes and bits were written as words of 16 bits, the most significant byte first
        start, end = start - start % 2, end + end % 2
    frame = np.frombuffer(data, np.uint8, min(end, value.end - value.start) - start, value.start + start)
    if swapped:
        frame = frame.reshape(-1, 2)[:, ::-1].reshape(-1)
    if module.allocated == 1:
        frame = np.unpackbits(frame, bitorder="little")[first - 8 * start :][: last - first]
    else:
        frame = frame[first // 8 - start :][: (last - first) // 8].view(
            f"{'<' if little else '>'}{'f' if module.real else 'u'}{module.allocated // 8}"
        )
    return _shaped(frame, module)


def _shaped(samples: Pixels, module: PixelModule) -> Pixels:
    rows, columns = module.rows, module.columns
    if module.halved:
        if columns % 2:
            raise DecodeError("corrupt", "YBR_FULL_422 has an even number of columns", field="Columns")
        pairs = samples.reshape(rows, columns // 2, 4)
        luma, chroma = pairs[..., :2].reshape(rows, columns, 1), pairs[..., 2:].repeat(2, axis=1)
        return np.concatenate([luma, chroma], axis=2)
    if module.planar and module.samples > 1:
        return np.moveaxis(samples.reshape(module.samples, rows, columns), 0, -1)
    return samples.reshape(rows, columns, module.samples)


def _encoded(file: DicomFile, module: PixelModule, number: int) -> bytes:
    """Return the bytes of one frame: one fragment or several."""
    table, *fragments = file.data_set.fragments()
    data = file.data_set.reader.data
    if len(fragments) < module.frames:
        raise DecodeError(
            "corrupt", f"there are {len(fragments)} fragments of pixels for {module.frames} frames",
            field="NumberOfFrames",
        )  # fmt: skip
    starts = _frame_starts(file, table, fragments, module.frames)
    last = starts[number + 1] if number + 1 < len(starts) else len(fragments)
    parts = [data[fragment.start : fragment.end] for fragment in fragments[starts[number] : last]]
    rle = file.syntax.kind == "rle"
    if any(_starts_rle(part) if rle else part[:3] in _JPEG_STARTS for part in parts[1:]):
        raise DecodeError("corrupt", "there are more frames than the header says", field="NumberOfFrames")
    if rle and len(parts) > 1:
        raise DecodeError(
            "corrupt", f"an RLE frame comes in {len(parts)} fragments; expected 1, as the standard asks",
            field="PixelData", hint="Export it again.",
        )  # fmt: skip
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _starts_rle(fragment: bytes) -> bool:
    """Whether a fragment begins with the header of an RLE frame: the number of segments, and that the first follows."""
    return len(fragment) >= 64 and fragment[4:8] == b"\x40\0\0\0" and 1 <= int.from_bytes(fragment[:4], "little") <= 15


def _frame_starts(file: DicomFile, table: Span, fragments: list[Span], frames: int) -> list[int]:
    """Return the first fragment of each frame."""
    if len(fragments) == frames:
        return list(range(frames))
    if frames == 1:
        return [0]
    offsets = _offsets(file, table)
    begins = {fragment.start - fragments[0].start: number for number, fragment in enumerate(fragments)}
    starts = [begins.get(offset, -1) for offset in offsets]
    if len(starts) != frames or starts[0] != 0 or any(b <= a for a, b in pairwise(starts)):
        raise DecodeError(
            "corrupt", f"{len(fragments)} fragments of pixels cannot be told apart into {frames} frames",
            field="NumberOfFrames", hint="Export it with a basic offset table.",
        )  # fmt: skip
    return starts


def _offsets(file: DicomFile, table: Span) -> tuple[int, ...]:
    extended = file.data_set.bytes_of("ExtendedOffsetTable")
    if extended:
        return struct.unpack(f"<{len(extended) // 8}Q", extended[: len(extended) // 8 * 8])
    stored = file.data_set.reader.data[table.start : table.end]
    return struct.unpack(f"<{len(stored) // 4}L", stored[: len(stored) // 4 * 4])


def _rle(frame: bytes, module: PixelModule) -> Pixels:
    """Unpack each byte plane; the planes of a sample come with the most significant byte first."""
    width, count = module.allocated // 8, module.rows * module.columns
    if module.allocated == 1:
        raise DecodeError("unsupported", "RLE with 1 bit is not read", field="BitsAllocated")
    segments = iter(_rle_segments(frame, module.samples * width, count))
    samples = np.empty((module.samples, count), f"uint{module.allocated}")
    for sample in samples:  # shifting whole planes is several times as fast as writing every other byte
        sample[:] = _unpacked(next(segments), count)
        for _ in range(width - 1):
            sample <<= 8
            sample |= _unpacked(next(segments), count)
    return np.moveaxis(samples.reshape(module.samples, module.rows, module.columns), 0, -1)


def _unpacked(segment: bytes, count: int) -> Pixels:
    unpacked = imagecodecs.packbits_decode(segment, out=count)
    if len(unpacked) != count:
        raise DecodeError("corrupt", f"an RLE segment has {len(unpacked)} of {count} bytes", field="PixelData")
    plane: Pixels = np.frombuffer(unpacked, np.uint8)
    return plane


def _rle_segments(frame: bytes, expected: int, count: int) -> list[bytes]:
    if len(frame) < 64:
        raise DecodeError("truncated", "an RLE frame ends within its header", field="PixelData")
    segments, *offsets = struct.unpack_from("<16L", frame)
    offsets = [*offsets[: min(segments, 15)], len(frame)]
    if segments != expected or offsets[0] != 64 or any(b <= a for a, b in pairwise(offsets)):
        raise DecodeError("corrupt", f"an RLE frame has {segments} segments; expected {expected}", field="PixelData")
    if any(_MAX_RLE_RATIO * (b - a) < count for a, b in pairwise(offsets)):
        raise DecodeError("corrupt", "an RLE segment is too short for Rows and Columns", field="Rows")
    return [frame[a:b] for a, b in pairwise(offsets)]


def _check_stream(stream: _Stream, module: PixelModule) -> None:
    """Refuse a codestream that is not what the data set announced, before memory for it is allocated."""
    found, expected = stream[:3], (module.rows, module.columns, module.samples)
    if found != expected:
        raise DecodeError(
            "corrupt", f"a frame is {found[0]}×{found[1]}×{found[2]}; the header says "
            f"{expected[0]}×{expected[1]}×{expected[2]}", field="Rows",
        )  # fmt: skip
    if not 1 <= stream.precision <= module.allocated:
        raise DecodeError(
            "corrupt", f"a frame has {stream.precision} bits; the header says {module.allocated}", field="BitsAllocated"
        )


def _checked(pixels: Pixels, module: PixelModule) -> Pixels:
    shape = (module.rows, module.columns, module.samples)
    if pixels.size != module.rows * module.columns * module.samples:
        raise DecodeError("corrupt", f"a frame decodes to {pixels.shape}; expected {shape}", field="PixelData")
    return pixels.reshape(shape)


def _jpeg(frame: bytes, module: PixelModule, *, lossless: bool) -> tuple[Pixels, str]:
    stream = _jpeg_header(frame)
    _check_stream(stream, module)
    if stream.process not in ((0xC3,) if lossless else (0xC0, 0xC1)):
        raise DecodeError(
            "unsupported", f"JPEG process {stream.process - 0xC0} is not read in this transfer syntax",
            field="TransferSyntaxUID",
        )  # fmt: skip
    ycc = module.photometric in YBR if stream.ycc is None else stream.ycc
    if not lossless and stream.precision == 8:
        pixels, colours = _jpeg_8(frame, module, ycc=ycc), "RGB"
    else:
        pixels, colours = _jpeg_deep(frame, module), "YBR_FULL" if ycc else "RGB"
    settled = _settled(_checked(pixels, module), module, max(module.stored, stream.precision))
    return settled, colours if module.samples == 3 else module.photometric


def _jpeg_deep(frame: bytes, module: PixelModule) -> Pixels:
    """Decode samples of 12 bits or without loss; colours are not converted.

    Where the data end early libjpeg goes on with zeros and warns, but imagecodecs does not pass the warning on. So the
    frame is decoded once more with other bytes after its data: a whole one does not change, as none of them is read.
    """
    space = {1: "GRAY", 3: "RGB"}[module.samples]
    end = frame.rindex(b"\xff\xd9")
    longer = b"".join([frame[:end], _NO_PIXELS, frame[end:]])
    pixels, again = (imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace=space) for data in (frame, longer))
    if not np.array_equal(pixels, again):
        raise DecodeError("truncated", "the compressed pixels of a frame end early", field="PixelData")
    checked: Pixels = pixels
    return checked


def _jpeg_8(frame: bytes, module: PixelModule, *, ycc: bool) -> Pixels:
    """Decode 8-bit samples with every warning an error; colours come out as RGB.

    libjpeg guesses the colours of a file without markers. DICOM says what they are, so an Adobe marker says it again.
    """
    if module.samples == 3:
        frame = b"".join([b"\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00", bytes([ycc]), _unmarked(frame)])
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(frame, colorspace="RGB" if module.samples == 3 else "GRAY", strict=True)
    except ValueError as error:
        raise DecodeError("corrupt", "its compressed pixels are damaged or incomplete", field="PixelData") from error
    return pixels


def _unmarked(frame: bytes) -> bytes:
    """Return what follows the start of a JPEG, without the segments that say what its colours are."""
    kept, at = list[bytes](), 2
    for marker, _, end in _jpeg_segments(frame):
        if marker not in (0xE0, 0xEE):
            kept.append(frame[at:end])
        at = end
    return b"".join([*kept, frame[at:]])


def _jpeg_segments(frame: bytes) -> list[tuple[int, int, int]]:
    """Return marker, start of the content and end of each segment up to the first scan."""
    found, at = list[tuple[int, int, int]](), 2
    while not found or found[-1][0] != 0xDA:
        while frame[at : at + 2] == b"\xff\xff":
            at += 1
        if at + 4 > len(frame):
            raise DecodeError("truncated", "a JPEG frame ends within its header", field="PixelData")
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        if frame[at] != 0xFF or length < 2 or len(found) > 4096:
            raise DecodeError("corrupt", "the header of a JPEG frame is damaged", field="PixelData")
        found.append((frame[at + 1], at + 4, at + 2 + length))
        at += 2 + length
    return found


def _jpeg_header(frame: bytes) -> _Stream:
    """Read the frame header and the markers that say what the colours are; check that the image has an end."""
    if not frame.startswith(b"\xff\xd8\xff"):
        raise DecodeError("corrupt", "a frame is no JPEG", field="PixelData")
    if not frame.rstrip(_PADS).endswith(b"\xff\xd9"):
        raise DecodeError("truncated", "a JPEG frame ends before its end marker", field="PixelData")
    stream: _Stream | None = None
    jfif, adobe, components = False, -1, b""
    for marker, start, end in _jpeg_segments(frame):
        body = frame[start:end]
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            if stream is not None or len(body) < 6 + 3 * body[5]:
                raise DecodeError("corrupt", "the header of a JPEG frame is damaged", field="PixelData")
            precision, rows, columns, samples = struct.unpack_from(">BHHB", body)
            stream = _Stream(rows, columns, samples, precision, marker)
            components = bytes(body[6 + 3 * number] for number in range(samples))
        jfif = jfif or (marker == 0xE0 and body.startswith(b"JFIF"))
        adobe = body[11] if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12 else adobe
    if stream is None:
        raise DecodeError("corrupt", "a JPEG frame has no frame header", field="PixelData")
    if components in (b"RGB", b"rgb"):
        return stream._replace(ycc=False)
    return stream._replace(ycc=adobe == 1 if adobe >= 0 else True if jfif else None)


def _jpeg_ls(frame: bytes, module: PixelModule) -> tuple[Pixels, str]:
    stream = _jpeg_header(frame)
    if stream.process != 0xF7:
        raise DecodeError("corrupt", "a frame is no JPEG-LS", field="PixelData")
    _check_stream(stream, module)
    pixels = _checked(_interleaved(imagecodecs.jpegls_decode(frame), module), module)
    return _settled(pixels, module, stream.precision, stream.precision - 1), module.photometric


def _interleaved(pixels: Pixels, module: PixelModule) -> Pixels:
    if module.samples == 3 and pixels.shape == (3, module.rows, module.columns):
        return np.moveaxis(pixels, 0, -1)
    return pixels


def _jpeg_2000(frame: bytes, module: PixelModule) -> tuple[Pixels, str]:
    stream = _siz(frame)
    _check_stream(stream, module)
    decoded = imagecodecs.jpeg2k_decode(frame, numthreads=1)
    pixels = _checked(_interleaved(decoded, module), module)
    photometric = "RGB" if module.photometric in ("YBR_ICT", "YBR_RCT") else module.photometric
    if stream.signed and module.signed:
        return np.ascontiguousarray(pixels, module.dtype), photometric
    return _settled(pixels, module, stream.precision, stream.precision - 1), photometric


def _siz(frame: bytes) -> _Stream:
    """Read the size segment of a JPEG 2000 codestream, which a JP2 header may precede."""
    at = 0 if frame.startswith(b"\xff\x4f\xff\x51") else frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0:
        raise DecodeError("corrupt", "a frame is no JPEG 2000", field="PixelData")
    if len(frame) < at + 45:
        raise DecodeError("truncated", "a JPEG 2000 frame ends within its header", field="PixelData")
    right, bottom, left, top, tile_width, tile_height, tiles_left, tiles_top, samples = struct.unpack_from(
        ">8LH", frame, at + 8
    )
    parts = frame[at + 42 : at + 42 + 3 * samples]
    if not (tile_width and tile_height and tiles_left <= left < right and tiles_top <= top < bottom):
        raise DecodeError("corrupt", "the header of a JPEG 2000 frame is damaged", field="PixelData")
    tiles = -(-(right - tiles_left) // tile_width) * -(-(bottom - tiles_top) // tile_height)
    if len(parts) != 3 * samples or tiles > _MAX_TILES:
        raise DecodeError("corrupt", "the header of a JPEG 2000 frame is damaged", field="PixelData")
    if len({parts[number : number + 3] for number in range(0, len(parts), 3)}) != 1 or parts[1:3] != b"\1\1":
        raise DecodeError("unsupported", "JPEG 2000 with components of different sizes is not read", field="PixelData")
    return _Stream(bottom - top, right - left, samples, (parts[0] & 0x7F) + 1, signed=parts[0] >= 0x80)
