"""A client answers as the bundle itself does, whatever is sent, and fails as it does."""

import asyncio
import io
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import nibabel
import numpy as np
import pytest
from PIL import Image as PillowImage

import medloom
from medloom.client import AsyncClient, Client, Retries
from medloom.errors import DecodeError, InputError, MissingExtraError, ServerError, UserError
from medloom.packaging import read_bundle
from medloom.serving import Model, Models, Service, create_app
from support.bundles import tiny_recipe, write_tiny_bundle
from support.fingerprints import picture, write_known_bundle
from support.served import served_at

AFFINE = np.array([[-0.6, 0, 0, 10], [0, 0, 1.5, -20], [0, -0.7, 0, 30], [0, 0, 0, 1]], np.float64)


def png(value, grey=False):
    pixels = np.full((24, 20, 3), 20, np.uint8)
    pixels[4:9, 3:12, 2] = value
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels[..., 2] if grey else pixels).save(buffer, "png")
    return buffer.getvalue()


def nifti():
    voxels = np.full((5, 24, 20), 20, np.uint8)
    voxels[2:4, 6:15, 4:12] = 250
    return nibabel.Nifti1Image(voxels.T, AFFINE).to_bytes()


def assert_same_mask(found, expected):
    assert type(found) is type(expected)
    assert found.plain() == expected.plain()
    assert np.array_equal(found.value_mask, expected.value_mask)
    assert found.mask.dtype == expected.mask.dtype


@pytest.fixture
def client(address):
    with Client(address, model="masks") as client:
        yield client


@pytest.mark.parametrize("image", [png(250), png(10)], ids=["with something", "empty"])
def test_a_mask_is_that_of_the_bundle_to_the_last_bit(client, served, image):
    found, expected = client.predict(image), served["masks"][0].predict(image)
    assert_same_mask(found, expected)
    assert np.array_equal(found.probabilities, expected.probabilities)
    assert found.probabilities.dtype == np.float32
    assert found.by_class == expected.by_class
    assert (found.point, found.target, found.pixel_mm2) == (expected.point, expected.target, expected.pixel_mm2)


def test_pixels_and_files_give_the_same(client, served, tmp_path):
    (tmp_path / "image.png").write_bytes(png(250))
    pixels = np.asarray(PillowImage.open(tmp_path / "image.png"))
    expected = served["masks"][0].predict(pixels)
    for image in (pixels, tmp_path / "image.png", str(tmp_path / "image.png")):
        assert_same_mask(client.predict(image), expected)


def test_labels_are_those_of_the_bundle_with_what_the_metadata_left_open(address, served):
    predictor = served["labels"][0]
    for metadata in ({}, {"age": 61, "sex": "female"}, {"age": 900.0, "sex": "other"}):
        with Client(address, model="labels") as client:
            found = client.predict(png(250, grey=True), metadata=metadata)
        expected = predictor.predict(png(250, grey=True), metadata=metadata)
        assert found.plain() == expected.plain()
        assert (found.decision, found.point, found.names) == (expected.decision, expected.point, expected.names)
        assert found.scores == pytest.approx(expected.scores, abs=5.1e-7)
        assert found.probabilities == pytest.approx(expected.probabilities, abs=5.1e-7)


def test_a_volume_comes_back_in_its_own_geometry(tmp_path):
    path = write_tiny_bundle(tmp_path / "model.tar.gz", tiny_recipe(channels=("grey",)))
    with read_bundle(path) as bundle:
        predictor, manifest = bundle.predictor(threads=1), bundle.manifest
    (tmp_path / "volume.nii").write_bytes(nifti())
    with (
        Service(Models([Model("grey", predictor, manifest)])) as service,
        served_at(create_app(service)) as at,
        Client(f"http://{at}") as client,
    ):
        found, expected = client.predict(tmp_path / "volume.nii"), predictor.predict(tmp_path / "volume.nii")
        page = client.predict(tmp_path / "volume.nii", page=2)
    assert_same_mask(found, expected)
    assert np.array_equal(found.affine, expected.affine)
    assert np.array_equal(found.slice_px, expected.slice_px)
    assert found.volume_ml == expected.volume_ml > 0
    assert_same_mask(page, predictor.predict(nifti(), page=2))


def test_how_far_each_slice_is_from_the_training_comes_back(tmp_path):
    with read_bundle(write_known_bundle(tmp_path / "model.tar.gz")) as bundle:
        predictor, manifest = bundle.predictor(threads=1), bundle.manifest
    slices = [picture(900)[..., 0], 255 - picture(900)[..., 0], picture(901)[..., 0]]
    (tmp_path / "volume.nii").write_bytes(nibabel.Nifti1Image(np.stack(slices).T, AFFINE).to_bytes())
    with (
        Service(Models([Model("known", predictor, manifest)])) as service,
        served_at(create_app(service)) as at,
        Client(f"http://{at}") as client,
    ):
        found, expected = client.predict(tmp_path / "volume.nii"), predictor.predict(tmp_path / "volume.nii")
    assert_same_mask(found, expected)
    assert [one.flagged for one in found.novelties] == [False, True, False]
    assert [one.score for one in found.novelties] == pytest.approx([one.score for one in expected.novelties], rel=1e-3)


