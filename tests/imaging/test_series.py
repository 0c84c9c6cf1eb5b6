"""Series: volumes in the order and the place that the patient has, or an error that says why not."""

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medloom.errors import DataError
from medloom.imaging import Budget, decode, read_series

AXIAL = np.array([1.0, 0, 0, 0, 1, 0])
_TURN = np.deg2rad(25)
OBLIQUE = np.array([np.cos(_TURN), np.sin(_TURN), 0, 0, 0, -1.0])


def text(numbers):
    return [f"{number:.10g}"[:16] for number in numbers]


@pytest.fixture
def make_series(write_dicom):
    """Write the slices of a series: ``make_series(count, orientation, steps_mm, **attributes)``."""

    def make(count=6, orientation=AXIAL, step_mm=2.5, start=(10.0, -20.0, 30.0), positions=None, **attributes):
        normal = np.cross(orientation[:3], orientation[3:])
        places = [np.array(start) + number * step_mm * normal for number in range(count)]
        files = []
        for number, place in enumerate(places if positions is None else positions):
            pixels = np.full((5, 7), 100 * number, np.int16) + np.arange(35, dtype=np.int16).reshape(5, 7)
            chosen = {
                "ImageOrientationPatient": text(orientation), "ImagePositionPatient": text(place),
                "PixelSpacing": ["0.5", "0.75"], "InstanceNumber": str(1 + (number * 5) % 7),
            }  # fmt: skip
            files.append(write_dicom(pixels, **{**chosen, **attributes}))
        return files

    return make


def problem(files, **options):
    with pytest.raises(DataError) as caught:
        read_series(files, **options)
    return str(caught.value)


def test_slices_are_ordered_by_position_and_not_by_name_or_number(make_series):
    files = make_series()
    order = [3, 0, 5, 1, 4, 2]
    expected = np.stack([decode(data).pixels[..., 0] for data in files])
    for shuffled in (
        [files[number] for number in order],
        {f"{99 - number}.dcm": files[number] for number in order},
        iter(reversed(files)),
    ):
        volume = read_series(shuffled)
        np.testing.assert_array_equal(volume.voxels, expected)
        assert volume.voxels.dtype == np.int16
        assert volume.spacing_mm == (2.5, 0.5, 0.75)
        assert volume.format == "dicom"


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE, -AXIAL, np.array([0, 1.0, 0, 0, 0, -1])])
def test_the_affine_puts_every_pixel_where_dicom_says(make_series, orientation):
    """PS3.3, C.7.6.2.1.1: position + column × column spacing × row cosines + row × row spacing × column cosines."""
    files = make_series(orientation=orientation)
    volume = read_series(reversed(files))
    normal = np.cross(orientation[:3], orientation[3:])
    for column, row, number in ((0, 0, 0), (6, 0, 0), (0, 4, 0), (0, 0, 5), (3, 2, 4)):
        lps = (
            np.array([10.0, -20, 30]) + number * 2.5 * normal
            + column * 0.75 * orientation[:3] + row * 0.5 * orientation[3:]
        )  # fmt: skip
        found = volume.affine @ [column, row, number, 1]
        np.testing.assert_allclose(found[:3], lps * [-1, -1, 1], atol=1e-6)
        assert volume.voxels[number, row, column] == 100 * number + 7 * row + column


def test_nibabel_takes_voxels_and_affine_as_they_are(make_series):
    volume = read_series(make_series())
    image = nibabel.Nifti1Image(volume.voxels.T, volume.affine)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    np.testing.assert_allclose(image.header.get_zooms(), volume.spacing_mm[::-1])


def test_values_are_rescaled_slice_by_slice(write_dicom):
    files = [
        write_dicom(
            np.full((4, 4), 10, np.uint16), RescaleSlope=str(number + 1), RescaleIntercept="0",
            ImageOrientationPatient=text(AXIAL), ImagePositionPatient=text((0, 0, 3 * number)), PixelSpacing=["1", "1"],
        )
        for number in range(3)
    ]  # fmt: skip
    volume = read_series(files)
    assert volume.voxels.dtype == np.float32
    assert volume.voxels[:, 0, 0].tolist() == [10, 20, 30]
    assert "rescaled by slope and intercept" in volume.notes


def test_a_missing_slice_is_a_gap_and_is_named(make_series):
    files = make_series(8)
    del files[5]
    message = problem(files)
    assert "gaps" in message
    assert "between slices 4 and 5 there are 5.000 mm; elsewhere 2.500 mm" in message


def test_positions_that_come_twice_are_named(make_series):
    files = make_series()
    message = problem([*files, files[2]])
    assert "twice" in message
    assert "slices 2 and 3 are at the same position" in message


def test_small_rounding_of_positions_is_no_gap(make_series):
    rng = np.random.default_rng(0)
    positions = [(0, 0, 0.625 * number + rng.uniform(-0.004, 0.004)) for number in range(20)]
    assert read_series(make_series(positions=positions)).voxels.shape == (20, 5, 7)


@pytest.mark.parametrize("step_mm", [0.625, 1.25, 0.33, 2.47, 3.0])
@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_positions_rounded_to_a_tenth_of_a_millimetre_are_no_gap(make_series, step_mm, orientation):
    normal = np.cross(orientation[:3], orientation[3:])
    exact = [np.array([10.03, -20.07, 30.01]) + number * step_mm * normal for number in range(12)]
    volume = read_series(make_series(orientation=orientation, positions=[place.round(1) for place in exact]))
    assert volume.spacing_mm[0] == pytest.approx(step_mm, abs=0.2 / 11)
    assert any("rounded to 0.1 mm" in note for note in volume.notes) == (step_mm != 3 or orientation is OBLIQUE)
    holed = [place.round(1) for number, place in enumerate(exact) if number != 5]
    assert "gaps" in problem(make_series(orientation=orientation, positions=holed))


