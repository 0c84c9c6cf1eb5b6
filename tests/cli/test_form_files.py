"""``--form``: each answer as a segmentation, a report and more, in folders beside the masks and the table."""

import csv
import io
import json

import numpy as np
import pytest
from pydicom import dcmread

from medloom.cli.main import main
from medloom.imaging.dicom_seg import read_segmentation
from medloom.packaging import read_bundle
from medloom.serving import Service, create_app
from support.bundles import tiny_label_recipe, tiny_recipe, write_tiny_bundle, write_tiny_label_bundle
from support.dicom_sources import make_enhanced, make_image, make_series


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "model.tar.gz"
    write_tiny_bundle(path, tiny_recipe(channels=("image",)))
    return path


def _run(*arguments, code=0):
    assert main(list(map(str, arguments))) == code


def _rows(folder):
    return list(csv.DictReader(io.StringIO((folder / "predictions.csv").read_text(encoding="utf-8"))))


def _pixels(*shape):
    return np.random.default_rng(0).integers(0, 900, shape).astype(np.uint16)


@pytest.mark.parametrize("command", ["predict", "batch"])
def test_a_segmentation_and_a_report_lie_beside_the_mask_under_its_name(bundle, tmp_path, command):
    (tmp_path / "in" / "p1").mkdir(parents=True)
    (tmp_path / "in" / "p1" / "a.dcm").write_bytes(make_image(tmp_path, _pixels(24, 30)))
    _run(command, bundle, tmp_path / "in", "-o", tmp_path / "out", "--form", "seg", "--form", "sr")
    (row,) = _rows(tmp_path / "out")
    assert (row["seg"], row["sr"]) == ("seg/p1/a.dcm", "sr/p1/a.dcm")
    found = read_segmentation((tmp_path / "out" / row["seg"]).read_bytes())
    assert np.count_nonzero(found.values) == int(row["area_px"]) > 0
    report, made = (dcmread(tmp_path / "out" / row[form]) for form in ("sr", "seg"))
    assert made.SOPInstanceUID in [one.value for one in report.iterall() if one.keyword == "ReferencedSOPInstanceUID"]


def test_the_file_is_the_one_that_the_server_answers_with(bundle, tmp_path):
    import asyncio

    import httpx

    image = tmp_path / "a.dcm"
    image.write_bytes(make_image(tmp_path, _pixels(24, 30)))
    _run("predict", bundle, image, "-o", tmp_path / "out", "--form", "seg")
    with read_bundle(bundle) as opened:
        application = create_app(Service.of(opened.predictor(threads=1), opened.manifest))

    async def ask():
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post(
                "/invocations?form=seg", content=image.read_bytes(), headers={"Content-Type": "application/dicom"}
            )

    assert asyncio.run(ask()).content == (tmp_path / "out" / "seg" / "a.dcm").read_bytes()


def test_a_folder_that_is_a_series_has_one_segmentation(bundle, tmp_path):
    (tmp_path / "scan").mkdir()
    for number, data in enumerate(make_series(tmp_path, _pixels(3, 24, 30))):
        (tmp_path / "scan" / f"{number}.dcm").write_bytes(data)
    _run(
        "predict", bundle, tmp_path / "scan", "-o", tmp_path / "out", "--series", "0", "--form", "seg", "--form", "tiff"
    )
    (row,) = _rows(tmp_path / "out")
    made = dcmread(tmp_path / "out" / row["seg"])
    assert len(made.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 3
    assert row["tiff"] == "tiff/scan.tiff"


def test_an_input_that_has_no_such_form_is_set_aside_with_the_reason_and_leaves_nothing(bundle, tmp_path):
    from medloom.imaging import encode_png

    (tmp_path / "a.png").write_bytes(encode_png(_pixels(24, 30)))
    (tmp_path / "b.dcm").write_bytes(make_image(tmp_path, _pixels(24, 30)))
    (tmp_path / "image.dcm").unlink()
    _run("predict", bundle, tmp_path / "a.png", tmp_path / "b.dcm", "-o", tmp_path / "out", "--form", "seg", code=3)
    first, second = _rows(tmp_path / "out")
    assert "no DICOM" in first["error"]
    assert second["error"] == ""
    assert [one.name for one in (tmp_path / "out" / "masks").iterdir()] == ["b.png"]


def test_a_form_that_there_is_not_ends_before_any_work_and_names_those_that_there_are(bundle, tmp_path, capsys):
    _run("predict", bundle, tmp_path, "-o", tmp_path / "out", "--form", "segg", code=2)
    assert "seg" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_each_page_of_a_file_that_is_classified_has_a_report_of_its_own_frame(tmp_path):
    labels = tmp_path / "labels.tar.gz"
    write_tiny_label_bundle(labels, tiny_label_recipe(channels=("image",)))
    heights = (2, 0, 1)
    (tmp_path / "film.dcm").write_bytes(make_enhanced(tmp_path, _pixels(3, 24, 30), heights))
    _run("predict", labels, tmp_path / "film.dcm", "-o", tmp_path / "out", "--form", "sr", "--form", "json")
    rows = _rows(tmp_path / "out")
    assert [row["sr"] for row in rows] == [f"sr/film-page{number}.dcm" for number in range(3)]
    report = dcmread(tmp_path / "out" / rows[1]["sr"])
    frames = {one.value for one in report.iterall() if one.keyword == "ReferencedFrameNumber"}
    assert frames == {2}
    said = json.loads((tmp_path / "out" / rows[1]["json"]).read_bytes())
    assert said["decision"] == rows[1]["decision"]


def test_a_form_of_masks_alone_is_refused_for_labels(tmp_path, capsys):
    labels = tmp_path / "labels.tar.gz"
    write_tiny_label_bundle(labels, tiny_label_recipe(channels=("image",)))
    _run("predict", labels, tmp_path, "-o", tmp_path / "out", "--form", "seg", code=2)
    assert "sr" in capsys.readouterr().err


def test_a_batch_with_other_forms_is_another_batch(bundle, tmp_path, capsys):
    (tmp_path / "a.dcm").write_bytes(make_image(tmp_path, _pixels(24, 30)))
    _run("batch", bundle, tmp_path / "a.dcm", "-o", tmp_path / "out", "--form", "seg")
    _run("batch", bundle, tmp_path / "a.dcm", "-o", tmp_path / "out", "--form", "sr", code=2)
    assert "forms" in capsys.readouterr().err
    _run("batch", bundle, tmp_path / "a.dcm", "-o", tmp_path / "out", "--form", "sr", "--overwrite")
    assert not (tmp_path / "out" / "seg").exists()
    assert dcmread(tmp_path / "out" / "sr" / "a.dcm").Modality == "SR"
