"""A label file for each published part: read as one, and what is wrong is said with the file that it is in."""

from __future__ import annotations

import pytest

from medloom.data.layouts.csv_labels import Columns, CsvLabels
from medloom.data.layouts.labels import LabelRule
from medloom.errors import DataError, RecipeError
from medloom.recipe import parse_recipe

FILES = {"train": "train.csv", "test": "valid.csv"}
TRAIN = "image,who,level\na1,p1,0\na2,p1,1\na3,p2,0\n"
VALID = "image,who,level,reader\nb1,p3,1,x\nb2,p4,0,y\n"


def find(train=TRAIN, valid=VALID, **options):
    tables = {"set/train.csv": train.encode(), "set/valid.csv": valid.encode()}
    names = [*tables, *(f"set/train/a{n}.png" for n in (1, 2, 3)), *(f"set/valid/b{n}.png" for n in (1, 2))]
    layout = CsvLabels(LabelRule(("level",)), Columns(patient="who"), files=FILES, **options)
    return layout.find(names, lambda name: tables.get(name, b""))


def test_an_image_is_of_the_part_in_whose_table_its_row_stands():
    found = find()
    assert {(item.sample.rpartition("/")[2], item.published, item.labels) for item in found.items} == {
        ("a1.png", "train", (0.0,)),
        ("a2.png", "train", (1.0,)),
        ("a3.png", "train", (0.0,)),
        ("b1.png", "test", (1.0,)),
        ("b2.png", "test", (0.0,)),
    }
    assert not found.problems


def test_a_problem_names_the_line_of_its_own_table():
    found = find(valid="image,who,level\nb1,p3,1\n\nb9,p4,0\n")
    assert [problem.file for problem in found.problems if problem.kind == "missing_image"] == ["valid.csv line 4"]


@pytest.mark.parametrize("repeated", ["refuse", "agree"])
def test_an_image_in_two_parts_is_in_none_of_them(repeated):
    found = find(valid=VALID + "a1,p1,0,x\n", repeated=repeated)
    assert not any(item.sample.endswith("a1.png") for item in found.items)
    (detail,) = {problem.detail for problem in found.problems if problem.kind == "duplicate"}
    assert "train.csv line 2, valid.csv line 4 are about one image" in detail


def test_a_table_that_lacks_a_column_is_named():
    with pytest.raises(DataError, match=r"valid\.csv lacks columns"):
        find(valid="image,who\nb1,p3\n")


def test_a_table_that_is_not_there_is_named_with_its_key():
    with pytest.raises(DataError, match=r"data\.labels\.files\.test: there is no valid\.csv"):
        CsvLabels(files=FILES).find(["train.csv"], lambda name: TRAIN.encode())


@pytest.mark.parametrize(
    "other",
    [
        "data: {layout: csv, labels: {file: a.csv, files: {train: b.csv}}}",
        "data: {layout: csv, labels: {files: {train: b.csv}}}\nsplit: {lists: {train: c}}",
    ],
)
def test_what_is_said_twice_is_refused(other):
    with pytest.raises(RecipeError, match="leave one of them out"):
        parse_recipe(f"name: x\ntarget: {{kind: binary}}\n{other}\n")
