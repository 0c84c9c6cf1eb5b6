"""The try-it page as somebody sees it: a real server, real bundles, a real browser."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

import medloom
from medloom.data.whole import read_whole
from medloom.inference.volumes import predict_volume
from support import browser
from support.bundles import tiny_label_recipe, tiny_recipe, write_tiny_bundle, write_tiny_label_bundle
from support.dicoms import write_dicom
from support.visitor import NO_WEBGL, ORANGE, near, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.executable() is None, reason="needs a browser: apt-get install chromium"),
]

PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "colour": write_tiny_bundle(folder / "colour.tar.gz", tiny_recipe(), phantom=True),
        "grey": write_tiny_bundle(folder / "grey.tar.gz", tiny_recipe(channels=("grey",))),
        "labels": write_tiny_label_bundle(folder / "labels.tar.gz", tiny_label_recipe(metadata=True)),
    }


@pytest.fixture(scope="module")
def url(bundles):
    """Where a server of all bundles answers."""
    with serving(*(f"{name}={path}" for name, path in bundles.items())) as found:
        yield found


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Files with something bright in them."""
    folder = tmp_path_factory.mktemp("images")
    rows, columns = np.mgrid[:60, :80]
    bright = np.exp(-((rows - 22) ** 2 + (columns - 50) ** 2) / 120) * 255
    colours = np.stack([bright / 3, bright / 2, bright], -1).astype(np.uint8)
    Image.fromarray(colours).save(folder / "bright.png")
    tifffile.imwrite(folder / "bright.tif", colours)
    Image.fromarray(bright.astype(np.uint8)).save(folder / "grey.png")
    (folder / "text.png").write_text("This is no picture.")
    strength = 1 - np.abs(np.arange(9) - 5) / 6
    voxels = (strength[:, None, None] * bright * 4).astype(np.int16)
    affine = np.array([[-0.8, 0, 0, 30], [0, -0.8, 0, 20], [0, 0, 2.5, -10], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(voxels.T, affine), folder / "volume.nii.gz")
    for number, plane in enumerate(voxels.astype(np.uint16)):
        lies = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 2.5 * number]}
        sized = {"PixelSpacing": [0.8, 0.8], "SliceThickness": 2.5, "InstanceNumber": number + 1}
        part = {"Modality": "MR", "StudyInstanceUID": "1.2.9", "FrameOfReferenceUID": "1.2.8"}
        write_dicom(folder / "series" / f"{number}.dcm", plane, "Jane", number=number, **lies, **sized, **part)
    return folder


@pytest.mark.parametrize("name", ["bright.png", "bright.tif"])
def test_what_is_shown_of_an_image_is_what_the_model_says(visit, images, bundles, name):
    expected = medloom.load(bundles["colour"], kind="masks").predict(images / name)
    visitor = visit()
    visitor.give(images / name, model="colour")
    assert f"{expected.area_px:,} pixels" in visitor.text(".headline")
    ((label, pixels, probability),) = visitor.cells("#answer table")
    assert (label, pixels) == ("class1", f"{expected.area_px:,}")
    assert float(probability.strip("> %")) == pytest.approx(100 * expected.probability, abs=0.06)
    mask = np.asarray(Image.open(io.BytesIO(visitor.download("Mask (PNG)"))))
    np.testing.assert_array_equal(mask, expected.value_mask)
    assert visitor.page.locator("#phantom").is_visible()


def test_the_answer_lies_on_the_picture_and_can_be_taken_off(visit, images):
    visitor = visit()
    visitor.give(images / "bright.png", model="colour")
    with_answer = visitor.picture()
    visitor.page.focus("#stage")
    visitor.page.keyboard.press("f")
    visitor.page.keyboard.press("o")
    assert near(with_answer, ORANGE) > 100
    assert near(visitor.picture(), ORANGE) == 0
    visitor.page.keyboard.press("h")
    visitor.page.locator("#scale").wait_for()
    assert visitor.page.is_checked("#show-heat")
    assert not np.array_equal(visitor.picture(), with_answer)


