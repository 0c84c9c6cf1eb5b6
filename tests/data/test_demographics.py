import json

import pandas as pd
import pytest

from medloom.data.demographics import demographics


def catalogue(rows):
    names = ("patient_id", "split", "meta")
    return pd.DataFrame([dict(zip(names, (*row[:2], json.dumps(row[2])), strict=True)) for row in rows])


ROWS = catalogue(
    [
        ("P1", "train", {"age": "40", "sex": "F"}),
        ("P1", "train", {"age": "42", "sex": "F"}),  # a year later
        ("P2", "train", {"age": "61", "sex": "M"}),
        ("P3", "validation", {"age": "", "sex": "M"}),
        ("P4", "test", {"age": "30", "sex": "NA"}),
    ]
)


def test_a_patient_counts_once_in_the_part_where_it_is():
    age, sex = demographics(ROWS)
    assert (age["column"], sex["column"]) == ("age", "sex")
    by_patient = pd.Series([41.0, 61.0])
    train = age["parts"]["train"]
    assert train["mean"] == by_patient.mean()
    assert train["std"] == pytest.approx(by_patient.std())
    assert (train["min"], train["max"], train["known"], train["missing"]) == (41.0, 61.0, 2, 0)
    assert age["parts"]["all"]["known"] == 3
    assert sex["parts"]["train"]["counts"] == {"F": 1, "M": 1}


def test_words_that_differ_within_a_patient_are_counted_over_images():
    rows = [("P1", "train", {"site": "arm"}), ("P1", "train", {"site": "leg"}), ("P2", "train", {"site": "leg"})]
    (site,) = demographics(catalogue(rows))
    assert site["over"] == "images"
    assert site["parts"]["train"]["counts"] == {"arm": 1, "leg": 2}
    assert demographics(ROWS)[1]["over"] == "patients"


def test_what_is_not_known_is_counted_and_not_guessed():
    age, sex = demographics(ROWS)
    assert age["parts"]["validation"] == {"known": 0, "missing": 1, "mean": None, "std": None, "min": None, "max": None}
    assert sex["parts"]["test"] == {"known": 0, "missing": 1, "counts": {}}
    assert age["parts"]["test"]["std"] is None  # one patient has no spread


def test_a_column_of_many_words_is_not_listed_for_it_may_hold_names():
    rows = [(f"P{i}", "train", {"doctor": f"name {i}"}) for i in range(13)]
    parts = demographics(catalogue(rows))[0]["parts"]
    assert parts["train"] == {"known": 13, "missing": 0}
    assert "name" not in json.dumps(parts)


def test_without_metadata_there_is_nothing():
    assert demographics(pd.DataFrame({"patient_id": ["P1"], "split": ["train"], "meta": [""]})) == []
