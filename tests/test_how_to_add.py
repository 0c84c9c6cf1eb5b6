"""What CONTRIBUTING says of adding something is enough: each of its lines is followed here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from medloom import registry
from medloom.cli import main as cli
from medloom.data.layouts import build_layout
from medloom.errors import RecipeError, UserError
from medloom.inference import build_runtime
from medloom.models.kinds import KINDS, build_network
from medloom.recipe import library, load_recipe, parse_recipe
from medloom.recipe.reference import allowed_at
from medloom.recipe.sections.training import TrainConfig
from medloom.registry import Entry
from medloom.training.profiling.account import Account
from medloom.training.profiling.rules import RULES, judge

ROOT = Path(__file__).parents[1]

FOLLOWED = {
    "A recipe key": "tests/recipe: the reference and the schema are those of the sections",
    "A built-in recipe": "below",
    "A network": "below",
    "A step of augmentation": "tests/transforms/test_augment_levels.py",
    "A rule that watches a training": "tests/training/test_diagnosis_rules.py: every rule is provoked",
    "A loss": "below",
    "A rule on how a training spends its time": "below",
    "A layout": "below",
    "A family of folders that `medloom init` knows": "tests/data/survey/test_publishers.py",
    "An image format": "below",
    "A runtime": "below",
    "A form of an answer": "below",
    "A tracker": "tests/contracts/test_trackers.py",
    "A kind of answer": "tests/test_new_kind.py",
    "A part of a report": "tests/e2e/test_pages.py, in a real browser",
    "A method of explanation": "tests/explanation/test_methods.py",
    "A protocol of the server": "tests/serving/test_openapi.py: every path is described",
    "A back end": "tests/backends",
    "A command": "below",
    "A dependency": "tests/test_house.py: every dependency is pinned",
}


def test_every_line_of_the_page_is_followed():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## How to add")[2].partition("\n## ")[0]
    assert re.findall(r"^- \*\*(.+?)\*\*", section, re.MULTILINE) == list(FOLLOWED)


def test_a_form_of_an_answer_is_a_line_that_the_server_and_the_commands_offer(monkeypatch):
    from medloom.inference.forms import forms_for
    from medloom.serving.answers import accept_for, check_accept, media_types

    traits = {"media": "text/x-pixels", "suffix": ".txt", "of": ("image",)}
    monkeypatch.setitem(registry.FORMS, "pixels", Entry("pixels", "medloom.inference.forms.plain:to_json", (), traits))
    assert "pixels" in forms_for("binary", volume=False)
    assert "pixels" not in forms_for("binary", volume=True)
    assert accept_for(["pixels"]) == "text/x-pixels"
    assert check_accept("text/x-pixels", media_types("masks", volume=False)) == "text/x-pixels"


def test_a_recipe_key_is_a_field_with_a_docstring(monkeypatch):
    field = TrainConfig.model_fields["epochs"]
    assert allowed_at(("train", "epochs"))["description"] == field.description
    assert field.description


def test_a_network_is_a_line_and_a_builder(monkeypatch):
    monkeypatch.setitem(registry.NETWORKS, "tiny", Entry("One layer", "support.additions:one_convolution", ("masks",)))
    recipe = parse_recipe("name: x", ["model.name=tiny", "model.args={width: 3}", "preprocess.size=[32, 32]"])
    assert build_network(recipe, 2, 0)(torch.zeros(1, 2, 32, 32)).shape == (1, 1, 32, 32)
    assert "tiny" in allowed_at(("model", "name"))["enum"]
    with pytest.raises(RecipeError, match="did you mean 'tiny'"):
        parse_recipe("name: x", ["model.name=tinny"])
    with pytest.raises(RecipeError, match="widht"):
        KINDS["masks"].check(parse_recipe("name: x", ["model.name=tiny", "model.args={widht: 3}"]))


def test_a_rule_on_time_is_a_line_and_a_function(monkeypatch):
    title = "Pictures take much of the time"
    said = "half of the time", "draw fewer"
    monkeypatch.setitem(RULES, "pictures", (title, lambda account: ([0.5, None], lambda held: said)))
    found = judge(Account())[-1]
    assert (found.rule, found.title, found.samples, found.fired) == ("pictures", title, 2, 1)
    assert (found.finding, found.advice, found.said) == (*said, True)


def test_a_loss_is_a_line_and_a_builder(monkeypatch):
    monkeypatch.setitem(registry.LOSSES, "absolute", Entry("Mean distance", "support.additions:absolute", ("masks",)))
    loss = KINDS["masks"].build_loss(parse_recipe("name: x", ["loss.name=absolute"]), None)
    assert loss(torch.zeros(1, 1, 4, 4), torch.ones(1, 4, 4)).item() == 0.5
    assert "absolute" in allowed_at(("loss", "name"))["enum"]
    assert "absolute" not in allowed_at(("loss", "name"), "binary")["enum"]


def test_a_layout_is_a_line_and_a_builder(monkeypatch):
    monkeypatch.setitem(registry.LAYOUTS, "flat", Entry("in/ beside out/", "support.additions:build_flat", ("masks",)))
    recipe = parse_recipe("name: x", ["data.layout=flat"])
    found = build_layout(recipe).find(["in/a.png", "out/a.png"], Path.read_bytes)
    assert [(item.images, item.mask) for item in found.items] == [(("in/a.png",), "out/a.png")]


def test_a_format_is_a_line_and_a_file(tmp_path):
    code = """
from medloom import registry
from medloom.registry import Entry
from medloom.training.profiling.account import Account
from medloom.training.profiling.rules import RULES, judge
registry.FORMATS["grey"] = Entry("Bytes of grey", "support.grey:GREY")
from medloom.imaging import decode, inspect, strip_suffix
data = b"GREY" + bytes([2]) + bytes(range(4))
image = decode(data, content_type="image/x-grey")
print(image.pixels[..., 0].tolist(), inspect(data).width, strip_suffix("a.b.grey"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "tests", check=True)
    assert done.stdout.split("\n")[0] == "[[0, 1], [2, 3]] 2 a.b"


def test_a_runtime_is_a_line_and_a_file(monkeypatch, tmp_path):
    monkeypatch.setitem(registry.RUNTIMES, "half", Entry("Never sure", "support.additions:AlwaysHalf"))
    runtime = build_runtime("half", tmp_path / "model.onnx")
    assert runtime.run(np.zeros((2, 1, 4, 4), np.float32)).mean() == 0.5
    assert parse_recipe("name: x", ["package.runtime=half"]).package.runtime == "half"
    with pytest.raises(UserError, match="did you mean 'half'"):
        build_runtime("halff", tmp_path / "model.onnx")


def test_a_built_in_recipe_is_a_file(monkeypatch, tmp_path):
    (tmp_path / "fundus.yaml").write_text("name: fundus\ndescription: Vessels\ntarget: {kind: masks}\n")
    monkeypatch.setattr(library, "_builtins", lambda: tmp_path)
    assert library.builtin_summaries() == {"fundus": "Vessels"}
    assert load_recipe("fundus").predicts().kind == "masks"


def say_hello() -> None:
    sys.stdout.write("hello\n")


def test_a_command_is_a_line_and_a_file(monkeypatch, capsys):
    monkeypatch.setitem(cli.COMMANDS, "hello", "Say hello.")
    monkeypatch.setitem(sys.modules, "medloom.cli.hello", type("hello", (), {"command": staticmethod(say_hello)}))
    assert cli.main(["hello"]) == 0
    assert capsys.readouterr().out == "hello\n"
