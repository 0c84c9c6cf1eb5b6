"""One volume stored in any orientation, as NIfTI or DICOM, has one answer; nibabel says which voxel is which."""

import nibabel
import numpy as np
import pytest
from nibabel.orientations import io_orientation
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medloom.errors import InputError
from medloom.imaging import Image, read_series
from medloom.imaging.canonical import AS_STORED, plane_of, turned
from medloom.imaging.nifti import read_nifti_volume
from medloom.inference.inputs import ImageFile
from medloom.inference.volumes import predict_volume, slices_of
from medloom.serving.batch import predict_files
from support.orientations import ALL, nifti, rotated, stored

SHAPE = (20, 18, 6)
AFFINE = rotated((3, -5, 4)) @ np.array([[0.9, 0, 0, -20], [0, 1.1, 0, 30], [0, 0, 4, -7], [0, 0, 0, 1]], float)
STRAIGHT = np.diag([0.75, 0.5, 2.5, 1.0])
CASES = [(codes, plane) for codes in ALL for plane in ("axial", "coronal", "sagittal")]


class Lopsided:
    """Answers with the image, brighter to the right and much brighter below: any flip or exchange shows."""

    name = "lopsided"

    def run(self, batch_nchw, table_nf=None):
        rows = np.linspace(0.2, 1.0, batch_nchw.shape[2])[:, None]
        return (batch_nchw[:, -1:] / 1000 * rows * np.linspace(0.5, 1.0, batch_nchw.shape[3])).astype(np.float32)


@pytest.fixture
def predictor(make_predictor):
    def make(plane="axial", **options):
        return make_predictor(Lopsided(), size=(24, 16), channels=("grey",), orientation=plane, **options)

    return make


def voxels(seed=0):
    """Smooth, so that resizing keeps what is there."""
    grid = np.mgrid[tuple(slice(0, side) for side in SHAPE)]
    waves = np.random.default_rng(seed).uniform(0.1, 0.6, (4, 3))
    return (500 + 120 * sum(np.sin(np.tensordot(wave, grid, 1)) for wave in waves)).astype(np.int16)


def in_one_order(image):
    """Voxels in the order that nibabel calls the closest to RAS, and their affine."""
    straight = nibabel.as_closest_canonical(image)
    return np.asarray(straight.dataobj), straight.affine


@pytest.mark.parametrize(("codes", "plane"), CASES)
def test_every_orientation_gives_the_same_mask_in_its_own_grid(codes, plane, predictor, tmp_path):
    written = []
    for one in ("RAS", codes):
        data = nifti(*stored(voxels(), AFFINE, one))
        (result,) = predict_files(predictor(plane), [ImageFile("scan.nii", lambda data=data: data)], tmp_path / one)
        assert not result.error
        mask, given = nibabel.load(tmp_path / one / result.mask), nibabel.Nifti1Image.from_bytes(data)
        assert mask.shape == given.shape
        np.testing.assert_allclose(mask.affine, given.affine, atol=1e-4)
        np.testing.assert_array_equal(io_orientation(mask.affine), io_orientation(given.affine))
        written.append(in_one_order(mask))
    (expected, affine), (found, found_affine) = written
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found_affine, affine, atol=1e-4)
    assert 0.02 < (expected > 0).mean() < 0.98


def test_the_network_sees_images_as_they_are_looked_at(predictor):
    data = nifti(*stored(voxels(), AFFINE, "PIR"))
    straight, _ = stored(voxels(), AFFINE, "LPS")
    images = list(slices_of(read_nifti_volume(data), "axial"))
    assert len(images) == SHAPE[2]
    for image in images:
        seen, turn = turned(image, "axial")
        assert seen.axes == ("L", "P")
        np.testing.assert_array_equal(turn.undo(seen.pixels), image.pixels)
        at_feet = np.round(np.linalg.solve(stored(voxels(), AFFINE, "LPS")[1], seen.affine))
        np.testing.assert_array_equal(seen.pixels[..., 0], straight[:, :, int(at_feet[2, 3])].T)


@pytest.mark.parametrize(
    ("axes", "plane", "expected"),
    [("RA", "axial", "LP"), ("AR", "axial", "LP"), ("RS", "coronal", "LI"), ("SA", "sagittal", "PI")],
)
def test_each_plane_has_its_own_display(axes, plane, expected):
    pixels = np.arange(12).reshape(3, 4, 1)
    image, turn = turned(Image(pixels, "dicom", (1.0, 2.0), directions=tuple(axes)), "any")
    assert (plane_of(axes), "".join(image.axes)) == (plane, expected)
    assert image.spacing_mm == ((2.0, 1.0) if turn.transposed else (1.0, 2.0))
    np.testing.assert_array_equal(turn.undo(image.pixels), pixels)


