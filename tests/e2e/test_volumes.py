"""NIfTI volumes with NIfTI masks: their slices are prepared, trained on, measured in millimetres and packaged."""

import nibabel
import numpy as np
import pandas as pd
import pytest

from medloom.data import read_catalogue
from medloom.data.phantom import PhantomPlan, phantom_patient
from medloom.imaging import DEFAULT_BUDGET
from medloom.imaging.nifti import read_nifti_volume
from medloom.inference.volumes import predict_volume
from medloom.packaging import load, read_bundle

SPACING = (0.9, 1.1, 4.0)  # column, row, slice
DEPTHS = (8, 9, 10)


@pytest.fixture(scope="module")
def volumes(place):
    """Three patients."""
    root = place / "volumes"
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for patient, depth in enumerate(DEPTHS):
        slices = list(phantom_patient(PhantomPlan(size=64, slices=(depth, depth)), 1 + patient))
        image = np.stack([image[..., 1] for image, _ in slices]).astype(np.int16)
        mask = np.stack([mask > 0 for _, mask in slices]).astype(np.uint8)
        for folder, voxels in (("imagesTr", image), ("labelsTr", mask)):
            volume = nibabel.Nifti1Image(voxels.T, np.diag([*SPACING, 1.0]))
            nibabel.save(volume, root / folder / f"CANARY_{patient:03d}.nii.gz")
    return root


@pytest.mark.slow
def test_volumes_run_to_a_bundle_that_predicts_them_as_they_were_measured(volumes, medloom):
    settings = {
        "data.image": "'imagesTr/{sample}.nii.gz'",
        "data.mask": "'labelsTr/{sample}.nii.gz'",
        "target.mask_values": "{background: 0, tumour: 1}",
        "data.page": "all",
        "train.epochs": "1",
        "evaluate.threshold": "0.3",
        "evaluate.min_region_px": "0",
    }
    code, _, err = medloom("run", "image-mask", "--data", str(volumes), "--run", "volumes", **settings)
    assert code == 0, err
    run = medloom.folder / "runs/volumes"
    catalogue = read_catalogue(run / "catalogue.csv")
    assert catalogue.groupby("patient_id").size().tolist() == list(DEPTHS)
    cases = pd.read_csv(run / "evaluation/cases.csv").merge(catalogue, on="sample_id")
    assert len(cases) == (catalogue["split"] != "train").sum()
    assert cases["truth_px"].tolist() == cases["foreground_px"].tolist()
    assert set(cases["hd95_unit"]) == {"mm"}
    written = [path for path in run.rglob("*") if path.is_file() and path.name != "catalogue.csv"]
    assert not [path.name for path in written if b"CANARY" in path.read_bytes()]

    bundle = read_bundle(run / "model.tar.gz")
    assert bundle.manifest.input.page is None
    predictor = load(run / "model.tar.gz")
    for file, slices in cases.groupby("image"):
        found = predict_volume(predictor, read_nifti_volume((volumes / file).read_bytes())).mask
        measured = slices.sort_values("frame")["predicted_px"].tolist()
        assert (found > 0).sum(axis=(1, 2)).tolist() == measured

    large = nibabel.Nifti1Image(np.zeros((1024, 1024, 14), np.int16), np.eye(4))
    nibabel.save(large, volumes / "large.nii")
    assert (volumes / "large.nii").stat().st_size > DEFAULT_BUDGET.max_bytes
    output = medloom.folder / "predicted"
    code, _, err = medloom("predict", str(run / "model.tar.gz"), str(volumes / "large.nii"), "-o", str(output))
    assert code == 0, err
    assert nibabel.load(output / "masks" / "large.nii.gz").shape == large.shape