def test_the_window_changes_what_is_bright(visit, images):
    visitor = visit()
    visitor.give(images / "grey.png", model="grey")
    for key in "fo":
        visitor.page.locator("#stage").press(key)
    before = visitor.picture().mean()
    visitor.page.fill("#level", "30")
    visitor.page.fill("#width", "20")
    visitor.page.press("#width", "Enter")
    assert visitor.picture().mean() > before + 5
    assert visitor.page.input_value("#preset") == ""
    visitor.page.select_option("#preset", label="0 to 255")
    assert abs(visitor.picture().mean() - before) < 1


@pytest.mark.parametrize("name", ["volume.nii.gz", "series"])
def test_a_volume_is_scrolled_and_measured(visit, images, bundles, name):
    files = sorted((images / name).iterdir()) if name == "series" else [images / name]
    expected = _whole(bundles["grey"], files)
    visitor = visit()
    visitor.give(*files, model="grey")
    assert f"{expected.volume_ml:.3g} ml" in visitor.text(".headline")
    largest = int(np.argmax(expected.slice_px[:, 1]))
    assert visitor.text("#slice-said") == f"{largest + 1} of 9"
    shown = visitor.picture()
    visitor.page.locator("#stage").press("Home")
    assert visitor.text("#slice-said") == "1 of 9"
    assert not np.array_equal(visitor.picture(), shown)
    visitor.page.locator("#stage").press("ArrowDown")
    assert visitor.text("#slice-said") == "2 of 9"
    packed = visitor.download("Mask (NIfTI)")
    mask = np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(packed)).dataobj).T
    np.testing.assert_array_equal(mask, expected.value_mask)
    offered = visitor.page.get_by_role("button", name="Segmentation (DICOM SEG)")
    assert offered.count() == (name == "series")
    if name == "series":
        segmentation = pydicom.dcmread(io.BytesIO(visitor.download("Segmentation (DICOM SEG)")))
        assert segmentation.Modality == "SEG"
        assert int(segmentation.pixel_array.sum()) == expected.area_px
        assert pydicom.dcmread(io.BytesIO(visitor.download("Report (DICOM SR)"))).Modality == "SR"


def _whole(bundle, files):
    predictor = medloom.load(bundle)
    if len(files) == 1:
        return predict_volume(predictor, read_whole(files[0].read_bytes()))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in files:
            archive.write(path, path.name)
    return predict_volume(predictor, read_whole(packed.getvalue()))


def test_classes_come_with_their_probabilities_and_metadata_count(visit, images, bundles):
    predictor = medloom.load(bundles["labels"], kind="binary")
    visitor = visit()
    visitor.give(images / "grey.png", model="labels")
    alone = predictor.predict(images / "grey.png")
    assert f"{alone.decision[0]}: malignant has {_percent(alone.by_name['malignant'])}" in visitor.text(".headline")
    assert "age was not given" in visitor.text("#answer .callout")
    visitor.page.get_by_label("age", exact=True).fill("55")
    visitor.page.get_by_label("sex", exact=True).select_option("male")
    visitor.give(images / "grey.png")
    told = predictor.predict(images / "grey.png", metadata={"age": 55, "sex": "male"})
    assert told.by_name != alone.by_name
    rows = {row[0].split("\n")[0].removesuffix("decided").strip(): row[1] for row in visitor.cells("#answer table")}
    assert rows == {name: _percent(share) for name, share in told.by_name.items()}
    assert visitor.page.locator("#answer .callout").count() == 0


