"""``prepare``: every file checked once, everything wrong said at once, the counts add up, nothing done twice."""

import json
import os
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import tifffile

from medloom.data import page_reader, preparation
from medloom.data import workers as workers_file
from medloom.data.catalogue import read_catalogue
from medloom.data.opening import open_source
from medloom.data.preparation import prepare, prepare_undivided
from medloom.errors import DataError
from medloom.files import sha256_bytes
from medloom.transforms import Preprocess


def run(dataset, folder, recipe, *, workers=1, progress=None):
    with open_source(dataset) as source:
        return prepare(
            recipe,
            source,
            folder / "run",
            folder / "cache",
            workers=workers,
            preprocess=Preprocess.of(recipe.preprocess),
            progress=progress,
        )


@pytest.fixture
def with_pictures():
    """Ask for the data report's pictures, which take most of the time."""


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    if "with_pictures" not in request.fixturenames:
        monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})


@pytest.fixture
def decodes(monkeypatch):
    """Count the calls of the decoder."""
    calls = []
    real = page_reader.decode
    monkeypatch.setattr(page_reader, "decode", lambda *a, **k: (calls.append(1), real(*a, **k))[1])
    return calls


def test_catalogue_and_store_hold_what_the_files_hold(dataset, tmp_path, make_recipe):
    prepared = run(dataset, tmp_path, make_recipe())
    catalogue = read_catalogue(tmp_path / "run" / "catalogue.csv")
    assert len(catalogue) == 20
    for sample in catalogue.itertuples():
        row = prepared.store.rows([sample.sample_id])[0]
        image = tifffile.imread(dataset / sample.image)
        mask = tifffile.imread(dataset / sample.mask)
        np.testing.assert_array_equal(prepared.store.images[row], image.transpose(2, 0, 1))
        np.testing.assert_array_equal(prepared.store.masks[row], mask == 255)
        assert sample.foreground_px == (mask == 255).sum() == prepared.store.foreground_px[row]
        assert sample.sha256 == sha256_bytes((dataset / sample.image).read_bytes())
        assert (sample.height, sample.width, sample.channels, sample.dtype) == (*image.shape, "uint8")


def test_the_stored_numbers_normalise_as_preprocessing_does(dataset, tmp_path, make_recipe):
    recipe = make_recipe()
    store = run(dataset, tmp_path, recipe).store
    offset, scale = store.offset[:, :, None, None], store.scale[:, :, None, None]
    expected = Preprocess.of(recipe.preprocess)(np.moveaxis(store.images[3], 0, -1))
    np.testing.assert_allclose(((store.images - offset) * scale)[3], expected, rtol=1e-5, atol=1e-5)


def test_ids_are_pseudonyms_in_the_order_of_patients_and_slices(dataset, tmp_path, make_recipe):
    catalogue = run(dataset, tmp_path, make_recipe()).catalogue
    first = catalogue[catalogue["patient_id"] == "P001"].sort_values("sample_id")
    assert first["sample_id"].tolist() == [f"P001-00{number}" for number in range(1, 6)]
    assert first["image"].iloc[1].endswith("TCGA_AA_0000_2.tif")