def enhanced(write_dicom, planes, cosines, positions):
    """One file of all slices, as enhanced CT and MR are, the last slice first."""
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, orientation.ImageOrientationPatient = [0.5, 0.75], 2.5, cosines
    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    for place in positions:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = place
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    groups = {"PerFrameFunctionalGroupsSequence": Sequence(frames[::-1])}
    return write_dicom(planes[::-1], SharedFunctionalGroupsSequence=Sequence([shared]), **groups)


@pytest.mark.parametrize("back", [1, -1])
def test_a_series_and_an_enhanced_file_give_what_the_nifti_file_gives(back, predictor, write_dicom, tmp_path):
    upright, affine = stored(voxels(), STRAIGHT, "LPS")  # as DICOM's axes are
    expected = predict_volume(predictor(), read_nifti_volume(nifti(upright, affine))).mask
    planes, cosines = upright.T.astype(np.uint16)[:, ::back], [1, 0, 0, 0, back, 0]
    positions = [[10, -20, 30 + 2.5 * number] for number in range(len(planes))]
    series = read_series(
        write_dicom(
            plane,
            ImageOrientationPatient=cosines,
            ImagePositionPatient=place,
            PixelSpacing=[0.5, 0.75],
        )
        for plane, place in zip(planes, positions, strict=True)
    )
    data = enhanced(write_dicom, planes, cosines, positions)
    (result,) = predict_files(predictor(), [ImageFile("enhanced.dcm", lambda: data)], tmp_path)
    assert (result.error, result.slices) == ("", SHAPE[2])
    for found in (predict_volume(predictor(), series).mask, np.asarray(nibabel.load(tmp_path / result.mask).dataobj).T):
        order = found if back > 0 else found[::-1, ::-1]  # rows are stored backwards, and so the normal is to the feet
        np.testing.assert_array_equal(order > 0, expected > 0)


def test_a_slice_of_another_plane_is_refused(predictor):
    sagittal = next(slices_of(read_nifti_volume(nifti(*stored(voxels(), AFFINE, "PIR")))))
    with pytest.raises(InputError, match=r"the image is a sagittal slice; expected axial ones\. Of a volume stored"):
        predictor().predict(sagittal)
    assert predictor("any").predict(sagittal).mask.shape == sagittal.size


def test_an_image_that_does_not_say_is_taken_as_stored_and_noted(predictor):
    prepared = predictor().prepare(np.zeros((18, 20), np.uint8))
    assert prepared.turn == AS_STORED
    assert "does not say how it is oriented" in prepared.warnings[0]
    assert predictor(None).prepare(np.zeros((18, 20), np.uint8)).warnings == ()
    with pytest.raises(InputError, match="unlike the training data: the image does not say how it is oriented"):
        predictor(strict=True).prepare(np.zeros((18, 20), np.uint8))


@pytest.mark.parametrize("codes", ["RAS", "PIR"])
def test_models_without_an_orientation_take_volumes_as_stored(codes, predictor):
    volume = read_nifti_volume(nifti(*stored(voxels(), AFFINE, codes)))
    found = predict_volume(predictor(None), volume).mask
    for number, plane in enumerate(volume.voxels):
        np.testing.assert_array_equal(found[number], predictor(None).predict(plane[..., None]).mask)


@pytest.mark.parametrize("orientation", ["RF", "LH", "FL", "HR"])
def test_radiographs_stored_otherwise_have_the_same_answer(orientation, predictor, write_dicom):
    upright = (voxels()[:, :, 0].T + 400).astype(np.uint16)
    expected = predictor("coronal").predict(write_dicom(upright, PatientOrientation=["L", "F"]))
    letters = orientation.replace("F", "I").replace("H", "S")
    _, turn = turned(Image(upright[..., None], "dicom", directions=(letters[0], letters[1])), "any")
    other = np.ascontiguousarray(turn.undo(upright))
    found = predictor("coronal").predict(write_dicom(other, PatientOrientation=list(orientation)))
    np.testing.assert_array_equal(turn.apply(found.mask), expected.mask)
    np.testing.assert_array_equal(turn.apply(found.probabilities[0]), expected.probabilities[0])
    assert 0 < expected.mask.mean() < 1
