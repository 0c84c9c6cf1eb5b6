"""Which slices lie beside which: one rule for pages, places in the patient and numbers in names."""

import json
import re

import nibabel
import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.data import open_source, preparation, prepare, read_catalogue
from medloom.data.context import OrderError, Spot, context_of, gathered, numbered, rows_beside, surroundings
from medloom.errors import DataError, RecipeError
from medloom.recipe import parse_recipe
from medloom.transforms import Preprocess
from support.dicoms import write_dicom
from support.orientations import ALL, stored

SIZE = 16


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})


def beside_by_hand(places, reach):
    """The rule, slice by slice: walk outwards, and keep what was last seen where nothing is."""
    rows = []
    for place in places:
        row = {0: place}
        for step in (-1, 1):
            last = place
            for distance in range(1, reach + 1):
                last = place + step * distance if place + step * distance in places else last
                row[step * distance] = last
        rows.append([places.index(row[offset]) for offset in range(-reach, reach + 1)])
    return rows


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    places=st.lists(st.integers(0, 14), min_size=2, max_size=12, unique=True),
    reach=st.integers(1, 4),
)
def test_ends_are_repeated_and_what_is_missing_is_replaced_by_the_next_one_inwards(places, reach):
    found = surroundings([Spot(("a",), float(place), "page") for place in places], reach)
    assert found.index.tolist() == beside_by_hand(places, reach)
    inside = [
        [place + o for o in range(-reach, reach + 1) if min(places) <= place + o <= max(places)] for place in places
    ]
    assert found.missing.tolist() == [not set(row) <= set(places) for row in inside]
    two = [Spot((name,), float(place), "page") for place in places for name in "ab"]
    both = surroundings(two, reach)
    assert both.stacks == 2
    assert (both.index % 2 == np.arange(len(two))[:, None] % 2).all()


def test_millimetres_are_counted_in_the_most_common_distance():
    heights = [30.0, 0.0, 4.9, 10.0, 15.1, 25.0]  # of every 5 mm the one at 20 is missing
    found = surroundings([Spot(("a",), height, "position") for height in heights], 1)
    assert found.index.tolist() == [[5, 0, 0], [1, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4], [5, 5, 0]]
    assert found.missing.tolist() == [False, False, False, False, True, True]


@pytest.mark.parametrize(
    ("spots", "said"),
    [
        ([("a", 1.0, "page"), ("a", 1.0, "page")], "two slices of one stack are one page"),
        ([("a", 7.5, "position"), ("a", 7.5, "position")], "at one place in the patient"),
        ([("a", 3.0, "name"), ("a", 3.0, "name")], "two slices of one stack are of one number"),
        ([("a", 1.0, "page"), ("b", 1.0, "page")], "no two images are known to be slices of one stack"),
        ([("a", one, "name") for one in (15719.0, 52212.0, 68279.0)], "not those of consecutive slices"),
    ],
)
def test_an_unknown_order_is_refused(spots, said):
    with pytest.raises(OrderError, match=said):
        surroundings([Spot((stack,), place, by) for stack, place, by in spots], 1)


def test_the_number_of_a_slice_is_the_last_that_differs_among_names_that_are_else_alike():
    names = ["T_4941_1996_2", "T_4941_1996_10", "s1_007_of_9", "s1_008_of_9", "s2_008_of_9", "x", "IM0001-0001"]
    found = numbered(names)
    assert [None if one is None else one[1] for one in found] == [2.0, 10.0, 7.0, 8.0, 8.0, None, 1.0]
    stacks = [one and one[0] for one in found]
    assert stacks[0] == stacks[1]
    assert stacks[2] == stacks[3] != stacks[4]


def test_rows_of_a_store_are_gathered_into_channels():
    rng = np.random.default_rng(0)
    images, rows = rng.integers(0, 9, (5, 2, 3, 3)), np.array([4, 0])
    context = rng.integers(0, 5, (5, 3))
    expected = np.stack([np.concatenate([images[one] for one in context[row]]) for row in rows])
    np.testing.assert_array_equal(gathered(images, rows, context), expected)
    assert gathered(images, rows, None).tolist() == images[rows].tolist()


