"""One call predicts a volume in whatever form it comes; a slice of it is what the page alone gives."""

import gzip
import io
import json
import zipfile

import nibabel
import numpy as np
import pytest

from medloom.errors import DataError, DecodeError, InputError
from medloom.imaging import decode, read_frames, read_volume
from medloom.inference import LabelPrediction, MaskPrediction
from medloom.inference.answers.labels import LabelVolumePrediction
from medloom.inference.answers.mask_volume import VolumePrediction

SPACING = (2.5, 0.5, 0.75)
AFFINE = np.array([[-0.75, 0, 0, -10], [0, -0.5, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]], np.float64)


def _voxels():
    voxels = np.zeros((5, 17, 12), np.uint16)
    voxels[1:3, 9:15, 2:6] = 1
    return voxels


@pytest.fixture
def predictor(make_predictor):
    return make_predictor(channels=("grey",), size=(17, 17), preprocess={"fit": "pad"})


@pytest.fixture
def forms(tmp_path, write_series, write_enhanced):
    """The same volume as NIfTI, folder, zip, enhanced DICOM and in memory."""
    voxels = _voxels()
    image = nibabel.Nifti1Image(voxels.T, AFFINE)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(image.to_bytes()))
    (tmp_path / "series").mkdir()
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as archive:
        for number, data in enumerate(write_series(voxels, SPACING)):
            (tmp_path / "series" / f"IM{number}").write_bytes(data)
            archive.writestr(f"deep/IM{number}", data)
    (tmp_path / "enhanced.dcm").write_bytes(write_enhanced(voxels, SPACING))
    paths = [tmp_path / name for name in ("a.nii", "a.nii.gz", "series", "series.zip", "enhanced.dcm")]
    return [*paths, *map(str, paths), read_volume(paths[0].read_bytes())]


def test_every_form_of_a_volume_gives_the_same_mask_in_the_patient(predictor, forms):
    for form in forms:
        found = predictor.predict(form)
        assert isinstance(found, VolumePrediction)
        np.testing.assert_array_equal(found.mask, _voxels())
        np.testing.assert_allclose(found.affine, AFFINE)
        assert found.by_class["lesion"].area_px == 48
        assert found.volume_ml == pytest.approx(48 * np.prod(SPACING) / 1000)


def test_json_of_a_volume_has_the_figures_of_each_class_and_its_voxels_in_each_slice(predictor, forms):
    found = json.loads(predictor.predict(forms[0]).encode(model="x"))
    assert (found["slices"], found["height"], found["width"], found["model"]) == (5, 17, 12, "x")
    assert (found["foreground"], found["area_px"], found["probability"]) == (True, 48, 1.0)
    (lesion,) = found["masks"]
    assert (lesion["class"], lesion["slices_px"], lesion["area_px"]) == ("lesion", [0, 24, 24, 0, 0], 48)
    assert lesion["volume_ml"] == found["volume_ml"] == pytest.approx(0.045)
    np.testing.assert_allclose(found["affine"], AFFINE)


@pytest.mark.parametrize("form", ["application/x-nifti", "application/gzip"])
def test_the_mask_of_a_volume_as_nifti_lies_upon_it(predictor, forms, form):
    data = predictor.predict(forms[1]).encode(form)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(data) if form == "application/gzip" else data)
    np.testing.assert_array_equal(np.asarray(image.dataobj), _voxels().T)
    np.testing.assert_allclose(image.affine, AFFINE)
    assert set(predictor.volume_forms) == {"application/json", "application/x-nifti", "application/gzip"}
    with pytest.raises(ValueError, match="image/png"):
        predictor.predict(forms[1]).encode("image/png")


def test_one_page_of_a_volume_is_an_image(predictor, forms):
    for form in (forms[0], forms[1], str(forms[1])):
        found = predictor.predict(form, page=2)
        assert isinstance(found, MaskPrediction)
        np.testing.assert_array_equal(found.mask, _voxels()[2])
    frame = predictor.predict(forms[4], page=0)  # the highest slice comes first in the file
    np.testing.assert_array_equal(frame.mask, _voxels()[4])


def test_labels_of_a_volume_are_those_of_its_slices(make_labels, forms):
    predictor = make_labels()
    for form in forms[:5]:
        found = predictor.predict(form)
        assert isinstance(found, LabelVolumePrediction)
        assert len(found.slices) == 5
        each = [predictor.predict(plane) for plane in _voxels()]
        np.testing.assert_allclose([one.scores for one in found.slices], [one.scores for one in each], rtol=1e-6)
        assert isinstance(found.slices[0], LabelPrediction)
        assert json.loads(found.encode(x=1)) == {"slices": [one.plain() for one in found.slices], "x": 1}
    assert predictor.volume_forms == ("application/json",)


def test_one_of_two_series_is_chosen_by_its_index_or_uid_and_an_error_lists_them(predictor, tmp_path, write_series):
    for uid, count in (("1.2.9", 2), ("1.2.10", 4)):
        for number, data in enumerate(write_series(_voxels()[:count], SeriesInstanceUID=uid, PatientName="Doe^Jane")):
            (tmp_path / f"{uid}-{number}").write_bytes(data)
    with pytest.raises(DataError, match="2 series; choose one by its index") as caught:
        predictor.predict(tmp_path)
    assert caught.value.problems == ("series 0: 4 slices", "series 1: 2 slices")
    for series, slices in ((0, 4), ("0", 4), (1, 2), ("1.2.9", 2), ("1.2.10", 4)):
        assert len(predictor.predict(tmp_path, series=series).mask) == slices
    for series in (2, "1.2.11", -1, "x", ""):
        with pytest.raises(DataError, match="series") as caught:
            predictor.predict(tmp_path, series=series)
        assert "Doe" not in str(caught.value)


def test_what_does_not_go_together_is_refused(predictor, forms):
    with pytest.raises(InputError, match="page=1 asks for one page"):
        predictor.predict(forms[2], page=1)
    with pytest.raises(InputError, match="series=1 chooses in a folder"):
        predictor.predict(forms[0], series=1)
    with pytest.raises(InputError, match="no metadata"):
        predictor.predict(forms[0], metadata={"age": 3})


def test_frames_that_do_not_say_where_they_lie_are_no_volume(predictor, tmp_path, write_enhanced):
    data = write_enhanced(_voxels(), placed=False)
    assert read_frames(data) is None
    (tmp_path / "film.dcm").write_bytes(data)
    with pytest.raises(DecodeError, match="page"):
        predictor.predict(tmp_path / "film.dcm")
    assert predictor.predict(tmp_path / "film.dcm", page=0).mask.shape == (17, 12)


def test_frames_that_come_twice_are_no_volume(write_enhanced):
    assert read_frames(write_enhanced(_voxels(), spacing_mm=(0.0, 0.5, 0.75))) is None
    assert read_frames(write_enhanced(_voxels()[:1])) is None
    buffer = io.BytesIO()
    np.save(buffer, _voxels())
    assert read_frames(buffer.getvalue()) is None


def test_values_of_an_enhanced_file_are_those_of_its_frames(write_enhanced):
    data = write_enhanced(_voxels(), RescaleSlope=2, RescaleIntercept=-1000)
    volume = read_frames(data)
    for number in range(5):
        np.testing.assert_array_equal(volume.voxels[number], decode(data, page=4 - number).pixels[..., 0])
