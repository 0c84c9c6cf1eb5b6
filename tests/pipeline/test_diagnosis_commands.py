"""`--hook` and `--find-lr` of the command line, on a small run."""

from __future__ import annotations

import json

import pytest
import yaml

from medloom import pipeline
from medloom.cli.main import main
from medloom.files import write_text

HOOK = """
class Mine:
    '''Whether there was an epoch.'''

    def look(self, history):
        return "an epoch is over" if history.moment == "epoch" else None
"""


@pytest.fixture(scope="module")
def prepared(place, pictures, make_recipe):
    """A run that has not begun to train."""
    run = pipeline.Run(place / "runs" / "small", make_recipe(train={"compile": False})).save()
    pipeline.prepare(run, pictures)
    write_text(place / "recipe.yaml", yaml.safe_dump(run.plain()))
    return run.folder


def test_a_rate_is_suggested_and_nothing_else_in_the_run_changes(prepared, capsys):
    before = {path.relative_to(prepared): path.read_bytes() for path in prepared.rglob("*") if path.is_file()}
    assert main(["train", str(prepared), "--find-lr"]) == 0
    said = capsys.readouterr().out
    after = {path.relative_to(prepared): path.read_bytes() for path in prepared.rglob("*") if path.is_file()}
    assert {path.as_posix() for path in after.keys() - before.keys()} == {"find_lr.html", "find_lr.json"}
    assert {path: after[path] for path in before} == before
    found = json.loads((prepared / "find_lr.json").read_text())
    assert f"train.optimizer.lr={found['suggested']:.2g}" in said
    page = (prepared / "find_lr.html").read_text()
    assert f"{found['suggested']:.2g}" in page
    assert "<script" not in page


def test_a_hook_watches_the_training_and_its_findings_are_in_the_report(prepared, tmp_path, capsys):
    write_text(tmp_path / "mine.py", HOOK)
    assert main(["train", str(prepared), "--hook", f"{tmp_path}/mine.py:Mine"]) == 0
    assert "since epoch 1: an epoch is over (Mine)" in capsys.readouterr().err
    assert main(["report", str(prepared)]) == 0
    assert "an epoch is over" in (prepared / "report.html").read_text()


@pytest.mark.parametrize("command", [["train"], ["run", "chest-xray", "--run"]])
def test_a_hook_that_is_not_there_is_refused(prepared, tmp_path, capsys, command):
    assert main([*command, str(prepared), "--hook", f"{tmp_path}/absent.py:Mine"]) == 2
    assert "absent.py:Mine: expected a Python file that is there" in capsys.readouterr().err
