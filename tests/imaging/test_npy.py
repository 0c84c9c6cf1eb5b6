"""NPY: numbers only, header first."""

import io
import struct

import numpy as np
import pytest

from medloom.errors import DecodeError
from medloom.imaging import decode, inspect


def with_header(text, body=b"", version=1):
    width = "<H" if version == 1 else "<I"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(width, len(text)) + text + body


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("code", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"])
def test_every_number_type_is_bit_exact(make_pixels, write_npy, code, endian, order):
    pixels = make_pixels((5, 7, 3), code)
    stored = np.asarray(pixels, dtype=np.dtype(endian + code), order=order)
    data = write_npy(stored)
    image = decode(data)
    assert image.pixels.dtype.isnative
    assert image.pixels.flags.c_contiguous
    np.testing.assert_array_equal(image.pixels, np.load(io.BytesIO(data), allow_pickle=False))
    assert inspect(data).dtype == pixels.dtype.name


def test_a_plane_gets_one_channel_and_booleans_become_numbers(write_npy):
    truth = np.eye(4, dtype=bool)
    image = decode(write_npy(truth))
    assert (image.pixels.shape, image.pixels.dtype) == ((4, 4, 1), np.uint8)
    np.testing.assert_array_equal(image.pixels[..., 0], truth)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_is_read(make_pixels, version):
    stream, pixels = io.BytesIO(), make_pixels((5, 7))
    np.lib.format.write_array(stream, pixels, version=version)
    np.testing.assert_array_equal(decode(stream.getvalue()).pixels[..., 0], pixels)


@pytest.mark.parametrize("descr", [b"'|O'", b"'<U4'", b"'<c8'", b"'<M8[ns]'", b"'<f16'", b"'|V8'", b"[('a', '<f4')]"])
def test_what_is_no_plain_number_is_unsupported(descr):
    with pytest.raises(DecodeError) as caught:
        decode(with_header(b"{'descr': %s, 'fortran_order': False, 'shape': (2, 2), }\n" % descr, bytes(64)))
    assert (caught.value.code, caught.value.field) == ("unsupported", "descr")


def test_an_array_of_objects_never_reaches_pickle(monkeypatch):
    import pickle

    stream = io.BytesIO()
    np.save(stream, np.array([[{}, []]], dtype=object), allow_pickle=True)
    monkeypatch.setattr(pickle, "load", lambda *_: pytest.fail("unpickled"))
    with pytest.raises(DecodeError):
        decode(stream.getvalue())


@pytest.mark.parametrize("shape", [b"(5000, 5000)", b"(5000, 5000, 2)"])
def test_a_shape_larger_than_the_file_is_refused_before_allocation(shape):
    data = with_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': %s, }\n" % shape, bytes(32))
    with pytest.raises(DecodeError) as caught:
        inspect(data)
    assert caught.value.code == "too_large"


def test_a_shape_a_little_larger_than_the_file_is_truncated():
    data = with_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }\n", bytes(40))
    with pytest.raises(DecodeError, match="48 bytes of pixels; 40 are there") as caught:
        decode(data)
    assert caught.value.code == "truncated"


def test_a_shape_smaller_than_the_file_is_corrupt():
    data = with_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }\n", bytes(40))
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert caught.value.code == "corrupt"


@pytest.mark.parametrize(
    ("text", "code"),
    [(b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }", "corrupt"),
     (b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }", "corrupt"),
     (b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", "unsupported"),
     (b"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "unsupported"),
     (b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 2, 2), }", "unsupported"),
     (b"{'descr': '<f4', 'fortran_order': 7, 'shape': (2, 2), }", "corrupt"),
     (b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s, 2), }" % (b"9" * 5000), "too_large"),
     (b"__import__('os').system('true')", "corrupt"),
     (b"", "corrupt")],
)  # fmt: skip
def test_headers_that_make_no_image(text, code):
    with pytest.raises(DecodeError) as caught:
        decode(with_header(text, bytes(16)))
    assert caught.value.code == code


def test_an_unknown_version_is_unsupported():
    with pytest.raises(DecodeError) as caught:
        decode(with_header(b"{}", version=9))
    assert (caught.value.code, caught.value.field) == ("unsupported", "version")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_pixels_are_refused_by_default(write_npy, value):
    data = write_npy(np.full((2, 2), value, "float32"))
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert caught.value.code == "non_finite"
    assert decode(data, nan_policy="allow").pixels.shape == (2, 2, 1)
