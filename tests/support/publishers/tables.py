"""Skin photographs with tables, and the plainest sets: SIIM-ISIC, HAM10000, class folders, a CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from support.publishers.facts import Facts, Publisher, grey, save

__all__ = ["CLASS_FOLDERS", "HAM10000", "PLAIN_CSV", "SIIM_ISIC"]

RGB = ["red", "green", "blue"]


def write_siim(root: Path) -> Facts:
    """train.csv and jpeg/train/<image_name>.jpg; blanks in sex, age and site; test.csv has no labels."""
    truth, rows = {}, []
    for patient in range(10):
        for number in range(1 + patient % 3):
            name, positive = f"ISIC_{1000 * patient + 17 * number:07d}", (patient + number) % 3 == 0
            path = f"jpeg/train/{name}.jpg"
            save(root / path, grey(10 * patient + number, channels=3))
            said = ("melanoma", "malignant", 1) if positive else ("nevus", "benign", 0)
            where = "" if patient == 4 else "torso"
            rows.append((name, f"IP_{patient:07d}", "" if patient == 3 else "male", 45.0 + patient, where, *said))
            truth[path] = (float(positive),)
    columns = ["image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis"]
    columns += ["benign_malignant", "target"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "train.csv", index=False)
    (root / "test.csv").write_text(
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge\nISIC_9,IP_9,,,\n"
    )
    (root / "sample_submission.csv").write_text("image_name,target\nISIC_9,0\n")
    save(root / "jpeg/test/ISIC_9.jpg", grey(9, channels=3))
    return Facts("binary", ("0", "1"), 3, len(rows), 10, truth=truth)


SIIM_ISIC = Publisher(
    "siim-isic",
    write_siim,
    {
        "target": {"kind": "binary", "columns": ["target"]},
        "data": {
            "layout": "csv",
            "channels": RGB,
            "labels": {"file": "train.csv", "image": "image_name", "patient": "patient_id"},
        },
    },
)

DX = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def write_ham(root: Path) -> Facts:
    """HAM10000_metadata.csv; images in two folders; several images of one lesion, which is never divided."""
    truth, rows = {}, []
    for lesion in range(14):
        for number in range(1 + lesion % 2):
            name = f"ISIC_{24306 + 10 * lesion + number:07d}"
            path = f"HAM10000_images_part_{1 + lesion // 7}/{name}.jpg"
            save(root / path, grey(10 * lesion + number, channels=3))
            rows.append((f"HAM_{lesion:07d}", name, DX[lesion % 7], "histo", 50.0, "male", "back"))
            truth[path] = (float(lesion % 7),)
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "HAM10000_metadata.csv", index=False)
    (root / "hmnist_8_8_L.csv").write_text("pixel0000,pixel0001,label\n169,171,2\n")
    return Facts("multi-class", DX, 3, len(rows), 14, truth=truth)


HAM10000 = Publisher(
    "ham10000",
    write_ham,
    {
        "target": {"kind": "multi-class", "columns": ["dx"]},
        "data": {
            "layout": "csv",
            "channels": RGB,
            "labels": {"file": "HAM10000_metadata.csv", "image": "image_id", "patient": "lesion_id"},
        },
    },
)


def write_folders(root: Path) -> Facts:
    """A folder for each class and nothing else."""
    truth, names = {}, ("glioma", "meningioma", "pituitary")
    for place, name in enumerate(names):
        for number in range(8):
            path = f"{name}/Te-{name[:2]}_{number:04d}.png"
            save(root / path, grey(100 * place + number))
            truth[path] = (float(place),)
    return Facts("multi-class", names, 1, 24, 0, truth=truth)


CLASS_FOLDERS = Publisher(
    "class-folders", write_folders, {"target": {"kind": "multi-class"}, "data": {"layout": "folder-classes"}}
)


def write_csv(root: Path) -> Facts:
    """labels.csv with file names, a patient and a word."""
    truth, lines = {}, ["filename,patient,diagnosis"]
    for patient in range(12):
        for number in range(2):
            path = f"images/p{patient:02d}_{number}.png"
            save(root / path, grey(10 * patient + number))
            lines.append(f"p{patient:02d}_{number}.png,p{patient:02d},{('healthy', 'sick')[patient % 2]}")
            truth[path] = (float(patient % 2),)
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return Facts("binary", ("healthy", "sick"), 1, 24, 12, truth=truth)


PLAIN_CSV = Publisher(
    "plain-csv",
    write_csv,
    {
        "target": {"kind": "binary", "columns": ["diagnosis"]},
        "data": {"layout": "csv", "labels": {"image": "filename", "patient": "patient"}},
    },
)
