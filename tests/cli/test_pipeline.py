"""``medloom pipeline``: an event's arguments, the recipe that they mean, and what comes of it."""

import json

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

import medloom
from medloom.cli.main import main
from medloom.data import buckets
from medloom.imaging import encode_png
from medloom.pipeline.event.gathering import put_model
from medloom.recipe import parse_recipe
from support.bundles import tiny_label_recipe, write_tiny_label_bundle

QUICK = ["train.epochs=1", "preprocess.size=[32, 32]", "train.device=cpu", "evaluate.bootstrap=20"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory with a cache of its own."""
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def event(place):
    """Write an event and return its path; images and labels are in folders beside it."""

    def write(**arguments):
        defaults = {"images_bucket": "scans", "images_labels_bucket": "truth", "model_bucket_name": "./models"}
        (place / "event.json").write_text(json.dumps({**defaults, **arguments}))
        return "event.json"

    return write


@pytest.fixture
def pictures(place):
    """Thirty-six images in two classes, a bright square in one of them."""
    rng = np.random.default_rng(0)
    (place / "scans").mkdir()
    (place / "truth").mkdir()
    found = {}
    for number in range(36):
        pixels = rng.integers(0, 60, (32, 32)).astype(np.uint8)
        pixels[8:20, 8:20] += 150 * (number % 2)
        (place / "scans" / f"scan{number:02}.png").write_bytes(encode_png(pixels))
        found[f"scan{number:02}"] = pixels
    return found


@pytest.fixture
def table(pictures, place):
    lines = ["image,label", *(f"{name},{'sick' if number % 2 else 'well'}" for number, name in enumerate(pictures))]
    (place / "truth" / "labels.csv").write_text("\n".join(lines) + "\n")


def printed(capsys, *words):
    assert main(["pipeline", *words, "--print"]) == 0
    return parse_recipe(capsys.readouterr().out)


def refused(capsys, *words):
    assert main(["pipeline", *words]) == 2
    return capsys.readouterr().err


def test_an_event_prints_the_recipe_that_it_means(event, table, capsys):
    recipe = printed(capsys, event(num_channels=3, num_classes="2"))
    assert (recipe.model.name, recipe.data.channels) == ("alexnet", ("red", "green", "blue"))
    assert (recipe.data.labels.file, recipe.data.labels.image) == ("labels.csv", "image")
    assert printed(capsys, event(), "--shallow").model.name == "perceptron"


@pytest.mark.parametrize("word", ["", "false", "False", "0", "no", 0, False, None])
def test_what_means_false_is_false(event, table, capsys, word):
    assert printed(capsys, event(is_dropbox=word)).name == "pipeline"


@pytest.mark.parametrize("word", ["true", "True", "1", "yes", 1, True])
def test_what_means_true_is_true_and_dropbox_is_refused_with_the_way_to_s3(event, capsys, word):
    said = refused(capsys, event(is_dropbox=word))
    assert "rclone copy" in said
    assert "aws s3 cp" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"image_bucket": "x"}, "did you mean 'images_bucket'?"),
        ({"is_train": "maybe"}, "is_train: expected true, false"),
        ({"label_style": "arrays"}, "did you mean 'array'?"),
        ({"num_classes": "two"}, "num_classes: expected a whole number from 2"),
        ({"num_channels": True}, "num_channels: expected a whole number"),
        ({"num_classes": 5}, "the event says 5, the labels have 2"),
        ({"num_machines": 4}, "medloom sagemaker train"),
        ({"has_labels": ""}, "training needs labels"),
        ({"folder_name": "../.."}, "expected a folder inside"),
        ({"folder_name": "absent"}, "there is no folder 'absent'"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_is_right(event, table, capsys, arguments, said):
    assert said in refused(capsys, event(**arguments))


def test_of_a_table_with_more_columns_the_one_called_label_is_learned(event, pictures, place, capsys):
    (place / "truth" / "labels.csv").write_text("image,patient,label\nscan00,p1,a\nscan01,p2,b\n")
    assert printed(capsys, event(num_classes=2)).target.columns == ("label",)
    (place / "truth" / "labels.csv").write_text("image,patient,level\nscan00,p1,a\nscan01,p2,b\n")
    assert "call the one with the label `label`" in refused(capsys, event())


def test_what_says_how_to_train_is_refused_where_nothing_is_trained(event, table, capsys):
    assert "is_train is false" in refused(capsys, event(is_train="no"), "--shallow")


def test_the_token_is_never_shown(event, table, capsys, place):
    for more in ({}, {"is_train": "maybe"}, {"is_dropbox": "yes"}, {"auth_tokn": 1}):
        main(["pipeline", event(auth_token="s3cr3t", **more), "--print"])
        out = capsys.readouterr()
        assert "s3cr3t" not in out.out + out.err
    (place / "event.json").write_text('{"auth_token": "s3cr3t" "is_train": 1}')
    assert "s3cr3t" not in refused(capsys, "event.json")


def test_arrays_are_masks_with_so_many_classes_or_vectors(event, pictures, place, capsys):
    for name, pixels in pictures.items():
        np.save(place / "truth" / f"{name}.npy", (pixels > 100).astype(np.uint8))
    recipe = printed(capsys, event(label_style="array", num_classes=3))
    assert (recipe.target.kind, recipe.data.layout) == ("masks", "array")
    assert recipe.target.mask_values == {"background": 0, "class-1": 1, "class-2": 2}
    for number, name in enumerate(pictures):
        np.save(place / "truth" / f"{name}.npy", np.array([number % 2, number % 3 == 0], np.float32))
    assert printed(capsys, event(label_style="array")).target.columns == ("class-0", "class-1")


def settings(*more):
    return [word for setting in (*QUICK, *more) for word in ("--set", setting)]


def test_a_model_is_trained_put_in_its_place_and_measured_on_other_images(event, table, place, capsys):
    assert main(["pipeline", event(), "-o", "out", "--shallow", *settings()]) == 0
    assert medloom.load("models/model.tar.gz").target.names == ("sick", "well")
    first = json.loads((place / "out" / "analysis.json").read_text())
    assert first["confusion"]["classes"] == ["sick", "well"]
    assert main(["pipeline", event(is_train="no"), "-o", "second"]) == 0
    found = json.loads((place / "second" / "analysis.json").read_text())
    counts = np.array(found["confusion"]["matrix"])
    assert counts.sum() == 36
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(np.trace(counts) / 36)
    assert {"precision", "sensitivity", "average_precision"} <= set(found["metrics"])


@pytest.mark.slow
def test_masks_are_measured_by_dice_and_jaccard(event, pictures, place, capsys):
    for name, pixels in pictures.items():
        np.save(place / "truth" / f"{name}.npy", (pixels > 100).astype(np.uint8))
    words = settings("model.args={channels: [4, 8], num_res_units: 1}")
    assert main(["pipeline", event(label_style="array"), "-o", "out", *words]) == 0
    metrics = json.loads((place / "out" / "analysis.json").read_text())["metrics"]
    assert {"dice_foreground", "iou_foreground"} <= set(metrics)
    assert main(["pipeline", event(label_style="array", is_train=0), "-o", "second"]) == 0
    metrics = json.loads((place / "second" / "analysis.json").read_text())["metrics"]
    assert {"dice_foreground", "iou_foreground"} <= set(metrics)


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_ENDPOINT_URL": address,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    buckets._client.cache_clear()
    yield boto3.client("s3")
    buckets._client.cache_clear()
    server.stop()


def test_images_and_model_may_be_in_buckets(event, pictures, place, bucket, capsys):
    for name in ("hospital-scans", "hospital-models"):
        bucket.create_bucket(Bucket=name)
    for path in sorted((place / "scans").iterdir())[:5]:
        bucket.upload_file(str(path), "hospital-scans", f"chest/{path.name}")
    bucket.put_object(Bucket="hospital-scans", Key="chest/truth/labels.csv", Body=b"image,label\nscan00,a\nscan01,b\n")
    there = {"images_bucket": "hospital-scans", "model_bucket_name": "hospital-models", "folder_name": "chest"}
    found = printed(capsys, event(**there, images_labels_bucket="s3://hospital-scans"))
    assert found.data.labels.image == "image"
    bundle = write_tiny_label_bundle(place / "tiny.tar.gz", tiny_label_recipe())
    assert put_model(bundle, "hospital-models") == "s3://hospital-models/model.tar.gz"
    assert main(["pipeline", event(**there, is_train=False, has_labels=""), "-o", "out"]) == 0
    assert len((place / "out" / "results" / "predictions.csv").read_text().splitlines()) == 6
    bucket.delete_object(Bucket="hospital-scans", Key="chest/scan00.png")
    assert main(["pipeline", event(**there, is_train=False, has_labels=""), "-o", "out"]) in (0, 2)
    assert not (place / "out" / "fetched" / "images" / "scan00.png").exists()
    said = refused(capsys, event(**{**there, "images_bucket": "no-such-bucket"}))
    assert "images_bucket: there is no folder no-such-bucket here" in said
