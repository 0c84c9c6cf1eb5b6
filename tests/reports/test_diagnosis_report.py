"""What the run report shows of a training's diagnosis."""

from __future__ import annotations

import re

import pytest

from medloom.files import write_json
from medloom.reports.diagnosis import diagnosed
from medloom.reports.html import render

FINDING = {
    "rule": "dead-units",
    "text": "95% of the units of act<1> are dead",
    "advice": "lower train.optimizer.lr",
    "layer": "body.act",
    "epoch": 2,
    "step": 40,
    "last_epoch": 5,
    "last_step": 99,
}
SUSPECT = {"sample_id": "P003-001", "given": "a", "suggested": "b", "probability": 0.02, "confidence": 0.97}


def sample(step: int) -> dict:
    counts = [0, 3, 5, 2]
    return {
        "step": step,
        "layers": {"body.one": [0.01, None], "body.two": [0.02, 0.001]},
        "gradients": {"body.one": counts, "body.two": counts},
        "outputs": {"body.act": counts},
    }


def facts(*findings, samples=3) -> dict:
    return {
        "every": 20,
        "rules": {"dead-units": {"summary": "Units that give 0", "looks": 12, "fired": 4}},
        "findings": list(findings),
        "suspects": [SUSPECT] * 20,
        "edges": {"gradients": [1e-6, 1e-3, 1.0], "outputs": [-1.0, 0.001, 1.0]},
        "samples": [sample(20 * number + 1) for number in range(samples)],
    }


def shown(folder) -> str:
    page = render("diagnosis.html", diagnosis=diagnosed(folder))
    return re.sub(r'src="data:[^"]+"', "", page)


def test_the_page_says_what_was_found_where_and_what_to_try(tmp_path):
    write_json(tmp_path / "diagnosis.json", facts(FINDING))
    page = shown(tmp_path)
    for text in ("95% of the units of act&lt;1&gt; are dead", "epoch 2, step 40 to epoch 5", "body.act", "4 of 12"):
        assert text in page
    assert page.count("P003-001") == 15
    assert "second look: 20" in page
    assert page.count("<img") == 3
    assert "No rule found anything" not in page


def test_a_training_in_which_nothing_was_found_says_so_and_one_look_draws_nothing(tmp_path):
    write_json(tmp_path / "diagnosis.json", facts(samples=1))
    page = shown(tmp_path)
    assert "No rule found anything wrong" in page
    assert "<img" not in page


def test_folds_are_shown_one_by_one_in_order(tmp_path):
    for number in (0, 2, 10):
        (tmp_path / f"fold-{number}").mkdir()
        write_json(tmp_path / f"fold-{number}" / "diagnosis.json", facts(FINDING))
    assert [part["source"] for part in diagnosed(tmp_path)] == [
        f"fold-{number}/diagnosis.json" for number in (0, 2, 10)
    ]


def test_a_run_that_nobody_watched_has_no_such_part(tmp_path):
    assert shown(tmp_path).strip() == ""


@pytest.mark.parametrize("what", ["gradients", "outputs"])
def test_the_charts_are_the_same_bytes_every_time(tmp_path, what):
    write_json(tmp_path / "diagnosis.json", facts())
    assert diagnosed(tmp_path)[0][what] == diagnosed(tmp_path)[0][what] != ""
