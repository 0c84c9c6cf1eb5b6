"""Segmentations as pydicom writes them: one bit a voxel, several segments, empty frames left out."""

import numpy as np
import pytest

from medloom.errors import DecodeError
from medloom.imaging import Budget
from medloom.imaging.dicom_seg import read_segmentation
from support.segmentations import AFFINE, item, make_labels, write_seg


def _assert_is(found, labels, first=0):
    np.testing.assert_array_equal(found.values, labels)
    expected = AFFINE.copy()
    expected[2, 3] += 2.5 * first
    np.testing.assert_allclose(found.grid.affine, expected)
    assert found.grid.sides == labels.shape[::-1]


@pytest.mark.parametrize(
    "order", [None, lambda n: range(n - 1, -1, -1), lambda n: np.random.default_rng(1).permutation(n)]
)
@pytest.mark.parametrize("stated", [True, False])
def test_segments_are_put_together_by_the_places_of_their_frames(order, stated):
    labels = make_labels()
    _assert_is(read_segmentation(write_seg(labels, keep_empty=True, order=order, stated=stated)), labels)
    _assert_is(read_segmentation(write_seg(labels, order=order, stated=stated)), labels[1:-1], first=1)


def test_a_label_map_says_the_segments_in_its_pixels():
    labels = make_labels()
    _assert_is(read_segmentation(write_seg(labels, kind="LABELMAP", keep_empty=True)), labels)


@pytest.mark.parametrize("background", [0, 7, 255])
def test_the_background_of_a_label_map_is_the_value_of_its_padding_and_in_no_segment(background):
    labels = make_labels()
    stored = np.where(labels == 0, np.uint8(background), labels)
    segments = [item(SegmentNumber=number, SegmentLabel=f"part {number}") for number in (1, 2, 5, background)]
    data = write_seg(
        stored, kind="LABELMAP", keep_empty=True, PixelPaddingValue=background, SegmentSequence=segments
    )  # fmt: skip
    _assert_is(read_segmentation(data), labels)
    by_name = read_segmentation(data, named={"part 1": 3, "part 5": 4})
    np.testing.assert_array_equal(by_name.values, np.select([labels == 1, labels == 5], [3, 4]))
    assert by_name.left_out == 1


def test_a_label_map_with_a_palette_is_read_by_the_numbers_and_not_by_the_colours():
    labels = make_labels()
    palette = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", np.arange(65535, 65279, -1, np.uint16).tobytes()))
    }
    coloured = write_seg(
        labels, kind="LABELMAP", keep_empty=True, PixelPaddingValue=0, PhotometricInterpretation="PALETTE COLOR",
        **palette,
    )  # fmt: skip
    _assert_is(read_segmentation(coloured), labels)


def test_frames_whose_bits_end_within_a_byte_are_told_apart():
    labels = make_labels(shape=(5, 3, 3), segments=(1, 2, 3))
    assert labels[0].size % 8
    _assert_is(read_segmentation(write_seg(labels, keep_empty=True)), labels)


def test_every_other_slice_alone_has_its_place():
    labels = make_labels(segments=(1, 2, 3))
    labels[1::2] = 0
    labels[[2, 4]] = 1
    for stated, first, step in ((True, 2, 2.5), (False, 2, 5.0)):
        found = read_segmentation(write_seg(labels, stated=stated))
        assert found.grid.spacing_mm == pytest.approx((0.75, 0.5, step))
        assert found.grid.affine[2, 3] == 30 + 2.5 * first
        np.testing.assert_array_equal(found.values[[0, -1]], labels[[2, 4]])


def test_slices_of_which_many_are_left_out_lie_on_one_grid():
    labels = np.zeros((12, 4, 5), np.uint8)
    labels[[1, 3, 6, 11], 1:3, 1:3] = 1
    for stated in (True, False):
        _assert_is(read_segmentation(write_seg(labels, stated=stated)), labels[1:], first=1)


def test_what_is_no_segmentation_is_none(write_dicom):
    assert read_segmentation(write_dicom(np.zeros((4, 5), np.uint8))) is None
    assert read_segmentation(b"\x93NUMPY\x01\x00v\x00{") is None


def test_segments_that_overlap_are_refused():
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 1:3, 1:3] = 1
    labels[2, 1, 1] = 2
    assert read_segmentation(write_seg(labels)) is not None
    place = [item(ImagePositionPatient=[10, -20, 32.5])]
    again = [
        item(PlanePositionSequence=place, SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)])
        for number in (1, 2)
    ]
    labels[2] = labels[1] * 2
    with pytest.raises(DecodeError, match="segments overlap"):
        read_segmentation(write_seg(labels, PerFrameFunctionalGroupsSequence=again))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"SegmentationType": "FRACTIONAL"}, "is FRACTIONAL; expected BINARY"),
        ({"SegmentationType": ""}, "of no type"),
        ({"PerFrameFunctionalGroupsSequence": []}, "position"),
        ({"SharedFunctionalGroupsSequence": []}, "orientation|spacing|position"),
        ({"NumberOfFrames": 3}, "frames are described"),
    ],
)
def test_what_cannot_be_put_together_is_refused_without_a_name(attributes, message):
    with pytest.raises(DecodeError, match=message) as caught:
        read_segmentation(write_seg(make_labels(), **attributes))
    assert "Doe" not in str(caught.value)


def test_slices_unevenly_far_apart_are_refused():
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[:, 1:3, 1:3] = 1
    positions = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[10, -20, height])],
             SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)]) for height in (0, 2.5, 6.2)
    ]  # fmt: skip
    with pytest.raises(DecodeError, match="unevenly far apart"):
        read_segmentation(write_seg(labels, PerFrameFunctionalGroupsSequence=positions))


def test_frames_beyond_the_budget_are_refused():
    with pytest.raises(DecodeError, match="too_large"):
        read_segmentation(write_seg(make_labels()), budget=Budget(max_frames=3))