# Whole data sets


def recipe_of(plain):
    target = {"kind": "masks", "mask_values": {"background": 0, "lesion": 255}}
    return parse_recipe(
        yaml.safe_dump({"name": "test", "target": target, "preprocess": {"size": [SIZE, SIZE]}, **plain})
    )


def prepared(recipe, folder, place):
    with open_source(folder) as source:
        found = prepare(recipe, source, place, place / "cache", workers=1, preprocess=Preprocess.of(recipe.preprocess))
    return found, read_catalogue(place / "catalogue.csv")


def files_beside(catalogue):
    """The file and page of each slice with those beside it."""
    named = {row.sample_id: f"{row.image}#{row.frame}" for row in catalogue.itertuples()}
    return {
        named[own]: [named[one] for one in beside]
        for own, beside in zip(catalogue["sample_id"], context_of(catalogue), strict=True)
    }


def test_slices_of_the_lgg_set_are_ordered_by_their_numbers(dataset, make_recipe, tmp_path):
    (dataset / "TCGA_AA_0001" / "TCGA_AA_0001_3.tif").unlink()
    (dataset / "TCGA_AA_0001" / "TCGA_AA_0001_3_mask.tif").unlink()
    (dataset / "TCGA_AA_0002" / "TCGA_AA_0002_2.tif").write_bytes(b"II*\0 damaged")
    recipe = make_recipe(context=2, policy="quarantine", quarantine_limit=0.5)
    made, catalogue = prepared(recipe, dataset, tmp_path / "run")
    numbers = {
        re.search(r"_(\d+_\d+)\.", own)[1]: [re.search(r"_(\d+_\d+)\.", one)[1] for one in beside]
        for own, beside in files_beside(catalogue).items()
    }
    assert numbers["0000_1"] == ["0000_1", "0000_1", "0000_2", "0000_3"]
    assert numbers["0000_3"] == ["0000_1", "0000_2", "0000_4", "0000_5"]
    assert numbers["0001_2"] == ["0001_1", "0001_1", "0001_2", "0001_4"]
    assert numbers["0002_1"] == ["0002_1", "0002_1", "0002_1", "0002_3"]
    assert made.facts["context"] == {"slices": 2, "stacks": 4, "order": {"name": 18}, "beside_missing": 7}
    assert any(text.startswith("Beside 7 of 18 slices one is missing") for text in made.facts["warnings"])


def test_without_context_nothing_is_written_about_it(dataset, make_recipe, tmp_path):
    made, _ = prepared(make_recipe(), dataset, tmp_path / "run")
    assert "context" not in pd.read_csv(tmp_path / "run" / "catalogue.csv").columns
    assert "context" not in json.loads((tmp_path / "run" / "prepare.json").read_text())
    seen, catalogue = prepared(make_recipe(context=1), dataset, tmp_path / "seen")
    assert seen.store.key == made.store.key  # nothing is stored twice
    assert rows_beside(catalogue, seen.store.rows, len(seen.store), 0) is None
    with pytest.raises(DataError, match=r"not prepared with data\.context=2"):
        rows_beside(catalogue, seen.store.rows, len(seen.store), 2)