def _percent(share):
    return "> 99.9 %" if 0.9995 < share < 1 else "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def test_the_list_is_judged_and_taken_away_as_csv(visit, images):
    visitor = visit()
    visitor.give(images / "bright.png", images / "bright.tif", images / "text.png", model="colour")
    assert [row[2] for row in visitor.cells("#list")] == ["class1", "class1", "not answered"]
    visitor.page.get_by_role("button", name="Reject").click()
    visitor.page.get_by_label("Comment").fill('=too large, "at the edge"')
    visitor.page.get_by_role("button", name="bright.tif").click()
    visitor.settle()
    visitor.page.get_by_role("button", name="Accept").click()
    rows = list(csv.DictReader(io.StringIO(visitor.download("Export as CSV").decode("utf-8-sig"))))
    assert [row["image"] for row in rows] == ["bright.png", "bright.tif", "text.png"]
    assert [row["judgement"] for row in rows] == ["rejected", "accepted", ""]
    assert rows[0]["comment"] == '\'=too large, "at the edge"'  # which no spreadsheet runs
    assert rows[0]["phantom"] == "yes"
    assert int(rows[0]["pixels"]) > 0
    assert "none of dicom" in rows[2]["error"]
    visitor.page.reload()
    assert visitor.page.locator("#list-empty").is_visible()


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("text.png", "colour", "The input is none of dicom, tiff, png"),
        ("grey.png", "colour", "The image has 1 channel"),
        ("empty.png", "colour", "empty.png is empty"),
        ("large.tif", "colour", "large.tif has 26.0 MB; this server takes at most 25.0 MB"),
    ],
)
def test_what_cannot_be_answered_is_said_and_no_other_picture_stays(visit, images, tmp_path, name, model, said):
    path = images / name
    if not path.exists():
        path = tmp_path / name
        path.write_bytes(bytes(26 * 2**20 if name == "large.tif" else 0))
    visitor = visit()
    visitor.give(images / "bright.png", model=model)
    visitor.give(path)
    assert said in visitor.text("#trouble")
    assert near(visitor.picture(), ORANGE) == 0
    assert visitor.text("#answer") == ""
    visitor.give(images / "bright.png")
    assert not visitor.page.locator("#trouble").is_visible()


def test_what_an_answer_took_is_said_stage_by_stage(visit, images):
    visitor = visit()
    visitor.give(images / "bright.png", model="colour")
    times = next(text for text in visitor.page.locator(".facts dd").all_inner_texts() if "to the answer" in text)
    stages = re.findall(r"(\w+) (?:\d+ ms|\d+\.\d s)(?:,|$)", times.partition(": ")[2])
    assert stages == ["reading", "queue", "decoding", "preparing", "predicting", "writing", "way"]
    read = "[...performance.getEntriesByType('resource')].find((one) => one.name.endsWith('/invocations'))"
    known = visitor.value(f"{read}.serverTiming.map(({{name, duration}}) => [name, duration])")
    assert {"read", "queue", "decode", "prepare", "predict", "encode", "total"} == {name for name, _ in known}
    assert dict(known)["total"] > 0


def test_a_large_picture_is_shown_smaller_and_its_mask_is_whole(visit, bundles, tmp_path):
    pixels = np.zeros((2100, 2500), np.uint8)
    pixels[1200:1500, 400:800] = 255
    Image.fromarray(pixels).save(tmp_path / "large.png")
    expected = medloom.load(bundles["grey"], kind="masks").predict(tmp_path / "large.png")
    visitor = visit()
    visitor.give(tmp_path / "large.png", model="grey")
    assert "2500 × 2100, shown at 1/2 of its size" in visitor.text(".facts")
    assert near(visitor.picture(), ORANGE) > 30
    mask = np.asarray(Image.open(io.BytesIO(visitor.download("Mask (PNG)"))))
    np.testing.assert_array_equal(mask, expected.value_mask)


def test_files_can_be_dropped_and_pasted(visit, images):
    visitor = visit()
    visitor.page.select_option("#model", "grey")
    data = (images / "grey.png").read_bytes()
    for event in ("DragEvent('drop', {dataTransfer: data", "ClipboardEvent('paste', {clipboardData: data"):
        visitor.value(
            f"(() => {{ const data = new DataTransfer(); data.items.add(new File([new Uint8Array({list(data)})], "
            f"'given.png')); document.body.dispatchEvent(new {event}, bubbles: true, cancelable: true}})); }})()"
        )
        visitor.settle()
    visitor.page.locator("#list tbody tr").nth(1).wait_for()
    visitor.settle()
    assert [row[2] for row in visitor.cells("#list")] == ["class1", "class1"]


