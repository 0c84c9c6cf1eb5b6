"""Files of a sample meet where they lie in the patient; nibabel is the reference."""

import gzip
import io

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.processing import resample_from_to
from PIL import Image as PillowImage

from medloom.data import PageReader, open_source, preparation, prepare
from medloom.data.alignment import Alignment, read_mask
from medloom.data.assembly import read_sample_image
from medloom.data.checks import ClassMap, UnfitError
from medloom.errors import DataError
from medloom.recipe import MasksRecipe
from medloom.transforms import Preprocess
from support.orientations import ALL, nifti, rotated, stored

AFFINE = rotated((5, -4, 8)) @ np.array([[0.9, 0, 0, -20], [0, 1.1, 0, 30], [0, 0, 4, -7], [0, 0, 0, 1]], float)
SHAPE = (7, 6, 5)
RNG = np.random.default_rng(3)
IMAGE = RNG.integers(1, 900, SHAPE).astype(np.int16)
MASK = RNG.integers(0, 2, SHAPE).astype(np.uint8)
VALUES = {"background": 0, "lesion": 1}
CLASSES = ClassMap(VALUES)


def alignment(files, align="refuse"):
    return Alignment(PageReader(files.__getitem__), align)


def read(files, page, align="refuse", name="mask"):
    """The image's page, and the mask as it lies on it."""
    found = alignment(files, align)
    image = read_sample_image(found, ["image"], ["grey"], page)
    return image, found.bring(name, page, image, name, smooth=False)


@pytest.mark.parametrize("codes", ALL)
def test_masks_and_channels_stored_in_any_orientation_lie_on_the_image(codes):
    files = {"image": nifti(IMAGE, AFFINE)}
    files["mask"], files["other"] = (nifti(*stored(voxels, AFFINE, codes)) for voxels in (MASK, IMAGE * 2))
    for page in range(SHAPE[2]):
        image, mask = read(files, page)
        np.testing.assert_array_equal(mask.pixels[..., 0], MASK[:, :, page].T)
        both = read_sample_image(alignment(files), ["image", "other"], ["a", "b"], page)
        np.testing.assert_array_equal(both.pixels[..., 1], 2 * image.pixels[..., 0])
        np.testing.assert_array_equal(both.affine, image.affine)
        assert (mask.notes == ()) == (codes[:2] == "RA")


def test_a_single_slice_finds_its_slice_in_the_volume_of_the_mask():
    files = {"image": nifti(IMAGE[:, :, 3:4], AFFINE @ [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]])}
    files["mask"] = nifti(*stored(MASK, AFFINE, "SPL"))
    np.testing.assert_array_equal(read(files, None)[1].pixels[..., 0], MASK[:, :, 3].T)


@pytest.mark.parametrize(
    ("affine", "shape", "said"),
    [
        (AFFINE @ np.diag([2, 2, 1, 1.0]), SHAPE, r"mask 6x7 pixels of 2\.2x1\.8x4 mm, RAS"),
        (AFFINE, (7, 5, 5), r"image 6x7 pixels of 1\.1x0\.9x4 mm, RAS; mask 5x7 pixels"),
        (AFFINE + np.array([[0, 0, 0, 2.5], [0] * 4, [0] * 4, [0] * 4]), SHAPE, "shifted by 2.5 mm"),
        (rotated((0, 0, 3)) @ AFFINE, SHAPE, r"turned by [23]\.\d degrees"),
    ],
)
def test_another_grid_is_refused_and_both_are_named(affine, shape, said):
    files = {"image": nifti(IMAGE, AFFINE), "mask": nifti(np.zeros(shape, np.uint8), affine)}
    with pytest.raises(UnfitError, match=said) as caught:
        read(files, 1)
    assert caught.value.kind == "grid"
    assert "image 6x7 pixels of 1.1x0.9x4 mm, RAS" in str(caught.value)
    assert "data.align=resample" in str(caught.value)


def test_resampling_gives_what_nibabel_gives():
    coarse = rotated((1, 2, 4)) @ AFFINE @ np.diag([1.3, 0.8, 1.1, 1])
    y, x, z = np.mgrid[:9, :9, :6]
    smooth = (40 * np.sin(y / 3) + 30 * np.cos(x / 2) + 9 * z).astype(np.float32)
    blocks = (smooth > 20).astype(np.uint8)
    files = {"image": nifti(IMAGE.astype(np.float32), AFFINE)}
    files["mask"], files["other"] = nifti(blocks, coarse), nifti(smooth, coarse)
    target = (SHAPE, nibabel.Nifti1Image.from_bytes(files["image"]).affine)
    inside = resample_from_to(nibabel.Nifti1Image(np.ones(blocks.shape, np.float32), coarse), target, order=1, cval=0)
    inside = inside.get_fdata() == 1
    expected = {
        name: resample_from_to(nibabel.Nifti1Image(voxels, coarse), target, order=order).get_fdata()
        for name, voxels, order in (("mask", blocks, 0), ("other", smooth, 1))
    }
    seen = 0
    for page in range(SHAPE[2]):
        both = read_sample_image(alignment(files, "resample"), ["image", "other"], ["a", "b"], page)
        _, mask = read(files, page, "resample")
        here = inside[:, :, page].T
        np.testing.assert_allclose(both.pixels[..., 1][here], expected["other"][:, :, page].T[here], atol=1e-3)
        np.testing.assert_array_equal(mask.pixels[..., 0][here], expected["mask"][:, :, page].T[here])
        assert mask.notes == ("resampled to the grid of the image (nearest neighbour)",)
        seen += int(here.sum())
    assert seen > 30


