from __future__ import annotations

import copy
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from medloom.data import describe as room
from medloom.data.describe.contrast import contrast_facts
from medloom.data.describe.foreground import foreground_facts, foreground_table
from medloom.data.describe.outliers import robust_z
from medloom.data.kinds import KINDS
from medloom.data.phantom import PhantomPlan, phantom_patient
from medloom.targets import Target

CHANNELS = ("pre-contrast", "FLAIR", "post-contrast")

TARGET = Target("masks", ("background", "lesion"))


def describe(catalogue, store, run_dir, **options):
    return room.describe(catalogue, store, run_dir, target=TARGET, truth=KINDS[TARGET.kind], **options)


@dataclass
class Store:
    images: np.ndarray
    masks: np.ndarray
    sample_ids: list[str]

    def rows(self, sample_ids: Sequence[str]) -> np.ndarray:
        return np.array([self.sample_ids.index(sample) for sample in sample_ids])


def phantoms(size: int = 64) -> tuple[pd.DataFrame, Store]:
    images, masks, rows = [], [], []
    for patient, split in enumerate(("train", "train", "validation", "test"), start=1):
        for k, (image, mask) in enumerate(phantom_patient(PhantomPlan(size=size, slices=(10, 14)), patient)):
            images.append(image.transpose(2, 0, 1))
            masks.append((mask > 0).astype(np.uint8))
            rows.append((f"P{patient:03d}-{k:03d}", f"P{patient:03d}", split, int((mask > 0).sum())))
    catalogue = pd.DataFrame(rows, columns=["sample_id", "patient_id", "split", "foreground_px"])
    return catalogue, Store(np.stack(images), np.stack(masks), catalogue["sample_id"].tolist())


@pytest.fixture(scope="module")
def made() -> tuple[pd.DataFrame, Store]:
    return phantoms()


@pytest.fixture
def data(made: tuple[pd.DataFrame, Store]) -> tuple[pd.DataFrame, Store]:
    return copy.deepcopy(made)


def test_counts_are_those_of_the_catalogue(data: tuple[pd.DataFrame, Store], tmp_path: Path) -> None:
    catalogue, store = data
    facts = describe(catalogue, store, tmp_path, channels=CHANNELS)
    assert [row["split"] for row in facts["splits"]] == ["train", "validation", "test"]
    assert sum(row["samples"] for row in facts["splits"]) == len(catalogue)
    assert sum(row["foreground_samples"] for row in facts["splits"]) == (catalogue["foreground_px"] > 0).sum()
    assert [row["patient_id"] for row in facts["patients"]] == ["P001", "P002", "P003", "P004"]
    assert json.loads((tmp_path / "data_report/facts.json").read_text()) == facts


def test_the_order_of_the_store_does_not_matter(data: tuple[pd.DataFrame, Store], tmp_path: Path) -> None:
    catalogue, store = data
    order = np.random.default_rng(0).permutation(len(catalogue))
    shuffled = Store(store.images[order], store.masks[order], [store.sample_ids[k] for k in order])
    one = describe(catalogue, store, tmp_path / "a", channels=CHANNELS)
    assert describe(catalogue, shuffled, tmp_path / "b", channels=CHANNELS) == one
    for name in ("gallery_plain.png", "gallery_mask.png", "animation.webp"):
        first, second = (tmp_path / folder / "data_report" / name for folder in "ab")
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_levels_are_those_of_numpy(data: tuple[pd.DataFrame, Store], tmp_path: Path, dtype: type) -> None:
    catalogue, store = data
    store.images = store.images.astype(dtype)
    train = (catalogue["split"] == "train").to_numpy()
    for channel, facts in enumerate(describe(catalogue, store, tmp_path, channels=CHANNELS)["channels"]):
        pixels = store.images[train, channel].astype(np.float64)
        assert facts["images"] == train.sum()
        assert (facts["min"], facts["max"]) == (pixels.min(), pixels.max())
        assert facts["mean"] == pytest.approx(pixels.mean())
        assert facts["std"] == pytest.approx(pixels.std())
        assert facts["zero_share"] == pytest.approx((pixels == 0).mean())
        assert facts["counts"] == np.histogram(pixels[pixels != 0], facts["edges"])[0].tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_image_has_its_statistics_in_a_table(data: tuple[pd.DataFrame, Store], tmp_path: Path, dtype) -> None:
    catalogue, store = data
    order = np.random.default_rng(0).permutation(len(catalogue))  # rows of a store are in the order of the files
    shuffled = Store(
        (store.images[order] * 200.0).astype(dtype), store.masks[order], catalogue["sample_id"][order].tolist()
    )
    describe(catalogue, shuffled, tmp_path, channels=CHANNELS)
    table = pd.read_csv(tmp_path / "data_report/images.csv")
    assert table[["sample_id", "channel"]].drop_duplicates().shape[0] == len(catalogue) * len(CHANNELS) == len(table)
    pixels = shuffled.images[shuffled.rows(table["sample_id"].tolist()), [CHANNELS.index(c) for c in table["channel"]]]
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    expected = {"min": flat.min(1), "max": flat.max(1), "mean": flat.mean(1), "std": flat.std(1)}
    for name, values in {**expected, "zero_share": (flat == 0).mean(1)}.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_what_is_usual_comes_from_training_images_alone(data: tuple[pd.DataFrame, Store], tmp_path: Path) -> None:
    catalogue, store = data
    before = describe(catalogue, store, tmp_path / "a", channels=CHANNELS)
    store.images[(catalogue["split"] != "train").to_numpy()] = 255
    after = describe(catalogue, store, tmp_path / "b", channels=CHANNELS)
    assert [after[key] == before[key] for key in ("channels", "distributions", "groups")] == [True] * 3
    assert [one["split"] for one in after["other_parts"]] == ["validation", "test"]
    assert {channel["min"] for one in after["other_parts"] for channel in one["channels"]} == {255}
    assert before["foreground"]["classes"][0]["counts"] == after["foreground"]["classes"][0]["counts"]


