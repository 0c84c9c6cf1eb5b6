"""Growing shares of the training patients."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medloom.data import SplitRule, training_shares
from medloom.errors import DataError

SHARES = (0.1, 0.25, 0.5, 1.0)


@pytest.fixture
def catalogue():
    """Eighty patients with one to four images; one of eight is ill."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(80), rng.integers(1, 5, 80))
    parts = np.array(["train", "train", "train", "validation", "test"])[patients % 5]
    return pd.DataFrame(
        {
            "sample_id": [f"s{number}" for number in range(len(patients))],
            "patient_id": [f"p{number}" for number in patients],
            "foreground_px": np.where(patients % 8 == 0, 9, 0),
            "split": parts,
        }
    )


def learned(found):
    return [set(one.loc[one["split"] == "train", "patient_id"]) for one in found]


def test_each_share_lies_within_the_next_and_the_others_stay(catalogue):
    found = training_shares(catalogue, SplitRule(), SHARES)
    patients = learned(found)
    assert patients[0] < patients[1] < patients[2] < patients[3]
    assert [len(one) for one in patients] == [5, 12, 24, 48]
    for one in found:
        for part in ("validation", "test"):
            expected = catalogue[catalogue["split"] == part].reset_index(drop=True)
            assert one[one["split"] == part].reset_index(drop=True).equals(expected)
        whole = catalogue.groupby("patient_id")["sample_id"].nunique()
        assert one.groupby("patient_id")["sample_id"].nunique().equals(whole[whole.index.isin(one["patient_id"])])


def test_every_share_has_the_ill_as_the_whole_has(catalogue):
    for one in training_shares(catalogue, SplitRule(), SHARES):
        train = one[one["split"] == "train"]
        ill = train.loc[train["foreground_px"] > 0, "patient_id"].nunique()
        assert ill >= 1
        assert ill / train["patient_id"].nunique() == pytest.approx(1 / 8, abs=0.13)


def test_many_strata_do_not_push_the_common_patients_out(catalogue):
    alone = np.where(catalogue["patient_id"].str.len() < 3, catalogue["patient_id"], "common")
    smallest = learned(training_shares(catalogue, SplitRule(), SHARES, alone))[0]
    assert any(len(name) == 3 for name in smallest)


def test_another_seed_draws_others_and_the_same_one_the_same(catalogue):
    first, again, other = (training_shares(catalogue, SplitRule(seed=seed), SHARES) for seed in (0, 0, 1))
    assert learned(first) == learned(again)
    assert learned(first)[0] != learned(other)[0]


def test_a_class_of_one_patient_is_in_every_share(catalogue):
    strata = np.where(catalogue["patient_id"] == "p1", "rare", "common")
    assert all("p1" in one for one in learned(training_shares(catalogue, SplitRule(), SHARES, strata)))


def test_a_share_of_no_patient_is_refused(catalogue):
    with pytest.raises(DataError, match=r"a share of 0\.001 of 48 training patients is none"):
        training_shares(catalogue, SplitRule(), [0.001, 1.0])
