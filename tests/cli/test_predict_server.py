"""``medloom predict --server`` writes what ``medloom predict BUNDLE`` writes, byte for byte, and keeps what it has."""

import csv
import json
import socket
import threading

import nibabel
import numpy as np
import pytest
from PIL import Image as PillowImage
from starlette.responses import Response

from medloom.cli.main import main
from medloom.client import client as client_module
from medloom.client.retries import Retries
from medloom.packaging import read_bundle
from medloom.serving import Model, Models, Service, create_app
from support.bundles import tiny_label_recipe, tiny_recipe, write_tiny_bundle, write_tiny_label_bundle
from support.dicom_sources import make_image, make_series
from support.served import served_at


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "masks": write_tiny_bundle(folder / "masks.tar.gz", tiny_recipe(channels=("grey",)), phantom=True),
        "labels": write_tiny_label_bundle(folder / "labels.tar.gz", tiny_label_recipe(metadata=True)),
    }


@pytest.fixture(scope="module")
def application(bundles):
    models = []
    for name, path in bundles.items():
        with read_bundle(path) as bundle:
            models.append(Model(name, bundle.predictor(threads=1), bundle.manifest))
    with Service(Models(models)) as service:
        yield create_app(service)


@pytest.fixture(scope="module")
def server(application):
    with served_at(application) as address:
        yield f"http://{address}"


@pytest.fixture
def once(monkeypatch):
    """A client that sends nothing twice, so that no test waits."""
    monkeypatch.setattr(client_module, "Retries", lambda: Retries(times=0))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "p1").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 250, (24, 30)).astype(np.uint8)
    pixels[4:12, 5:20] = 250
    PillowImage.fromarray(pixels).save(folder / "a.png")
    PillowImage.fromarray(np.zeros_like(pixels)).save(folder / "p1" / "empty.png")
    PillowImage.fromarray(np.stack([pixels] * 3, axis=-1)).save(folder / "coloured.png")
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:80])
    (folder / "p1" / "b.dcm").write_bytes(make_image(tmp_path, pixels.astype(np.uint16) * 4))
    affine = np.array([[-0.6, 0, 0, 10], [0, 0, 1.5, -20], [0, -0.7, 0, 30], [0, 0, 0, 1]], np.float64)
    (folder / "v.nii").write_bytes(nibabel.Nifti1Image(np.stack([pixels] * 4).T, affine).to_bytes())
    return folder


@pytest.fixture
def run(bundles, server, tmp_path, monkeypatch, capsys):
    """Predicts here and there, and returns what was printed and written."""

    def both(model, *arguments, code):
        found = []
        for name, asked in (("here", [bundles[model]]), ("there", ["--server", server, "--model", model])):
            place = tmp_path / name
            place.mkdir(exist_ok=True)
            monkeypatch.chdir(place)
            assert main([str(one) for one in ("predict", *asked, *arguments, "-o", "out")]) == code
            files = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
            found.append((capsys.readouterr(), {name: path.read_bytes() for name, path in files.items()}))
        return found

    return both


def _rows(table):
    return list(csv.DictReader(table.decode().splitlines()))


def test_masks_overlays_table_and_json_are_those_of_the_bundle(run, images):
    (said, files), (said_there, files_there) = run("masks", images, "--json", code=3)
    assert files_there == files
    assert {"out/masks/v.nii.gz", "out/masks/p1/b.png", "out/overlays/a.png", "out/predictions.csv"} <= set(files)
    assert said_there == said
    results = json.loads(said.out)["results"]
    assert {one["file"]: one["code"] for one in results if one["error"]} == {
        "bad.png": "truncated",
        "coloured.png": "wrong_input",
    }


def test_labels_with_metadata_are_those_of_the_bundle_and_so_are_the_warnings(run, images, tmp_path):
    (images / "p1" / "b.dcm").unlink()
    table = tmp_path / "people.csv"
    table.write_text("image,age,sex\na.png,61,female\np1/empty.png,,other\nnone.png,3,male\n")
    for more in (["--json"], []):
        (said, files), (said_there, files_there) = run("labels", images, "--metadata", table, *more, code=3)
        assert files_there == files
        assert said_there == said
    assert len(_rows(files["out/predictions.csv"])) == 4 + 4  # a volume has a row for each slice


