"""Every form of an answer over HTTP, by Accept or by ``?form=``."""

import email
import io
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from pydicom import dcmread

from medloom.data.whole import read_sources
from medloom.imaging import decode
from medloom.imaging.dicom_seg import read_segmentation
from medloom.imaging.fence import DecodeFence
from medloom.inference.forms import FORMS
from medloom.packaging import read_bundle
from medloom.serving import Service, create_app
from support.bundles import tiny_recipe, write_tiny_bundle
from support.dicom_sources import make_image, make_series, zipped

DICOM, ZIP = "application/dicom", "application/zip"


@pytest.fixture(scope="module")
def served_grey(tmp_path_factory):
    """Predictor and manifest of a bundle that takes one channel."""
    path = tmp_path_factory.mktemp("grey") / "model.tar.gz"
    write_tiny_bundle(path, tiny_recipe(channels=("image",)), phantom=True)
    with read_bundle(path) as bundle:
        return bundle.predictor(threads=1), bundle.manifest


@pytest.fixture(scope="module")
def client(make_client, served_grey):
    return make_client(create_app(Service.of(*served_grey)))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 900, (24, 30)).astype(np.uint16)
    return make_image(tmp_path_factory.mktemp("image"), pixels)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    voxels = np.random.default_rng(1).integers(0, 900, (3, 24, 30)).astype(np.uint16)
    return zipped(make_series(tmp_path_factory.mktemp("series"), voxels))


def _post(client, content, accept="", kind=DICOM, query=""):
    headers = {"Content-Type": kind, **({"Accept": accept} if accept else {})}
    return client.post(f"/invocations{query}", content, headers)


def _mask(client, image):
    return decode(_post(client, image, "image/png").content).pixels[..., 0]


def _parts(response):
    """The parts of an answer, as the standard library's reader of mail finds them."""
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + response.content)
    return {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}


def test_a_segmentation_holds_the_mask_that_the_other_forms_hold(client, image):
    response = _post(client, image, "application/dicom")
    assert (response.status_code, response.headers["content-type"]) == (200, DICOM)
    mask = _mask(client, image)
    np.testing.assert_array_equal(read_segmentation(response.content).values[0], mask)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(_post(client, image, "image/tiff").content)), mask)
    array = np.load(io.BytesIO(_post(client, image, query="?form=mask-npy").content))
    np.testing.assert_array_equal(array, mask)


def test_a_series_has_one_segmentation_of_all_its_slices(client, series):
    found = read_segmentation(_post(client, series, "application/dicom; form=seg", ZIP).content)
    pages = tifffile.imread(io.BytesIO(_post(client, series, "image/tiff", ZIP).content))
    assert pages.any()
    by_height = {number: plane for number, plane in enumerate(pages) if plane.any()}
    np.testing.assert_array_equal(found.values, np.stack([by_height[number] for number in sorted(by_height)]))


def test_accept_and_query_ask_for_the_same_report(client, image):
    by_accept = _post(client, image, "application/dicom; form=sr")
    by_query = _post(client, image, "text/html", query="?form=sr")
    assert by_accept.content == by_query.content
    assert dcmread(io.BytesIO(by_query.content)).Modality == "SR"


def test_one_answer_may_hold_several_forms_that_refer_to_each_other(client, image):
    parts = _parts(_post(client, image, "multipart/mixed; forms=json+seg+sr"))
    assert list(parts) == ["json", "seg", "sr"]
    assert json.loads(parts["json"].get_payload(decode=True))["model"]["name"] == "tiny"
    report = dcmread(io.BytesIO(parts["sr"].get_payload(decode=True)))
    segmentation = dcmread(io.BytesIO(parts["seg"].get_payload(decode=True)))
    said = [one.value for one in report.iterall() if one.keyword == "ReferencedSOPInstanceUID"]
    assert segmentation.SOPInstanceUID in said
    assert _parts(_post(client, image, query="?form=json,seg&form=sr")).keys() == parts.keys()


def test_an_answer_of_the_usual_forms_says_which_could_not_be_made(client, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 900, (24, 30)).astype(np.uint16)
    parts = _parts(_post(client, make_image(tmp_path, pixels, StudyInstanceUID=""), "multipart/mixed"))
    assert list(parts) == ["json", "png", "overlay"]
    left_out = json.loads(parts["json"].get_payload(decode=True))["left_out"]
    assert set(left_out) == {"seg", "sr"}
    assert "StudyInstanceUID" in left_out["seg"]


def test_the_parts_of_a_volume_are_those_of_a_volume(client, series):
    parts = _parts(_post(client, series, "multipart/mixed", ZIP))
    assert list(parts) == ["json", "nifti-gz", "seg", "sr"]
    assert parts["seg"].get_filename() == "seg.dcm"


