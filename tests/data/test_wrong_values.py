"""``prepare`` says where truth or values cannot be meant: empty or inverted masks, conflicts, constant images."""

import json

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from medloom.data import open_source, prepare
from medloom.recipe import Recipe, parse_recipe
from medloom.transforms import Preprocess
from support.dicoms import write_dicom

SIZE = 32
PATIENTS = 8


def segmentation(mask_values=None, suffixes=(".tif", ".tif"), **normalise) -> Recipe:
    whole = {
        "name": "test",
        "target": {"kind": "masks", "mask_values": mask_values or {"background": 0, "lesion": 255}},
        "data": {
            "layout": "image-mask",
            "image": "{patient}/{sample}" + suffixes[0],
            "mask": "{patient}/{sample}_mask" + suffixes[1],
            "channels": ["grey"],
        },
        "preprocess": {"size": [SIZE, SIZE], "normalise": normalise},
    }
    return parse_recipe(yaml.safe_dump(whole))


def classification() -> Recipe:
    whole = {
        "name": "test",
        "target": {"kind": "auto"},
        "data": {"layout": "folder-classes", "channels": ["grey"]},
        "preprocess": {"size": [SIZE, SIZE], "colour": "grey"},
    }
    return parse_recipe(yaml.safe_dump(whole))


def run(folder, recipe):
    with open_source(folder / "set") as source:
        work = Preprocess.of(recipe.preprocess)
        return prepare(recipe, source, folder / "run", folder / "cache", workers=1, preprocess=work)


def tissue(patient, dtype=np.uint8, low=20, high=220):
    values = np.random.default_rng(patient).uniform(low, high, (SIZE, SIZE))
    return values.astype(dtype)


def lesion(value=255):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[5:12, 6:14] = value
    return mask


def write(folder, image, mask, **options):
    """A sample for each patient; ``image`` and ``mask`` make its pixels from the patient's number."""
    for patient in range(PATIENTS):
        place = folder / "set" / f"Smith{patient}"
        place.mkdir(parents=True)
        tifffile.imwrite(place / "s1.tif", image(patient))
        tifffile.imwrite(place / "s1_mask.tif", mask(patient), **options)


def said(prepared, word):
    return [text for text in prepared.facts["warnings"] if word in text]


def test_an_ordinary_set_gives_none_of_these_warnings(tmp_path):
    write(tmp_path, tissue, lambda _: lesion())
    assert run(tmp_path, segmentation()).facts["warnings"] == []


def test_masks_without_any_foreground_are_said_with_their_number(tmp_path):
    write(tmp_path, tissue, lambda _: np.zeros((SIZE, SIZE), np.uint8))
    prepared = run(tmp_path, segmentation())
    (text,) = said(prepared, "No mask has foreground")
    assert "8 masks" in text
    kept = json.loads((tmp_path / "run" / "prepare.json").read_text())
    assert text in kept["warnings"]


def test_foreground_that_the_networks_size_swallows_is_no_foreground(tmp_path):
    def dot(_):
        mask = np.zeros((SIZE * 16, SIZE * 16), np.uint8)
        mask[0, 0] = 255
        return mask

    write(tmp_path, lambda patient: np.kron(tissue(patient), np.ones((16, 16), np.uint8)), dot)
    assert said(run(tmp_path, segmentation()), f"other than the background at {SIZE}x{SIZE}")


def test_a_class_in_no_mask_is_named_and_the_others_are_not(tmp_path):
    write(tmp_path, tissue, lambda _: lesion(1))
    prepared = run(tmp_path, segmentation({"background": 0, "core": 1, "oedema": 2}))
    (text,) = said(prepared, "is in none of")
    assert "'oedema'" in text
    assert "8 masks" in text
    assert not said(prepared, "'core'")


def test_a_class_that_a_part_lacks_is_named_with_the_part(tmp_path):
    write(tmp_path, tissue, lambda patient: lesion(2) if patient == 0 else lesion(1))
    prepared = run(tmp_path, segmentation({"background": 0, "core": 1, "oedema": 2}))
    (text,) = said(prepared, "'oedema'")
    (split,) = prepared.catalogue.loc[prepared.catalogue["patient_id"] == "P001", "split"]
    assert text.endswith("1 mask of 8.")
    assert f" {split} " not in text.partition("has")[0]


def test_masks_that_their_files_invert_are_counted_also_when_nothing_is_decoded_again(tmp_path):
    def mask(patient):
        return np.full((SIZE, SIZE), 255, np.uint8) if patient < 2 else 255 - lesion()

    write(tmp_path, tissue, mask, photometric="miniswhite")
    for _ in range(2):
        prepared = run(tmp_path, segmentation())
        assert said(prepared, "8 of 8 masks are stored with white as 0")
        assert prepared.facts["decoding"]["masks"] == [{"note": "white-is-zero inverted", "count": 8}]
        assert prepared.facts["decoding"]["images"] == []
    assert prepared.facts["store"]["reused"]
    assert not said(prepared, "Foreground covers")


@pytest.mark.parametrize("way", ["white is zero", "values the wrong way round"])
def test_foreground_nearly_everywhere_hints_at_inverted_masks(tmp_path, way):
    options = {"photometric": "miniswhite"} if way == "white is zero" else {}
    values = None if options else {"background": 255, "lesion": 0}
    write(tmp_path, tissue, lambda _: lesion(), **options)
    (text,) = said(run(tmp_path, segmentation(values)), "Foreground covers")
    assert "8 of 8 images" in text
    assert "target.mask_values" in text
    assert "lookup table" in text


