"""The page that browsers get, without a browser: what is sent, and what the decoder's pixels look like on the way."""

from __future__ import annotations

import base64
import email
import gzip
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from medloom.packaging import read_bundle
from medloom.serving import Service, create_app
from support.bundles import tiny_recipe, write_tiny_bundle

PAGE = Path(__file__).parents[2] / "src" / "medloom" / "serving" / "page"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def client(served, make_client):
    return make_client(create_app(Service.of(*served)))


@pytest.fixture(scope="module")
def preview(client):
    """Ask for the pixels that the decoder makes, as a browser reads them."""

    def ask(data, query=""):
        response = client.post(f"/models/tiny/preview{query}", data, BYTES)
        assert response.status_code == 200, response.text
        head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + response.content).get_payload()
        about, pixels = (part.get_payload(decode=True) for part in parts)
        names = [part.get_param("name", header="content-disposition") for part in parts]
        assert names == ["about", "pixels"]
        return json.loads(about), np.load(io.BytesIO(pixels))

    return ask


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def test_the_built_page_is_as_new_as_its_sources():
    modules = sorted(path.relative_to(PAGE).as_posix() for path in (PAGE / "modules").rglob("*.js"))
    sources = [
        "../../pages.css",
        "../../palette.py",
        "build.mjs",
        "package-lock.json",
        "page.html",
        "style.css",
        *modules,
    ]
    digest = hashlib.sha256()
    for name in sources:
        digest.update(f"{name}\n".encode() + (PAGE / name).read_bytes())
    said = re.search(r'name="medloom-sources" content="([0-9a-f]{64})"', (PAGE / "built.html").read_text("utf-8"))
    assert said
    assert said[1] == digest.hexdigest(), "run npm ci && npm run build in src/medloom/serving/page"


def test_a_browser_gets_the_page_and_a_program_the_description(client):
    page = client.request("GET", "/", headers=BROWSER)
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>Try the model</h1>" in page.text
    for headers in ({}, {"Accept": "application/json"}, {"Accept": "*/*"}):
        assert client.request("GET", "/", headers=headers).json()["model"]["name"] == "tiny"


def test_the_policy_lets_through_the_pages_own_script_and_style_and_nothing_else(client):
    page = client.request("GET", "/", headers=BROWSER)
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for tag in ("script", "style"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)[1]
        assert policy[f"{tag}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"


def test_the_page_names_no_other_server(client):
    page = client.request("GET", "/", headers=BROWSER).text
    outside = r"(?:src|href|action|url)\s*[=(]\s*[\"']?(?:https?:)?//"
    assert re.search(outside, re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)) is None
    assert not re.search(r"\son[a-z]+=", re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL))


def test_the_page_is_sent_packed_and_only_when_it_changed(client):
    plain = client.request("GET", "/", headers={**BROWSER, "Accept-Encoding": "identity"})
    packed = client.request("GET", "/", headers={**BROWSER, "Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text
    assert len(gzip.compress(plain.content)) < 400_000
    again = client.request("GET", "/", headers={**BROWSER, "If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_what_is_bundled_comes_with_its_licences():
    named = re.findall(r"^(\S+) [\d.]+ \(.+\)$", (PAGE / "LICENCES.txt").read_text("utf-8"), re.MULTILINE)
    assert {"@niivue/niivue", "fflate", "gl-matrix", "nifti-reader-js"} <= set(named)


def test_a_picture_is_shown_as_it_was_decoded(preview):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    about, shown = preview(png(pixels))
    assert (about["kind"], about["height"], about["width"], about["channels"]) == ("image", 40, 50, 3)
    assert about["spacing_mm"] is None
    assert about["step"] == 1
    np.testing.assert_array_equal(shown, pixels[np.newaxis])


def test_sixteen_bits_stay_sixteen_bits(preview):
    pixels = np.random.default_rng(2).integers(0, 65536, (30, 20), dtype=np.uint16)
    _, shown = preview(tiff(pixels))
    assert shown.dtype == np.uint16
    np.testing.assert_array_equal(shown[0, ..., 0], pixels)


def test_a_page_is_chosen_as_for_a_prediction(preview, client, assert_problem):
    pages = np.random.default_rng(3).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    several = tiff(pages, photometric="rgb")
    assert_problem(client.post("/models/tiny/preview", several, BYTES), 400, "page_required")
    np.testing.assert_array_equal(preview(several, "?page=2")[1][0], pages[2])


def test_a_picture_too_large_for_a_browser_is_shown_smaller_as_means(preview):
    pixels = np.zeros((100, 4200), np.uint8)
    pixels[:, 1::3] = 30  # the mean of every three columns is 10
    about, shown = preview(png(pixels))
    assert (about["height"], about["width"], about["step"]) == (100, 4200, 3)
    assert shown.shape == (1, 33, 1400, 1)
    assert set(np.unique(shown)) == {10}


def test_a_page_that_draws_few_pixels_gets_few(preview, client, assert_problem):
    pixels = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    about, shown = preview(png(pixels), "?most_pixels=1800")
    assert (about["height"], about["width"], about["step"]) == (40, 60, 2)
    assert shown.shape == (1, 20, 30, 3)
    assert preview(png(pixels), "?most_pixels=999999999999")[0]["step"] == 1
    for wrong in ("0", "-1", "few", "1" * 13, ""):
        assert_problem(client.post(f"/models/tiny/preview?most_pixels={wrong}", png(pixels), BYTES), 400, "bad_request")


def test_a_volume_is_shown_with_where_it_lies(preview):
    voxels = np.random.default_rng(4).integers(-900, 900, (6, 5, 4)).astype(np.int16)
    affine = np.array([[-0.5, 0, 0, 10], [0, 0.5, 0, -3], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])
    data = nibabel.Nifti1Image(voxels, affine).to_bytes()
    about, shown = preview(data)
    assert (about["kind"], about["depth"], about["oriented"]) == ("volume", 4, True)
    assert about["spacing_mm"] == pytest.approx([2.5, 0.5, 0.5])
    np.testing.assert_allclose(about["affine"], affine)
    np.testing.assert_array_equal(shown[..., 0], voxels.T)


def test_a_file_that_is_no_picture_is_refused_as_by_a_prediction(client):
    for path in ("/models/tiny/preview", "/models/tiny/invocations"):
        response = client.post(path, b"no picture at all", BYTES)
        assert (response.status_code, response.json()["code"]) == (415, "unsupported")
    assert client.post("/models/other/preview", png(np.zeros((4, 4), np.uint8)), BYTES).status_code == 404


def test_numbered_slices_are_shown_in_the_order_in_which_they_are_predicted(tmp_path, make_client):
    path = write_tiny_bundle(tmp_path / "model.tar.gz", tiny_recipe(channels=("grey",), context=1))
    with read_bundle(path) as bundle:
        client = make_client(create_app(Service.of(bundle.predictor(threads=1), bundle.manifest)))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in (10, 2, 1):
            archive.writestr(f"slice_{number}.png", png(np.full((8, 9), number, np.uint8)))
    response = client.post("/models/tiny/preview", packed.getvalue(), {"Content-Type": "application/zip"})
    assert response.status_code == 200, response.text
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    pixels = email.message_from_bytes(head + response.content).get_payload()[1].get_payload(decode=True)
    assert np.load(io.BytesIO(pixels))[:, 0, 0, 0].tolist() == [1, 2, 10]
