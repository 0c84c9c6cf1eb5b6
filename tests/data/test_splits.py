from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from medloom.data.masks import MASKS
from medloom.data.splits import SPLITS, Before, SplitRule, kept_parts, read_given_split, split_patients, split_warnings
from medloom.data.splits.warnings import share_warnings
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


@pytest.mark.parametrize("by", ["patient", "sample"])
@pytest.mark.parametrize(("folds", "validation"), [(2, 0.15), (3, 0.15), (4, 0.25), (5, 0.1)])
def test_every_fold_tests_once_and_a_share_of_the_others_validates(folds: int, validation: float, by) -> None:
    frame = patients(24)
    rule = SplitRule(folds=folds, validation=validation, by=by)
    results = [split_patients(frame, replace(rule, fold=fold)) for fold in range(folds)]
    for fold, result in enumerate(results):
        assert (result["fold"] == results[0]["fold"]).all()
        assert ((result["split"] == "test") == (result["fold"] == fold)).all()
        assert (result.groupby(f"{by}_id")["split"].nunique() == 1).all()
        wanted = [1 - 1 / folds - validation, validation, 1 / folds]
        assert np.abs(sample_shares(result)[list(SPLITS)] - wanted).max() < 0.04
        assert np.ptp(foreground_shares(result)) < 0.12
    everyone = pd.concat(results)
    learned = (everyone["split"] == "train").groupby(everyone["sample_id"]).sum()
    assert learned.min() >= folds - 1 - np.ceil(validation * folds)  # nobody validates in more folds than must be


@pytest.mark.parametrize("fold", range(3))
def test_who_validates_in_a_fold_still_does_when_others_come(fold: int) -> None:
    rule, everyone = SplitRule(folds=3, fold=fold), with_files(patients(24))
    before = split_patients(everyone[everyone["patient_id"] < "P014"], rule)
    after = split_patients(Before(before, before).kept(everyone, folds=True), rule)
    both = before.merge(after, on="sample_id")
    assert (both["split_x"] == both["split_y"]).all()
    assert abs(sample_shares(after)["validation"] - 0.15) < 0.06


def test_few_who_validate_are_of_every_class_that_there_is_among_the_next_fold() -> None:
    rows = [(f"P{one}", f"P{one}", 0, "ill" if one % 3 == 0 else "well") for one in range(9)]
    frame = pd.DataFrame(rows, columns=["sample_id", "patient_id", "foreground_px", "stratum"])
    for fold in range(3):
        result = split_patients(frame, SplitRule(folds=3, fold=fold))
        for part in SPLITS:
            assert set(result.loc[result["split"] == part, "stratum"]) == {"ill", "well"}


def test_leave_one_out_and_folds_of_one_patient_can_be_divided() -> None:
    frame = patients(7)
    for folds in (3, 5, 7):
        results = [split_patients(frame, SplitRule(folds=folds, fold=fold)) for fold in range(folds)]
        assert all(set(result["split"]) == set(SPLITS) for result in results)
    assert set(split_patients(patients(3), SplitRule(folds=3, fold=1))["split"]) == set(SPLITS)


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
    assert np.abs(shares[list(SPLITS)] - [0.7, 0.15, 0.15]).max() < 0.08


def strata_of_people(people: int, shares: tuple[float, ...], seed: int) -> pd.DataFrame:
    """One to four samples of each patient, each in a stratum of its own, of very different size."""
    rng = np.random.default_rng(seed)
    rows = [(f"P{one:03d}-{k}", f"P{one:03d}", 0) for one in range(people) for k in range(rng.integers(1, 5))]
    frame = pd.DataFrame(rows, columns=["sample_id", "patient_id", "foreground_px"])
    return frame.assign(stratum=rng.choice(len(shares), len(frame), p=shares))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "strata", [(0.2,) * 5, (0.4, 0.2, 0.15, 0.1, 0.06, 0.04, 0.03, 0.02), (0.7, 0.1, 0.1, 0.1), (0.98, 0.01, 0.01)]
)
@pytest.mark.parametrize("people", [41, 81])
def test_strata_are_never_balanced_at_the_price_of_the_shares(people, strata, seed) -> None:
    rule = SplitRule(seed=seed)
    result = split_patients(strata_of_people(people, strata, seed), rule)
    wanted = np.array([0.7, 0.15, 0.15]) * len(result)
    beyond = np.abs(result["split"].value_counts()[list(SPLITS)] - wanted)
    # A patient cannot be divided, and with few of them a class in every part counts for more.
    assert (beyond <= np.maximum(0.15 * wanted, 2 * len(result) / people)).all()
    common = result[result["stratum"] == 0]
    assert set(common["split"]) == set(SPLITS)