def test_one_picture_in_two_classes_is_a_conflict_named_by_pseudonym(tmp_path):
    for name, first in (("well", 0), ("sick", 20)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(tissue(first + number)).save(tmp_path / "set" / name / f"Smith{first + number}.png")
    for name in ("well", "sick"):
        Image.fromarray(tissue(99)).save(tmp_path / "set" / name / f"Jones-{name}.png")
    prepared = run(tmp_path, classification())
    (text,) = said(prepared, "Label conflict")
    rows = prepared.catalogue[prepared.catalogue["image"].str.contains("Jones")]
    assert "1 image is there more than once" in text
    assert all(sample in text for sample in rows["sample_id"])
    assert prepared.facts["conflicts"]["count"] == 1
    assert "Jones" not in (tmp_path / "run" / "prepare.json").read_text()


def test_one_picture_twice_in_one_class_is_no_conflict(tmp_path):
    for name, first in (("well", 0), ("sick", 20)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(tissue(first + number // 2)).save(tmp_path / "set" / name / f"{number}.png")
    assert run(tmp_path, classification()).facts["conflicts"] == {"count": 0, "listed": [], "warnings": []}


@pytest.mark.parametrize(("other", "conflicts"), [(3, 1), (0, 0)])
def test_one_picture_with_two_masks_is_a_conflict(tmp_path, other, conflicts):
    def mask(patient):
        return np.roll(lesion(), other if patient == 1 else 0, axis=0)

    write(tmp_path, lambda patient: tissue(max(1, patient)), mask)
    prepared = run(tmp_path, segmentation())
    assert prepared.facts["conflicts"]["count"] == conflicts
    assert bool(said(prepared, "P001-001 and P002-001")) or not conflicts


@pytest.mark.parametrize("method", ["zscore", "percentile", "minmax"])
def test_ct_without_a_value_above_zero_is_seen_by_the_network(tmp_path, method):
    write(tmp_path, lambda patient: tissue(patient, np.float32, -1000, -300), lambda _: lesion())
    prepared = run(tmp_path, segmentation(method=method))
    assert (prepared.store.scale > 0).all()
    assert prepared.facts["warnings"] == []


def test_images_that_normalisation_leaves_constant_are_counted(tmp_path):
    write(tmp_path, lambda patient: np.full((SIZE, SIZE), 3 + patient, np.uint8), lambda _: lesion())
    prepared = run(tmp_path, segmentation())
    train = prepared.facts["counts"]["train"]["samples"]
    (text,) = said(prepared, "constant")
    assert f"{train} of {train} training images" in text


@pytest.mark.parametrize(("low", "high"), [(-1000, 2000), (0, 255)])
def test_float_values_outside_what_imagenet_takes_are_said(tmp_path, low, high):
    write(tmp_path, lambda patient: tissue(patient, np.float32, low, high), lambda _: lesion())
    (text,) = said(run(tmp_path, segmentation(method="imagenet")), "far beyond")
    assert "preprocess.window" in text


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ({"BitsStored": 12}, 0, 4095),
        ({"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": -1024}, 0, 4095),
        ({"BitsStored": 12, "WindowCenter": 1200, "WindowWidth": 400}, 1000, 1400),
        ({"BitsStored": 16, "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400},
         864, 1264),
    ],
)  # fmt: skip
def test_dicom_of_any_depth_is_brought_to_what_imagenet_takes(tmp_path, header, low, high):
    for patient in range(PATIENTS):
        place = tmp_path / "set" / f"Smith{patient}"
        place.mkdir(parents=True)
        write_dicom(place / "s1.dcm", tissue(patient, np.uint16, low, high), f"P{patient}", **header)
        Image.fromarray(lesion()).save(place / "s1_mask.png")
    prepared = run(tmp_path, segmentation(suffixes=(".dcm", ".png"), method="imagenet"))
    assert said(prepared, "normalisation") == []
    store = prepared.store
    shown = store.images[:] * store.scale[:, :, None, None] - (store.offset * store.scale)[:, :, None, None]
    assert shown.min() == pytest.approx(-2.0, abs=0.15)
    assert shown.max() == pytest.approx(2.4, abs=0.2)


def test_twelve_bits_in_sixteen_are_too_dark_for_imagenet(tmp_path):
    write(tmp_path, lambda patient: tissue(patient, np.uint16, 0, 4095), lambda _: lesion())
    (text,) = said(run(tmp_path, segmentation(method="imagenet")), "12 bits stored in 16")
    assert "preprocess.window" in text


@pytest.mark.parametrize(("dtype", "high"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_values_in_the_range_that_imagenet_takes_are_not_mentioned(tmp_path, dtype, high):
    write(tmp_path, lambda patient: tissue(patient, dtype, 0, high), lambda _: lesion())
    assert run(tmp_path, segmentation(method="imagenet")).facts["warnings"] == []


def test_statistics_of_a_few_bright_pixels_throw_the_rest_far_out(tmp_path):
    def lung(patient):
        image = tissue(patient, np.float32, -1000, -300)
        image[3, 3:6] = (1, 2, 3)
        return image

    write(tmp_path, lung, lambda _: lesion())
    (text,) = said(run(tmp_path, segmentation()), "far beyond")
    assert "nonzero=false" in text