def test_no_real_name_is_written_but_into_the_catalogue(dataset, tmp_path, make_recipe, with_pictures):
    victim = next(dataset.glob("*/*_mask.tif"))
    victim.write_bytes(victim.read_bytes()[:300])
    run(dataset, tmp_path, make_recipe(policy="quarantine", quarantine_limit=0.5))
    written = [path for folder in ("run", "cache") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert len(written) > 5
    for path in written:
        assert b"TCGA" not in path.read_bytes() or path.name == "catalogue.csv"


def test_folder_and_zip_give_the_same_store(dataset, tmp_path, make_recipe):
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in dataset.rglob("*.tif"):
            archive.write(path, path.relative_to(dataset.parent))
    folder = run(dataset, tmp_path / "a", make_recipe())
    archive = run(tmp_path / "set.zip", tmp_path / "b", make_recipe())
    assert folder.store.key == archive.store.key
    np.testing.assert_array_equal(folder.store.images, archive.store.images)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_many_processes_make_the_same_store(dataset, tmp_path, make_recipe, monkeypatch, kind):
    monkeypatch.setattr(workers_file, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(workers_file, "_PIECE", 3)
    one = run(dataset, tmp_path / "a", make_recipe())
    if kind == "zip":
        shutil.make_archive(str(tmp_path / "set"), "zip", dataset.parent)
        dataset = tmp_path / "set.zip"
    many = run(dataset, tmp_path / "b", make_recipe(), workers=2)
    assert one.store.key == many.store.key
    for name in ("images", "masks", "normalisation", "foreground"):
        assert (one.store.path / f"{name}.npy").read_bytes() == (many.store.path / f"{name}.npy").read_bytes()


def test_progress_counts_every_sample(dataset, tmp_path, make_recipe):
    seen = []
    run(dataset, tmp_path, make_recipe(), workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 20) for done in range(1, 21)]


def spoil(dataset):
    """One of each kind; returns what the user must read about each file."""
    patient = dataset / "TCGA_AA_0001"
    name = "TCGA_AA_0001"
    (patient / f"{name}_1_mask.tif").unlink()
    (patient / f"{name}_2.tif").unlink()
    (patient / f"{name}_3.tif").write_bytes((patient / f"{name}_3.tif").read_bytes()[:500])
    tifffile.imwrite(patient / f"{name}_3_mask.tif", np.full((32, 32), 7, np.uint8))
    tifffile.imwrite(patient / f"{name}_4_mask.tif", np.zeros((16, 32), np.uint8))
    tifffile.imwrite(patient / f"{name}_5.tif", np.zeros((32, 32), np.uint8))
    return {
        f"{name}_1.tif": "without its mask",
        f"{name}_2_mask.tif": "without its image",
        f"{name}_3.tif": "truncated",
        f"{name}_3_mask.tif": "values 7",
        f"{name}_4.tif": "image is 32x32, its mask 16x32",
        f"{name}_5.tif": "1 channel;",
    }


def test_every_kind_of_problem_is_named_in_one_pass(dataset, tmp_path, make_recipe):
    expected = spoil(dataset)
    with pytest.raises(DataError) as caught:
        run(dataset, tmp_path, make_recipe())
    assert len(caught.value.problems) == len(expected)
    for file, reason in expected.items():
        assert any(file in problem and reason in problem for problem in caught.value.problems)
    assert "5 of 20 samples" in caught.value.summary
    assert not (tmp_path / "run" / "catalogue.csv").exists()


@pytest.mark.parametrize("again", [False, True])
def test_quarantine_counts_add_up_also_when_the_store_is_reused(dataset, tmp_path, make_recipe, again):
    expected = spoil(dataset)
    recipe = make_recipe(policy="quarantine", quarantine_limit=0.3)
    for _ in range(1 + again):
        prepared = run(dataset, tmp_path, recipe)
    facts = json.loads((tmp_path / "run" / "prepare.json").read_text())
    assert facts["store"]["reused"] is again
    assert (facts["found"], facts["used"]) == (20, 15)
    assert sum(entry["count"] for entry in facts["set_aside"]) == 5
    assert {entry["reason"] for entry in facts["set_aside"]} == {
        "missing_mask", "missing_image", "unreadable", "size", "channels",
    }  # fmt: skip
    assert len(prepared.set_aside) == len(expected)
    assert len(prepared.catalogue) == sum(counts["samples"] for counts in facts["counts"].values()) == 15


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", [0, 10, 19])
def test_one_corrupt_file_is_set_aside_exactly_wherever_it_is(dataset, tmp_path, make_recipe, place, workers):
    clean = run(dataset, tmp_path / "clean", make_recipe())
    victim = sorted(path for path in dataset.rglob("*.tif") if "mask" not in path.name)[place]
    victim.write_bytes(b"II*\0")
    relative = victim.relative_to(dataset).as_posix()
    recipe = make_recipe(policy="quarantine", quarantine_limit=0.05)
    found = run(dataset, tmp_path / "spoilt", recipe, workers=workers)
    assert [line.partition(":")[0] for line in found.set_aside] == [relative]
    assert set(clean.catalogue["image"]) - set(found.catalogue["image"]) == {relative}
    rows, others = found.store.rows(found.catalogue["sample_id"]), clean.catalogue.set_index("image")["sample_id"]
    same = clean.store.rows(others[found.catalogue["image"]])
    np.testing.assert_array_equal(found.store.images[rows], clean.store.images[same])


def test_more_than_the_limit_is_not_set_aside(dataset, tmp_path, make_recipe):
    expected = spoil(dataset)
    with pytest.raises(DataError, match=r"more than data\.quarantine_limit") as caught:
        run(dataset, tmp_path, make_recipe(policy="quarantine"))
    assert len(caught.value.problems) == len(expected)


def test_a_set_with_nothing_usable_names_every_file(dataset, tmp_path, make_recipe):
    for path in dataset.rglob("*_mask.tif"):
        path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        run(dataset, tmp_path, make_recipe(policy="quarantine", quarantine_limit=1.0))
    assert len(caught.value.problems) == 20


def test_a_folder_of_another_layout_says_what_was_expected(tmp_path, make_recipe):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="no sample found among 1 file; the layout lgg-mri expects"):
        run(tmp_path / "set", tmp_path, make_recipe())