def test_a_volume_has_the_same_slices_beside_each_however_it_is_stored(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    kept = {}
    for number, codes in enumerate(["LPS", "RAI", "PSR", "SLA", *np.random.default_rng(1).choice(ALL, 4)]):
        voxels = rng.integers(1, 200, (6, 7, 5)).astype(np.uint8)  # along left, back, head
        kept[number] = voxels
        here, affine = stored(voxels, np.diag([-2.0, -2.0, 4.0, 1.0]), codes)
        (folder / f"p{number}").mkdir(parents=True)
        for name, array in (("image", here), ("mask", (here > 100) * np.uint8(255))):
            (folder / f"p{number}" / f"{name}.nii").write_bytes(nibabel.Nifti1Image(array, affine).to_bytes())
    data = {"layout": "image-mask", "image": "{patient}/image.nii", "mask": "{patient}/mask.nii", "page": "all"}
    recipe = recipe_of({"data": {**data, "plane": "axial", "context": 1}})
    made, catalogue = prepared(recipe, folder, tmp_path / "run")
    rows = rows_beside(catalogue, made.store.rows, len(made.store), 1)
    own = made.store.rows(catalogue["sample_id"].tolist())
    seen = np.asarray(gathered(made.store.images, own, rows))
    plain = Preprocess(size=(SIZE, SIZE))
    for image, planes in zip(catalogue["image"], seen, strict=True):
        voxels = kept[int(re.search(r"p(\d+)/", image)[1])]
        slices = [plain.resize_image(voxels[:, :, height].T[..., None])[0] for height in range(5)]
        expected = [np.stack([slices[max(h - 1, 0)], slices[h], slices[min(h + 1, 4)]]) for h in range(5)]
        assert any((planes == one).all() for one in expected)


def test_dicom_files_are_ordered_by_their_places_not_by_their_names(tmp_path):
    rng, heights = np.random.default_rng(0), [3, 0, 2, 1]
    for patient in "abcd":
        (tmp_path / "set" / patient).mkdir(parents=True)
        for name, height in enumerate(heights):
            place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
            write_dicom(
                tmp_path / "set" / patient / f"image{name}.dcm",
                rng.integers(0, 255, (SIZE, SIZE)).astype(np.uint8),
                patient,
                series=f"1.{ord(patient)}",
                number=name,
                ImagePositionPatient=[0, 0, 2.5 * height],
                **place,
            )
            tifffile.imwrite(tmp_path / "set" / patient / f"truth{name}.tif", np.zeros((SIZE, SIZE), np.uint8))
    data = {"layout": "image-mask", "image": "{patient}/image{sample}.dcm", "mask": "{patient}/truth{sample}.tif"}
    made, catalogue = prepared(recipe_of({"data": {**data, "context": 1}}), tmp_path / "set", tmp_path / "run")
    found = files_beside(catalogue)
    assert found["a/image0.dcm#0"] == ["a/image2.dcm#0", "a/image0.dcm#0"]  # the highest
    assert found["a/image3.dcm#0"] == ["a/image1.dcm#0", "a/image2.dcm#0"]
    assert made.facts["context"]["order"] == {"position": 16}


def test_slices_that_would_be_seen_across_parts_are_refused(dataset, make_recipe, tmp_path):
    recipe = make_recipe(context=1)
    by_sample = recipe.model_copy(update={"split": recipe.split.model_copy(update={"by": "sample"})})
    with pytest.raises(DataError, match="slices of one stack are in several parts"):
        prepared(by_sample, dataset, tmp_path / "run")


def test_images_without_numbers_are_refused_with_what_is_needed(dataset, make_recipe, tmp_path):
    for folder in dataset.iterdir():
        for number, file in enumerate(sorted(folder.glob("*[0-9].tif"))):
            file.with_name(f"{file.stem}_mask.tif").rename(folder / f"{'abcde'[number]}_mask.tif")
            file.rename(folder / f"{'abcde'[number]}.tif")
    with pytest.raises(OrderError, match=r"nothing says where 20 images lie.*data\.page: all.*slice_1\.png"):
        prepared(make_recipe(context=1), dataset, tmp_path / "run")


def test_one_page_of_each_file_has_nothing_beside_it():
    data = {"layout": "image-mask", "image": "{patient}.nii", "mask": "{patient}_m.nii", "page": 3, "context": 1}
    with pytest.raises(RecipeError, match="context: page=3 takes one slice of each file"):
        recipe_of({"data": data})


@pytest.mark.parametrize("step", [0.0035, 0.012, 0.3, 5.0, 1200.0])
def test_slices_are_beside_each_other_however_close_they_lie(step):
    jitter = np.array([0.0, 0.02, -0.01, 0.01, 0.0, -0.02, 0.01])
    spots = [Spot((), step * (place + jitter[place]), "position") for place in (0, 1, 2, 3, 4, 6)]
    found = surroundings(spots, 1)
    assert found.index.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4], [5, 5, 5]]
    assert found.missing.tolist() == [False, False, False, False, True, True]
