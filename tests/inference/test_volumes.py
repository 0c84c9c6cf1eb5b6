"""Masks of volumes lie upon the volumes, as nibabel and pydicom read them."""

import csv
import gzip
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from medloom.imaging import decode, nifti_file
from medloom.imaging.nifti import read_nifti_volume, write_nifti
from medloom.inference import MaskPoint
from medloom.inference.inputs import ImageFile, SeriesFolder
from medloom.inference.volumes import predict_volume, slices_of
from medloom.serving.batch import predict_files
from medloom.targets import Target

OBLIQUE = nibabel.affines.from_matvec(
    np.array([[-0.6, 0.2, 0.5], [0.1, 0.7, -1.0], [0.3, 0.3, 2.0]]), [12.5, -80.0, 33.0]
)


def _voxels(shape=(12, 17, 5)):
    """Voxels in nibabel's order (i, j, k): a bright box that touches no border, so that every axis can be told."""
    voxels = np.zeros(shape, np.float32)
    voxels[2:6, 9:15, 1:3] = 1.0
    return voxels


def _nifti(voxels, affine=OBLIQUE, compress=True):
    data = nibabel.Nifti1Image(voxels, affine).to_bytes()
    return gzip.compress(data) if compress else data


@pytest.fixture
def predictor(make_predictor):
    return make_predictor(channels=("grey",), size=(17, 17), preprocess={"fit": "pad"})


def _rows(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("affine", [OBLIQUE, np.diag([-1.0, 1.0, 3.0, 1.0])], ids=["oblique", "straight"])
def test_the_mask_of_a_nifti_file_has_its_affine_and_shape_and_lies_where_the_foreground_is(
    predictor, tmp_path, compress, affine
):
    voxels = _voxels()
    (tmp_path / "scan").write_bytes(_nifti(voxels, affine, compress))
    given = nibabel.Nifti1Image.from_bytes(_nifti(voxels, affine, False))
    images = [ImageFile("P1/scan.nii.gz" if compress else "P1/scan.nii", (tmp_path / "scan").read_bytes)]
    (result,) = predict_files(predictor, images, tmp_path / "out")
    assert (result.error, result.mask) == ("", "masks/P1/scan.nii.gz")
    found = nibabel.load(tmp_path / "out" / result.mask)
    np.testing.assert_array_equal(found.affine, given.affine)
    assert found.shape == given.shape
    assert found.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(found.dataobj), (voxels > 0).astype(np.uint8))


def test_the_row_of_a_volume_has_its_voxels_and_slices_and_its_volume_in_millilitres(predictor, tmp_path):
    images = [ImageFile("scan.nii.gz", lambda: _nifti(_voxels()))]
    predict_files(predictor, images, tmp_path)
    (row,) = _rows(tmp_path)
    assert (row["area_px"], row["slices"], row["foreground"], row["area_mm2"]) == (str(4 * 6 * 2), "5", "yes", "")
    expected = 4 * 6 * 2 * abs(np.linalg.det(OBLIQUE[:3, :3])) / 1000
    assert float(row["volume_ml"]) == pytest.approx(expected, rel=1e-5)


def test_the_volume_of_a_straight_scan_is_the_product_of_its_spacings(predictor):
    volume = read_nifti_volume(_nifti(_voxels(), np.diag([0.5, 0.25, 4.0, 1.0])))
    assert predict_volume(predictor, volume).volume_ml == pytest.approx(48 * 0.5 * 0.25 * 4.0 / 1000)


def test_a_file_that_states_no_spacing_has_no_volume_in_millilitres(predictor):
    image = nibabel.Nifti1Image(_voxels(), None)
    image.header["pixdim"][1:4] = 0
    image.header["sform_code"] = image.header["qform_code"] = 0
    found = predict_volume(predictor, read_nifti_volume(image.to_bytes()))
    assert (found.area_px, found.volume_ml) == (48, None)


def test_slices_of_a_volume_are_the_pages_of_its_file(predictor):
    data = _nifti(_voxels())
    for number, image in enumerate(slices_of(read_nifti_volume(data))):
        page = decode(data, page=number)
        np.testing.assert_array_equal(image.pixels, page.pixels)
        assert image.spacing_mm == pytest.approx(page.spacing_mm)


def test_a_compressed_volume_is_inflated_once_and_not_once_a_slice(predictor, tmp_path, monkeypatch):
    data = _nifti(np.random.default_rng(0).normal(size=(64, 64, 40)).astype(np.float32))
    inflated = []
    original = nifti_file._inflated

    def counted(*given, **options):
        for piece in original(*given, **options):
            inflated.append(len(piece))
            yield piece

    monkeypatch.setattr(nifti_file, "_inflated", counted)
    (result,) = predict_files(predictor, [ImageFile("a.nii.gz", lambda: data)], tmp_path)
    assert result.slices == 40
    assert sum(inflated) < 1.1 * len(gzip.decompress(data))


def test_one_page_of_a_volume_can_be_asked_for(predictor, tmp_path):
    voxels = _voxels()
    images = [ImageFile("scan.nii.gz", lambda: _nifti(voxels))]
    (inside,) = predict_files(predictor, images, tmp_path / "2", page=2)
    (outside,) = predict_files(predictor, images, tmp_path / "4", page=4)
    assert (inside.area_px, outside.area_px) == (24, 0)
    assert inside.mask == "masks/scan.png"
    assert inside.slices is None


def test_small_regions_are_erased_slice_by_slice(make_predictor):
    predictor = make_predictor(channels=("grey",), size=(17, 17), preprocess={"fit": "pad"})
    volume = read_nifti_volume(_nifti(_voxels()))
    strict = predict_volume(predictor.at(MaskPoint(0.5, 25)), volume)
    assert (strict.area_px, strict.has_foreground, strict.probability) == (0, False, 1.0)


