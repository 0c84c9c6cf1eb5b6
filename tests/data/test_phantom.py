from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from medloom.data.phantom import PhantomPlan, is_phantom, make_phantom, phantom_patient
from medloom.errors import DataError
from medloom.recipe import PhantomConfig

SMALL = PhantomPlan(patients=3, size=64, slices=(6, 9), seed=4)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.tif"))}


@pytest.fixture(scope="module")
def stacks() -> list[tuple[np.ndarray, np.ndarray]]:
    plan = PhantomPlan(size=96, slices=(20, 88), seed=1)
    patients = [zip(*phantom_patient(plan, index), strict=True) for index in range(1, 21)]
    return [(np.stack(images), np.stack(masks)) for images, masks in patients]


def test_files_and_folders_are_those_of_the_data_set(tmp_path: Path) -> None:
    make_phantom(SMALL, tmp_path / "set")
    image = tmp_path / "set/kaggle_3m/TCGA_PH_0001_20000101/TCGA_PH_0001_20000101_1.tif"
    mask = image.with_name("TCGA_PH_0001_20000101_1_mask.tif")
    assert tifffile.imread(image).shape == (64, 64, 3)
    assert tifffile.imread(image).dtype == np.uint8
    assert set(np.unique(tifffile.imread(mask))) <= {0, 255}
    np.testing.assert_array_equal(np.asarray(Image.open(image)), tifffile.imread(image))


def test_a_slice_of_full_size_has_the_strips_of_the_real_files(tmp_path: Path) -> None:
    make_phantom(PhantomPlan(patients=3, slices=(4, 4)), tmp_path / "set")
    folder = tmp_path / "set/kaggle_3m/TCGA_PH_0001_20000101"
    with tifffile.TiffFile(folder / "TCGA_PH_0001_20000101_2.tif") as file:
        assert file.pages[0].tags["RowsPerStrip"].value == 11
        assert file.pages[0].tags["PlanarConfiguration"].value == 1
        assert "Software" not in file.pages[0].tags
    with tifffile.TiffFile(folder / "TCGA_PH_0001_20000101_2_mask.tif") as file:
        assert file.pages[0].tags["RowsPerStrip"].value == 32


def test_the_same_configuration_gives_the_same_bytes(tmp_path: Path) -> None:
    assert files(make_phantom(SMALL, tmp_path / "a")) == files(make_phantom(SMALL, tmp_path / "b"))


def test_a_plan_has_the_values_and_the_defaults_of_the_recipe() -> None:
    assert PhantomPlan.of(PhantomConfig()) == PhantomPlan()
    section = PhantomConfig(kind="melanoma", patients=5, size=40, slices=(2, 3), prevalence=0.2, seed=7)
    plan = PhantomPlan(kind="melanoma", patients=5, size=40, slices=(2, 3), prevalence=0.2, seed=7)
    assert PhantomPlan.of(section) == plan
    assert plan.plain() == section.model_dump(mode="json")


def test_a_patient_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few = files(make_phantom(SMALL, tmp_path / "few"))
    more = files(make_phantom(replace(SMALL, patients=5), tmp_path / "more"))
    assert few == {name: data for name, data in more.items() if name in few}
    assert len(more) > len(few)


def test_another_seed_gives_other_patients() -> None:
    one, _ = next(phantom_patient(SMALL, 1))
    other, _ = next(phantom_patient(replace(SMALL, seed=5), 1))
    assert not np.array_equal(one, other)


def test_about_a_third_of_the_slices_has_a_lesion(stacks: list[tuple[np.ndarray, np.ndarray]]) -> None:
    shares = [masks.any(axis=(1, 2)).mean() for _, masks in stacks]
    total = sum(masks.any(axis=(1, 2)).sum() for _, masks in stacks) / sum(len(masks) for _, masks in stacks)
    assert 0.28 < total < 0.42
    assert min(shares) > 0.05
    assert max(shares) < 0.7