def test_several_images_keep_their_order_and_one_bad_one_loses_no_other(client, served):
    images = [png(250), b"no image at all", png(10), np.zeros((8, 8, 5), np.uint8)]
    found = client.predict_batch(images, at_once=3)
    assert_same_mask(found[0], served["masks"][0].predict(images[0]))
    assert_same_mask(found[2], served["masks"][0].predict(images[2]))
    assert isinstance(found[1], DecodeError)
    assert isinstance(found[3], InputError)
    with pytest.raises(InputError, match="2 rows of metadata for 4 images"):
        client.predict_batch(images, [{}, {}])


@pytest.mark.parametrize(
    "image", [b"no image at all", b"", png(1)[:100], np.zeros((8, 8, 5), np.uint8)], ids=["no", "empty", "cut", "five"]
)
def test_what_the_bundle_refuses_is_refused_with_the_same_error(client, served, image):
    with pytest.raises(UserError) as expected:
        served["masks"][0].predict(image)
    with pytest.raises(UserError) as found:
        client.predict(image)
    assert type(found.value) is type(expected.value)
    assert str(found.value) == str(expected.value)


def test_metadata_that_the_model_does_not_take_are_refused_as_by_the_bundle(client, served):
    with pytest.raises(InputError) as expected:
        served["masks"][0].predict(png(1), metadata={"age": 3})
    with pytest.raises(InputError) as found:
        client.predict(png(1), metadata={"age": 3})
    assert str(found.value) == str(expected.value)


def test_what_a_model_takes_can_be_asked_and_other_forms_too(client, address):
    assert client.is_ready()
    assert client.describe()["target"]["kind"] == "masks"
    mask = PillowImage.open(io.BytesIO(client.encoded(png(250), "image/png")))
    assert mask.size == (20, 24)
    with Client(address, model="none") as other, pytest.raises(UserError, match="404"):
        other.predict(png(1))
    with pytest.raises(UserError, match="406"):
        client.encoded(png(1), "video/mp4")


def test_a_client_that_is_awaited_says_the_same(address, served):
    async def ask():
        async with AsyncClient(address, model="masks") as client:
            assert await client.is_ready()
            assert (await client.describe())["target"]["kind"] == "masks"
            return await client.predict_batch([png(250), b"nothing", png(10)], at_once=2)

    found = asyncio.run(ask())
    assert_same_mask(found[0], served["masks"][0].predict(png(250)))
    assert isinstance(found[1], DecodeError)
    assert_same_mask(found[2], served["masks"][0].predict(png(10)))


class _Scripted(BaseHTTPRequestHandler):
    """Sheds a request or two, and counts them."""

    seen: ClassVar[list[tuple[str, str]]] = []
    busy = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers.get("Authorization", "")))
        status = 503 if len(self.seen) <= self.busy else 418
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if status == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted():
    _Scripted.seen, _Scripted.busy = [], 0
    with HTTPServer(("127.0.0.1", 0), _Scripted) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_request_that_was_shed_is_sent_again_and_one_that_was_answered_is_not(scripted):
    _Scripted.busy = 2
    with Client(scripted) as client, pytest.raises(ServerError, match="answered 418 without a reason"):
        client.predict(b"x")
    assert len(_Scripted.seen) == 3


def test_a_token_is_read_anew_each_time_and_is_in_no_message(scripted, tmp_path):
    (tmp_path / "token").write_text("first\n")
    with Client(scripted, token=tmp_path / "token") as client:
        for token in ("first", "second"):
            (tmp_path / "token").write_text(token)
            with pytest.raises(ServerError) as error:
                client.predict(b"x")
            assert token not in str(error.value)
    assert [given for _, given in _Scripted.seen] == ["Bearer first", "Bearer second"]


def test_where_nobody_answers_it_is_said_after_the_last_try():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", retries=Retries(times=1)) as client:
        with pytest.raises(ServerError, match=f"http://127.0.0.1:{port} gave no answer: nobody answers there"):
            client.predict(b"x")
        assert not client.is_ready()


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "http://user:secret@host", "http://h/?a=b"])
def test_what_is_no_address_is_refused_without_repeating_a_password(url):
    with pytest.raises(UserError, match="is no address of a server") as error:
        Client(url)
    assert "secret" not in str(error.value)


def test_the_extra_is_named_where_httpx_is_not_there(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(MissingExtraError, match="client"):
        Client("http://127.0.0.1:1")


def test_the_front_door_has_both_clients():
    assert medloom.Client is Client
    assert medloom.AsyncClient is AsyncClient
