"""The checklists: every item is there once, what the run knows is answered, and nothing else is."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest
import yaml

from medloom.files import write_json, write_text
from medloom.recipe import MasksRecipe
from medloom.reports import write_checklists
from medloom.reports.answers import ANSWERS

LISTS = {"TRIPOD+AI": ("tripod_ai.csv", 27, 52), "CLAIM": ("claim.csv", 44, 44)}
PREPARED = {
    "phantom": False,
    "target": {"kind": "masks", "names": ["background", "vessel"]},
    "counts": {
        "train": {"patients": 7, "samples": 59, "foreground_samples": 19},
        "test": {"patients": 2, "samples": 16, "foreground_samples": 5},
    },
    "patient_source": {"status": "unknown", "source": "", "patients": 0, "samples_without": 75, "apart": False},
    "found": 76,
    "used": 75,
    "set_aside": [{"reason": "missing_mask", "count": 1}],
    "warnings": [],
}


def items(file):
    with (files("medloom.reports") / "templates" / file).open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize(("file", "numbers", "count"), LISTS.values(), ids=LISTS)
def test_a_list_has_each_of_its_items_once_and_in_order(file, numbers, count):
    found = [entry["item"] for entry in items(file)]
    assert len(set(found)) == len(found) == count
    assert sorted({int(one.rstrip("abcdefg")) for one in found}) == list(range(1, numbers + 1))
    assert all(entry["asks"] for entry in items(file))


def test_every_answer_is_asked_for_and_every_question_that_names_one_has_it():
    named = {entry["known"] for file, *_ in LISTS.values() for entry in items(file)} - {""}
    assert named == set(ANSWERS)


@pytest.fixture
def written(tmp_path):
    """A run that was prepared and no more, with what was written of it by checklist and item."""

    def write(**data):
        write_json(tmp_path / "prepare.json", PREPARED)
        recipe = MasksRecipe(name="trial").plain()
        recipe["data"] |= {"path": "/home/doctor/patient-smith", **data}
        write_text(tmp_path / "recipe.yaml", yaml.safe_dump(recipe))
        page = write_checklists(tmp_path).read_text()
        with (tmp_path / "checklists.csv").open(newline="") as handle:
            return page, {(row["checklist"], row["item"]): row for row in csv.DictReader(handle)}

    return write


def test_what_the_run_knows_is_said_with_the_file_that_says_it(written):
    _, rows = written()
    split = rows["CLAIM", "35"]
    assert split["answer"] == (
        "Train: 7 patients, 59 images (19 with foreground); test: 2 patients, 16 images (5 with foreground)."
    )
    assert split["where"].startswith("prepare.json")
    assert "1 of 76 samples was set aside: 1 × without a mask" in rows["TRIPOD+AI", "20a"]["answer"]
    assert rows["CLAIM", "20"]["answer"].startswith("Image: no patient is known")


def test_what_only_the_authors_know_is_left_to_them(written):
    page, rows = written()
    for item in (("TRIPOD+AI", "17"), ("TRIPOD+AI", "18a"), ("CLAIM", "34"), ("CLAIM", "16"), ("CLAIM", "37")):
        assert rows[item]["answer"] == "for the authors to fill"
        assert not rows[item]["where"]
    answered = sum(bool(row["where"]) for row in rows.values())
    assert f"answers {answered} of 96 items" in page
    assert "smith" not in page


def test_who_drew_the_masks_is_said_where_the_recipe_states_it(written):
    _, rows = written(origin={"labelled_by": "two radiologists", "agreement": "Dice 0.84"})
    assert "two radiologists" in rows["CLAIM", "16"]["answer"]
    assert "Dice 0.84" in rows["CLAIM", "18"]["answer"]


def test_a_phantom_has_no_people_behind_it(written, tmp_path, monkeypatch):
    monkeypatch.setitem(PREPARED, "phantom", True)
    page, rows = written()
    assert "no people behind it" in rows["CLAIM", "7"]["answer"]
    assert "Phantom data" in page
