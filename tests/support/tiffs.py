"""Writes TIFF files whose samples share bytes; no library at hand writes them all."""

import struct
import zlib

import imagecodecs

RAW, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
ENCODERS = {RAW: bytes, LZW: imagecodecs.lzw_encode, DEFLATE: zlib.compress, PACKBITS: imagecodecs.packbits_encode}
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE = 0, 1, 3


def tiff(levels, bits, compression=RAW, photometric=BLACK_IS_ZERO, order="<", rows=11, fill=1, colours=None, more=()):
    """Write levels (H, W) packed from the first bit of each byte on, each row in bytes of its own."""
    strips = [levels[top : top + rows] for top in range(0, len(levels), rows)]
    coded = [
        bytes(ENCODERS[compression](b"".join(imagecodecs.packints_encode(row, bits) for row in strip)))
        for strip in strips
    ]
    coded = [strip.translate(REVERSED) for strip in coded] if fill == 2 else coded
    tags = {
        256: levels.shape[1:], 257: levels.shape[:1], 258: [bits], 259: [compression], 262: [photometric],
        266: [fill], 273: [0] * len(coded), 277: [1], 278: [rows], 279: [len(strip) for strip in coded], **dict(more),
    }  # fmt: skip
    if colours is not None:
        tags[320] = colours.T.ravel().tolist()
    at, body, entries = 8 + 2 + 12 * len(tags) + 4, b"", b""
    tags[273] = [at + sum(map(len, coded[:number])) for number in range(len(coded))]
    body = b"".join(coded)
    for tag, values in sorted(tags.items()):
        kind, form = (3, "H") if tag == 320 else (4, "I")
        packed = struct.pack(f"{order}{len(values)}{form}", *values)
        field = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", at + len(body))
        body += b"" if len(packed) <= 4 else packed
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + field
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4) + body