def test_an_image_unlike_the_others_is_named_with_what_is_unusual(
    data: tuple[pd.DataFrame, Store], tmp_path: Path
) -> None:
    catalogue, store = data
    store.images[5, 1] = 255  # of a training patient
    store.images[-3, 2] = 255 - store.images[-3, 2]  # of a test patient
    facts = describe(catalogue, store, tmp_path, channels=CHANNELS)["outliers"]
    found = {row["sample_id"]: row for row in facts["listed"]}
    assert found["P001-005"]["channel"] == "FLAIR"
    assert found[catalogue["sample_id"].iloc[-3]]["split"] == "test"
    assert all(abs(row["z"]) >= facts["limit"] for row in facts["listed"])
    assert sum(facts["count"].values()) == len(pd.read_csv(tmp_path / "data_report/outliers.csv")) >= 2


def test_the_robust_score_is_that_of_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=(50, 3))
    expected = (values - np.median(values, axis=0)) / stats.median_abs_deviation(values, scale="normal")
    np.testing.assert_allclose(robust_z(values, values), expected, rtol=1e-4)
    constant = np.zeros((9, 1))
    assert robust_z(np.array([[4.0]]), constant) == [[0.0]]  # nothing to measure a difference by


def test_images_that_are_all_alike_have_no_outliers(data: tuple[pd.DataFrame, Store], tmp_path: Path) -> None:
    catalogue, store = data
    store.images[:] = store.images[4]
    assert describe(catalogue, store, tmp_path, channels=CHANNELS)["outliers"]["listed"] == []


def test_groups_of_the_metadata_have_their_own_distributions(data: tuple[pd.DataFrame, Store], tmp_path: Path) -> None:
    catalogue, store = data
    sites = np.where(np.arange(len(catalogue)) % 2, "north", "south")
    store.images[sites == "north"] //= 4
    words = [json.dumps({"site": site, "age": f"{30 + k}", "note": f"n{k}"}) for k, site in enumerate(sites)]
    found = describe(catalogue.assign(meta=words), store, tmp_path, channels=CHANNELS)["groups"]
    assert [(one["column"], [group["value"] for group in one["groups"]]) for one in found] == [
        ("site", ["north", "south"])
    ]
    train = (catalogue["split"] == "train").to_numpy()
    for group in found[0]["groups"]:
        here = train & (sites == group["value"])
        means = store.images[here, 0].reshape(here.sum(), -1).mean(1)
        assert group["images"] == here.sum() == sum(group["channels"][0]["counts"])
        assert group["channels"][0]["quantiles"] == pytest.approx(np.quantile(means, [0.05, 0.25, 0.5, 0.75, 0.95]))
    (north, south) = (group["channels"][0] for group in found[0]["groups"])
    assert north["edges"] == south["edges"]


def test_the_share_of_each_class_is_that_of_its_masks(data: tuple[pd.DataFrame, Store]) -> None:
    catalogue, store = data
    positive = store.masks.any(axis=(1, 2))
    store.masks[positive, 0, :8] = 2
    store.masks[positive, 63, :32] = 255  # counts nowhere
    table = foreground_table(catalogue, store, ("background", "lesion", "edge"))
    assert table["class"].unique().tolist() == ["any foreground", "lesion", "edge"]
    edges = table[table["class"] == "edge"]
    assert edges["sample_id"].tolist() == catalogue["sample_id"][positive].tolist()
    np.testing.assert_allclose(edges["share"], 8 / (64 * 64 - 32))
    facts = foreground_facts(table, catalogue)
    of_train = table[(table["class"] == "lesion") & (table["split"] == "train")]["share"]
    lesion = facts["classes"][1]
    assert lesion["parts"]["train"]["quantiles"] == pytest.approx(np.quantile(of_train, [0.05, 0.25, 0.5, 0.75, 0.95]))
    assert sum(lesion["counts"]) == lesion["parts"]["train"]["images"] == len(of_train)


