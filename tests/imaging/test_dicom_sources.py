"""What DICOM images hand on to what is made from them, read from sound, odd and damaged files."""

import random
import warnings

import numpy as np
import pytest

from medloom.data.whole import read_sources
from medloom.errors import DecodeError
from medloom.imaging.dicom_sources import Sources
from support.dicom_sources import PLACE, RADIOGRAPH, make_enhanced, make_image, make_series, zipped


def _pixels(*shape):
    return np.random.default_rng(0).integers(0, 900, shape).astype(np.uint16)


def test_slices_are_in_the_order_of_their_places_and_not_of_their_numbers(tmp_path):
    data = zipped(make_series(tmp_path, _pixels(4, 8, 9), order=(2, 0, 3, 1)))
    found = read_sources(data, whole=True)
    assert [frame.position_mm[2] for frame in found.frames] == [30.0, 32.5, 35.0, 37.5]
    assert [frame.number for frame in found.frames] == [2, 4, 1, 3]
    assert (found.step_mm, found.spacing_mm) == (2.5, (0.5, 0.75))


def test_frames_of_a_file_keep_their_numbers(tmp_path):
    found = read_sources(make_enhanced(tmp_path, _pixels(3, 8, 9), (1, 2, 0)), whole=True)
    assert [frame.frame for frame in found.frames] == [3, 1, 2]
    assert len({frame.instance for frame in found.frames}) == 1


def test_a_radiograph_has_no_place_and_a_place_without_a_frame_of_reference_is_none(tmp_path):
    assert not read_sources(make_image(tmp_path, _pixels(8, 9), place={}, **RADIOGRAPH)).placed
    place = {key: value for key, value in PLACE.items() if key != "FrameOfReferenceUID"}
    assert not read_sources(make_image(tmp_path, _pixels(8, 9), place=place)).placed
    assert read_sources(make_image(tmp_path, _pixels(8, 9))).placed


def test_what_is_read_comes_back_from_plain_types(tmp_path):
    for data in (make_image(tmp_path, _pixels(8, 9)), make_image(tmp_path, _pixels(8, 9), place={}, **RADIOGRAPH)):
        found = read_sources(data)
        assert Sources.from_plain(found.plain()) == found


def test_several_frames_of_reference_are_not_one_series(tmp_path):
    files = make_series(tmp_path, _pixels(2, 8, 9))
    other = files[1].replace(b"1.2.9\0", b"1.2.8\0")
    with pytest.raises(DecodeError, match="frames of reference"):
        read_sources(zipped([files[0], other]), whole=True)


def test_other_formats_have_no_sources():
    assert read_sources(b"\x89PNG\r\n\x1a\n") is None


@pytest.mark.parametrize("kind", ["image", "radiograph", "enhanced"])
def test_damaged_headers_are_refused_with_one_kind_of_error_and_in_silence(tmp_path, kind, caplog):
    data = {
        "image": lambda: make_image(tmp_path, _pixels(8, 9), SpecificCharacterSet="ISO_IR 100", PatientName="Mü^J"),
        "radiograph": lambda: make_image(tmp_path, _pixels(8, 9), place={}, **RADIOGRAPH),
        "enhanced": lambda: make_enhanced(tmp_path, _pixels(3, 8, 9), (1, 2, 0)),
    }[kind]()
    choose, made, codes = random.Random(7), 0, set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(250):
            damaged = bytearray(data)
            for _ in range(choose.randrange(1, 4)):
                at = choose.randrange(132, len(damaged) - 150)
                damaged[at] = choose.randrange(256)
            try:
                made += read_sources(bytes(damaged), page=1 if kind == "enhanced" else None) is not None
            except DecodeError as error:
                codes.add(error.code)
    assert made
    assert codes <= {"corrupt", "truncated", "unsupported", "non_finite", "too_large", "page_required"}
    assert caplog.text == ""
