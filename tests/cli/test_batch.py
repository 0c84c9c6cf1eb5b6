"""``medloom batch`` as its user sees it."""

import csv
import io
import json
import os
import signal
import sys
import zipfile

import numpy as np
import pyarrow.parquet as parquet
import pytest

import medloom
from medloom.cli.main import main
from medloom.imaging import encode_png
from medloom.imaging.nifti import write_nifti
from support.bundles import tiny_label_recipe, tiny_recipe, write_tiny_bundle, write_tiny_label_bundle


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    return write_tiny_bundle(
        tmp_path_factory.mktemp("masks") / "model.tar.gz", tiny_recipe(channels=("grey",)), phantom=True
    )


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return write_tiny_label_bundle(tmp_path_factory.mktemp("labels") / "model.tar.gz", tiny_label_recipe(metadata=True))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "P1").mkdir(parents=True)
    for number, name in enumerate(("P1/a.png", "P1/b.png", "c.png")):
        pixels = np.full((20, 24), 30, np.uint8)
        pixels[4:12, 5 : 10 + number] = 240
        (folder / name).write_bytes(encode_png(pixels))
    return folder


def rows_of(out):
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_of_a_thousand_inputs_with_three_bad_ones_there_are_a_thousand_records_in_order(classifier, tmp_path, capsys):
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    good = encode_png(np.full((6, 6), 90, np.uint8))
    bad = {"0000.png": good[:30], "0500.png": b"no image at all", "0999.png": b""}
    for number in range(1000):
        name = f"{number:04d}.png"
        (folder / name).write_bytes(bad.get(name, good))
    assert main(["batch", str(classifier), str(folder), "-o", str(out), "--json"]) == 3
    result = json.loads(capsys.readouterr().out)
    assert (result["inputs"], result["results"], result["failed"]) == (1000, 1000, 3)
    assert result["codes"] == {"empty": 1, "truncated": 1, "unsupported": 1}
    rows = rows_of(out)
    assert [row["file"] for row in rows] == [f"{number:04d}.png" for number in range(1000)]
    assert {row["file"]: row["code"] for row in rows if row["error"]} == {
        "0000.png": "truncated",
        "0500.png": "unsupported",
        "0999.png": "empty",
    }
    assert {row["decision"] for row in rows if not row["error"]} == {"malignant"}
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert main(["batch", str(classifier), str(folder), "-o", str(out), "--json"]) == 3
    again = json.loads(capsys.readouterr().out)
    assert (again["now"], again["failed"], again["codes"]) == (0, 3, result["codes"])
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_the_files_are_those_of_predict_volumes_and_all(segmenter, images, tmp_path, capsys):
    voxels = np.full((4, 20, 24), 30, np.float32)
    voxels[1:3, 4:12, 5:12] = 240
    write_nifti(voxels, np.diag([-1.0, -1.0, 2.0, 1.0]), images / "scan.nii.gz")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(images / "c.png", "deep/c.png")
    command = [str(segmenter), str(images), str(tmp_path / "more.zip"), str(images / "c.png")]
    assert main(["batch", *command, "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "6 of 6 images predicted, 6 with class1" in said
    assert "phantoms" in said
    assert main(["predict", *command, "-o", str(tmp_path / "small")]) == 0
    assert [row["file"] for row in rows_of(tmp_path / "out")] == [
        "P1/a.png",
        "P1/b.png",
        "c.png",
        "scan.nii.gz",
        "deep/c.png",
        "c.png",
    ]
    for path in (tmp_path / "small").rglob("*.*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "out" / path.relative_to(tmp_path / "small")).read_bytes()
    assert (tmp_path / "out/masks/c-2.png").is_file()


def test_files_may_be_named_by_a_list_or_on_standard_input(segmenter, images, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    absolute = (images / "c.png").as_uri()
    lines = f"images/P1/b.png\n\n{absolute}\nimages/none.png\nftp://host/key.png\n"
    (tmp_path / "list.txt").write_text(lines)
    assert main(["batch", str(segmenter), "@list.txt", "-o", "one"]) == 3
    assert main(["batch", str(segmenter), "--list", "list.txt", "-o", "two"]) == 3
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert main(["batch", str(segmenter), "-", "-o", "three"]) == 3
    tables = [(tmp_path / name / "predictions.csv").read_text() for name in ("one", "two", "three")]
    assert tables[0] == tables[1] == tables[2]
    first, second, missing, elsewhere = rows_of(tmp_path / "one")
    assert (first["file"], first["error"]) == ("images/P1/b.png", "")
    assert second["file"].endswith("/images/c.png")
    assert second["mask"] == f"masks{second['file'].removesuffix('.png')}.png"
    assert (tmp_path / "one" / second["mask"]).is_file()
    assert (missing["code"], elsewhere["code"]) == ("unreadable", "wrong_files")
    assert "ftp:// is not read by a batch" in elsewhere["error"]
    assert main(["batch", str(segmenter), "@nothing.txt", "-o", "four"]) == 2
    assert "there is no list of files at nothing.txt" in capsys.readouterr().err


def test_a_table_names_files_with_their_metadata(classifier, images, tmp_path, capsys):
    (images / "people.csv").write_text("who;picture;age;sex\nx;P1/a.png;60;male\ny;P1/b.png;41,5;female\nz;c.png\n")
    command = ["batch", str(classifier), str(images / "people.csv"), "-o", str(tmp_path / "out")]
    assert main([*command, "--id", "picture"]) == 3
    first, second, short = rows_of(tmp_path / "out")
    predictor = medloom.load(classifier)
    for row, age, sex in ((first, 60, "male"), (second, 41.5, "female")):
        expected = predictor.predict((images / row["file"]).read_bytes(), metadata={"age": age, "sex": sex})
        assert float(row["probability_malignant"]) == pytest.approx(expected.scores[1], abs=1e-6)
    assert "2 cells in its row; expected 4" in short["error"]
    capsys.readouterr()
    assert main([*command, "--id", "pictures"]) == 2
    assert "no column 'pictures', did you mean 'picture'" in capsys.readouterr().err


def test_metadata_that_change_are_another_input(classifier, images, tmp_path, capsys):
    table = images / "people.csv"
    command = ["batch", str(classifier), str(table), "-o", str(tmp_path / "out"), "--json"]
    table.write_text("image,age,sex\nP1/a.png,60,male\nc.png,40,male\n")
    assert main(command) == 0
    table.write_text("image,age,sex\nP1/a.png,60,male\nc.png,60,male\n")
    capsys.readouterr()
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["now"] == 1


def test_the_table_can_also_be_parquet_with_numbers_as_numbers(segmenter, images, tmp_path):
    (images / os.fsdecode(b"caf\xe9.png")).write_bytes(b"no image")
    assert main(["batch", str(segmenter), str(images), "-o", str(tmp_path / "out"), "--parquet"]) == 3
    found = parquet.read_table(tmp_path / "out/predictions.parquet").to_pylist()
    rows = rows_of(tmp_path / "out")
    assert [list(row) for row in found] == [list(row) for row in rows]
    assert found[0]["area_px"] == int(rows[0]["area_px"])
    assert found[0]["probability"] == float(rows[0]["probability"])
    assert (found[0]["error"], found[0]["area_mm2"]) == (None, None)
    assert [row["file"] for row in found] == [row["file"] for row in rows]


def test_another_bundle_is_refused_in_the_same_folder(segmenter, classifier, images, tmp_path, capsys):
    out = ["-o", str(tmp_path / "out")]
    assert main(["batch", str(segmenter), str(images), *out]) == 0
    assert main(["batch", str(classifier), str(images), *out]) == 2
    assert "bundle 'tiny', now 'tiny-labels'" in capsys.readouterr().err
    assert main(["batch", str(segmenter), str(images), *out, "--uncertainty", "variance"]) == 2
    assert main(["batch", str(classifier), str(images), *out, "--overwrite"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "batch.json",
        "journal.jsonl",
        "predictions.csv",
    ]


def test_a_model_that_sees_neighbours_is_given_those_in_the_folder(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "model.tar.gz", tiny_recipe(channels=("grey",), context=1))
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        pixels = np.full((20, 24), 30, np.uint8)
        pixels[4 + number % 9 : 12, 5 : 10 + number % 7] = 240
        (folder / f"s_{number}.png").write_bytes(encode_png(pixels))
    for command in ("batch", "predict"):
        assert main([command, str(bundle), str(folder), "-o", str(tmp_path / command)]) == 0
    for path in (tmp_path / "predict").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "batch" / path.relative_to(tmp_path / "predict")).read_bytes()
    assert len(rows_of(tmp_path / "batch")) == 40


def test_progress_is_lines_of_json_where_programs_read_and_says_how_long_it_takes(segmenter, images, tmp_path, capsys):
    assert main(["batch", str(segmenter), str(images), "-o", str(tmp_path / "out"), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert events[-1]["event"] == "progress"
    assert (events[-1]["done"], events[-1]["total"], events[-1]["seconds_left"]) == (3, 3, 0.0)
    assert events[-1]["per_second"] > 0


def test_nothing_to_predict_leaves_nothing(segmenter, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for inputs in ([str(tmp_path / "empty")], [str(tmp_path / "missing")], []):
        assert main(["batch", str(segmenter), *inputs, "-o", str(tmp_path / "out")]) == 2
        assert not (tmp_path / "out").exists()
    capsys.readouterr()


def test_a_stopped_batch_counts_what_is_kept(segmenter, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("medloom.serving.batch.run._Run._tell", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["batch", str(segmenter), str(images), "-o", str(tmp_path / "out"), "--batch-size", "1"]) in (0, 143)
    monkeypatch.undo()
    assert main(["batch", str(segmenter), str(images), "-o", str(tmp_path / "out")]) == 2  # of another batch size
    assert "batch size 1, now 16" in capsys.readouterr().err


def test_a_batch_needs_no_torch_and_no_web_server(segmenter, images, tmp_path, modules_after):
    command = ["batch", str(segmenter), str(images), "-o", str(tmp_path / "out")]
    loaded = modules_after(f"from medloom.cli.main import main\nassert main({command!r}) == 0")
    assert loaded.isdisjoint({"torch", "lightning", "monai", "starlette", "uvicorn"})


def disc(brightness, radius, side=32):
    y, x = np.mgrid[:side, :side]
    inside = (y - side / 2) ** 2 + (x - side / 2) ** 2 < radius**2
    return np.where(inside, brightness, 20).astype(np.uint8), inside


def test_masks_are_measured_in_the_same_go_and_those_without_a_partner_are_counted(segmenter, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(8):
        pixels, inside = disc(240, 5 + number)
        (folder / f"p{number % 4}_{number}.png").write_bytes(encode_png(pixels))
        if number != 7:
            (folder / f"p{number % 4}_{number}_mask.png").write_bytes(encode_png(255 * inside.astype(np.uint8)))
    (folder / "p0_0.png").write_bytes(b"no image")
    command = ["batch", str(segmenter), str(folder), "-o", str(tmp_path / "out"), "--json"]
    assert main([*command, "--labels", str(folder), "--patient-pattern", "(p[0-9])_"]) == 3
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["inputs"], result["failed"]) == (8, 1)
    test = result["evaluation"]["test"]
    assert (test["counts"]["images"], test["counts"]["patients"]) == (6, 4)
    assert test["metrics"]["dice_foreground"]["value"] > 0.9
    assert "1 true mask left out: no mask was predicted" in captured.err
    assert "1 predicted mask left out: there is no true one" in captured.err
    made = tmp_path / "out/evaluation"
    assert {"cases.csv", "summary.json", "report.html"} <= {path.name for path in made.iterdir()}


def test_labels_are_measured_from_a_column_of_the_table_that_names_the_files(classifier, tmp_path, capsys):
    lines = ["picture,age,sex,who,truth"]
    for number in range(30):
        bright = number % 3 == 0
        (tmp_path / f"{number}.png").write_bytes(encode_png(np.full((8, 8), 200 if bright else 10, np.uint8)))
        lines.append(f"{number}.png,50,male,p{number % 15},{'malignant' if bright else 'benign'}")
    (tmp_path / "5.png").write_bytes(b"no image")
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")
    command = ["batch", str(classifier), str(tmp_path / "people.csv"), "-o", str(tmp_path / "out"), "--json"]
    assert main([*command, "--labels", "truth", "--patient", "who", "--group", "sex"]) == 3
    captured = capsys.readouterr()
    summary = json.loads(captured.out)["evaluation"]
    assert summary["test"]["counts"]["images"] == 29
    assert summary["test"]["metrics"]["roc_auc"]["value"] == 1.0
    assert "1 left out: labels line 7: no prediction of this id" in captured.err
    page = (tmp_path / "out/evaluation/report.html").read_text()
    assert "onfusion" in page
    assert main([*command, "--labels", str(tmp_path)]) == 2
    assert "expected a CSV with a label for each image" in capsys.readouterr().err
    assert main([*command, "--target", "truth"]) == 2


def test_masks_alone_are_written_where_nobody_looks_at_overlays(segmenter, images, tmp_path, capsys):
    command = ["batch", str(segmenter), str(images), "-o", str(tmp_path / "out")]
    assert main([*command, "--no-overlays"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "b.png", "c.png"]
    assert [row["overlay"] for row in rows_of(tmp_path / "out")] == ["", "", ""]
    assert main(command) == 2
    assert "overlays False, now None" in capsys.readouterr().err
