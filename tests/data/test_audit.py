from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medloom.data.audit import audit_leakage, perceptual_hashes
from medloom.data.phantom import PhantomPlan, phantom_patient
from medloom.errors import DataError
from medloom.files import sha256_bytes

SIZE = 96


@dataclass
class Store:
    images: np.ndarray
    sample_ids: list[str]

    @property
    def masks(self) -> np.ndarray:
        return np.zeros((len(self.images), *self.images.shape[2:]), np.uint8)

    def rows(self, sample_ids: Sequence[str]) -> np.ndarray:
        return np.array([self.sample_ids.index(sample) for sample in sample_ids])


def catalogue_of(images: np.ndarray, patients: Sequence[str], splits: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": [f"{patient}-{k:03d}" for k, patient in enumerate(patients)],
            "patient_id": patients,
            "sha256": [sha256_bytes(image.tobytes()) for image in images],
            "split": splits,
        }
    )


def audit(images: np.ndarray, patients: Sequence[str], splits: Sequence[str], **options: bool) -> dict:
    catalogue = catalogue_of(images, patients, splits)
    return audit_leakage(catalogue, Store(images, catalogue["sample_id"].tolist()), **options)


@pytest.fixture(scope="module")
def clean() -> tuple[np.ndarray, list[str], list[str]]:
    """Twelve patients, neighbours nearly the same within a patient, eight of them in training."""
    images: list[np.ndarray] = []
    patients: list[str] = []
    for patient in range(1, 13):
        stack = [image for image, _ in phantom_patient(PhantomPlan(size=SIZE, slices=(20, 30)), patient)]
        images += [image.transpose(2, 0, 1) for image in stack]
        patients += [f"P{patient:03d}"] * len(stack)
    part = {f"P{k:03d}": "train" if k <= 8 else "validation" if k <= 10 else "test" for k in range(1, 13)}
    return np.stack(images), patients, [part[patient] for patient in patients]


def resaved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a copy looks like after it was scaled, saved as JPEG, and read back at the recipe's size."""
    copy = Image.fromarray(image.transpose(1, 2, 0))
    side = int(SIZE * rng.uniform(0.6, 2.0))
    copy = copy.resize((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", quality=int(rng.integers(60, 96)))
    return np.asarray(Image.open(buffer).resize((SIZE, SIZE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def test_a_clean_set_gives_no_finding(clean: tuple[np.ndarray, list[str], list[str]]) -> None:
    facts = audit(*clean)
    assert facts["identical"]["count"] == 0
    assert facts["near_identical"]["count"] == 0
    assert facts["warnings"] == []


def test_nearly_every_resaved_copy_in_another_split_is_found(clean: tuple[np.ndarray, list[str], list[str]]) -> None:
    images, patients, splits = clean
    rng = np.random.default_rng(0)
    structured = perceptual_hashes(images).any(axis=1) & (images.reshape(len(images), -1).max(axis=1) > 40)
    sources = rng.permutation(np.flatnonzero(structured & (np.array(splits) == "train")))[:100]
    copies = np.stack([resaved(images[row], rng) for row in sources])
    facts = audit(
        np.concatenate([images, copies]), [*patients, *["P099"] * len(copies)], [*splits, *["test"] * len(copies)]
    )
    assert facts["identical"]["count"] == 0
    assert facts["near_identical"]["count"] >= 0.99 * len(sources)
    found = [entry for entry in facts["near_identical"]["listed"] if "P099" in entry["samples"][0]]
    assert len(found) == 50
    assert all(entry["splits"] == ["test", "train"] for entry in found)


def test_the_same_bytes_in_two_splits_are_named_by_pseudonym(clean: tuple[np.ndarray, list[str], list[str]]) -> None:
    images, patients, splits = clean
    facts = audit(np.concatenate([images, images[10:11]]), [*patients, "P099"], [*splits, "test"])
    assert facts["identical"]["count"] == 1
    assert facts["identical"]["listed"][0]["samples"] == ["P001-010", f"P099-{len(images):03d}"]
    assert facts["near_identical"]["count"] == 0
    assert "P001-010" in facts["warnings"][0]


def test_the_same_bytes_within_one_split_are_no_leak(clean: tuple[np.ndarray, list[str], list[str]]) -> None:
    images, patients, splits = clean
    facts = audit(np.concatenate([images, images[10:11]]), [*patients, "P099"], [*splits, "train"])
    assert facts["identical"]["count"] == facts["near_identical"]["count"] == 0


def test_blank_images_are_the_same_everywhere_and_no_leak(clean: tuple[np.ndarray, list[str], list[str]]) -> None:
    images, patients, splits = clean
    blank = np.stack([np.zeros_like(images[0]), np.full_like(images[0], 3), np.zeros_like(images[0])])
    facts = audit(
        np.concatenate([images, blank]), [*patients, "P001", "P011", "P012"], [*splits, "train", "test", "test"]
    )
    assert facts["blank"] == 3
    assert facts["identical"]["count"] == facts["near_identical"]["count"] == 0


def test_every_shared_patient_is_an_error_that_names_it(clean: tuple[np.ndarray, list[str], list[str]]) -> None:
    images, patients, splits = clean
    torn = [patient in ("P001", "P003") and k % 2 == 1 for k, patient in enumerate(patients)]
    mixed = ["test" if out else split for out, split in zip(torn, splits, strict=True)]
    with pytest.raises(DataError) as caught:
        audit(images, patients, mixed)
    assert caught.value.problems == ("patient P001: train, test", "patient P003: train, test")


def test_a_split_by_sample_counts_shared_patients_and_near_twins(
    clean: tuple[np.ndarray, list[str], list[str]],
) -> None:
    images, patients, _ = clean
    splits = ["test" if k % 4 == 0 else "train" for k in range(len(images))]
    facts = audit(images, patients, splits, by_sample=True)
    assert facts["shared_patients"] == 12
    assert "by sample" in facts["warnings"][0]
    unknown = audit(images, patients, splits, by_sample=True, known=False)["warnings"]
    assert not any("patient" in warning for warning in unknown)
    assert any("in more than one split, because it is by sample" in warning for warning in unknown)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_hash_does_not_depend_on_size_dtype_or_brightness(dtype: type) -> None:
    image = next(phantom_patient(PhantomPlan(size=128, seed=3), 2))[0]
    image = np.maximum(image, list(phantom_patient(PhantomPlan(size=128, seed=3), 2))[12][0])
    small = np.asarray(Image.fromarray(image).resize((64, 80), Image.Resampling.BOX))
    one = perceptual_hashes(image.transpose(2, 0, 1)[None].astype(dtype))
    other = perceptual_hashes(small.transpose(2, 0, 1)[None].astype(dtype) * dtype(1))
    assert (one @ other.T).item() > 0.985
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-5)


def test_near_twins_are_those_of_a_plain_comparison_of_all_pairs(
    clean: tuple[np.ndarray, list[str], list[str]],
) -> None:
    images, patients, splits = clean
    rng = np.random.default_rng(1)
    copies = np.stack([resaved(images[row], rng) for row in (12, 40, 77)])
    images = np.concatenate([images, copies])
    splits = [*splits, "validation", "test", "test"]
    hashes = perceptual_hashes(images).astype(float)
    cosine = hashes @ hashes.T
    pairs = {(i, j) for i, j in zip(*np.nonzero(cosine >= 0.985), strict=True) if splits[i] != splits[j] and i > j}
    facts = audit(images, [*patients, "P097", "P098", "P099"], splits)
    assert facts["near_identical"]["count"] == len({i for i, _ in pairs}) == 3