def test_a_patients_lesion_slices_follow_one_another(stacks: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for _, masks in stacks:
        starts = np.diff(masks.any(axis=(1, 2)).astype(int), prepend=0) == 1
        assert starts.sum() == 1


def test_lesions_have_the_size_of_real_ones(stacks: list[tuple[np.ndarray, np.ndarray]]) -> None:
    scale = (256 / 96) ** 2
    medians = []
    for _, masks in stacks:
        areas = (masks > 0).sum(axis=(1, 2)) * scale
        medians.append(np.median(areas[areas > 0]))
    assert 1000 < np.median(medians) < 2500
    assert min(medians) > 300
    assert max(medians) < 6000


def test_every_slice_count_lies_in_the_range_and_they_differ(stacks: list[tuple[np.ndarray, np.ndarray]]) -> None:
    counts = [len(masks) for _, masks in stacks]
    assert min(counts) >= 20
    assert max(counts) <= 88
    assert len(set(counts)) > 10


def test_lesions_are_bright_in_flair_and_not_in_the_other_channels(
    stacks: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    for images, masks in stacks:
        lesion = images[masks > 0].mean(axis=0)
        slices = images[masks.any(axis=(1, 2))]
        head = slices[slices[..., 1] > np.percentile(slices[..., 1], 60)].mean(axis=0)
        assert lesion[1] / head[1] > 1.2 * lesion[0] / head[0]


def test_channels_are_correlated_and_neighbours_are_near_duplicates(
    stacks: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    for images, _ in stacks:
        middle = images[len(images) // 4 : -len(images) // 4].astype(float)
        channels = np.corrcoef(middle.reshape(-1, 3).T)
        assert channels.min() > 0.6
        pairs = [np.corrcoef(a[..., 1].ravel(), b[..., 1].ravel())[0, 1] for a, b in pairwise(middle)]
        assert min(pairs) > 0.8


def test_some_slices_are_blank(stacks: list[tuple[np.ndarray, np.ndarray]]) -> None:
    blank = sum(int((images.reshape(len(images), -1).max(axis=1) < 20).sum()) for images, _ in stacks)
    assert 5 <= blank <= 60


def test_one_threshold_does_not_find_the_lesions(stacks: list[tuple[np.ndarray, np.ndarray]]) -> None:
    flair = np.concatenate([images[masks.any(axis=(1, 2))][..., 1].ravel() for images, masks in stacks])
    truth = np.concatenate([masks[masks.any(axis=(1, 2))].ravel() for _, masks in stacks]) > 0
    scores = [2 * (truth & (flair > level)).sum() / (truth.sum() + (flair > level).sum()) for level in range(20, 255)]
    assert max(scores) < 0.5


def test_a_finished_set_is_kept_and_an_interrupted_one_is_completed(tmp_path: Path) -> None:
    whole = files(make_phantom(SMALL, tmp_path / "set"))
    calls: list[tuple[int, int]] = []
    make_phantom(SMALL, tmp_path / "set", progress=lambda done, total: calls.append((done, total)))
    assert calls == []
    facts = json.loads((tmp_path / "set/phantom.json").read_text())
    (tmp_path / "set/phantom.json").write_text(json.dumps({**facts, "complete": False}))
    next((tmp_path / "set").rglob("*_3.tif")).unlink()
    make_phantom(SMALL, tmp_path / "set", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert files(tmp_path / "set") == whole


def test_the_root_says_that_these_are_phantoms(tmp_path: Path) -> None:
    assert not is_phantom(tmp_path)
    make_phantom(SMALL, tmp_path / "set")
    facts = json.loads((tmp_path / "set/phantom.json").read_text())
    assert is_phantom(tmp_path / "set")
    assert facts["phantom"] is True
    assert [patient["patient"] for patient in facts["patients"]] == [f"TCGA_PH_000{k}_20000101" for k in (1, 2, 3)]
    assert sum(patient["slices"] for patient in facts["patients"]) * 2 == len(files(tmp_path / "set"))


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        make_phantom(SMALL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_set_with_other_settings_is_not_overwritten(tmp_path: Path) -> None:
    make_phantom(SMALL, tmp_path / "set")
    with pytest.raises(DataError, match="other settings"):
        make_phantom(replace(SMALL, seed=9), tmp_path / "set")


def test_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lgg-mri"):
        make_phantom(SMALL, tmp_path / "set", layout="image-mask")
