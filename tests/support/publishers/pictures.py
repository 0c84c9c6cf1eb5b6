"""Pictures with masks: LGG, ISIC 2018, DRIVE, CHASE_DB1, COVID-QU-Ex, BUSI, Kvasir-SEG, CVAT, labelme, Pascal VOC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from support.publishers.facts import Facts, Publisher, blob, grey, save

__all__ = ["BUSI", "CHASE", "COVID_QU", "CVAT", "DRIVE", "ISIC_2018", "KVASIR", "LABELME", "LGG", "PLAIN_MASKS", "VOC"]

TWO = {"background": 0, "lesion": 255}
RGB = ["red", "green", "blue"]


def write_lgg(root: Path) -> Facts:
    """kaggle_3m/<patient>/<slice>.tif with <slice>_mask.tif beside it, three sequences as the channels."""
    truth = {}
    for patient in range(8):
        name = f"TCGA_CS_{4941 + patient}_19960909"
        (root / "kaggle_3m" / name).mkdir(parents=True)
        for number in range(1, 5):
            path = f"kaggle_3m/{name}/{name}_{number}.tif"
            mask = blob(10 * patient + number, value=255) * (number % 2)
            tifffile.imwrite(root / path, grey(10 * patient + number, channels=3), photometric="rgb")
            tifffile.imwrite(root / path.replace(".tif", "_mask.tif"), mask)
            truth[path] = int((mask > 0).sum())
    (root / "kaggle_3m" / "README.md").write_text("LGG")
    (root / "kaggle_3m" / "data.csv").write_text("Patient,tumor_tissue_site\nTCGA_CS_4941,1\n")
    return Facts("masks", ("background", "tumour"), 3, 32, 8, values=(0, 255), truth=truth)


LGG = Publisher(
    "lgg-mri",
    write_lgg,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "tumour": 255}},
        "data": {"layout": "lgg-mri", "channels": ["pre-contrast", "FLAIR", "post-contrast"]},
    },
)


def write_isic(root: Path) -> Facts:
    """ISIC2018_Task1-2_Training_Input/<id>.jpg, ISIC2018_Task1_Training_GroundTruth/<id>_segmentation.png."""
    truth = {}
    for number in range(10):
        name = f"ISIC_{number * 3:07d}"
        path, mask = f"ISIC2018_Task1-2_Training_Input/{name}.jpg", blob(number, value=255)
        save(root / path, grey(number, channels=3))
        save(root / f"ISIC2018_Task1_Training_GroundTruth/{name}_segmentation.png", mask)
        truth[path] = int((mask > 0).sum())
    for folder in ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"):
        (root / folder / "ATTRIBUTION.txt").write_text("ISIC")
    return Facts("masks", ("background", "lesion"), 3, 10, 0, values=(0, 255), truth=truth)


ISIC_2018 = Publisher(
    "isic-2018-segmentation",
    write_isic,
    {
        "target": {"kind": "masks", "mask_values": TWO},
        "data": {
            "layout": "image-mask",
            "image": "ISIC2018_Task1-2_Training_Input/{sample}.jpg",
            "mask": "ISIC2018_Task1_Training_GroundTruth/{sample}_segmentation.png",
            "channels": RGB,
        },
    },
)


def write_drive(root: Path) -> Facts:
    """training and test folders with TIFFs, vessels as GIF in 1st_manual, and the field of view as GIF in mask."""
    truth = {}
    for number in range(1, 13):
        part, end = ("test", "test") if number <= 4 else ("training", "training")
        path, vessels = f"{part}/images/{number:02d}_{end}.tif", blob(number, value=255)
        (root / part / "images").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(root / path, grey(number, channels=3), photometric="rgb")
        save(root / f"{part}/1st_manual/{number:02d}_manual1.gif", vessels)
        view = np.full_like(vessels, 255)
        view[:2] = 0
        save(root / f"{part}/mask/{number:02d}_{end}_mask.gif", view)
        truth[path] = int((vessels > 0).sum())
    parts = {"train": 8, "test": 4}
    return Facts("masks", ("background", "vessel"), 3, 12, 0, values=(0, 255), parts=parts, truth=truth)


DRIVE = Publisher(
    "drive",
    write_drive,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "vessel": 255}},
        "data": {
            "layout": "image-mask",
            "image": "{split}/images/{sample}_{split}.tif",
            "mask": "{split}/1st_manual/{sample}_manual1.gif",
            "channels": RGB,
        },
    },
)


def write_chase(root: Path) -> Facts:
    """Image_<child><L or R>.jpg with the vessels of two observers beside it, as PNG of one bit."""
    truth = {}
    for child in range(1, 9):
        for side in "LR":
            path, vessels = f"Image_{child:02d}{side}.jpg", blob(2 * child + (side == "R"))
            save(root / path, grey(child, channels=3))
            for observer, mask in (("1stHO", vessels), ("2ndHO", np.roll(vessels, 1, axis=0))):
                Image.fromarray(mask.astype(bool)).save(root / f"Image_{child:02d}{side}_{observer}.png")
            truth[path] = int(vessels.sum())
    return Facts("masks", ("background", "vessel"), 3, 16, 8, values=(0, 255), truth=truth)


CHASE = Publisher(
    "chase-db1",
    write_chase,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "vessel": 255}},
        "data": {
            "layout": "image-mask",
            "image": "Image_{patient:2}{sample}.jpg",
            "mask": "Image_{patient:2}{sample}_1stHO.png",
            "channels": RGB,
        },
    },
)


def write_covid_qu(root: Path) -> Facts:
    """Train, Val and Test, a folder for each class, and in each images, lung masks and infection masks."""
    truth, parts = {}, {"Train": 6, "Val": 2, "Test": 3}
    for part, count in parts.items():
        for group in ("COVID-19", "Non-COVID", "Normal"):
            folder = f"Infection Segmentation Data/{part}/{group}"
            for number in range(count):
                seed = 100 * len(truth) + number
                path = f"{folder}/images/{part.lower()}_{group.lower()}_{number}.png"
                lungs, infection = blob(seed, value=255), blob(seed + 1, value=255) * (group == "COVID-19")
                save(root / path, grey(seed))
                save(root / path.replace("/images/", "/lung masks/"), lungs)
                save(root / path.replace("/images/", "/infection masks/"), infection)
                truth[path] = int((infection > 0).sum())
    found = {"train": 18, "validation": 6, "test": 9}
    return Facts("masks", ("background", "infection"), 1, 33, 0, values=(0, 255), parts=found, truth=truth)


COVID_QU = Publisher(
    "covid-qu-ex",
    write_covid_qu,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "infection": 255}},
        "data": {
            "layout": "image-mask",
            "image": "{split}/{folder}/images/{sample}.png",
            "mask": "{split}/{folder}/infection masks/{sample}.png",
        },
    },
)


def write_busi(root: Path) -> Facts:
    """<class>/<class> (<n>).png with _mask.png beside it, and _mask_1.png where there are two lesions."""
    truth = {}
    for group, count in (("benign", 6), ("malignant", 4), ("normal", 2)):
        for number in range(1, count + 1):
            path = f"Dataset_BUSI_with_GT/{group}/{group} ({number}).png"
            seed = 100 * count + number
            masks = [blob(seed, value=255)] + [np.roll(blob(seed, value=255), 9, axis=1)] * (number % 3 == 0)
            masks = [np.zeros_like(masks[0])] if group == "normal" else masks
            save(root / path, grey(seed))
            for place, mask in enumerate(masks):
                save(root / path.replace(".png", f"_mask{f'_{place}' if place else ''}.png"), mask)
            truth[path] = int((np.stack(masks).max(axis=0) > 0).sum())
    return Facts("masks", ("background", "lesion"), 1, 12, 0, values=(0, 255), truth=truth)


BUSI = Publisher(
    "busi",
    write_busi,
    {
        "target": {"kind": "masks", "mask_values": TWO},
        "data": {"layout": "image-mask", "image": "{sample}.png", "mask": "{sample}_mask{part}.png"},
    },
)


def write_kvasir(root: Path) -> Facts:
    """images/<id>.jpg and masks/<id>.jpg: the masks are JPEG too, so their values drift. Boxes are in a JSON file."""
    truth = {}
    for number in range(10):
        path, mask = f"Kvasir-SEG/images/cju{number:021x}.jpg", blob(number, value=255)
        save(root / path, grey(number, channels=3))
        save(root / path.replace("/images/", "/masks/"), np.repeat(mask[..., None], 3, axis=2), quality=90)
        truth[path] = int((mask > 0).sum())
    (root / "Kvasir-SEG" / "kavsir_bboxes.json").write_text("{}")
    return Facts("masks", ("background", "polyp"), 3, 10, 0, values=(0, 255), truth=truth)


KVASIR = Publisher(
    "kvasir-seg",
    write_kvasir,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "polyp": 255}, "mask_tolerance": 127},
        "data": {
            "layout": "image-mask",
            "image": "images/{sample}.jpg",
            "mask": "masks/{sample}.jpg",
            "channels": RGB,
        },
    },
)


def voc_colours() -> NDArray[np.uint8]:
    """The palette of Pascal VOC (256, 3): the bits of an index, spread over red, green and blue."""
    colours = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for place in range(8):
            for channel in range(3):
                colours[index, channel] |= (index >> 3 * place + channel & 1) << 7 - place
    return colours


def two_classes(seed: int) -> NDArray[np.uint8]:
    """A mask with two classes beside each other."""
    mask = blob(seed)
    mask[:, 20:] = np.where(blob(seed + 50)[:, :12] > 0, 2, 0)
    return mask


def save_indexed(path: Path, mask: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(mask, "P")
    picture.putpalette(voc_colours().ravel().tolist())
    picture.save(path)


def write_voc(root: Path) -> Facts:
    """VOC2012: JPEGImages, SegmentationClass as palette PNG with 255 along borders, lists without extension."""
    truth, names = {}, [f"2007_{number:06d}" for number in range(1, 11)]
    for seed, name in enumerate(names):
        mask = two_classes(seed)
        mask[0] = 255
        path = f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg"
        save(root / path, grey(seed, channels=3))
        save_indexed(root / f"VOCdevkit/VOC2012/SegmentationClass/{name}.png", mask)
        save_indexed(root / f"VOCdevkit/VOC2012/SegmentationObject/{name}.png", (mask > 0).astype(np.uint8))
        truth[path] = int(mask.sum())
    lists = root / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for part, found in (("train", names[:6]), ("val", names[6:]), ("trainval", names)):
        (lists / f"{part}.txt").write_text("\n".join(found) + "\n")
    return Facts("masks", ("background", "aeroplane", "bicycle"), 3, 10, 0, values=(0, 1, 2), truth=truth)


VOC = Publisher(
    "pascal-voc",
    write_voc,
    {
        "target": {
            "kind": "masks",
            "mask_values": {"background": 0, "aeroplane": 1, "bicycle": 2},
            "ignore": 255,
        },
        "data": {
            "layout": "image-mask",
            "image": "JPEGImages/{sample}.jpg",
            "mask": "SegmentationClass/{sample}.png",
            "channels": RGB,
        },
    },
)


def write_labelme(root: Path) -> Facts:
    """What labelme2voc makes: JPEGImages, SegmentationClass as palette PNG, arrays, pictures, class_names.txt."""
    truth = {}
    for number in range(10):
        name, mask = f"scan_{number:03d}", two_classes(number)
        path = f"data_dataset_voc/JPEGImages/{name}.jpg"
        save(root / path, grey(number, channels=3))
        save_indexed(root / f"data_dataset_voc/SegmentationClass/{name}.png", mask)
        arrays = root / "data_dataset_voc/SegmentationClassNpy"
        arrays.mkdir(exist_ok=True)
        np.save(arrays / f"{name}.npy", mask)
        save(root / f"data_dataset_voc/SegmentationClassVisualization/{name}.jpg", grey(number + 9, channels=3))
        truth[path] = int(mask.sum())
    (root / "data_dataset_voc" / "class_names.txt").write_text("_background_\nkidney\ntumor\n")
    return Facts("masks", ("_background_", "kidney", "tumor"), 3, 10, 0, values=(0, 1, 2), truth=truth)


LABELME = Publisher(
    "labelme",
    write_labelme,
    {
        "target": {"kind": "masks", "mask_values": {"_background_": 0, "kidney": 1, "tumor": 2}},
        "data": {
            "layout": "image-mask",
            "image": "JPEGImages/{sample}.jpg",
            "mask": "SegmentationClass/{sample}.png",
            "channels": RGB,
        },
    },
)

CVAT_COLOURS = {"background": (0, 0, 0), "kidney": (250, 50, 83), "tumor": (52, 209, 183)}


def write_cvat(root: Path) -> Facts:
    """Segmentation mask 1.1: masks as RGB pictures in the colours of labelmap.txt."""
    truth, table = {}, np.array(list(CVAT_COLOURS.values()), np.uint8)
    for number in range(10):
        name, mask = f"frame_{number:06d}", two_classes(number)
        path = f"JPEGImages/{name}.jpg"
        save(root / path, grey(number, channels=3))
        save(root / f"SegmentationClass/{name}.png", table[mask])
        save(root / f"SegmentationObject/{name}.png", table[(mask > 0).astype(np.uint8)])
        truth[path] = int(mask.sum())
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("\n".join(f"frame_{number:06d}" for number in range(10)))
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in CVAT_COLOURS.items()]
    (root / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines, ""]))
    return Facts("masks", tuple(CVAT_COLOURS), 3, 10, 0, values=(0, 1, 2), truth=truth)


CVAT = Publisher(
    "cvat",
    write_cvat,
    {
        "target": {
            "kind": "masks",
            "mask_values": {"background": 0, "kidney": 1, "tumor": 2},
            "mask_colours": {name: list(colour) for name, colour in CVAT_COLOURS.items()},
        },
        "data": {
            "layout": "image-mask",
            "image": "JPEGImages/{sample}.jpg",
            "mask": "SegmentationClass/{sample}.png",
            "channels": RGB,
        },
    },
)


def write_plain(root: Path) -> Facts:
    """images/<patient>_<slice>.png and masks/<same>.png with values from 0."""
    truth = {}
    for patient in range(8):
        for number in range(3):
            path, mask = f"images/case{patient:02d}_{number}.png", two_classes(10 * patient + number)
            save(root / path, grey(10 * patient + number))
            save(root / path.replace("images/", "masks/"), mask)
            truth[path] = int(mask.sum())
    return Facts("masks", ("background", "one", "two"), 1, 24, 8, values=(0, 1, 2), truth=truth)


PLAIN_MASKS = Publisher(
    "plain-masks",
    write_plain,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "one": 1, "two": 2}},
        "data": {
            "layout": "image-mask",
            "image": "images/{patient}_{sample}.png",
            "mask": "masks/{patient}_{sample}.png",
        },
    },
)
