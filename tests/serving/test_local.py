"""A server for as long as a block: it answers as the predictor does, and is gone afterwards."""

from __future__ import annotations

import io
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

import medloom
from medloom.errors import InputError, UserError
from medloom.imaging import encode_png
from medloom.serving.local import LocalServer


def test_a_block_serves_a_bundle_and_leaves_nothing_running(bundle_path, tmp_path):
    pixels = np.full((48, 40, 3), 20, np.uint8)
    pixels[10:20, 10:25, 2] = 250
    (tmp_path / "a b.png").write_bytes(encode_png(pixels))
    expected = medloom.load(bundle_path).predict(pixels)
    with LocalServer(bundle_path) as server:
        assert server.predict(tmp_path / "a b.png")["area_px"] == expected.area_px > 0
        mask = np.asarray(Image.open(io.BytesIO(server.predict(encode_png(pixels), accept="image/png"))))
        np.testing.assert_array_equal(mask > 0, expected.mask > 0)
        with pytest.raises(InputError, match=r"refused it \(415\): the input is none of dicom"):
            server.predict(b"nothing")
        assert server.predict(encode_png(pixels))["area_px"] == expected.area_px
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{server.url}/ping", timeout=5)


def test_what_cannot_be_served_says_why(tmp_path):
    with pytest.raises(UserError, match=r"did not start: .*nothing\.tar\.gz"), LocalServer(tmp_path / "nothing.tar.gz"):
        raise AssertionError