def test_shares_that_cannot_be_had_are_said_with_the_reason() -> None:
    rows = [(f"P{one}-{k}", f"P{one}", 0) for one in range(6) for k in range(200 if one == 0 else 4)]
    frame = pd.DataFrame(rows, columns=["sample_id", "patient_id", "foreground_px"])
    result = split_patients(frame, SplitRule())
    (text,) = share_warnings(result, SplitRule())
    assert "other shares of the samples than wanted: train 9" in text
    assert "the largest has 200 of 220 samples" in text


def with_files(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(image=frame["sample_id"] + ".png", frame=0, sha256=frame["sample_id"])


@settings(max_examples=25, deadline=None)
@given(
    known=st.integers(4, 30),
    new=st.integers(0, 30),
    seed=st.integers(0, 5),
    folds=st.sampled_from([None, 3, 4]),
    moved=st.booleans(),
)
def test_known_patients_stay_and_new_ones_come_into_one_part_each(known, new, seed, folds, moved) -> None:
    rule = SplitRule(seed=seed, folds=folds, fold=0 if folds else None)
    everyone = with_files(patients(known + new, seed, 1, 9))
    rng = np.random.default_rng(seed)
    old = set(rng.permutation(everyone["patient_id"].unique())[:known])
    before = split_patients(everyone[everyone["patient_id"].isin(old)], rule)
    now = everyone.assign(image="elsewhere/" + everyone["image"]) if moved else everyone
    known_before = Before(before, before if folds else None)
    after = split_patients(known_before.kept(now, folds=folds is not None), rule)
    assert (after.groupby("patient_id")[["split", "fold"]].nunique() == 1).all(axis=None)
    both = before.merge(after, on="sample_id")
    assert (both["split_x"] == both["split_y"]).all()
    assert (both["fold_x"] == both["fold_y"]).all()
    if new >= 10:
        wanted = [0.7, 0.15, 0.15] if folds is None else [1 - 1 / folds - 0.15, 0.15, 1 / folds]
        assert np.abs(sample_shares(after)[list(SPLITS)] - wanted).max() < 0.12


def test_a_sample_that_is_known_by_bytes_that_others_have_too_is_new() -> None:
    before = pd.DataFrame({"image": list("ab"), "frame": 0, "sha256": "blank", "split": ["train", "test"], "fold": -1})
    now = pd.DataFrame({"image": list("abc"), "frame": 0, "sha256": "blank"})
    assert kept_parts(now, before, [0, 2]).tolist() == [0, 2, -1]


def test_a_thousand_known_samples_stay_where_they_are() -> None:
    frame = with_files(patients(1300, low=1, high=1))
    before = split_patients(frame.iloc[:1200], SplitRule())
    after = split_patients(Before(before).kept(frame, folds=False), SplitRule())
    assert (after["split"].iloc[:1200] == before["split"]).all()
    assert np.abs(sample_shares(after)[list(SPLITS)] - [0.7, 0.15, 0.15]).max() < 0.01


def test_a_thousand_patients_are_split_evenly() -> None:
    result = split_patients(patients(1000, low=2, high=9), SplitRule())
    assert np.abs(sample_shares(result)[list(SPLITS)] - [0.7, 0.15, 0.15]).max() < 0.001
    assert np.ptp(foreground_shares(result)) < 0.002


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_what_is_held_out_is_the_same_beside_every_fold_and_stays_when_others_come(share: float) -> None:
    everyone = with_files(patients(60))
    some = everyone[everyone["patient_id"].isin(sorted(everyone["patient_id"].unique())[::2])]
    rule = SplitRule(folds=3, hold_out=share)
    results = [split_patients(some, replace(rule, fold=fold)) for fold in range(3)]
    held_out = [set(one.loc[one["split"] == "held-out", "patient_id"]) for one in results]
    assert held_out[0] == held_out[1] == held_out[2]
    assert (results[0]["fold"] == -1).equals(results[0]["split"] == "held-out")
    assert (results[0]["split"] == "held-out").mean() == pytest.approx(share, abs=0.08)
    tested = [patient for one in results for patient in one.loc[one["split"] == "test", "patient_id"].unique()]
    assert sorted(tested) == sorted(set(some["patient_id"]) - held_out[0])
    after = split_patients(Before(results[1], results[1]).kept(everyone, folds=True), replace(rule, fold=1))
    both = results[1].merge(after, on="sample_id")
    assert (both["split_x"] == both["split_y"]).all()
    assert (after["split"] == "held-out").mean() == pytest.approx(share, abs=0.08)
