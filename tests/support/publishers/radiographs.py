"""Radiographs with labels: NIH ChestX-ray14, CheXpert, VinDr-CXR, RSNA pneumonia, Kermany's chest set."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pandas as pd
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from support.publishers.facts import Facts, Publisher, grey, save

__all__ = ["CHEXPERT", "KERMANY", "NIH", "RSNA", "VINDR"]

NIH_WORDS = ("No Finding", "Effusion", "Effusion|Infiltration", "Infiltration", "No Finding", "Mass", "Effusion|Mass")


def write_nih(root: Path) -> Facts:
    """Data_Entry_2017.csv with words divided by bars, images in several folders, and the two official lists."""
    rows, truth = [], {}
    names = ("Effusion", "Infiltration", "Mass")
    for patient in range(1, 13):
        for number in range(1 + patient % 3):
            name, words = f"{patient:08d}_{number:03d}.png", NIH_WORDS[(patient + 2 * number) % len(NIH_WORDS)]
            path = f"images_{1 + patient // 7:03d}/images/{name}"
            save(root / path, grey(100 * patient + number))
            rows.append((name, words, number, patient, 40 + patient, "MF"[patient % 2], "PA", 2682, 2749, 0.143, 0.143))
            truth[path] = tuple(float(label in words.split("|")) for label in names)
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    header += "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    lines = [header, *(",".join(map(str, row)) + "," for row in rows)]
    (root / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")
    test = [row[0] for row in rows if row[3] > 9]
    train = [row[0] for row in rows if row[3] <= 9]
    (root / "test_list.txt").write_text("\n".join(test))
    (root / "train_val_list.txt").write_text("\n".join(train))
    (root / "README_CHESTXRAY.pdf").write_bytes(b"%PDF-1.4")
    parts = {"train": len(train), "test": len(test)}
    return Facts("multi-label", names, 1, len(rows), 12, parts=parts, truth=truth)


NIH = Publisher(
    "nih-chestxray14",
    write_nih,
    {
        "target": {"kind": "multi-label", "columns": ["Finding Labels"]},
        "data": {
            "layout": "csv",
            "labels": {"file": "Data_Entry_2017.csv", "image": "Image Index", "patient": "Patient ID"},
        },
        "split": {"lists": {"train": "train_val_list.txt", "test": "test_list.txt"}},
    },
)

OBSERVATIONS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip


def write_chexpert(root: Path) -> Facts:
    """train.csv and valid.csv, whose Path begins with the name of the set; blank, 0, 1 and -1, in valid.csv 0 and 1."""
    truth: dict[str, tuple[float, ...]] = {}
    parts = {"train": 0, "test": 0}
    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS]
    meaning = {"1.0": 1.0, "0.0": 0.0, "": math.nan, "-1.0": math.nan}
    for part, patients in (("train", range(1, 13)), ("valid", range(64541, 64544))):
        rows = []
        said = ("1.0", "", "0.0", "-1.0", "") if part == "train" else ("1.0", "0.0", "0.0")
        for patient in patients:
            for study in range(1, 2 + patient % 2):
                path = f"{part}/patient{patient:05d}/study{study}/view1_frontal.jpg"
                save(root / path, grey(10 * patient + study))
                words = [said[(patient + study + place) % len(said)] for place in range(14)]
                rows.append((f"CheXpert-v1.0-small/{path}", "Female", 50 + patient % 9, "Frontal", "AP", *words))
                truth[path] = tuple(meaning[word] for word in words)
        parts["train" if part == "train" else "test"] += len(rows)
        text = pd.DataFrame(rows, columns=header).to_csv(index=False)
        (root / f"{part}.csv").write_text(text)
    return Facts("multi-label", OBSERVATIONS, 1, len(truth), 15, parts=parts, truth=truth)


CHEXPERT = Publisher(
    "chexpert",
    write_chexpert,
    {
        "target": {"kind": "multi-label", "columns": list(OBSERVATIONS), "blank": "mask"},
        "data": {
            "layout": "csv",
            "labels": {
                "files": {"train": "train.csv", "test": "valid.csv"},
                "image": "Path",
                "patient_pattern": r"(patient\d+)/",
            },
        },
    },
)

DIAGNOSES = ("Aortic enlargement", "Cardiomegaly", "Pneumothorax", "Pneumonia", "No finding")


def dicom(seed: int, uid: str, **header: str) -> bytes:
    """A grey DICOM image of 12 bits in Explicit VR Little Endian, with a preamble."""
    pixels = grey(seed).astype("<u2") * 16
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid
    data.SeriesInstanceUID, data.Modality = f"{uid}.1", "DX"
    for keyword, value in header.items():
        setattr(data, keyword, value)
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OW"
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_vindr(root: Path) -> Facts:
    """train/<id>.dicom without a preamble, and for each of them the labels of three readers."""
    truth: dict[str, tuple[float, ...]] = {}
    rows, boxes = [], []
    for number in range(12):
        for part in ("train", "test") if number < 3 else ("train",):
            name = f"{7919 * (number + 1) + 10**6 * (part == 'test'):032x}"
            path = root / part / f"{name}.dicom"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dicom(number, f"1.2.9.{number}.{int(part == 'test')}")[128 + 4 :])
            if part == "test":
                continue
            found = []
            for reader in range(3):
                labels = [int((number + place + (reader == 2) * (number % 3 == 0)) % 4 == 0) for place in range(4)]
                labels.append(int(not any(labels)))
                rows.append((name, f"R{8 + reader}", *labels))
                boxes.append((name, f"R{8 + reader}", "No finding", "", "", "", ""))
                found.append(labels)
            truth[f"train/{name}.dicom"] = tuple(float(max(column)) for column in zip(*found, strict=True))
    folder = root / "annotations"
    folder.mkdir()
    pd.DataFrame(rows, columns=["image_id", "rad_id", *DIAGNOSES]).to_csv(
        folder / "image_labels_train.csv", index=False
    )
    columns = ["image_id", "rad_id", "class_name", "x_min", "y_min", "x_max", "y_max"]
    pd.DataFrame(boxes, columns=columns).to_csv(folder / "annotations_train.csv", index=False)
    return Facts("multi-label", DIAGNOSES, 1, 12, 0, truth=truth)


VINDR = Publisher(
    "vindr-cxr",
    write_vindr,
    {
        "target": {"kind": "multi-label", "columns": list(DIAGNOSES)},
        "data": {
            "layout": "csv",
            "labels": {"file": "annotations/image_labels_train.csv", "image": "image_id", "repeated": "any"},
        },
        "split": {"by": "sample"},
    },
)


def write_rsna(root: Path) -> Facts:
    """stage_2_train_labels.csv with a row for each box, and the images as DICOM named by the patient."""
    truth, rows, details = {}, [], []
    for number in range(12):
        patient = f"{1 + number:08x}-2d54-40f4-b1b3-{number:012x}"
        path = root / "stage_2_train_images" / f"{patient}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(number, f"1.2.8.{number}", PatientID=patient, PatientSex="F"))
        truth[f"stage_2_train_images/{patient}.dcm"] = (float(number % 2),)
        for box in range(1 + number % 3 if number % 2 else 1):
            place = (264.0 + box, 152.0, 213.0, 379.0) if number % 2 else ("", "", "", "")
            rows.append((patient, *place, number % 2))
            details.append((patient, "Lung Opacity" if number % 2 else ("Normal" if number % 4 else "No Lung Opacity")))
    test = root / "stage_2_test_images"
    test.mkdir()
    (test / "0000a175-0e68-4ca4-b1af-167204a7e0bc.dcm").write_bytes(dicom(99, "1.2.8.99", PatientID="0000a175"))
    columns = ["patientId", "x", "y", "width", "height", "Target"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "stage_2_train_labels.csv", index=False)
    pd.DataFrame(details, columns=["patientId", "class"]).to_csv(root / "stage_2_detailed_class_info.csv", index=False)
    (root / "stage_2_sample_submission.csv").write_text("patientId,PredictionString\n0000a175,0.5 0 0 100 100\n")
    return Facts("binary", ("0", "1"), 1, 12, 12, truth=truth)


RSNA = Publisher(
    "rsna-pneumonia",
    write_rsna,
    {
        "target": {"kind": "binary", "columns": ["Target"]},
        "data": {
            "layout": "csv",
            "labels": {
                "file": "stage_2_train_labels.csv",
                "image": "patientId",
                "patient": "patientId",
                "repeated": "agree",
            },
        },
    },
)


def write_kermany(root: Path) -> Facts:
    """A folder for each class below train, val and test; a pneumonia name holds the person."""
    truth, counts = {}, {"train": 10, "val": 2, "test": 4}
    for part, count in counts.items():
        for number in range(count):
            serial = {"train": 100, "val": 300, "test": 500}[part] + number
            for label, name in (
                ("NORMAL", f"IM-{serial:04d}-0001.jpeg"),
                ("PNEUMONIA", f"person{serial}_{('bacteria', 'virus')[number % 2]}_{serial + 7}.jpeg"),
            ):
                path = f"chest_xray/{part}/{label}/{name}"
                save(root / path, grey(serial + 1000 * (label == "NORMAL")))
                truth[path] = (float(label == "PNEUMONIA"),)
    parts = {"train": 20, "validation": 4, "test": 8}
    return Facts("binary", ("NORMAL", "PNEUMONIA"), 1, 32, 32, parts=parts, truth=truth)


KERMANY = Publisher(
    "kermany-chest",
    write_kermany,
    {
        "target": {"kind": "binary"},
        "data": {"layout": "folder-classes", "labels": {"patient_pattern": r"(person\d+|(?:NORMAL2-)?IM-\d+)"}},
    },
)
