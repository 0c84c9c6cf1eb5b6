"""What every room takes from the table of formats: names without suffixes, volumes, grey levels."""

import numpy as np
import pytest

from medloom import registry
from medloom.errors import DecodeError
from medloom.imaging import FORMATS_BY_SUFFIX, decode, encode_png, read_volume, strip_suffix, to_grey
from medloom.imaging.display import grey_levels
from medloom.imaging.nifti import write_nifti
from medloom.imaging.npy import read_array
from medloom.imaging.registry import FORMATS


@pytest.mark.parametrize("name", registry.FORMATS)
def test_every_format_of_the_registry_is_called_so_by_itself(name):
    assert FORMATS[name] is registry.load(registry.FORMATS[name])
    assert FORMATS[name].name == name


@pytest.mark.parametrize("suffix", FORMATS_BY_SUFFIX)
def test_the_suffix_of_every_format_is_stripped(suffix):
    assert strip_suffix(f"a.b/scan.1{suffix.upper()}") == "a.b/scan.1"


@pytest.mark.parametrize(
    ("name", "more", "stem"),
    [("1.2.840.1", (), "1.2.840.1"), (".png", (), ".png"), ("a.zip", (), "a.zip"), ("a.ZIP", (".zip",), "a")],
)
def test_nothing_but_a_suffix_is_stripped(name, more, stem):
    assert strip_suffix(name, more) == stem


def test_a_volume_is_read_whole_and_an_image_is_none():
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    data = write_nifti(voxels, np.diag([0.5, 2.0, 3.0, 1.0]))
    volume = read_volume(data)
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.plane_spacing_mm == decode(data, page=0).spacing_mm == (2.0, 0.5)
    assert read_volume(encode_png(np.zeros((4, 6), np.uint8))) is None


def test_8_bit_is_shown_as_it_is_and_everything_else_is_spread():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert to_grey(ramp) is ramp
    wide = to_grey(ramp.astype(np.uint16) * 100)
    assert (wide.dtype, wide.min(), wide.max()) == (np.uint8, 0, 255)
    np.testing.assert_array_equal(to_grey(ramp, (0, 255)), ramp)
    assert not to_grey(np.full((4, 4), 7.0)).any()
    assert grey_levels(ramp) == pytest.approx((1.275, 253.725))


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 5)])
def test_arrays_of_any_shape_are_read(write_npy, shape):
    values = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_array_equal(read_array(write_npy(values)), values)


@pytest.mark.parametrize("data", [b"", b"NUMPY", b"\x93NUMPY\x01\x00"])
def test_what_is_no_array_is_refused(data):
    with pytest.raises(DecodeError):
        read_array(data)