def test_uneven_positions_with_more_digits_are_gaps(make_series):
    positions = [(0, 0, place) for place in (0.01, 0.61, 1.31, 1.91, 2.51)]
    assert "gaps" in problem(make_series(positions=positions))


def test_several_series_are_never_guessed(make_series):
    files = [
        *make_series(4, SeriesInstanceUID="1.2.9", SeriesDescription="SECRET", PatientName="SECRET"),
        *make_series(3, SeriesInstanceUID="1.2.5", step_mm=1.0),
    ]
    message = problem(files)
    assert "2 series" in message
    assert "series 0: 3 slices" in message
    assert "series 1: 4 slices" in message
    assert "SECRET" not in message
    assert "1.2.9" not in message
    assert read_series(files, series="0").voxels.shape[0] == 3
    assert read_series(files, series="1").voxels.shape[0] == 4
    assert read_series(files, series="1.2.9").voxels.shape[0] == 4
    for absent in ("2", "1.2.7", "", "-1"):
        assert "not among" in problem(files, series=absent)


def test_mixed_sizes_spacings_and_orientations_are_all_said(make_series, write_dicom):
    odd = write_dicom(
        np.zeros((6, 7), np.int16), ImageOrientationPatient=text(OBLIQUE), ImagePositionPatient=["10", "-20", "60"],
        PixelSpacing=["0.5", "0.5"],
    )  # fmt: skip
    message = problem([*make_series(), odd])
    for said in ("mixed sizes: 5×7, 6×7", "mixed pixel spacings", "mixed orientations: 1 of 7"):
        assert said in message


def test_gantry_tilt_is_an_error_with_its_angle(make_series):
    positions = [(0, np.tan(np.deg2rad(12)) * 5 * number, 5 * number) for number in range(6)]
    message = problem(make_series(positions=positions))
    assert "gantry tilt" in message
    assert "12.0 degrees" in message


def test_slices_that_are_shifted_are_refused(make_series):
    positions = [(0, 0 if number != 3 else 4, 5 * number) for number in range(6)]
    assert "shifted" in problem(make_series(positions=positions))


@pytest.mark.parametrize(
    ("attributes", "said"),
    [({"ImagePositionPatient": None}, "no position"), ({"ImageOrientationPatient": None}, "no orientation"),
     ({"PixelSpacing": None}, "no pixel spacing"), ({"PixelSpacing": ["0", "1"]}, "impossible"),
     ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, "impossible"),
     ({"ImageOrientationPatient": ["0"] * 6}, "impossible"), ({"ImagePositionPatient": ["1", "2"]}, "2 numbers")],
)  # fmt: skip
def test_slices_without_a_place_are_refused(make_series, attributes, said):
    assert said in problem(make_series(**attributes))


def test_colours_are_no_volume(write_dicom):
    data = write_dicom(
        np.zeros((4, 4, 3), np.uint8), ImageOrientationPatient=text(AXIAL), ImagePositionPatient=["0"] * 3,
        PixelSpacing=["1", "1"],
    )  # fmt: skip
    assert "colours" in problem([data])


def test_one_slice_needs_a_thickness(make_series):
    assert "how thick" in problem(make_series(1))
    volume = read_series(make_series(1, SliceThickness="4"))
    assert volume.spacing_mm == (4, 0.5, 0.75)
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, 4])


def test_files_that_are_no_images_are_listed_by_number(make_series, write_tiff):
    files = make_series(3)
    message = problem([files[0], b"", files[1][:-10], write_tiff(np.zeros((4, 4), np.uint8)), files[2]])
    for said in ("3 files", "file 1: empty", "file 2: truncated", "file 3: unsupported"):
        assert said in message


def test_a_frame_that_is_damaged_is_an_error_and_no_hole(write_dicom):
    places = {"ImageOrientationPatient": text(AXIAL), "PixelSpacing": ["1", "1"]}
    files = [
        write_dicom(np.zeros((4, 4), np.uint8), "1.2.840.10008.1.2.5", [bytes(100)],
                    ImagePositionPatient=text((0, 0, number)), **places)
        for number in range(2)
    ]  # fmt: skip
    assert "slice 0" in problem(files)


def test_nothing_and_too_much_are_refused(make_series):
    assert "no files" in problem([])
    assert "limit" in problem(make_series(), most_bytes=400)
    assert "too_large" in problem(make_series(), budget=Budget(max_pixels=30))


def test_frames_of_an_enhanced_file_are_slices(write_dicom):
    def item(**attributes):
        found = Dataset()
        for name, value in attributes.items():
            setattr(found, name, value)
        return found

    heights = [6, 0, 3]
    own = [
        item(PlanePositionSequence=Sequence([item(ImagePositionPatient=text((1, 2, height)))])) for height in heights
    ]
    shared = item(
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=text(AXIAL))]),
        PixelMeasuresSequence=Sequence([item(PixelSpacing=["1", "2"], SliceThickness="3")]),
    )
    pixels = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    data = write_dicom(
        pixels, NumberOfFrames="3", PerFrameFunctionalGroupsSequence=Sequence(own),
        SharedFunctionalGroupsSequence=Sequence([shared]),
    )  # fmt: skip
    volume = read_series([data])
    np.testing.assert_array_equal(volume.voxels, pixels[[1, 2, 0]])
    assert volume.spacing_mm == (3, 1, 2)
    np.testing.assert_allclose(volume.affine[:3, 3], [-1, -2, 0])
