"""What is said of a training's time when it is over."""

from __future__ import annotations

from medloom.events import Events, FileMade, Noted
from medloom.files import write_json
from medloom.pipeline import Run, say_profile
from medloom.recipe import load_recipe


def test_what_held_is_said_with_what_to_try_and_the_rest_is_not(tmp_path):
    run, heard = Run.planned(load_recipe("brain-mri-small"), tmp_path), []
    say_profile(run, Events([heard.append]))
    assert heard == []
    rules = [
        {"said": True, "finding": "31 % of a step waits", "advice": "try a disk"},
        {"said": False, "finding": "3 % of the time", "advice": "try nothing"},
    ]
    write_json(tmp_path / "profile.json", {"rules": rules, "trace": "profile/trace.json.gz"})
    say_profile(run, Events([heard.append]))
    assert heard == [Noted("profile: 31 % of a step waits; try a disk"), FileMade(tmp_path / "profile/trace.json.gz")]
    heard.clear()
    write_json(tmp_path / "profile.json", {"rules": rules[1:], "trace": None})
    say_profile(run, Events([heard.append]))
    assert heard == []
