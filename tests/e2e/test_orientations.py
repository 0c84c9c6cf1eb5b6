"""A model that must tell front from back, trained on volumes stored in one way and asked about others."""

import io

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
from nibabel.orientations import io_orientation
from PIL import Image as PillowImage

from medloom.data import read_catalogue
from medloom.packaging import read_bundle
from support.orientations import ALL, nifti, stored

SHAPE = (32, 32, 4)
AFFINE = np.array([[-1, 0, 0, 16], [0, 1, 0, -16], [0, 0, 3, -6], [0, 0, 0, 1]], float)  # LAS, as dcm2niix writes
PATIENTS = 16
STORED = (("LAS", "LAS"), ("LPS", "PSR"), ("PSR", "RAS"), ("RAS", "LPS"))
"""How image and mask of the patients are stored, in turn; three of four are axial."""


def anatomy(seed):
    """Two like disks in front and back of a head; the lesion is the one in front."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*(np.arange(side) for side in SHAPE), indexing="ij")
    column, off = rng.integers(12, 20), rng.integers(7, 10)
    image, mask = rng.normal(100, 5, SHAPE), np.zeros(SHAPE, np.uint8)
    for centre in (16 - off, 16 + off):
        disk = (x - column) ** 2 + (y - centre) ** 2 < 16
        image[disk] += 100
        if centre > 16:  # rows grow to the front
            mask[disk] = 1
    return image.clip(0, None).astype(np.int16), mask


@pytest.fixture
def bundle(place, medloom):
    """A model of such volumes, a few epochs old."""
    root = place / "front-and-back"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for patient in range(PATIENTS):
        for folder, voxels, codes in zip(("images", "masks"), anatomy(patient), STORED[patient % 4], strict=True):
            (root / folder / f"p{patient}.nii").write_bytes(nifti(*stored(voxels, AFFINE, codes)))
    settings = {
        "data.image": "'images/{sample}.nii'",
        "data.mask": "'masks/{sample}.nii'",
        "target.mask_values": "{background: 0, lesion: 1}",
        "data.page": "all",
        "preprocess.size": "[32, 32]",
        "preprocess.normalise.nonzero": "false",
        "model.name": "unet",
        "model.args": "{channels: [8, 16, 32, 64], strides: [2, 2, 2], num_res_units: 1, norm: BATCH}",
        "augment.flip.p": "0",
        "augment.rotate.p": "0",
        "augment.crop.p": "0",
        "train.epochs": "40",
        "train.batch_size": "8",
        "train.optimizer.lr": "0.01",
    }
    code, _, err = medloom("run", "image-mask", "--data", str(root), "--run", "front", **settings)
    assert code == 0, err
    run = medloom.folder / "runs/front"
    catalogue = read_catalogue(run / "catalogue.csv")
    assert catalogue.groupby("image").size().tolist() == [SHAPE[2]] * PATIENTS
    cases = pd.read_csv(run / "evaluation/cases.csv").merge(catalogue, on="sample_id")
    assert cases["truth_px"].tolist() == cases["foreground_px"].tolist()
    assert cases.groupby("image")["dice"].mean().min() > 0.8  # also of those that were cut anew
    assert any(int(name[8:].partition(".")[0]) % 4 == 2 for name in cases["image"])
    return run / "model.tar.gz"


def dice(found, truth):
    return 2 * np.sum((found > 0) & (truth > 0)) / np.sum((found > 0).astype(int) + (truth > 0))


def dicom_slices(voxels, lps_affine):
    """The slices of voxels (i, j, k) as DICOM files."""
    spacing = np.linalg.norm(lps_affine[:3, :3], axis=0)
    for number in range(voxels.shape[2]):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.{number + 1}"
        dataset.SeriesInstanceUID = "1.2.3"
        dataset.Rows, dataset.Columns = voxels.shape[1::-1]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        dataset.ImageOrientationPatient = [*(lps_affine[:3, 0] / spacing[0]), *(lps_affine[:3, 1] / spacing[1])]
        dataset.ImagePositionPatient = list((lps_affine @ [0, 0, number, 1])[:3])
        dataset.PixelData = voxels[:, :, number].T.astype("<u2").tobytes()
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        yield stream.getvalue()


@pytest.mark.slow
def test_one_training_answers_every_orientation_alike(bundle, medloom, tmp_path):
    with read_bundle(bundle) as opened:
        assert opened.manifest.input.plane == "axial"
    image, mask = anatomy(100)
    files = tmp_path / "files"
    (files / "series").mkdir(parents=True)
    for codes in ALL:
        (files / f"{codes}.nii").write_bytes(nifti(*stored(image, AFFINE, codes)))
    upright, affine = stored(image, AFFINE, "LPS")
    lps = np.diag([-1, -1, 1, 1]) @ affine
    for number, data in enumerate(dicom_slices(upright, lps)):
        (files / "series" / f"{number}.dcm").write_bytes(data)

    out = tmp_path / "out"
    code, _, err = medloom("predict", str(bundle), *(str(files / f"{codes}.nii") for codes in ALL), "-o", str(out))
    assert code == 0, err
    scores = set()
    for codes in ALL:
        found, given = nibabel.load(out / f"masks/{codes}.nii.gz"), nibabel.load(files / f"{codes}.nii")
        assert found.shape == given.shape
        np.testing.assert_allclose(found.affine, given.affine, atol=1e-4)
        np.testing.assert_array_equal(io_orientation(found.affine), io_orientation(given.affine))
        truth, _ = stored(mask, AFFINE, codes)
        scores.add(dice(np.asarray(found.dataobj), truth))
    assert len(scores) == 1
    assert min(scores) > 0.8

    code, _, err = medloom("predict", str(bundle), str(files / "series"), "--series", "-o", str(tmp_path / "series"))
    assert code == 0, err
    series = nibabel.as_closest_canonical(nibabel.load(tmp_path / "series/masks/series.nii.gz"))
    assert {dice(np.asarray(series.dataobj), stored(mask, AFFINE, "RAS")[0])} == scores

    slices = tmp_path / "slices"
    code, _, err = medloom("predict", str(bundle), str(files / "series"), "-o", str(slices))
    assert code == 0, err
    found = np.stack([np.asarray(PillowImage.open(slices / f"masks/{number}.png")) for number in range(SHAPE[2])])
    assert {dice(found, stored(mask, AFFINE, "LPS")[0].T)} == scores
