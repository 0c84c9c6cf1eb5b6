"""Where pixels lie in the patient: what the formats say, and one grid found in another; nibabel is the reference."""

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.imaging import decode
from medloom.imaging.decoding import read_grids
from medloom.imaging.geometry import Grid, axis_codes, find_match
from support.orientations import ALL, nifti, rotated, stored

AFFINE = np.array([[0.9, 0, 0, -20], [0, 1.1, 0, 30], [0, 0, 4, -7], [0, 0, 0, 1]], float)
VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)  # i, j, k
ANGLES = st.floats(-180, 180)


@given(degrees=st.tuples(ANGLES, ANGLES, ANGLES), zooms=st.tuples(*[st.floats(0.1, 9)] * 3), codes=st.sampled_from(ALL))
def test_directions_have_the_codes_that_nibabel_gives(degrees, zooms, codes):
    _, affine = stored(np.zeros((2, 3, 4)), rotated(degrees) @ np.diag([*zooms, 1.0]), codes)
    assert axis_codes(affine) == nibabel.aff2axcodes(affine)


@pytest.mark.parametrize("codes", ALL)
def test_a_page_of_a_nifti_file_lies_where_nibabel_says(codes):
    voxels, affine = stored(VOXELS, rotated((4, -3, 7)) @ AFFINE, codes)
    data = nifti(voxels, affine)
    for page in range(voxels.shape[2]):
        image = decode(data, page=page)
        place = image.affine @ [2, 1, 0, 1]
        np.testing.assert_allclose(place, nibabel.Nifti1Image.from_bytes(data).affine @ [2, 1, page, 1], atol=1e-4)
        assert image.axes == tuple(codes[:2])


def test_a_file_that_states_no_orientation_has_no_place():
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    found = decode(image.to_bytes(), page=1)
    assert (found.affine, found.axes, read_grids(image.to_bytes())) == (None, None, ())


@pytest.mark.parametrize("shift", [0.0, 0.09])
@pytest.mark.parametrize("codes", ALL)
def test_a_plane_is_found_in_the_same_grid_stored_otherwise(codes, shift):
    voxels, affine = stored(VOXELS, AFFINE, codes)
    plane = Grid(AFFINE, (4, 5, 6)).plane(2)
    plane.affine[0, 3] += shift * 0.9  # of a voxel
    match = find_match(plane, Grid(affine, voxels.shape))
    np.testing.assert_array_equal(match.cut(voxels.T), VOXELS[:, :, 2].T)


@pytest.mark.parametrize("codes", ALL)
@pytest.mark.parametrize(
    "change",
    [
        np.diag([1, 1.05, 1, 1.0]),
        np.array([[1, 0, 0, 0.2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1.0]]),
        rotated((0, 0, 2)),
        rotated((3, 0, 0)),
    ],
    ids=["spacing", "shifted", "between slices", "turned", "tilted"],
)
def test_another_grid_is_not_taken_for_the_same(codes, change):
    voxels, affine = stored(VOXELS, AFFINE, codes)
    moved = np.diag([0.9, 1.1, 4, 1]) @ change @ np.linalg.inv(np.diag([0.9, 1.1, 4, 1]))
    plane = Grid(moved @ AFFINE, (4, 5, 6)).plane(2)
    assert find_match(plane, Grid(affine, voxels.shape)) is None
    assert find_match(Grid(AFFINE, (4, 4, 6)).plane(2), Grid(affine, voxels.shape)) is None


def dicom(write_dicom, **attributes):
    return decode(write_dicom(np.arange(48, dtype=np.uint16).reshape(6, 8), **attributes))


TILTED = [0.996, -0.0872, 0, 0.0872, 0.996, 0]


def test_a_dicom_slice_lies_where_the_standard_says(write_dicom):
    image = dicom(
        write_dicom, ImageOrientationPatient=TILTED, ImagePositionPatient=[-3, 4, 5], PixelSpacing=[2, 0.5],
        SpacingBetweenSlices="3", SliceThickness="1",
    )  # fmt: skip
    place = np.array([-3, 4, 5]) + 3 * 0.5 * np.array(TILTED[:3]) + 2 * 2 * np.array(TILTED[3:])  # to L, P, H
    np.testing.assert_allclose((image.affine @ [3, 2, 0, 1])[:3], place * [-1, -1, 1])
    assert image.axes == ("L", "P")
    assert np.linalg.norm(image.affine[:3, 2]) == pytest.approx(3, rel=1e-3)
    assert image.notes == ()


@pytest.mark.parametrize(
    ("attributes", "axes", "notes"),
    [
        ({}, None, 0),
        ({"PatientOrientation": ["L", "F"]}, ("L", "I"), 0),
        ({"PatientOrientation": ["AR", "FL"]}, ("A", "I"), 0),
        ({"PatientOrientation": ["P", "H"]}, ("P", "S"), 0),
        ({"PatientOrientation": ["L", "R"]}, None, 1),
        ({"PatientOrientation": ["L"]}, None, 1),
        ({"PatientOrientation": ["DOE", "JOHN"]}, None, 1),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, ("P", "I"), 0),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 1, 0], "PatientOrientation": ["L", "F"]}, ("L", "I"), 1),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 9e9], "PixelSpacing": [1, 1]},
         ("L", "P"), 1),
    ],
)  # fmt: skip
def test_directions_without_a_place(write_dicom, attributes, axes, notes):
    image = dicom(write_dicom, **attributes)
    assert (image.affine, image.axes, len(image.notes)) == (None, axes, notes)
    assert not any("DOE" in note for note in image.notes)


@pytest.mark.parametrize("keyword", ["ImageOrientationPatient", "ImagePositionPatient"])
@pytest.mark.parametrize("value", [b"NaN", b"inf", b"1e999", b"what", b"1e300", b"", b"1\\2"])
def test_an_impossible_place_is_unknown_and_noted(write_dicom, keyword, value):
    stated = {
        "ImageOrientationPatient": list("100010"),
        "ImagePositionPatient": list("123"),
        "PixelSpacing": ["1", "1"],
    }
    data = write_dicom(np.zeros((6, 8), np.uint16), **stated)
    whole = "\\".join(stated[keyword]).encode()
    at = data.index(whole)
    wrong = (value + whole[whole.index(b"\\") :] if value not in (b"", b"1\\2") else value).ljust(40)
    image = decode(data[: at - 2] + len(wrong).to_bytes(2, "little") + wrong + data[at + len(whole) + len(whole) % 2 :])
    assert image.affine is None
    assert len(image.notes) == (value != b"")