def test_beside_a_resampled_mask_is_background():
    far = AFFINE.copy()
    far[:3, 3] += AFFINE[:3, 0] * 4.5
    files = {"image": nifti(IMAGE, AFFINE), "mask": nifti(np.ones(SHAPE, np.uint8), far)}
    mask = read(files, 1, "resample")[1].pixels[..., 0]
    assert not mask[:, :4].any()
    assert mask[:, 5:].all()


def dicom(pixels, number, **attributes):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelSpacing, dataset.SliceThickness = [1.1, 0.9], 4
    dataset.ImagePositionPatient = [20, -30, -7 + 4 * number]
    dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
    dataset.PixelData = pixels.astype("<u2").tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "IRA"])
def test_a_dicom_slice_and_a_nifti_mask_meet(codes):
    straight = np.array([[0.9, 0, 0, -20], [0, 1.1, 0, 30], [0, 0, 4, -7], [0, 0, 0, 1]])
    files = {"image": dicom(IMAGE[:, :, 2].T, 2), "mask": nifti(*stored(MASK, straight, codes))}
    np.testing.assert_array_equal(read(files, None)[1].pixels[..., 0], MASK[:, :, 2].T)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Prepare files by name, with images in ``images`` and masks in ``masks``."""
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})

    def made(files, suffix, **data):
        for name, content in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        patterns = {
            "layout": "image-mask",
            "image": f"images/{{sample}}{suffix[0]}",
            "mask": f"masks/{{sample}}{suffix[1]}",
        }
        whole = {"name": "test", "target": {"mask_values": VALUES}, "data": {**patterns, **data}}
        recipe = MasksRecipe.model_validate({**whole, "preprocess": {"size": [16, 16]}})
        with open_source(tmp_path / "set") as source:
            steps = Preprocess.of(recipe.preprocess)
            return prepare(recipe, source, tmp_path / "run", tmp_path / "cache", workers=1, preprocess=steps)

    return made


def png(pixels):
    stream = io.BytesIO()
    PillowImage.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_beside_a_file_without_a_place_pixels_are_taken_as_stored_and_that_is_said_once(work):
    files = {}
    for patient in range(4):
        files[f"images/p{patient}.dcm"] = dicom(IMAGE[:, :, patient].T, patient)
        files[f"masks/p{patient}.png"] = png(MASK[:, :, patient].T)
    found = work(files, (".dcm", ".png"))
    (said,) = [text for text in found.facts["warnings"] if "where they lie" in text]
    assert said.startswith("In 4 of 4 samples only some of the files say where they lie in the patient")
    assert [note["count"] for note in found.facts["decoding"]["masks"]] == [4]


def test_a_mask_on_another_grid_is_refused_once_for_all_its_pages(work):
    files = {}
    for patient in range(4):
        files[f"images/p{patient}.nii.gz"] = gzip.compress(nifti(IMAGE, AFFINE))
        files[f"masks/p{patient}.nii.gz"] = gzip.compress(nifti(MASK, AFFINE @ np.diag([1, 1, 1.0 + patient / 4, 1])))
    with pytest.raises(DataError) as caught:
        work(files, (".nii.gz", ".nii.gz"), page="all")
    assert [problem.partition(": the mask lies on another grid")[0] for problem in caught.value.problems] == [
        f"masks/p{patient}.nii.gz: pages 0 to 4" for patient in (1, 2, 3)
    ]


def test_a_mask_on_another_grid_is_named_by_evaluation_too():
    files = {"image": nifti(IMAGE, AFFINE), "mask": nifti(MASK, AFFINE @ np.diag([2, 2, 1, 1.0]))}
    image = read_sample_image(alignment(files), ["image"], ["grey"], 1)
    with pytest.raises(DataError, match=r"^mask: the mask lies on another grid"):
        read_mask(alignment(files), ["mask"], CLASSES, 1, image)


def radiograph(pixels, *orientation):
    """A DICOM image that says how it is oriented and not where it lies."""
    place = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient"))
    return dicom(pixels, 0, **place, PatientOrientation=list(orientation))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [("LF", lambda mask: mask), ("RF", lambda mask: mask[:, ::-1]), ("FL", lambda mask: mask.T),
     ("HR", lambda mask: mask[::-1, ::-1].T)],
)  # fmt: skip
def test_radiographs_and_their_masks_meet_by_their_directions(orientation, turn):
    mask = MASK[:, :, 0].T
    files = {"image": radiograph(IMAGE[:, :, 0].T, "L", "F"), "mask": radiograph(turn(mask), *orientation)}
    np.testing.assert_array_equal(read(files, None)[1].pixels[..., 0], mask)


def test_a_mask_of_another_plane_is_refused():
    files = {"image": radiograph(IMAGE[:, :, 0].T, "L", "F"), "mask": radiograph(MASK[:, :, 0].T, "A", "F")}
    with pytest.raises(UnfitError, match="the image is a coronal slice and the mask a sagittal one"):
        read(files, None)
