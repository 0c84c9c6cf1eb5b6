"""What a report shows of where the time of a training went."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from medloom.files import write_json
from medloom.reports.html import _environment
from medloom.reports.profile import profile_context
from medloom.training.profiling.account import Account, Session, Stretch
from medloom.training.profiling.rules import judge

SECONDS = {"data": 4.0, "forward": 2.0, "backward": 2.0, "loop": 0.5, "validation": 1.0, "checkpoint": 0.5}


def write(folder, *, factor=1.0, processes=1, **more) -> None:
    seconds = {name: factor * value for name, value in SECONDS.items()}
    stretch = Stretch(0, (1, 2), 10.0 * factor, seconds, 40, 160, 0.2, 0.3, faults=8000)
    account = Account("full", [Session("cpu", processes, 1, 2, None, 4)], [stretch, stretch], **more)
    write_json(folder / "profile.json", {**account.plain(), "rules": [asdict(one) for one in judge(account)]})


def test_the_parts_are_a_table_that_adds_up(tmp_path):
    write(tmp_path)
    found = profile_context(tmp_path)
    assert found["parts"]["head"] == ["Part", "In all", "Share", "In a step"]
    assert found["parts"]["rows"][0] == ["waiting for a batch", "8 s", "40.0 %", "100.00 ms"]
    assert ["validation", "2.0 s", "10.0 %", "–"] in found["parts"]["rows"]
    assert found["parts"]["rows"][-1] == ["together", "20 s", "100 %", "212.50 ms"]


def test_rules_say_of_how_many_and_what_is_worth_saying_stands_above(tmp_path):
    write(tmp_path)
    found = profile_context(tmp_path)
    rules = {row[0]: row[1:] for row in found["rules"]}
    assert rules["Steps wait for their batch"] == ["2 of 2", "47 % of a step waits for its batch"]
    assert rules["The GPU is idle"] == ["not known here", ""]
    assert rules["Validation takes much of the time"] == ["0 of 2", ""]
    (advice,) = found["advice"]
    assert advice.startswith("47 % of a step waits for its batch. The pixel store is read from the disk (200 pages")


def test_folds_stand_beside_each_other(tmp_path):
    for fold in (0, 1, 10):
        write(tmp_path / f"fold-{fold}", factor=1.0 + fold)
    found = profile_context(tmp_path)
    assert found["parts"]["head"] == ["Part", "Fold 1", "Fold 2", "Fold 3"]
    assert found["parts"]["rows"][0] == ["waiting for a batch", *["40.0 %"] * 3]
    assert found["files"] == ["fold-0/profile.json", "fold-1/profile.json", "fold-10/profile.json"]
    assert {row[1] for row in found["rules"] if row[0] == "Steps wait for their batch"} == {"6 of 6"}
    assert [text.split(":")[0] for text in found["advice"]] == ["Fold 1", "Fold 2", "Fold 3"]
    assert found["use"] == []


def test_a_training_without_an_account_has_no_such_part(tmp_path):
    assert profile_context(tmp_path) == {}


@pytest.fixture
def page(tmp_path):
    use = [{"at_s": 5.0 * n, "process_cpu": 90.0, "process_mb": 800.0 + n} for n in range(4)]
    operators = [{"name": "aten::conv2d", "on": "cpu", "calls": 12.0, "ms": 81.5, "share": 0.61}]
    write(tmp_path, processes=2, use=use, operators=operators, trace="profile/trace.json.gz")
    template = '{% import "macros.html" as ui %}{% include "profile.html" %}'
    return _environment().from_string(template).render(profile=profile_context(tmp_path))


def test_the_page_shows_bars_time_lines_rules_and_operators(page):
    assert page.count("data:image/svg+xml") == 3  # the bars, the processor, the memory
    assert "the account is that of the first of 2 processes" in page
    assert "profile/trace.json.gz" in page
    assert "aten::conv2d" in page
    assert "61.0 %" in page
