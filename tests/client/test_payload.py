"""What is sent for what a caller hands over."""

import base64
import io
import json
import zipfile

import numpy as np
import pytest

from medloom.client.payload import request_for
from medloom.errors import InputError
from medloom.imaging import Image


def sent(image, **options):
    return request_for(image, path="/invocations", accept="application/json", headers={}, **options)


def test_bytes_and_files_are_sent_as_they_are(tmp_path):
    (tmp_path / "Jane Doe.tif").write_bytes(b"II*\0 and so on")
    request = sent(tmp_path / "Jane Doe.tif")
    assert request == sent(b"II*\0 and so on")
    assert request.content == b"II*\0 and so on"
    assert request.headers["Content-Type"] == "application/octet-stream"
    assert "Doe" not in repr(request)
    assert sent(b"x", content_type="image/png", page=3, series="1.2").query == {"page": "3", "series": "1.2"}


def test_pixels_are_sent_as_npy():
    pixels = np.arange(24, dtype=np.uint16).reshape(4, 6)
    request = sent(pixels)
    assert request.headers["Content-Type"] == "application/x-npy"
    assert np.array_equal(np.load(io.BytesIO(request.content))[..., 0], pixels)


def test_a_folder_is_sent_as_a_zip_without_its_names(tmp_path):
    for name in ("Doe^Jane/2.dcm", "Doe^Jane/1.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    request = sent(tmp_path)
    assert request.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(request.content)) as archive:
        assert archive.namelist() == ["000000", "000001"]
        assert [archive.read(name) for name in archive.namelist()] == [b"Doe^Jane/1.dcm", b"Doe^Jane/2.dcm"]
    assert b"Jane/" not in request.content.replace(b"Doe^Jane/1.dcm", b"").replace(b"Doe^Jane/2.dcm", b"")


def test_metadata_are_sent_beside_the_image_in_json():
    request = sent(b"\xff\xd8", metadata={"age": np.float32(40.5), "sex": "female", "site": None}, page=1)
    assert json.loads(request.content) == {
        "image": base64.b64encode(b"\xff\xd8").decode(),
        "metadata": {"age": 40.5, "sex": "female", "site": None},
    }
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(sent(b"x", metadata={"age": 1}, content_type="image/png").content)["content_type"] == "image/png"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_metadata_that_json_cannot_hold_are_refused(value):
    with pytest.raises(InputError, match="metadata hold a value"):
        sent(b"x", metadata={"age": value})


def test_what_would_lose_something_on_the_way_is_refused():
    with pytest.raises(InputError, match="give the path or the bytes of its file"):
        sent(Image(np.zeros((4, 4, 1), np.uint8), "dicom"))
    with pytest.raises(InputError, match="NaN"):
        sent(np.full((4, 4), np.nan, np.float32))


def test_a_path_that_is_not_there_or_empty_says_so(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        sent(tmp_path / "none.tif")
    with pytest.raises(InputError, match="holds no files"):
        sent(tmp_path)