def test_nothing_is_decoded_twice(dataset, tmp_path, make_recipe, decodes):
    first = run(dataset, tmp_path, make_recipe())
    before = len(decodes)
    second = run(dataset, tmp_path, make_recipe())
    assert second.facts["store"]["reused"]
    assert second.store.key == first.store.key
    assert len(decodes) == before
    pd.testing.assert_frame_equal(first.catalogue, second.catalogue)


def test_files_with_new_times_and_the_same_bytes_are_not_decoded_again(dataset, tmp_path, make_recipe, decodes):
    run(dataset, tmp_path, make_recipe())
    before = len(decodes)
    for path in dataset.rglob("*.tif"):
        os.utime(path, ns=(1, 1))
    assert run(dataset, tmp_path, make_recipe()).facts["store"]["reused"]
    assert len(decodes) == before


def test_an_archive_that_was_damaged_and_is_fetched_again_is_read_again(dataset, tmp_path, make_recipe):
    """A damaged copy has the same directory, sizes and checksums as a sound one."""
    sound, fetched = tmp_path / "sound.zip", tmp_path / "fetched.zip"
    shutil.make_archive(str(sound.with_suffix("")), "zip", dataset)
    data = bytearray(sound.read_bytes())
    data[len(data) // 3] ^= 255
    fetched.write_bytes(data)
    recipe = make_recipe(policy="quarantine", quarantine_limit=0.5)
    assert len(run(fetched, tmp_path, recipe).set_aside) == 1
    assert len(run(fetched, tmp_path, recipe).set_aside) == 1
    shutil.copyfile(sound, fetched)
    assert run(fetched, tmp_path, recipe).set_aside == ()


def test_a_copy_of_the_set_elsewhere_is_not_decoded_again(dataset, tmp_path, make_recipe, decodes):
    first = run(dataset, tmp_path, make_recipe())
    before = len(decodes)
    shutil.copytree(dataset, tmp_path / "copy", copy_function=shutil.copyfile)
    second = run(tmp_path / "copy", tmp_path, make_recipe())
    assert second.store.key == first.store.key
    assert len(decodes) == before


def test_a_changed_image_or_mask_makes_another_store(dataset, tmp_path, make_recipe):
    keys = {run(dataset, tmp_path, make_recipe()).store.key}
    for name in ("TCGA_AA_0002_2.tif", "TCGA_AA_0002_3_mask.tif"):
        path = dataset / "TCGA_AA_0002" / name
        pixels = tifffile.imread(path)
        pixels[0, 0] = 255
        tifffile.imwrite(path, pixels)
        prepared = run(dataset, tmp_path, make_recipe())
        keys.add(prepared.store.key)
        assert not prepared.facts["store"]["reused"]
    assert len(keys) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"preprocess": {"size": [16, 16]}},
        {"preprocess": {"size": [32, 32], "normalise": {"method": "minmax"}}},
        {"data": {"layout": "lgg-mri", "channels": ["a", "b", "c"]}},
    ],
)
def test_what_decides_the_pixels_makes_another_store(dataset, tmp_path, make_recipe, change):
    recipe = make_recipe()
    changed = type(recipe).model_validate({**recipe.plain(), **change})
    assert run(dataset, tmp_path, recipe).store.key != run(dataset, tmp_path, changed).store.key


def test_what_does_not_decide_the_pixels_keeps_the_store(dataset, tmp_path, make_recipe):
    recipe = make_recipe()
    changed = type(recipe).model_validate({**recipe.plain(), "split": {"seed": 5}, "train": {"epochs": 3}})
    run(dataset, tmp_path, recipe)
    assert run(dataset, tmp_path, changed).facts["store"]["reused"]


def test_images_are_resized_and_masks_stay_classes(dataset, tmp_path, make_recipe):
    recipe = make_recipe()
    small = type(recipe).model_validate({**recipe.plain(), "preprocess": {"size": [24, 16]}})
    store = run(dataset, tmp_path, small).store
    assert store.images.shape == (20, 3, 24, 16)
    assert set(np.unique(store.masks)) == {0, 1}