def test_what_is_no_dicom_gets_406_and_the_reason(client, assert_problem):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((24, 30), np.uint16))
    body = assert_problem(_post(client, buffer.getvalue(), DICOM, "image/tiff"), 406, "not_acceptable")
    assert "no DICOM" in body["message"]
    assert not any("dicom" in one for one in body["accepted"])


def test_a_client_that_would_rather_have_dicom_gets_json_of_what_is_none(client):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((24, 30), np.uint16))
    accept = "application/dicom, application/json;q=0.5"
    response = _post(client, buffer.getvalue(), accept, "image/tiff")
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("query", ["?form=segg", "?form=json,nothing"])
def test_a_form_that_there_is_not_is_406_before_the_image_is_looked_at(client, query, assert_problem):
    body = assert_problem(_post(client, b"no image", query=query), 406, "not_acceptable")
    assert "seg-fractional" in body["message"]


def test_an_image_that_no_object_can_join_gets_406_and_the_reason(client, tmp_path, assert_problem):
    pixels = np.random.default_rng(0).integers(0, 900, (24, 30)).astype(np.uint16)
    image = make_image(tmp_path, pixels, SeriesInstanceUID="")
    body = assert_problem(_post(client, image, "application/dicom"), 406, "not_acceptable")
    assert "SeriesInstanceUID" in body["message"]


def test_the_overlay_is_what_medloom_predict_draws(client, image, served_grey):
    from medloom.inference.pictures import overlay

    prediction = served_grey[0].predict(image)
    drawn = decode(_post(client, image, "image/png; form=overlay").content).pixels
    np.testing.assert_array_equal(drawn, overlay(decode(image).pixels, prediction.mask))
    heat = decode(_post(client, image, query="?form=heatmap").content).pixels
    assert heat.shape == drawn.shape
    assert not np.array_equal(heat, drawn)


def test_a_host_of_the_four_functions_answers_with_the_same_segmentation(client, image, served_grey):
    from medloom.packaging.code import inference
    from medloom.serving.models import Model

    result = inference.predict_fn(inference.input_fn(image, "application/dicom"), Model("grey", *served_grey))
    content, kind = inference.output_fn(result, "application/dicom; form=seg")
    assert (content, kind) == (_post(client, image, query="?form=seg").content, DICOM)


def test_the_description_lists_every_form(client):
    said = client.get("/").json()
    listed = {*said["answers"], *said["volume_answers"]}
    assert {str(form.traits["media"]) for form in FORMS.values()} <= listed


def test_labels_are_answered_as_a_report(make_client, served_labels, tmp_path):
    predictor, manifest = served_labels
    client = make_client(create_app(Service.of(predictor, manifest)))
    channels = len(predictor.channels)
    if channels == 3:
        pytest.skip("the bundle takes colours, which DICOM of one channel has not")
    image = make_image(tmp_path, np.random.default_rng(0).integers(0, 900, (24, 30)).astype(np.uint16))
    assert dcmread(io.BytesIO(_post(client, image, DICOM).content)).Modality == "SR"


def test_what_a_fence_reads_of_the_header_is_what_is_read_without(make_client, served_grey, image, series):
    predictor, manifest = served_grey
    with DecodeFence(1, volumes="medloom.data.whole:read_whole", sources="medloom.data.whole:read_sources") as fence:
        assert fence.read_sources(image) == read_sources(image)
        assert fence.read_sources(series, whole=True) == read_sources(series, whole=True)
        assert fence.read_sources(b"\x89PNG\r\n\x1a\n") is None
        fenced = replace(predictor, decoder=fence.decode, source_reader=fence.read_sources)
        answers = [
            _post(make_client(create_app(Service.of(one, manifest))), image, query="?form=seg").content
            for one in (fenced, predictor)
        ]
    assert answers[0] == answers[1]


@pytest.mark.filterwarnings("ignore")  # of pydicom where these values are written
@pytest.mark.parametrize(
    "header",
    [
        {"PatientName": "Canary Zebedee"},
        {"Modality": "canary modality"},
        {"PatientID": "canary" * 20},
        {"StudyInstanceUID": "canary"},
        {"SpecificCharacterSet": "canary", "PatientName": "Canary^\u00e9"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_nothing_of_the_header_is_logged_whether_a_segmentation_is_made_or_refused(client, tmp_path, caplog, header):
    data = make_image(tmp_path, np.zeros((24, 30), np.uint16), **header)
    caplog.clear()
    with warnings.catch_warnings(record=True) as warned:
        response = _post(client, data, query="?form=seg,sr")
    assert "anary" not in caplog.text
    assert not [one for one in warned if "anary" in str(one.message)]
    assert response.status_code == 200 or "anary" not in response.text
