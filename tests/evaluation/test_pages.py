"""Slices of a volume are measured in millimetres, each against its own slice of the mask."""

import io
from dataclasses import replace

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
from monai.metrics import compute_hausdorff_distance
from PIL import Image

from medloom.data import COLUMNS, open_source
from medloom.data.catalogue import join_labels
from medloom.evaluation import evaluate
from medloom.inference import Predictor, default_point
from medloom.recipe import MasksRecipe
from medloom.recipe.kinds.labels import BinaryRecipe
from medloom.transforms import Preprocess

SIZE = 32
DEPTH = 4
SPACING = (0.5, 2.0)  # row, column


def truth(depth=DEPTH):
    """A square that grows and moves from slice to slice."""
    mask = np.zeros((depth, SIZE, SIZE), np.uint8)
    for number in range(depth):
        mask[number, 8 : 14 + number, 6 + number : 14 + 2 * number] = 1
    return mask


def shown(mask):
    """What a network that follows brightness takes for foreground: moved by three rows and a column."""
    return np.roll(mask, (3, 1), axis=(1, 2)) * np.uint16(190)


def nifti(voxels_dhw) -> bytes:
    return nibabel.Nifti1Image(voxels_dhw.T, np.diag([SPACING[1], SPACING[0], 4.0, 1.0])).to_bytes()


def dicom(frames_dhw) -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames_dhw.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    measures, group = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing = list(SPACING)
    group.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [group]
    dataset.PixelData = frames_dhw.astype("<u2").tobytes()
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def row(sample, split, **values):
    facts = {"sample_id": sample, "patient_id": sample[:4], "split": split, "fold": -1, "sha256": "", "mask": ""}
    sizes = {"height": SIZE, "width": SIZE, "channels": 1, "dtype": "uint16", "foreground_px": 1}
    return {**facts, **sizes, **values}


@pytest.fixture
def one_channel(recipe, predictor):
    target = {"kind": "masks", "mask_values": {"background": 0, "lesion": 1}}
    data = {"layout": "image-mask", "page": "all"}
    point = {"bootstrap": 50, "threshold": 0.5, "min_region_px": 0}
    changed = MasksRecipe.model_validate({**recipe.plain(), "target": target, "data": data, "evaluate": point})
    return changed, replace(predictor, channels=changed.data.channels)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize(("suffix", "make"), [(".nii", nifti), (".dcm", dicom)])
def test_the_distance_is_in_millimetres_and_every_slice_meets_its_own_mask(one_channel, tmp_path, suffix, make):
    recipe, predictor = one_channel
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for patient, split in ((1, "validation"), (2, "test")):
        (folder / f"{patient}{suffix}").write_bytes(make(shown(truth())))
        (folder / f"{patient}_mask.nii").write_bytes(nifti(truth()))
        files = {"image": f"{patient}{suffix}", "mask": f"{patient}_mask.nii"}
        rows += [row(f"P00{patient}-00{page}", split, frame=page, **files) for page in range(DEPTH)]
    catalogue = pd.DataFrame(rows, columns=list(COLUMNS))
    with open_source(folder) as source:
        evaluate(recipe, catalogue, source, predictor, tmp_path / "run")
    found = pd.read_csv(tmp_path / "run/evaluation/cases.csv")
    planes = [np.stack([mask == 0, mask > 0], axis=1) for mask in (shown(truth()), truth())]
    expected = compute_hausdorff_distance(*planes, percentile=95, spacing=list(SPACING))[:, 0]
    for split in ("validation", "test"):
        here = found[found["split"] == split]
        assert here["truth_px"].tolist() == truth().sum(axis=(1, 2)).tolist()
        np.testing.assert_allclose(here["hd95"], expected, rtol=1e-6)
        assert set(here["hd95_unit"]) == {"mm"}


class Brightness:
    """Scores an image by its mean."""

    name = "brightness"

    def run(self, batch, table=None):
        return np.clip(batch.mean(axis=(1, 2, 3)) / 100.0, 0.0, 1.0).astype(np.float32)[:, None]


def test_labels_are_measured_on_the_frame_of_the_row(tmp_path):
    recipe = BinaryRecipe.model_validate(
        {
            "name": "frames",
            "target": {"kind": "binary", "classes": ["no", "yes"]},
            "data": {"layout": "csv", "page": "all"},
            "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}},
            "model": {"name": "resnet18"},
            "loss": {"name": "cross-entropy"},
            "train": {"monitor": "loss"},
            "evaluate": {"bootstrap": 50, "batch_size": 3},
        }
    )
    target = recipe.predicts()
    predictor = Predictor(
        Brightness(), Preprocess.of(recipe.preprocess), target, ("grey",), point=default_point(target)
    )
    folder = tmp_path / "data"
    folder.mkdir()
    levels = {1: [10, 20, 80, 30], 2: [90, 15, 25, 35]}
    rows = []
    for patient, split in ((1, "validation"), (2, "test")):
        frames = np.array(levels[patient], np.uint16)[:, None, None] * np.ones((1, SIZE, SIZE), np.uint16)
        frames[:, ::2] -= 5
        (folder / f"{patient}.dcm").write_bytes(dicom(frames))
        for page in range(DEPTH):
            values = {"image": f"{patient}.dcm", "frame": page, "labels": join_labels([page % 2]), "meta": ""}
            rows.append(row(f"P00{patient}-00{page}", split, **values))
    catalogue = pd.DataFrame(rows, columns=list(COLUMNS))
    with open_source(folder) as source:
        evaluate(recipe, catalogue, source, predictor, tmp_path / "run")
    found = pd.read_csv(tmp_path / "run/evaluation/cases.csv")
    np.testing.assert_allclose(found["score"], (np.array(levels[1] + levels[2]) - 2.5) / 100, rtol=1e-6)
    pictures = sorted((tmp_path / "run/evaluation/gallery").glob("*.png"))
    assert pictures
    for picture in pictures:
        assert np.asarray(Image.open(picture)).any()