def test_a_store_is_as_wide_as_its_widest_image(dataset, tmp_path, make_recipe):
    path = dataset / "TCGA_AA_0003" / "TCGA_AA_0003_4.tif"
    wide = tifffile.imread(path).astype(np.uint16) * 200
    tifffile.imwrite(path, wide, photometric="rgb")
    prepared = run(dataset, tmp_path, make_recipe(), workers=2)
    assert prepared.store.images.dtype == np.uint16
    row = prepared.store.rows(["P004-004"])[0]
    np.testing.assert_array_equal(prepared.store.images[row], wide.transpose(2, 0, 1))
    assert any("dtype" in warning for warning in prepared.facts["warnings"])


def test_phantoms_are_marked(dataset, tmp_path, make_recipe):
    assert run(dataset, tmp_path, make_recipe()).facts["phantom"] is False
    (dataset / "phantom.json").write_text("{}")
    assert run(dataset, tmp_path, make_recipe()).facts["phantom"] is True


def test_a_given_split_is_by_real_names_and_comes_out_by_pseudonyms(dataset, tmp_path, make_recipe):
    lines = [f"TCGA_AA_000{number},{split}" for number, split in enumerate(["test", "train", "validation", "train"])]
    (tmp_path / "split.csv").write_text("\n".join(["patient,split", *lines, "TCGA_ZZ_9999,test"]))
    recipe = make_recipe()
    recipe = type(recipe).model_validate({**recipe.plain(), "split": {"file": str(tmp_path / "split.csv")}})
    prepared = run(dataset, tmp_path, recipe)
    found = prepared.catalogue.groupby("patient_id")["split"].first().to_dict()
    assert found == {"P001": "test", "P002": "train", "P003": "validation", "P004": "train"}
    assert any("1 patient" in warning and "split.file" in warning for warning in prepared.facts["warnings"])


def test_one_file_for_each_channel_and_a_missing_one(tmp_path, make_recipe):
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(6):
        for channel in ("t1", "flair"):
            tifffile.imwrite(folder / f"p{number}_1_{channel}.tif", rng.integers(0, 99, (32, 32), dtype=np.uint8))
        tifffile.imwrite(folder / f"p{number}_1_seg.tif", np.full((32, 32), number % 2, np.uint8))
    (folder / "p2_1_t1.tif").unlink()
    recipe = make_recipe(
        layout="image-mask",
        image="{patient}_{sample}_{channel}.tif",
        mask="{patient}_{sample}_seg.tif",
        channels=["t1", "flair"],
        missing_channel="zeros",
        mask_values={"background": 0, "lesion": 1},
    )
    prepared = run(folder, tmp_path, recipe)
    images = prepared.store.images[prepared.store.rows(["P002-001", "P003-001"])]
    assert images[0].any(axis=(1, 2)).tolist() == [True, True]
    assert images[1].any(axis=(1, 2)).tolist() == [False, True]
    cell = prepared.catalogue.set_index("sample_id").loc["P003-001", "image"]
    assert json.loads(cell) == ["", "p2_1_flair.tif"]


def test_a_zip_beside_the_images_and_a_zip_alone_are_named(tmp_path, dataset, make_recipe):
    alone = tmp_path / "alone"
    alone.mkdir()
    with zipfile.ZipFile(alone / "more.zip", "w") as archive:
        archive.writestr("a.png", b"")
    (dataset / "more.zip").write_bytes((alone / "more.zip").read_bytes())
    said = "1 archive lies among the files and is not opened"
    assert any(said in warning for warning in run(dataset, tmp_path, make_recipe()).facts["warnings"])
    with pytest.raises(DataError) as caught:
        run(alone, tmp_path, make_recipe())
    assert said in str(caught.value)


def test_a_set_that_is_tested_as_a_whole_is_warned_of_as_one_that_is_divided(dataset, tmp_path, make_recipe):
    for mask in dataset.rglob("*_mask.tif"):
        tifffile.imwrite(mask, np.zeros((32, 32), np.uint8))
    recipe = make_recipe()
    with open_source(dataset) as source:
        found = prepare_undivided(
            recipe, source, tmp_path / "cache", workers=1, preprocess=Preprocess.of(recipe.preprocess)
        )
    assert any(text.startswith("No mask has foreground") for text in found.facts["warnings"])
