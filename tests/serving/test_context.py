"""A model that sees slices with those beside them is sent volumes and sets of slices, and says so of anything else."""

import base64
import io
import json
import zipfile
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from medloom.imaging.fence import DecodeFence
from medloom.packaging import read_bundle
from medloom.serving import Service, create_app
from support.bundles import spatial_graph, tiny_recipe, write_tiny_bundle

VOXELS = np.random.default_rng(0).integers(0, 255, (5, 24, 20)).astype(np.uint8)
NIFTI, TIFF, ZIP = "application/x-nifti", "image/tiff", "application/zip"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    recipe = tiny_recipe(channels=("grey",), size=(24, 24), context=1)
    path = tmp_path_factory.mktemp("context") / "m.tar.gz"
    with read_bundle(write_tiny_bundle(path, recipe, graph=spatial_graph(3, 1))) as bundle:
        assert bundle.manifest.input.context == 1
        with DecodeFence(1, volumes="medloom.data.whole:read_whole") as fence:
            predictor = bundle.predictor(threads=1)
            fenced = replace(predictor, decoder=fence.decode, volume_decoder=fence.read_volume)
            yield predictor, fenced, bundle.manifest


@pytest.fixture(scope="module")
def client(served, make_client):
    return make_client(create_app(Service.of(*served[1:])))


@pytest.fixture(scope="module")
def expected(served):
    masks = np.stack([found.value_mask for found in served[0].predict_slices(list(VOXELS))])
    assert 0.1 < (masks > 0).mean() < 0.9
    return masks


def png(plane):
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, "png")
    return stream.getvalue()


def zipped(names, planes=VOXELS):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, plane in zip(names, planes, strict=False):
            archive.writestr(name, png(plane))
    return stream.getvalue()


def pages():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for plane in VOXELS:
            writer.write(plane, contiguous=False)
    return stream.getvalue()


def post(client, body, kind, accept=None, query=""):
    headers = {"Content-Type": kind, **({"Accept": accept} if accept else {})}
    return client.post(f"/invocations{query}", content=body, headers=headers)


NUMBERED = [f"Doe/s_{number}.png" for number in (8, 9, 10, 11, 12)]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (nibabel.Nifti1Image(VOXELS.T, np.eye(4)).to_bytes(), NIFTI),
        (pages(), TIFF),
        (zipped(NUMBERED), ZIP),
        (zipped(NUMBERED[::-1], VOXELS[::-1]), "application/octet-stream"),
        (json.dumps({"image": base64.b64encode(pages()).decode()}).encode(), "application/json"),
    ],
)
def test_a_volume_and_a_set_of_slices_get_one_mask(client, expected, body, kind):
    response = post(client, body, kind, NIFTI)
    assert response.status_code == 200, response.text
    found = nibabel.Nifti1Image.from_bytes(response.content)
    np.testing.assert_array_equal(np.asarray(found.dataobj).T, expected)
    figures = post(client, body, kind).json()
    assert (figures["slices"], figures["area_px"]) == (5, (expected > 0).sum())


@pytest.mark.parametrize(
    ("body", "kind", "query", "said"),
    [
        (png(VOXELS[0]), "image/png", "", "this is one image alone; expected a whole volume"),
        (pages(), TIFF, "?page=2", "this is one image alone; expected a whole volume"),
        (zipped(NUMBERED[:1]), ZIP, "", "this is one image alone"),
        (zipped([*NUMBERED[:3], "Doe/t_1.png"]), ZIP, "", "4 images are not known to be the slices of one stack"),
        (zipped(["Doe/a.png", "Doe/b.png"]), ZIP, "", "2 images are not known to be the slices of one stack"),
        (zipped(["Doe/s_1.png", "Doe/s_5.png", "Doe/s_9.png"]), ZIP, "", "are not those of consecutive slices"),
        (zipped(["s_1.png", "s_01.png"]), ZIP, "", "two slices of one stack are of one number"),
    ],
)
def test_anything_else_is_refused_with_what_is_needed(client, assert_problem, body, kind, query, said):
    response = post(client, body, kind, query=query)
    assert said in assert_problem(response, 422, "wrong_input")["message"]
    assert "Doe" not in response.text


def test_a_damaged_slice_or_zip_is_no_fault_of_the_server(client, assert_problem):
    body = zipped(NUMBERED)
    assert_problem(post(client, body[:-40], ZIP), 400, "corrupt")
    assert_problem(post(client, body.replace(b"IDAT", b"IDAX"), ZIP), 400, "corrupt")
    assert_problem(post(client, body, "image/png"), 415, "mismatch")


def test_the_description_says_that_slices_are_seen_together(client, assert_problem):
    said = client.get("/").json()
    assert said["context"] == 1
    assert said["answers"] == said["volume_answers"]
    assert_problem(post(client, zipped(NUMBERED), ZIP, "image/png"), 406, "not_acceptable")
