"""``--backend sagemaker`` does what the command of SageMaker's own does, and says what has no meaning there."""

from __future__ import annotations

import json

import pytest

from medloom.cli.main import COMMANDS, command_of, main
from medloom.registry import BACKENDS
from support.aws import IMAGE


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with images, no credentials, and an address at which nobody answers."""
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("MEDLOOM_IMAGE", IMAGE)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"one")
    return tmp_path


def printed(capsys, *arguments):
    assert main([*arguments]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    assert main([*arguments]) == 2
    return capsys.readouterr().err


COMMON = ("brain-mri-small", "--data", "images", "--dry-run", "--set", "train.epochs=3")
THERE = ("--spot", "--instance", "ml.g5.2xlarge", "--machines", "2", "--tag", "cost-centre=7")
ON = [
    word
    for option in ("spot", "instance=ml.g5.2xlarge", "machines=2", "tag=cost-centre=7")
    for word in ("--on", option)
]


@pytest.mark.parametrize("verb", ["train", "run"])
def test_a_training_elsewhere_is_the_one_of_that_place(here, capsys, verb):
    asked = printed(capsys, verb, *COMMON, "--backend", "sagemaker", *ON)
    assert asked == printed(capsys, "sagemaker", "train", *COMMON, *THERE)
    assert asked["calls"][0]["parameters"]["HyperParameters"]["train.epochs"] == "3"


def test_a_search_elsewhere_is_the_one_of_that_place(here, capsys):
    own = ("--trials", "3", "--study", "mine")
    asked = printed(capsys, "tune", *COMMON, *own, "--backend", "sagemaker", *ON)
    assert asked == printed(capsys, "sagemaker", "tune", *COMMON, *own, *THERE)
    assert asked["trials"] == 3
    (call,) = asked["calls"]
    assert call["parameters"]["HyperParameters"] == {"run": "mine-trial-0000"}
    assert list(here.iterdir()) == [here / "images"]


def test_what_stands_for_a_key_of_the_recipe_travels_with_it(here, capsys):
    asked = printed(capsys, "run", *COMMON, "--seeds", "2", "--profile", "--backend", "sagemaker")
    settings = asked["calls"][0]["parameters"]["HyperParameters"]
    assert (settings["train.seeds"], settings["train.profile"]) == ("2", "full")


def test_a_run_that_is_here_goes_there_with_its_own_recipe(here, capsys):
    assert main(["init", "image-mask", "-o", "mine.yaml"]) == 0
    run = here / "runs" / "mine"
    run.mkdir(parents=True)
    (here / "mine.yaml").rename(run / "recipe.yaml")
    capsys.readouterr()
    asked = printed(capsys, "train", "mine", "--data", "images", "--dry-run", "--backend", "sagemaker")
    parameters = asked["calls"][0]["parameters"]
    assert parameters["HyperParameters"] == {"run": "mine"}
    assert [one["ChannelName"] for one in parameters["InputDataConfig"]] == ["recipe", "training"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", *COMMON, "--backend", "sagemakr"), "did you mean 'sagemaker'?; valid: local, sagemaker"),
        (("train", *COMMON, "--backend", "sagemaker", "--find-lr"), "--find-lr: medloom sagemaker train, which"),
        (("tune", *COMMON, "--backend", "sagemaker", "--folds", "3"), "--folds: medloom sagemaker tune, which"),
        (("train", *COMMON, "--backend", "sagemaker", "--on", "spott"), "no such option, did you mean 'spot'?; it has"),
        (("train", *COMMON, "--backend", "sagemaker", "--on", "instance"), "such as --on instance=VALUE"),
        (("train", *COMMON, "--backend", "sagemaker", "--on", "spot=maybe"), "expected true or false; got 'maybe'"),
        (("train", *COMMON, "--backend", "sagemaker", "--on", "data=x"), "an option of this command itself: --data"),
        (("train", *COMMON, "--on", "spot"), "name one: --backend sagemaker"),
        (("run", *COMMON, "--backend", "sagemaker", "--on", "volume=much"), "Invalid value for '--volume'"),
    ],
)
def test_what_has_no_meaning_there_is_said(here, capsys, arguments, said):
    assert said in refused(capsys, *arguments)


def test_an_image_that_nobody_named_is_asked_for(here, capsys, monkeypatch):
    monkeypatch.delenv("MEDLOOM_IMAGE")
    assert "Missing option '--image' (env var: 'MEDLOOM_IMAGE')" in refused(
        capsys, "train", *COMMON, "--backend", "sagemaker"
    )


def test_here_a_dry_run_prints_the_process(here, capsys):
    (request,) = printed(capsys, "train", "tiny", "--dry-run", "--set", "train.epochs=3")
    assert request["command"][-3:] == ["train", "tiny", "--set=train.epochs=3"]


def test_every_command_that_a_back_end_names_is_there():
    for entry in BACKENDS.values():
        for here_name, there in entry.traits.get("commands", {}).items():
            options = {option for param in command_of(here_name).params for option in param.opts}
            assert there in COMMANDS
            assert {"--backend", "--on", "--dry-run"} <= options
            assert "--dry-run" in {option for param in command_of(there).params for option in param.opts}


def test_several_machines_share_one_training_and_all_of_them_cost(here, capsys):
    assert main(["sagemaker", "train", *COMMON, "--machines", "4", "--max-time", "1h"]) == 0
    captured = capsys.readouterr()
    parameters = json.loads(captured.out)["calls"][0]["parameters"]
    assert parameters["ResourceConfig"]["InstanceCount"] == 4
    assert parameters["EnableInterContainerTrafficEncryption"] is True
    ways = [one["DataSource"]["S3DataSource"]["S3DataDistributionType"] for one in parameters["InputDataConfig"]]
    assert set(ways) == {"FullyReplicated"}
    assert "4 x ml.g5.xlarge: at most 6.28 USD" in captured.err


def test_several_machines_distil_no_network(here, capsys):
    settings = ("--set", "split.folds=2", "--set", "package.serve=distilled")
    said = refused(capsys, "sagemaker", "train", *COMMON, "--machines", "2", *settings)
    assert "--machines 2: with package.serve=distilled one network learns from the others" in said
