"""Nothing that a run writes or says calls images patients, or says that patients were kept apart, without knowing."""

from __future__ import annotations

import re
import shutil

import pytest

import medloom
from medloom.cli.texts import closing, prepared_text
from medloom.packaging import read_bundle
from medloom.pipeline import Run, prepare

CLAIMS = re.compile(
    r"No patient is in two parts|patients? that training never saw|[1-9][0-9]* (test |validation )?patients?\b"
    r"|\bon the test patients|over patients|resamples of the patients|validation patients|Test patients"
)


def said_by(result):
    """The text of the pages, and what the commands print."""
    pages = [
        re.sub(r"<(pre|style|script)\b.*?</\1>|<[^>]*>", " ", page.read_text(), flags=re.S) for page in result.pages
    ]
    return [*pages, closing(result), prepared_text(result.prepared)]


@pytest.fixture(scope="module")
def nobody(pictures, make_recipe, place):
    """A run whose recipe names no patient, on pictures that say none."""
    recipe = make_recipe(labels={"patient": None}, train={"monitor": "loss"})
    return medloom.run(recipe, data=pictures, run=place / "nobody", workers=1)


@pytest.fixture(scope="module")
def everybody(pictures, make_recipe, place):
    return medloom.run(make_recipe(train={"monitor": "loss"}), data=pictures, run=place / "everybody", workers=1)


def test_where_nobody_is_known_nothing_is_said_of_patients(nobody):
    for text in said_by(nobody):
        assert not CLAIMS.findall(text)
    data_page, page, *_ = said_by(nobody)
    assert "No patient is known" in data_page
    assert "Which of them are of one patient is not known" in page
    assert "patients: not known; 42 images, each taken for itself" in prepared_text(nobody.prepared)
    assert nobody.summary["interval"]["over"] == "images"


def test_where_everybody_is_known_it_is_said_by_what(everybody):
    data_page, page, *printed = said_by(everybody)
    assert "No patient is in two parts: it was checked, by the column patient" in data_page
    assert re.search(r"of \d+ test patients? that training never saw", page)
    assert "on the test patients (95 % interval over patients)" in printed[0]
    assert "patients from the column patient: 14" in printed[1]


def test_a_split_by_sample_does_not_say_that_training_never_saw_them(pictures, make_recipe, tmp_path):
    recipe = make_recipe(train={"monitor": "loss"}, split={"by": "sample"})
    for text in said_by(medloom.run(recipe, data=pictures, run=tmp_path / "run", workers=1)):
        assert "No patient is in two parts" not in text
        assert "never saw" not in text


def test_a_bundle_counts_no_patients_where_nobody_is_known(nobody, everybody):
    counts = [read_bundle(one.bundle).manifest.training_data.counts for one in (nobody, everybody)]
    assert [part["patients"] for part in counts[0].values()] == [None] * 3
    assert sum(part["patients"] for part in counts[1].values()) == 14


def test_a_pattern_that_is_found_in_some_names_is_partly_known(pictures, make_recipe, tmp_path):
    copy = tmp_path / "set"
    shutil.copytree(pictures, copy)
    run = Run.start(make_recipe(labels={"patient": None, "patient_pattern": r"(picture[0-3])"}), tmp_path / "run")
    source = prepare(run, copy, workers=1).facts["patient_source"]
    assert (source["status"], source["patients"], source["samples_without"]) == ("partly", 4, 2)
    assert not source["apart"]
    page = (run.folder / "data_report.html").read_text()
    assert "The patient of 2 samples is not known" in page
    assert "No patient is in two parts" not in page
