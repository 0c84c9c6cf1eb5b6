"""DICOM segmentations as masks of DICOM images: the right slice of the right file, or a refusal."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest

from medloom.data import preparation, prepare
from medloom.data.alignment import Alignment, read_mask
from medloom.data.checks import ClassMap
from medloom.data.layouts.dicom_seg import DicomSegmentations
from medloom.data.opening import open_source
from medloom.data.page_reader import PageReader
from medloom.data.pages import with_pages
from medloom.errors import DataError
from medloom.recipe import parse_recipe
from medloom.transforms import Preprocess
from support.dicoms import write_dicom
from support.segmentations import item, make_labels, write_seg

VALUES = {"background": 0, "segment-1": 1, "segment-2": 2, "segment-5": 5}
CLASSES = ClassMap(VALUES)
SHAPE = (7, 9, 11)


def write_series(root, name="ct", uid="1.2.3.4", *, places=range(SHAPE[0]), frame="1.9", size=SHAPE[1:], **header):
    for number in places:
        write_dicom(
            root / name / f"{number}.dcm",
            np.full(size, number, np.uint16),
            "p1",
            series=uid,
            number=number,
            **{
                "ImagePositionPatient": [10, -20, 30 + 2.5 * number],
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [0.5, 0.75],
                "SliceThickness": 2.5,
                "FrameOfReferenceUID": frame,
                **header,
            },
        )


def references(uid="1.2.3.4", places=range(SHAPE[0])):
    instances = [item(ReferencedSOPInstanceUID=f"{uid}.{number}") for number in places]
    return [item(SeriesInstanceUID=uid, ReferencedInstanceSequence=instances)]


def write_segmentation(root, name, labels, **attributes):
    attributes = {
        "FrameOfReferenceUID": "1.9",
        "ReferencedSeriesSequence": references(),
        "SegmentSequence": [item(SegmentNumber=number, SegmentLabel=f"no {number}") for number in (1, 2, 5)],
        **attributes,
    }
    (root / f"{name}.dcm").write_bytes(write_seg(labels, **attributes))


def listed(root, values=VALUES):
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.dcm"))
    return DicomSegmentations(values).find(names, lambda name: (root / name).read_bytes())


def masks_of(root, listing, values=VALUES, **options):
    """The mask of each image, as training and evaluation read it."""
    reader = PageReader(lambda name: (root / name).read_bytes(), segments=values)
    alignment = Alignment(reader, **options)
    return {
        item.images[0]: read_mask(
            alignment, item.masks, ClassMap(values), item.page, alignment.reader.image(item.images[0], item.page)
        )
        for item in listing.items
    }


def by_pydicom(data):
    """The segments (H, W) of each slice by its position, read without Medloom."""
    found = pydicom.dcmread(io.BytesIO(data))
    frames = found.pixel_array.reshape(-1, found.Rows, found.Columns)
    slices = {}
    for frame, groups in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        height = float(groups.PlanePositionSequence[0].ImagePositionPatient[2])
        number = 1
        if found.SegmentationType == "BINARY":
            number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        slices[height] = slices.get(height, 0) + frame.astype(int) * number
    return slices


def classes(values):
    return np.searchsorted([0, 1, 2, 5], values)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_each_image_has_the_slice_that_pydicom_finds_at_its_place(tmp_path, kind):
    labels = make_labels(shape=SHAPE)
    write_series(tmp_path)
    write_segmentation(tmp_path, "seg", labels, kind=kind)
    listing = listed(tmp_path)
    assert [entry.images[0] for entry in listing.items] == [f"ct/{number}.dcm" for number in range(7)]
    expected = by_pydicom((tmp_path / "seg.dcm").read_bytes())
    empty = np.zeros(SHAPE[1:], int)
    for path, mask in masks_of(tmp_path, listing).items():
        height = float(pydicom.dcmread(tmp_path / path).ImagePositionPatient[2])
        np.testing.assert_array_equal(mask, classes(expected.get(height, empty)), err_msg=path)
    assert (listing.problems, listing.notes) == ((), ())


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_images_stored_the_other_way_round_get_their_mask_turned(tmp_path, axes):
    labels = make_labels(shape=SHAPE)
    height, width = SHAPE[1:]
    column, row = (-1 if 1 in axes else 1), (-1 if 0 in axes else 1)
    corner = [10 + 0.75 * (width - 1) * (1 in axes), -20 + 0.5 * (height - 1) * (0 in axes)]
    for number in range(7):
        write_series(
            tmp_path,
            places=[number],
            ImagePositionPatient=[*corner, 30 + 2.5 * number],
            ImageOrientationPatient=[column, 0, 0, 0, row, 0],
        )
    write_segmentation(tmp_path, "seg", labels)
    for path, mask in masks_of(tmp_path, listed(tmp_path)).items():
        np.testing.assert_array_equal(mask, np.flip(classes(labels[int(path[3])]), axes))


def test_a_segmentation_of_one_slice_leaves_the_others_empty(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 2:5, 3:6] = 1
    write_series(tmp_path)
    write_segmentation(tmp_path, "seg", labels, stated=False)
    sums = {path: int(mask.sum()) for path, mask in masks_of(tmp_path, listed(tmp_path)).items()}
    assert sums == {f"ct/{number}.dcm": 9 * (number == 4) for number in range(7)}


def test_series_without_a_segmentation_are_counted_and_other_formats_too(tmp_path):
    write_series(tmp_path)
    write_series(tmp_path, "scout", "1.2.3.5")
    write_segmentation(tmp_path, "seg", make_labels(shape=SHAPE))
    listing = listed(tmp_path)
    assert {entry.images[0].split("/")[0] for entry in listing.items} == {"ct"}
    assert listing.notes == ("7 DICOM images are of a series without a segmentation: left out",)


def test_segmentations_of_one_series_are_joined(tmp_path):
    labels = make_labels(shape=SHAPE)
    write_series(tmp_path)
    for segment in (1, 2, 5):
        write_segmentation(tmp_path, f"seg{segment}", labels * (labels == segment))
    listing = listed(tmp_path)
    assert {entry.masks for entry in listing.items} == {("seg1.dcm", "seg2.dcm", "seg5.dcm")}
    for path, mask in masks_of(tmp_path, listing).items():
        np.testing.assert_array_equal(mask, classes(labels[int(path[3])]))


def test_one_that_names_no_image_is_found_by_its_place(tmp_path):
    write_series(tmp_path)
    write_series(tmp_path, "other", "1.2.3.5", ImageOrientationPatient=[0, 1, 0, 0, 0, 1])
    write_segmentation(tmp_path, "seg", make_labels(shape=SHAPE), ReferencedSeriesSequence=[])
    listing = listed(tmp_path)
    assert {entry.images[0].split("/")[0] for entry in listing.items} == {"ct"}
    write_series(tmp_path, "again", "1.2.3.6")
    (problem,) = listed(tmp_path).problems
    assert (problem.kind, problem.detail) == ("ambiguous", "it names no image, and lies on those of 2 series")


def problems(root, values=VALUES):
    listing = listed(root, values)
    assert listing.items == ()
    return [(problem.kind, problem.file, problem.detail) for problem in listing.problems]


def test_a_segmentation_of_images_that_are_not_there_is_a_problem(tmp_path):
    write_series(tmp_path)
    write_segmentation(tmp_path, "seg", make_labels(shape=SHAPE), ReferencedSeriesSequence=references("1.2.99"))
    assert problems(tmp_path) == [("missing_image", "seg.dcm", "a segmentation of images that are not there")]


def test_a_slice_with_a_segment_that_lies_on_no_image_is_never_lost_in_silence(tmp_path):
    write_series(tmp_path, places=[0, 1, 3, 4, 6])
    write_segmentation(tmp_path, "seg", make_labels(shape=SHAPE))
    ((kind, _, detail),) = problems(tmp_path)
    assert (kind, detail) == (
        "grid",
        "2 slices with a segment lie on no image of its series: another grid, or images are missing",
    )


@pytest.mark.parametrize(
    "header",
    [
        {"PixelSpacing": [0.5, 0.5]},
        {"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]},
        {"size": (9, 12)},
    ],
)
def test_one_on_another_grid_is_refused(tmp_path, header):
    write_series(tmp_path, **header)
    write_segmentation(tmp_path, "seg", make_labels(shape=SHAPE))
    assert [kind for kind, *_ in problems(tmp_path)] == ["grid"]


def test_fractions_are_refused_and_their_series_left_out(tmp_path):
    write_series(tmp_path)
    write_segmentation(tmp_path, "a", make_labels(shape=SHAPE))
    write_segmentation(tmp_path, "b", make_labels(shape=SHAPE), kind="FRACTIONAL")
    ((kind, file, detail),) = problems(tmp_path)
    assert (kind, file) == ("unreadable", "b.dcm")
    assert "FRACTIONAL; expected BINARY or LABELMAP" in detail
    assert "7 DICOM images are of a series of which a segmentation has a problem: left out" in listed(tmp_path).notes


NAMES = ("Liver", "Tumour", "Vessel")


def write_numbered(root, places, labels):
    """A series for each order of the names, whose segments are numbered in that order."""
    for series, order in enumerate(places):
        write_series(root, f"ct{series}", f"1.2.{series}")
        segments = [
            item(SegmentNumber=number, SegmentLabel=NAMES[place].lower())
            for number, place in zip((1, 2, 5), order, strict=True)
        ]
        write_segmentation(
            root, f"seg{series}", labels, SegmentSequence=segments,
            ReferencedSeriesSequence=references(f"1.2.{series}"),
        )  # fmt: skip


def test_segments_are_known_by_their_names_whatever_their_numbers(tmp_path):
    labels, orders = make_labels(shape=SHAPE), [(0, 1, 2), (2, 1, 0), (1, 2, 0)]
    write_numbered(tmp_path, orders, labels)
    values = {"background": 0, "Liver": 7, "Tumour": 8, "Vessel": 9}
    listing = listed(tmp_path, values)
    assert listing.problems == ()
    assert len(listing.items) == 21
    for path, mask in masks_of(tmp_path, listing, values).items():
        order, here = orders[int(path[2])], classes(labels[int(path[4])])
        np.testing.assert_array_equal(mask, np.array([0, *(place + 1 for place in order)])[here])


def test_segments_of_other_names_are_background_and_that_is_said(tmp_path):
    labels = make_labels(shape=SHAPE)
    write_numbered(tmp_path, [(0, 1, 2)], labels)
    values = {"background": 0, "tumour": 1}
    listing = listed(tmp_path, values)
    for path, mask in masks_of(tmp_path, listing, values).items():
        np.testing.assert_array_equal(mask, labels[int(path[4])] == 2)
    assert listing.notes == ("2 segments of other names than target.mask_values are background: segment-1, segment-5",)


def test_a_class_that_is_called_as_no_segment_is_refused_without_any_label(tmp_path):
    write_numbered(tmp_path, [(0, 1, 2)], make_labels(shape=SHAPE))
    with pytest.raises(DataError, match=r"no segment is called lesion.*property types are segment-1") as caught:
        listed(tmp_path, {"background": 0, "lesion": 1, "Liver": 2})
    assert "liver" not in str(caught.value).lower()


def test_segments_that_overlap_are_read_where_only_one_of_them_is_a_class_or_both_are_the_same(tmp_path):
    labels = make_labels(shape=SHAPE)
    lung, tumour = (labels > 0) * np.uint8(1), (labels == 2) * np.uint8(2)
    write_series(tmp_path)
    both = pydicom.dcmread(io.BytesIO(write_seg(lung)))
    second = pydicom.dcmread(io.BytesIO(write_seg(tumour)))
    frames = np.concatenate([both.pixel_array, second.pixel_array])
    groups = [*both.PerFrameFunctionalGroupsSequence, *second.PerFrameFunctionalGroupsSequence]
    stored = pydicom.pixels.pack_bits(frames.ravel())
    segments = [item(SegmentNumber=number, SegmentLabel=name) for number, name in ((1, "lung"), (2, "tumour"))]
    write_segmentation(
        tmp_path, "seg", labels, NumberOfFrames=len(frames), PerFrameFunctionalGroupsSequence=groups,
        PixelData=stored + bytes(len(stored) % 2),
        SegmentSequence=segments,
    )  # fmt: skip
    values = {"background": 0, "tumour": 3}
    for path, mask in masks_of(tmp_path, listed(tmp_path, values), values).items():
        np.testing.assert_array_equal(mask, tumour[int(path[3])] > 0)
    ((kind, _, detail),) = problems(tmp_path, {"background": 0, "lung": 1, "tumour": 2})
    assert (kind, "segments overlap" in detail) == ("unreadable", True)


def test_an_image_between_two_slices_of_a_segmentation_is_refused_unless_it_is_resampled(tmp_path):
    labels = make_labels(shape=SHAPE)
    write_series(tmp_path)
    write_segmentation(tmp_path, "seg", labels)
    write_series(tmp_path, "between", "1.2.3.4", places=[3], ImagePositionPatient=[10, -20, 30 + 2.5 * 2.4])
    listing = listed(tmp_path)
    with pytest.raises(DataError, match="another grid"):
        masks_of(tmp_path, listing)
    found = masks_of(tmp_path, listing, align="resample")
    np.testing.assert_array_equal(found["between/3.dcm"], classes(labels[2]))
    np.testing.assert_array_equal(found["ct/5.dcm"], classes(labels[5]))


def test_an_image_without_a_place_is_refused(tmp_path):
    write_dicom(tmp_path / "image.dcm", np.zeros(SHAPE[1:], np.uint16), "p1")
    write_segmentation(tmp_path, "seg", make_labels(shape=SHAPE))
    reader = PageReader(lambda name: (tmp_path / name).read_bytes())
    with pytest.raises(DataError, match="does not say where it lies"):
        read_mask(Alignment(reader), ["seg.dcm"], CLASSES, None, reader.image("image.dcm", None))


def write_enhanced(root, labels, order=None):
    """One file with a frame for each slice, as enhanced CT and MR have them, in any order of its frames."""
    voxels = np.arange(1, SHAPE[0] + 1, dtype=np.uint8)[:, None, None] * np.ones(SHAPE, np.uint8)
    enhanced = "1.2.840.10008.5.1.4.1.1.4.1"
    data = write_seg(
        voxels, kind="LABELMAP", keep_empty=True, order=order, SOPClassUID=enhanced, SOPInstanceUID="1.2.3.4.0",
        SeriesInstanceUID="1.2.3.4", FrameOfReferenceUID="1.9",
    )  # fmt: skip
    (root / "enhanced.dcm").write_bytes(data)
    write_segmentation(root, "seg", labels)


@pytest.mark.parametrize("order", [None, lambda count: range(count)[::-1], lambda count: [3, 0, 6, 1, 5, 2, 4]])
def test_each_frame_of_a_file_has_its_slice(tmp_path, order):
    labels = make_labels(shape=SHAPE)
    write_enhanced(tmp_path, labels, order)
    listing = listed(tmp_path)
    assert (len(listing.items), listing.problems) == (1, ())
    with open_source(tmp_path) as source:
        paged, _ = with_pages(listing, "all", source, tmp_path / "cache", "stored")
    assert [entry.page for entry in paged.items] == list(range(7))
    reader = PageReader(lambda name: (tmp_path / name).read_bytes(), segments=VALUES)
    for entry in paged.items:
        image = reader.image(entry.images[0], entry.page)
        mask = read_mask(Alignment(reader), entry.masks, CLASSES, entry.page, image)
        np.testing.assert_array_equal(mask, classes(labels[int(image.pixels[0, 0, 0]) - 1]))


def test_segments_that_no_class_is_called_as_are_warned_of_whatever_the_layout(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})
    labels, images = make_labels(shape=SHAPE), tmp_path / "images"
    place = int(np.flatnonzero(labels.any((1, 2)))[0])
    for patient, name in enumerate(["lesion", "lesion", "Lesion", "GTV-1"]):
        uid = f"1.2.7.{patient}"
        write_series(images, f"p{patient}", uid, places=[place])
        segments = [item(SegmentNumber=number, SegmentLabel=name) for number in (1, 2, 5)]
        write_segmentation(
            images / f"p{patient}",
            "seg",
            labels,
            SegmentSequence=segments,
            ReferencedSeriesSequence=references(uid, [place]),
        )
    patterns = f"image: '{{patient}}/{place}.dcm', mask: '{{patient}}/seg.dcm'"
    recipe = parse_recipe(
        "{name: x, target: {mask_values: {background: 0, lesion: 1}}, preprocess: {size: [32, 32]},"
        f" data: {{{patterns}}}, split: {{stratify: false}}}}"
    )
    with open_source(images) as source:
        made = prepare(
            recipe, source, tmp_path / "run", tmp_path / "cache", workers=1, preprocess=Preprocess.of(recipe.preprocess)
        )
    (said,) = [text for text in made.facts["warnings"] if "segments" in text]
    assert said.startswith("The segmentations of 1 of 4 samples have segments that no class")
    assert "GTV" not in str(made.facts)
    assert sorted(made.catalogue["foreground_px"] > 0) == [False, True, True, True]


def test_a_segment_that_is_nowhere_described_is_refused(tmp_path):
    write_series(tmp_path)
    write_segmentation(tmp_path, "seg", make_labels(shape=SHAPE), SegmentSequence=[item(SegmentNumber=1)])
    ((kind, _, detail),) = problems(tmp_path, {"background": 0, "segment-1": 1})
    assert (kind, "segment 2 is nowhere described" in detail) == ("unreadable", True)