def test_a_file_of_several_pages_has_a_row_for_each_and_one_of_them_can_be_asked_for(run, tmp_path):
    pages = [PillowImage.fromarray(np.full((20, 24), value, np.uint8)) for value in (10, 120, 240)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    for more, rows in (([], 3), (["--page", "1"], 1)):
        (said, files), (said_there, files_there) = run("labels", tmp_path / "pages.tif", *more, code=0)
        assert (files_there, said_there) == (files, said)
        assert len(_rows(files["out/predictions.csv"])) == rows


def test_a_series_and_its_further_forms_are_those_of_the_bundle(run, tmp_path):
    (tmp_path / "scan").mkdir()
    pixels = np.random.default_rng(0).integers(0, 900, (4, 24, 30)).astype(np.uint16)
    for number, content in enumerate(make_series(tmp_path, pixels)):
        (tmp_path / "scan" / f"{number}.dcm").write_bytes(content)
    (said, files), (said_there, files_there) = run("masks", tmp_path / "scan", "--series=", "--form", "seg", code=0)
    assert files_there == files
    assert said_there == said
    assert {"out/seg/scan.dcm", "out/masks/scan.nii.gz"} <= set(files)


class _Ends:
    """An application that answers some images and then none."""

    def __init__(self, application, answers):
        self.application, self.left = application, answers
        self.lock = threading.Lock()

    async def __call__(self, scope, receive, send):
        if scope["path"].endswith("/invocations"):
            with self.lock:
                self.left -= 1
            if self.left < 0:
                return await Response("gone", 503)(scope, receive, send)
        return await self.application(scope, receive, send)


def test_what_was_answered_is_written_when_the_server_ends_in_the_middle(application, tmp_path, once, capsys):
    pixels = np.full((20, 24), 240, np.uint8)
    names = [f"{number:02}.png" for number in range(40)]
    for name in names:
        PillowImage.fromarray(pixels).save(tmp_path / name)
    ends = _Ends(application, 5)
    with served_at(ends) as at:
        asked = ["predict", "--server", f"http://{at}", "--model", "masks", *(str(tmp_path / name) for name in names)]
        assert main([*asked, "-o", str(tmp_path / "out")]) == 3
    assert "5 of 40 images predicted" in capsys.readouterr().out
    rows = _rows((tmp_path / "out" / "predictions.csv").read_bytes())
    assert [row["file"] for row in rows] == names
    assert sorted(row["code"] for row in rows) == [""] * 5 + ["no_answer"] * 35
    assert ends.left > -35  # the rest were not asked once it was plain that nobody answers
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 5


def test_a_server_that_never_answers_is_one_line_and_exits_with_1(images, tmp_path, once, capsys):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert main(["predict", "--server", f"http://127.0.0.1:{port}", str(images), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert f"127.0.0.1:{port} gave no answer" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("body", ["<html>", "[1]", "{}", '{"name": "x", "target": {}}', '{"models": 3}'])
def test_another_kind_of_server_is_said_to_be_one(images, tmp_path, capsys, body):
    with served_at(Response(body, media_type="application/json")) as at:
        assert main(["predict", "--server", f"http://{at}", str(images), "-o", str(tmp_path / "out")]) == 1
    assert "is it a Medloom server?" in capsys.readouterr().err


def test_a_server_that_answers_no_image_at_all_exits_with_1(application, images, tmp_path, once, capsys):
    with served_at(_Ends(application, 0)) as at:
        asked = ["predict", "--server", f"http://{at}", "--model", "masks", str(images / "a.png")]
        assert main([*asked, "-o", str(tmp_path / "out")]) == 1
    assert "503" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--threads", "2"], "--threads is about a bundle that runs on this machine"),
        (["--uncertainty="], "--uncertainty is about a bundle"),
        (["--strict"], "--strict is about a bundle"),
        (["--runtime", "onnx"], "--runtime is about a bundle"),
        (["--provider", "GPU"], "--provider is about a bundle"),
        ([], "several models and none was named; expected one of: masks, labels"),
        (["--model", "none"], "no model none; expected one of: masks, labels"),
        (["--model", "labels", "--form", "seg"], "seg"),
        (["--model", "masks", "--token-file", "missing"], "--token-file names missing"),
        (["--model", "masks", "--metadata", "missing.csv"], "takes no metadata"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "said",
)
def test_what_makes_no_sense_with_a_server_is_refused_with_a_sentence(
    server, images, tmp_path, capsys, arguments, expected
):
    asked = ["predict", "--server", server, *arguments, str(images), "-o", str(tmp_path / "out")]
    assert main(asked) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_of_a_server_without_one_and_a_bundle_without_images_are_refused(bundles, images, tmp_path, capsys):
    out = ["-o", str(tmp_path / "out")]
    assert main(["predict", str(bundles["masks"]), str(images), "--model", "masks", *out]) == 2
    assert "--server" in capsys.readouterr().err
    assert main(["predict", str(bundles["masks"]), *out]) == 2
    assert "no images are named" in capsys.readouterr().err
