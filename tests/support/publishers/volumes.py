"""Volumes with masks: the Medical Segmentation Decathlon, nnU-Net's raw data, BraTS."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from support.publishers.facts import SIZE, Facts, Publisher, blob, grey

__all__ = ["BRATS", "DECATHLON", "NNUNET"]

AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])


def save_volume(path: Path, slices: list[NDArray[np.uint8]], dtype: type = np.int16) -> None:
    """Write slices (H, W) with nibabel, whose arrays are (column, row, slice)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.stack(slices, axis=-1).swapaxes(0, 1).astype(dtype), AFFINE), path)


def write_decathlon(root: Path) -> Facts:
    """Task09_Spleen: imagesTr, labelsTr, imagesTs, and a dataset.json that lists the training."""
    truth, listed, folder = {}, [], root / "Task09_Spleen"
    for number in range(2, 12):
        slices = range(3 + number % 2)
        masks = [blob(10 * number + place) * (place > 0) for place in slices]
        path = f"imagesTr/spleen_{number}.nii.gz"
        save_volume(folder / path, [grey(10 * number + place) for place in slices])
        save_volume(folder / path.replace("images", "labels"), masks, np.uint8)
        listed.append({"image": f"./{path}", "label": f"./{path.replace('images', 'labels')}"})
        truth[f"Task09_Spleen/{path}"] = int(np.sum(masks))
    save_volume(folder / "imagesTs/spleen_1.nii.gz", [grey(1)] * 3)
    described = {
        "name": "Spleen",
        "description": "Spleen Segmentation",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen"},
        "numTraining": len(listed),
        "numTest": 1,
        "training": listed,
        "test": ["./imagesTs/spleen_1.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(described))
    return Facts("masks", ("background", "spleen"), 1, 35, 0, values=(0, 1), truth=truth)


DECATHLON = Publisher(
    "msd-spleen",
    write_decathlon,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "spleen": 1}},
        "data": {"layout": "dataset-json", "channels": ["CT"], "page": "all"},
    },
)


def write_nnunet(root: Path) -> Facts:
    """Dataset027: a file for each channel, dataset.json of version 2 without a list, two cases of each patient."""
    truth, folder = {}, root / "Dataset027_Heart"
    for patient in range(1, 9):
        for phase in (1, 12):
            case, seed = f"patient{patient:03d}_frame{phase:02d}", 100 * patient + phase
            masks = [np.zeros((SIZE, SIZE), np.uint8), blob(seed), blob(seed + 1, value=2)]
            names = [f"imagesTr/{case}_{channel:04d}.nii.gz" for channel in range(2)]
            for channel, name in enumerate(names):
                save_volume(folder / name, [grey(seed + channel + 10 * place) for place in range(3)])
            save_volume(folder / f"labelsTr/{case}.nii.gz", masks, np.uint8)
            truth[json.dumps([f"Dataset027_Heart/{name}" for name in names])] = int(np.sum(masks))
    save_volume(folder / "imagesTs/patient101_frame01_0000.nii.gz", [grey(1)] * 3)
    described = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "cavity": 1, "myocardium": 2},
        "numTraining": 16,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(described, indent=4))
    names = ("background", "cavity", "myocardium")
    return Facts("masks", names, 2, 48, 8, values=(0, 1, 2), truth=truth)


NNUNET = Publisher(
    "nnunet-raw",
    write_nnunet,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "cavity": 1, "myocardium": 2}},
        "data": {
            "layout": "dataset-json",
            "channels": ["T1", "T2"],
            "page": "all",
            "patient_pattern": r"(patient\d+)_",
        },
    },
)

SEQUENCES = ("flair", "t1", "t1ce", "t2")


def write_brats(root: Path) -> Facts:
    """MICCAI_BraTS2020_TrainingData: a folder for each patient, a file for each sequence, values 0, 1, 2 and 4."""
    truth, top = {}, "MICCAI_BraTS2020_TrainingData"
    for patient in range(1, 9):
        name = f"BraTS20_Training_{patient:03d}"
        masks = [blob(10 * patient + place, value=(0, 1, 2, 4)[place]) for place in range(4)]
        names = [f"{top}/{name}/{name}_{sequence}.nii.gz" for sequence in SEQUENCES]
        for channel, file in enumerate(names):
            save_volume(root / file, [grey(100 * patient + 10 * channel + place) for place in range(4)])
        save_volume(root / f"{top}/{name}/{name}_seg.nii.gz", masks)
        classes = [np.where(mask == 4, 3, mask) for mask in masks]
        truth[json.dumps(names)] = int(np.sum(classes))
    (root / top / "name_mapping.csv").write_text("Grade,BraTS_2020_subject_ID\nHGG,BraTS20_Training_001\n")
    (root / top / "survival_info.csv").write_text("Brats20ID,Age,Survival_days\nBraTS20_Training_001,60.4,289\n")
    names = ("background", "necrotic", "oedema", "enhancing")
    return Facts("masks", names, 4, 32, 8, values=(0, 1, 2, 4), truth=truth)


BRATS = Publisher(
    "brats",
    write_brats,
    {
        "target": {
            "kind": "masks",
            "mask_values": {"background": 0, "necrotic": 1, "oedema": 2, "enhancing": 4},
        },
        "data": {
            "layout": "image-mask",
            "image": "{patient}/{patient}_{channel}.nii.gz",
            "mask": "{patient}/{patient}_seg.nii.gz",
            "channels": list(SEQUENCES),
            "page": "all",
        },
    },
)
