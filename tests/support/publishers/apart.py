"""Several masks of one picture: IDRiD with a file for each class, the Montgomery County chest set with two sides."""

from __future__ import annotations

from pathlib import Path

import tifffile

from support.publishers.facts import Facts, Publisher, blob, grey, save

__all__ = ["IDRID", "MONTGOMERY"]

RGB = ["red", "green", "blue"]


LESIONS = {"MA": "1. Microaneurysms", "HE": "2. Haemorrhages", "EX": "3. Hard Exudates", "OD": "5. Optic Disc"}


def write_idrid(root: Path) -> Facts:
    """A folder for each kind of lesion, IDRiD_<n>_<kind>.tif; a pixel may be of several, and SE is not always there."""
    truth, parts = {}, {"a. Training": range(1, 9), "b. Testing": range(55, 59)}
    for part, numbers in parts.items():
        for number in numbers:
            path = f"A. Segmentation/1. Original Images/{part} Set/IDRiD_{number:02d}.jpg"
            save(root / path, grey(number, channels=3))
            masks = {name: blob(number + place, value=255) for place, name in enumerate(LESIONS)}
            masks["HE"] |= masks["EX"]
            folders = dict(LESIONS)
            if number % 2:
                masks["SE"], folders["SE"] = blob(number + 9, value=255), "4. Soft Exudates"
            for name, mask in masks.items():
                file = f"A. Segmentation/2. All Segmentation Groundtruths/{part} Set/{folders[name]}"
                (root / file).mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(root / file / f"IDRiD_{number:02d}_{name}.tif", mask)
            truth[path] = int((masks["EX"] > 0).sum())
    (root / "CC-BY-4.0.txt").write_text("IDRiD")
    found = {"train": 8, "test": 4}
    return Facts("masks", ("background", "EX"), 3, 12, 0, values=(0, 255), parts=found, truth=truth)


IDRID = Publisher(
    "idrid",
    write_idrid,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "EX": 255}},
        "data": {
            "layout": "image-mask",
            "image": "1. Original Images/{folder}. {split} Set/{sample}.jpg",
            "mask": "2. All Segmentation Groundtruths/{folder}. {split} Set/3. Hard Exudates/{sample}_EX.tif",
            "channels": RGB,
        },
    },
)


def write_montgomery(root: Path) -> Facts:
    """CXR_png, and in ManualMask a folder for each lung, all named alike; readings as text."""
    truth = {}
    for number in range(1, 13):
        name = f"MCUCXR_{number:04d}_{number % 2}"
        path, left, right = f"MontgomerySet/CXR_png/{name}.png", blob(number, value=255), blob(number + 40, value=255)
        left[:, : left.shape[1] // 3], right[:, right.shape[1] // 3 :] = 0, 0
        left[20:25, 20:25], right[20:25, 3:8] = 255, 255
        save(root / path, grey(number))
        save(root / f"MontgomerySet/ManualMask/leftMask/{name}.png", left)
        save(root / f"MontgomerySet/ManualMask/rightMask/{name}.png", right)
        readings = root / "MontgomerySet" / "ClinicalReadings"
        readings.mkdir(exist_ok=True)
        (readings / f"{name}.txt").write_text("Patient's Sex: F\nPatient's Age: 027Y\nnormal\n")
        truth[path] = int(((left > 0) | (right > 0)).sum())
    return Facts("masks", ("background", "lung"), 1, 12, 0, values=(0, 255), truth=truth)


MONTGOMERY = Publisher(
    "montgomery",
    write_montgomery,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "lung": 255}},
        "data": {
            "layout": "image-mask",
            "image": "CXR_png/{sample}.png",
            "mask": "ManualMask/{part}/{sample}.png",
        },
    },
)