def test_everything_can_be_done_with_the_keyboard(visit, images):
    visitor = visit()
    page = visitor.page
    page.locator("#model option").first.wait_for(state="attached")
    _tab_to(page, "model")
    page.keyboard.type("grey")
    _tab_to(page, "files")
    assert page.input_value("#model") == "grey"
    with page.expect_file_chooser() as waiting:
        page.keyboard.press("Space")
    waiting.value.set_files(images / "volume.nii.gz")
    page.locator("#after").wait_for()
    visitor.settle()
    _tab_to(page, "stage")
    page.keyboard.press("End")
    assert visitor.text("#slice-said") == "9 of 9"
    page.keyboard.press("a")
    assert page.get_attribute("#accept", "aria-pressed") == "true"
    assert "accepted" in visitor.text("#say")
    _tab_to(page, "comment")
    page.keyboard.type("seen")
    with page.expect_download():
        _tab_to(page, "export")
        page.keyboard.press("Enter")
    assert visitor.cells("#list")[0][5:] == ["accepted", "seen"]


def _tab_to(page, name, most=40):
    for _ in range(most):
        if page.locator(":focus").count() and page.locator(":focus").get_attribute("id") == name:
            return
        page.keyboard.press("Tab")
    pytest.fail(f"Tab does not reach {name}")


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"])
def test_axe_finds_nothing_serious(visit, images, options):
    visitor = visit(**options)
    assert visitor.faults() == []
    visitor.give(images / "volume.nii.gz", model="grey")
    visitor.give(images / "text.png", images / "grey.png", model="labels")
    assert visitor.faults() == []
    visitor.page.get_by_role("button", name="grey.png").click()
    visitor.settle()
    assert visitor.faults() == []
    assert visitor.value(browser.WIDER) == []


def test_the_case_report_is_one_page_that_says_what_it_is_for(visit, images):
    visitor = visit()
    visitor.give(images / "volume.nii.gz", model="grey")
    visitor.page.locator("#stage").press("r")
    visitor.page.get_by_label("Comment").fill("too small")
    visitor.value("window.print = () => {}")
    visitor.page.get_by_role("button", name="Case report").click()
    visitor.page.emulate_media(media="print")
    said = visitor.text("#report")
    for text in ("Research use only", "volume.nii.gz", "grey", "ml", "rejected: too small", "no diagnosis"):
        assert text.lower() in said.lower()
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", visitor.page.pdf(prefer_css_page_size=True))) == 1
    assert not visitor.page.locator("#page").is_visible()


def test_a_server_that_wants_a_token_is_given_it_on_the_page(visit, bundles, images, tmp_path):
    token = "a-token-for-the-ward"
    (tmp_path / "tokens").write_text(f"{token}\n")
    with serving("--token-file", str(tmp_path / "tokens"), str(bundles["grey"])) as address:
        visitor = visit(address=address)
        field = visitor.page.get_by_label("Token of this server")
        field.fill("a-wrong-token-of-nobody")
        field.press("Enter")
        visitor.page.locator("#trouble", has_text="not known here").wait_for()
        field.fill(token)
        field.press("Enter")
        visitor.page.locator("#token-part").wait_for(state="hidden")
        visitor.give(images / "grey.png")
        assert "pixels" in visitor.text(".headline")
        assert visitor.value("JSON.stringify([localStorage, sessionStorage, document.cookie])") == '[{},{},""]'


def test_without_webgl_a_plain_canvas_shows_the_same(visit, start, images):
    visitor = visit(start(NO_WEBGL))
    visitor.give(images / "volume.nii.gz", model="grey")
    assert near(visitor.picture(), ORANGE) > 30
    before = visitor.picture()
    visitor.page.locator("#stage").press("Home")
    assert not np.array_equal(visitor.picture(), before)
    for key in "of":
        visitor.page.locator("#stage").press(key)
    assert near(visitor.picture(), ORANGE) == 0
    assert visitor.faults() == []
