"""What is wrong is said in a few lines of each kind, and before images are read where no image is needed to see it."""

from __future__ import annotations

import pickle

import pytest
import yaml

from medloom import pipeline
from medloom.cli.main import main
from medloom.errors import DataError
from medloom.events import Events
from medloom.files import write_bytes, write_text
from medloom.pipeline import Run, bundle_of
from medloom.recipe import load_recipe, parse_recipe

PAIRS = """
name: pairs
data: {layout: image-mask, image: "images/{patient}.png", mask: "masks/{patient}.png"}
preprocess: {size: [32, 32]}
model: {args: {channels: [4, 8], num_res_units: 1}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    write_text(tmp_path / "pairs.yaml", PAIRS)
    return tmp_path


def test_a_message_shows_ten_of_a_kind_and_counts_the_rest():
    problems = [f"{number}.png: an image without its mask" for number in range(162)]
    problems += [f"{number}.tif: strip {number} is cut" for number in range(3)]
    error = DataError("files do not fit", problems)
    lines = str(error).splitlines()
    assert len([line for line in lines if "without its mask" in line]) == 10
    assert len([line for line in lines if "is cut" in line]) == 3
    assert lines[-1] == "  - and 152 more"
    error.listed_in = "runs/x/problems.txt"
    assert str(error).endswith("and 152 more, see runs/x/problems.txt")
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


@pytest.mark.parametrize("command", ["prepare", "run"])
def test_the_rest_is_listed_in_the_run_and_the_next_command_takes_the_folder(here, command, capsys):
    for number in range(162):
        write_bytes(here / "data" / "images" / f"{number}.png", b"")
    words = [command, "pairs.yaml", "--data", "data", "--run", "one", "--workers", "1"]
    for _ in range(2):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.count("an image without its mask") == 10
        assert "and 152 more, see runs/one/problems.txt" in said
    listed = (here / "runs" / "one" / "problems.txt").read_text().splitlines()
    assert {line.partition(": ")[0] for line in listed} == {f"images/{number}.png" for number in range(162)}


def test_what_was_set_aside_is_shown_in_part_and_listed_until_it_is_mended(pictures, make_recipe, here, capsys):
    recipe = make_recipe(data={"policy": "quarantine", "quarantine_limit": 0.9})
    write_text(here / "recipe.yaml", yaml.safe_dump(recipe.plain()))
    words = ["prepare", "recipe.yaml", "--run", "one", "--workers", "1", "--data"]
    for path in [pictures / "labels.csv", *(pictures / "pictures").iterdir()]:
        number = int(path.stem[-2:]) if path.suffix == ".png" else 0
        bad = path.suffix == ".png" and number % 2 and number < 36
        write_bytes(here / "set" / path.relative_to(pictures), b"no picture" if bad else path.read_bytes())
    assert main([*words, "set"]) == 3
    said = capsys.readouterr().err
    assert said.count("set aside: pictures/") == 10
    assert "and 8 more, see runs/one/problems.txt" in said
    assert len((here / "runs" / "one" / "problems.txt").read_text().splitlines()) == 18
    assert main([*words, str(pictures)]) == 0
    assert not (here / "runs" / "one" / "problems.txt").exists()


WRONG = {
    "a network": (["model.name=resnet1"], "resnet1"),
    "weights": (["model.name=resnet18", "model.weights=none.safetensors"], "there is no file none.safetensors"),
    "a file of torch": (["model.name=resnet18", "model.weights=a.pt"], "there is no file a.pt"),
    "precision": (["train.precision=fp16"], "fp16 needs a GPU"),
    "a device": (["train.device=cuda"], "train.device: 1 GPU"),
    "the hub": (["model.name=resnet18", "model.weights=imagenet"], "could not be loaded from the hub"),
}


@pytest.fixture
def unread(monkeypatch, here, pictures, make_recipe):
    """Images that nobody may read; without a GPU and without a hub."""
    recipe = make_recipe(preprocess={"size": [32, 32]})
    write_text(here / "recipe.yaml", yaml.safe_dump(recipe.plain()))

    def read(self, name):
        raise AssertionError(f"{name} was read")

    def refuse(*args, **kwargs):
        raise OSError("no hub")

    import timm

    create = timm.create_model
    monkeypatch.setattr("medloom.data.sources.FolderSource.read", read)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: refuse() if k.get("pretrained") else create(*a, **k))
    return pictures


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_trained_is_refused_before_an_image_is_read(unread, name, capsys):
    settings, said = WRONG[name]
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["run", "recipe.yaml", "--data", str(unread), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a network", "weights", "a file of torch"])
def test_preparing_refuses_a_network_that_cannot_be_built(unread, name, capsys):
    settings, said = WRONG[name]
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["prepare", "recipe.yaml", "--data", str(unread), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["precision", "a device"])
def test_preparing_warns_of_what_only_training_here_would_lack(name, make_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    settings, said = WRONG[name]
    recipe = parse_recipe(yaml.safe_dump(make_recipe().plain()), settings)
    heard = []
    pipeline.check_recipe(Run.planned(recipe, tmp_path), trains=False, events=Events([heard.append]))
    assert said in heard[0].text


def test_a_run_stands_for_its_bundle(here, monkeypatch, capsys):
    run = Run.start(load_recipe("brain-mri"), here / "runs" / "one")
    for given in ("one", "runs/one", str(run.folder)):
        for command in (["verify", given], ["predict", given, "x.png", "-o", "out"], ["serve", given]):
            assert main(command) == 2
            assert "runs/one is a run that has no bundle yet; `medloom run`" in capsys.readouterr().err
    write_text(run.folder / "evaluation" / "summary.json", "{}")
    assert main(["verify", "one"]) == 2
    assert "`medloom package runs/one` makes it" in capsys.readouterr().err
    write_bytes(run.bundle, b"bundle")
    assert {bundle_of(path).resolve() for path in (run.folder, here / "runs" / "one")} == {run.bundle}
    assert bundle_of(run.bundle) == run.bundle
    assert main(["verify", "one"]) == 2
    assert "model.tar.gz" in capsys.readouterr().err


def test_masks_of_others_that_do_not_fit_are_listed_beside_where_the_metrics_would_be(here, capsys):
    for number in range(40):
        write_bytes(here / ("truth" if number < 35 else "guess") / f"{number}.png", b"")
    words = ["evaluate", "--labels", "truth", "--predictions", "guess", "-o", "out"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("no predicted mask") == 10
    assert said.count("no true mask") == 5
    assert "and 25 more, see out/problems.txt" in said
    assert len((here / "out" / "problems.txt").read_text().splitlines()) == 40