def test_a_mask_much_larger_than_the_others_is_named(data: tuple[pd.DataFrame, Store]) -> None:
    _, store = data
    rows = pd.DataFrame({"sample_id": [f"s{k:02}" for k in range(31)], "split": "train", "foreground_px": 1})
    store = Store(store.images, np.zeros((31, 64, 64), np.uint8), rows["sample_id"].tolist())
    for k in range(31):
        store.masks[k, 0, : 20 + k % 5] = 1
    store.masks[7] = 1
    found = foreground_facts(foreground_table(rows, store, ("background", "lesion")), rows)["outliers"]
    assert [row["sample_id"] for row in found["listed"]] == ["s07"]
    assert found["listed"][0]["share"] == 1.0


def test_blank_images_missing_channels_and_raised_backgrounds_are_named(
    data: tuple[pd.DataFrame, Store], tmp_path: Path
) -> None:
    catalogue, store = data
    store.images[:, :, 0, 0] = 0
    store.images[3], store.images[4] = 0, store.images[4] // 40
    store.images[5, 2] = 0
    store.images[6] += 1
    facts = describe(catalogue, store, tmp_path, channels=CHANNELS)["blank"]
    assert {"P001-003", "P001-004"} <= set(facts["samples"])
    assert {"sample_id": "P001-005", "channel": "post-contrast"} in facts["missing_channels"]
    assert [entry["sample_id"] for entry in facts["nonzero_minima"]] == ["P001-006"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_flair_is_found_wherever_it_is(data: tuple[pd.DataFrame, Store], place: int) -> None:
    catalogue, store = data
    order = [0, 2]
    order.insert(place, 1)
    store.images = store.images[:, order]
    facts = contrast_facts(store, np.flatnonzero(catalogue["foreground_px"] > 0), CHANNELS)
    assert facts["channel"] == place
    assert facts["named"] == 1
    assert facts["agrees"] is (place == 1)
    assert "FLAIR" in facts["rule"]


def test_flair_is_spoken_of_only_where_a_channel_is_called_so(data: tuple[pd.DataFrame, Store]) -> None:
    catalogue, store = data
    facts = contrast_facts(store, np.flatnonzero(catalogue["foreground_px"] > 0), ("red", "green", "blue"))
    assert (facts["channel"], facts["named"], facts["agrees"]) == (1, None, None)
    assert not any(word in facts["rule"] for word in ("FLAIR", "brain", "lesion"))


def test_with_one_channel_or_no_foreground_nothing_is_claimed(data: tuple[pd.DataFrame, Store]) -> None:
    _, store = data
    assert contrast_facts(store, np.zeros(0, dtype=int), CHANNELS)["channel"] is None
    single = Store(store.images[:, :1], store.masks, store.sample_ids)
    assert contrast_facts(single, np.arange(20), ("grey",))["agrees"] is None


def test_the_mask_is_red_and_the_plain_gallery_is_grey(data: tuple[pd.DataFrame, Store], tmp_path: Path) -> None:
    catalogue, store = data
    describe(catalogue, store, tmp_path, channels=CHANNELS)
    plain = np.asarray(Image.open(tmp_path / "data_report/gallery_plain.png")).astype(int)
    marked = np.asarray(Image.open(tmp_path / "data_report/gallery_mask.png")).astype(int)
    assert (plain[..., 0] == plain[..., 1]).all()
    assert ((marked[..., 0] - marked[..., 1]) > 60).sum() > 50
    assert plain.shape == marked.shape


def test_the_animation_runs_through_every_image_of_the_patient(
    data: tuple[pd.DataFrame, Store], tmp_path: Path
) -> None:
    catalogue, store = data
    facts = describe(catalogue, store, tmp_path, channels=CHANNELS)["pictures"]
    with Image.open(tmp_path / "data_report/animation.webp") as film:
        assert film.n_frames == facts["images"] == (catalogue["patient_id"] == facts["patient_id"]).sum()


def test_the_preview_shows_the_views_of_an_image_with_foreground(
    data: tuple[pd.DataFrame, Store], tmp_path: Path
) -> None:
    catalogue, store = data
    asked: list[int] = []

    def preview(row: int) -> list[tuple[np.ndarray, np.ndarray]]:
        asked.append(row)
        return [(store.images[row] / 255 - k, store.masks[row]) for k in range(5)]

    describe(catalogue, store, tmp_path / "a", channels=CHANNELS, preview=preview)
    describe(catalogue, store, tmp_path / "b", channels=CHANNELS)
    assert not (tmp_path / "b/data_report/augmentation.png").exists()
    assert store.masks[asked[0]].any()
    width, height = Image.open(io.BytesIO((tmp_path / "a/data_report/augmentation.png").read_bytes())).size
    assert width > 2 * height


def test_a_set_without_any_foreground_is_described(data: tuple[pd.DataFrame, Store], tmp_path: Path) -> None:
    catalogue, store = data
    store.masks[:] = 0
    facts = describe(catalogue.assign(foreground_px=0), store, tmp_path, channels=CHANNELS)
    assert facts["contrast"]["scores"] == []
    assert [row["foreground_share"] for row in facts["splits"]] == [0, 0, 0]