def test_a_dicom_series_becomes_a_nifti_mask_in_the_patients_space(predictor, tmp_path, write_series):
    voxels = np.zeros((5, 17, 12), np.uint16)
    voxels[1:3, 9:15, 2:6] = 1
    series = SeriesFolder("1.2.840.7", lambda: write_series(voxels))
    (result,) = predict_files(predictor, [series], tmp_path)
    assert (result.file, result.mask, result.slices) == ("1.2.840.7", "masks/1.2.840.7.nii.gz", 5)
    assert result.volume_ml == pytest.approx(48 * 2.5 * 0.5 * 0.75 / 1000)
    found = nibabel.load(tmp_path / result.mask)
    np.testing.assert_array_equal(np.asarray(found.dataobj).T, voxels)
    # PS3.3, C.7.6.2.1.1: column 2, row 9 of the slice at 30 + 2.5 mm; x and y are turned round in NIfTI.
    at = np.argwhere(np.asarray(found.dataobj))[0]
    lps = np.array([10 + 2 * 0.75, -20 + 9 * 0.5, 30 + 2.5])
    np.testing.assert_allclose(nibabel.affines.apply_affine(found.affine, at), lps * [-1, -1, 1])


def test_volumes_with_the_same_name_and_slices_beside_them_keep_files_of_their_own(predictor, tmp_path):
    data = _nifti(_voxels())
    names = ["a.nii", "a.nii.gz", "a.NII", "../a.nii.gz"]
    results = predict_files(predictor, [ImageFile(name, lambda: data) for name in names], tmp_path / "out")
    assert len({result.mask.lower() for result in results}) == len(names)
    assert all((tmp_path / "out" / result.mask).resolve().is_relative_to(tmp_path / "out") for result in results)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_nifti(_voxels())[:-20], "truncated"),
        (gzip.compress(b"no volume in here", mtime=0), "truncated"),
        (_nifti(np.full((4, 4, 4), np.nan, np.float32)), "non_finite"),
        (_nifti(np.zeros((4, 4, 4, 2), np.float32)), "2 volumes"),
    ],
)
def test_a_bad_volume_is_reported_and_the_rest_go_on(predictor, tmp_path, data, reason):
    files = [ImageFile("bad.nii.gz", lambda: data), ImageFile("good.nii.gz", lambda: _nifti(_voxels()))]
    bad, good = predict_files(predictor, files, tmp_path)
    assert reason in bad.error
    assert (bad.mask, bad.slices, good.error) == ("", None, "")
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["good.nii.gz"]


def test_a_volume_for_a_model_of_colours_names_the_channels(make_predictor, tmp_path):
    (result,) = predict_files(
        make_predictor(), [ImageFile("a.nii", lambda: _nifti(_voxels(), compress=False))], tmp_path
    )
    assert "1 channel; this model takes 3: a, b, c" in result.error


def test_writing_a_mask_again_gives_the_same_bytes(predictor, tmp_path):
    image = ImageFile("scan.nii.gz", lambda: _nifti(_voxels()))
    first, second = (predict_files(predictor, [image], tmp_path / name)[0].mask for name in "ab")
    assert (tmp_path / "a" / first).read_bytes() == (tmp_path / "b" / second).read_bytes()
    assert write_nifti(np.ones((1, 2, 3), np.uint8), np.eye(4)) == write_nifti(np.ones((1, 2, 3), np.uint8), np.eye(4))


@pytest.mark.parametrize(("values", "dtype"), [((0, 255), np.uint8), ((0, 4), np.uint8), ((7, 300), np.uint16)])
def test_the_mask_of_a_volume_holds_the_values_of_the_training_masks(predictor, tmp_path, values, dtype):
    valued = replace(predictor, target=replace(predictor.target, values=values))
    images = [ImageFile("scan.nii.gz", lambda: _nifti(_voxels()))]
    (result,) = predict_files(valued, images, tmp_path)
    found = nibabel.load(tmp_path / result.mask)
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.where(_voxels() > 0, values[1], values[0]))
    assert found.get_data_dtype() == dtype


def test_every_class_of_a_volume_has_its_voxels_volume_and_probability(make_predictor):
    class Ramp:
        name = "ramp"

        def run(self, batch_nchw, table_nf=None):
            grey = np.clip(batch_nchw[:, :1], 0.0, 1.0)
            return np.concatenate([1 - grey, np.where(grey > 0.6, grey, 0), np.where(grey > 0.6, 0, grey)], axis=1)

    target = Target("masks", ("background", "core", "edema"), (0, 4, 2))
    options = {"channels": ("grey",), "size": (17, 17), "preprocess": {"fit": "pad"}, "names": target.names}
    predictor = replace(make_predictor(Ramp(), **options), target=target)
    voxels = _voxels()
    voxels[7:9, 9:15, 1:3] = 0.55
    found = predict_volume(predictor, read_nifti_volume(_nifti(voxels)))
    voxel_ml = abs(np.linalg.det(OBLIQUE[:3, :3])) / 1000
    for name, value, probability in (("core", 1.0, 1.0), ("edema", 0.55, 0.55)):
        count = int((voxels == np.float32(value)).sum())
        assert found.by_class[name].area_px == count > 0
        assert found.by_class[name].volume_ml == pytest.approx(count * voxel_ml, rel=1e-5)
        assert found.by_class[name].probability == pytest.approx(probability)
    assert found.volume_ml == pytest.approx((48 + 24) * voxel_ml, rel=1e-5)
