"""What a model card says of the people behind a run: nothing of one of them."""

from __future__ import annotations

import pytest

from medloom.pipeline.about import about_of
from medloom.pipeline.runs import Run

TARGET = {"kind": "binary", "names": ["0", "1"]}
GROUP = {"images": 30, "patients": 12, "positives": {}, "note": ""}


def prepared(known, counts, mean=44.04, phantom=False):
    numbers = {"mean": mean, "std": 15.0, "min": 13.75, "max": 81.43} if mean is not None else {}
    parts = {"all": {"known": known, "missing": 0, **numbers, "counts": counts}}
    demographics = [{"column": "age", "over": "patients", "parts": parts}]
    return {"phantom": phantom, "target": TARGET, "demographics": demographics, "warnings": ["mind the gap"]}


SUMMARY = {
    "target": TARGET,
    "operating_point": {"thresholds": [0.5]},
    "interval": {"over": "patients", "resamples": 10},
    "notes": [],
    "validation": {"counts": {"images": 9, "patients": 4, "positives": {}}},
    "test": {
        "counts": {"images": 60, "patients": 20, "positives": {}},
        "groups": [
            {**GROUP, "column": "sex", "value": "female", "metrics": {"roc_auc": {"value": 0.7}}},
            {**GROUP, "column": "sex", "value": "rare", "metrics": None, "images": 1},
        ],
    },
}


@pytest.fixture
def run(tmp_path, make_recipe):
    return Run(tmp_path, make_recipe())


@pytest.mark.parametrize(
    ("known", "counts", "said"),
    [
        (40, {}, "mean 44, standard deviation 15"),
        (9, {}, "not told of 9 people"),
        (40, {"arm": 30, "leg": 4}, "mean 44, standard deviation 15; arm 30; leg fewer than 5"),
    ],
)
def test_few_people_are_not_described(run, known, counts, said):
    (line,) = about_of(run, prepared(known, counts), SUMMARY)["demographics"]
    assert line == {"column": "age", "over": "patients", "known": known, "text": said}
    assert "81" not in line["text"]


def test_groups_without_metrics_are_left_out_and_limits_are_those_of_the_report(run):
    about = about_of(run, prepared(40, {}), SUMMARY)
    assert [group["value"] for group in about["groups"]] == ["female"]
    assert "mind the gap" in about["limits"]
    assert any("chosen on 4 validation patients" in one for one in about["limits"])
    held_out = {**SUMMARY, "held_out": {"metrics": {}}}
    assert about_of(run, prepared(40, {}), held_out)["groups"] == []  # they are of other networks


def test_the_origin_is_phantoms_or_a_data_set_or_not_known(run):
    assert "phantom" in about_of(run, prepared(40, {}, phantom=True), SUMMARY)["source"]
    assert "does not say where it came from" in about_of(run, prepared(40, {}), SUMMARY)["source"]
