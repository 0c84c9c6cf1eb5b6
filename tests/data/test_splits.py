from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from medloom.data.masks import MASKS
from medloom.data.splits import SPLITS, SplitRule, read_given_split, split_patients, split_warnings
from medloom.errors import DataError
from medloom.recipe import SplitConfig
from medloom.targets import Target


def patients(count: int, seed: int = 0, low: int = 20, high: int = 88) -> pd.DataFrame:
    """Patients as in the real set: 20 to 88 slices, 14 to 60 % of them with foreground."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(count):
        slices = int(rng.integers(low, high + 1))
        lesions = round(slices * rng.uniform(0.14, 0.6))
        rows += [(f"P{patient:03d}-{k:03d}", f"P{patient:03d}", 100 * (k < lesions)) for k in range(slices)]
    return pd.DataFrame(rows, columns=["sample_id", "patient_id", "foreground_px"])


def foreground_shares(frame: pd.DataFrame, by: str = "split") -> pd.Series:
    return (frame["foreground_px"] > 0).groupby(frame[by]).mean()


def sample_shares(frame: pd.DataFrame, by: str = "split") -> pd.Series:
    return frame[by].value_counts(normalize=True)


def test_no_patient_is_in_two_splits() -> None:
    result = split_patients(patients(17), SplitRule())
    assert (result.groupby("patient_id")["split"].nunique() == 1).all()
    assert set(result["split"]) == set(SPLITS)
    assert (result["fold"] == -1).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [12, 16, 24])
def test_samples_and_lesions_are_shared_as_wanted_with_few_patients(count: int, seed: int) -> None:
    result = split_patients(patients(count, seed), SplitRule(seed=seed))
    shares = sample_shares(result)
    assert np.abs(shares[list(SPLITS)] - [0.7, 0.15, 0.15]).max() < 0.04
    assert np.ptp(foreground_shares(result)) < 0.06


@pytest.mark.parametrize("seed", range(4))
def test_with_eight_patients_hardly_any_division_is_better(seed: int) -> None:
    def miss(frame: pd.DataFrame) -> float:
        sizes = np.abs(sample_shares(frame)[list(SPLITS)] - [0.7, 0.15, 0.15]).max()
        return float(sizes + np.ptp(foreground_shares(frame)))

    frame = patients(8, seed)
    names = sorted(frame["patient_id"].unique())
    every = [dict(zip(names, parts, strict=True)) for parts in product(SPLITS, repeat=8) if len(set(parts)) == 3]
    picked = np.random.default_rng(seed).choice(len(every), 150, replace=False)
    others = [miss(frame.assign(split=frame["patient_id"].map(every[k]))) for k in picked]
    assert np.mean(np.array(others) < miss(split_patients(frame, SplitRule()))) < 0.02


def test_folds_are_more_even_than_those_of_scikit_learn() -> None:
    ours, theirs = [], []
    for seed in range(5):
        frame = patients(24, seed)
        result = split_patients(frame, SplitRule(folds=5, seed=seed))
        ours.append((np.ptp(sample_shares(result, "fold")), np.ptp(foreground_shares(result, "fold"))))
        folds = np.zeros(len(frame), int)
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for fold, (_, test) in enumerate(splitter.split(frame, frame["foreground_px"] > 0, frame["patient_id"])):
            folds[test] = fold
        other = frame.assign(fold=folds)
        theirs.append((np.ptp(sample_shares(other, "fold")), np.ptp(foreground_shares(other, "fold"))))
    assert (np.mean(ours, axis=0) < np.mean(theirs, axis=0)).all()


def test_a_split_does_not_depend_on_the_order_of_the_rows() -> None:
    frame = patients(12)
    shuffled = frame.sample(frac=1, random_state=3)
    one = split_patients(frame, SplitRule()).set_index("sample_id")["split"]
    other = split_patients(shuffled, SplitRule()).set_index("sample_id")["split"]
    pd.testing.assert_series_equal(one.sort_index(), other.sort_index())


def test_the_seed_decides() -> None:
    frame = patients(24)
    same = [split_patients(frame, SplitRule(seed=3))["split"].tolist() for _ in range(2)]
    assert same[0] == same[1]
    assert split_patients(frame, SplitRule(seed=4))["split"].tolist() != same[0]


def test_every_fold_tests_once_and_the_next_one_validates() -> None:
    frame = patients(10)
    results = [split_patients(frame, SplitRule(folds=4, fold=fold)) for fold in range(4)]
    for fold, result in enumerate(results):
        assert (result["fold"] == results[0]["fold"]).all()
        assert set(result.loc[result["split"] == "test", "fold"]) == {fold}
        assert set(result.loc[result["split"] == "validation", "fold"]) == {(fold + 1) % 4}


def test_several_classes_are_balanced_at_once() -> None:
    frame = patients(24)
    rng = np.random.default_rng(0)
    grade = dict(zip(frame["patient_id"].unique(), rng.choice(["a", "b", "c"], 24), strict=True))
    frame["stratum"] = np.where(frame["foreground_px"] > 0, frame["patient_id"].map(grade), "none")
    result = split_patients(frame, SplitRule())
    table = pd.crosstab(result["split"], result["stratum"], normalize="index")
    assert np.ptp(table.to_numpy(), axis=0).max() < 0.1


def test_without_stratification_the_sizes_still_fit() -> None:
    shares = sample_shares(split_patients(patients(24), SplitRule(stratify=False)))
    assert abs(shares["test"] - 0.15) < 0.03


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=3, max_size=12),
    lesions=st.lists(st.integers(0, 30), min_size=12, max_size=12),
    seed=st.integers(0, 100),
)
def test_every_part_has_a_patient_whatever_the_sizes(sizes: list[int], lesions: list[int], seed: int) -> None:
    rows = [(f"{p}-{k}", f"P{p}", int(k < lesions[p])) for p, size in enumerate(sizes) for k in range(size)]
    frame = pd.DataFrame(rows, columns=["sample_id", "patient_id", "foreground_px"])
    result = split_patients(frame, SplitRule(seed=seed))
    assert set(result["split"]) == set(SPLITS)
    assert (result.groupby("patient_id")["split"].nunique() == 1).all()


def test_a_rule_has_the_values_and_the_defaults_of_the_recipe() -> None:
    assert SplitRule.of(SplitConfig()) == SplitRule()
    said = {"train": 0.5, "validation": 0.3, "test": 0.2, "published": "repair", "by": "sample", "stratify": False}
    assert SplitRule.of(SplitConfig(**said, seed=7)) == SplitRule(**said, seed=7)
    assert SplitRule.of(SplitConfig(folds=4, fold=2)) == SplitRule(folds=4, fold=2)
    assert SplitRule.of(SplitConfig(file="split.csv")) == SplitRule(given=True)


def test_too_few_patients_are_an_error() -> None:
    with pytest.raises(DataError, match="2 patients cannot be divided into 3 parts"):
        split_patients(patients(2), SplitRule())
    with pytest.raises(DataError, match="at least 5"):
        split_patients(patients(4), SplitRule(folds=5))


def test_by_sample_is_exact_and_comes_with_a_warning() -> None:
    rule = SplitRule(by="sample")
    result = split_patients(patients(100), rule)
    assert np.abs(sample_shares(result)[list(SPLITS)] - [0.7, 0.15, 0.15]).max() < 0.002
    assert np.ptp(foreground_shares(result)) < 0.005
    assert "by sample" in split_warnings(rule)[0]


TARGET = Target("masks", ("background", "lesion"))


def test_a_fair_split_has_no_warnings() -> None:
    result = split_patients(patients(24), SplitRule())
    assert split_warnings(SplitRule()) == MASKS.warnings(result, TARGET) == []


def test_a_part_without_foreground_is_named() -> None:
    frame = patients(3)
    frame["split"] = frame["patient_id"].map({"P000": "train", "P001": "validation", "P002": "test"})
    frame.loc[frame["split"] == "test", "foreground_px"] = 0
    assert any("No sample in test" in warning for warning in MASKS.warnings(frame, TARGET))


def test_a_given_split_is_kept() -> None:
    frame = patients(3)
    frame["given_split"] = frame["patient_id"].map({"P000": "test", "P001": "train", "P002": "validation"})
    result = split_patients(frame, SplitRule(given=True))
    assert (result["split"] == frame["given_split"]).all()


def test_every_problem_of_a_given_split_is_named_at_once() -> None:
    frame = patients(4)
    frame["given_split"] = frame["patient_id"].map({"P000": "train", "P001": "val", "P003": "train"})
    frame.loc[frame.index[-1], "given_split"] = "test"
    with pytest.raises(DataError) as caught:
        split_patients(frame, SplitRule(given=True))
    problems = "\n".join(caught.value.problems)
    assert "P001: 'val' is none of train, validation, test" in problems
    assert "P002 has no split" in problems
    assert "P003 is in several splits: test, train" in problems
    assert "no patient is in validation" in problems


def test_a_split_file_keeps_names_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_bytes(b'\xef\xbb\xbfpatient,split,note\r\n007,train,\r\n"a, b",Test,x\r\n')
    assert read_given_split(file) == {"007": "train", "a, b": "test"}


def test_every_wrong_line_of_a_split_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_text("patient,split\na,train\nb,dev\n,test\na,test\nc\n")
    with pytest.raises(DataError) as caught:
        read_given_split(file)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["line 3", "line 4", "line 5", "line 6"]


def test_a_split_file_without_the_columns_or_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_text("id,part\na,train\n")
    with pytest.raises(DataError, match="columns patient and split"):
        read_given_split(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot read"):
        read_given_split(file)
    with pytest.raises(DataError, match="cannot read"):
        read_given_split(tmp_path / "missing.csv")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("counts", [(12, 6, 6), (6, 6, 6, 6), (30, 6, 6, 6), (40, 10, 2), (100, 30, 1), (20, 3)])
def test_a_rare_class_makes_no_part_tiny(counts: tuple[int, ...], seed: int) -> None:
    strata = np.repeat(np.arange(len(counts)), counts)
    frame = pd.DataFrame(
        {
            "sample_id": [f"S{number}" for number in range(len(strata))],
            "patient_id": [f"P{number}" for number in range(len(strata))],
            "foreground_px": 0,
            "stratum": strata,
        }
    )
    result = split_patients(frame, SplitRule(seed=seed))
    shares = result["split"].value_counts(normalize=True)
    assert shares["train"] < 0.85
    assert min(shares["validation"], shares["test"]) > 0.08


def test_a_thousand_patients_are_split_evenly() -> None:
    result = split_patients(patients(1000, low=2, high=9), SplitRule())
    assert np.abs(sample_shares(result)[list(SPLITS)] - [0.7, 0.15, 0.15]).max() < 0.001
    assert np.ptp(foreground_shares(result)) < 0.002
