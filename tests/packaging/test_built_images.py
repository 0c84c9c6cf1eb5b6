"""Images that are really built and run: without rights, without a place to write to, as a user nobody knows."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file

from medloom.cli import main as cli
from support.bundles import write_tiny_bundle

pytestmark = [pytest.mark.slow]

TOOLS = ("buildah", "podman", "runc")
BASE = os.environ.get("MEDLOOM_TEST_BASE", "")
TAG = "localhost/medloom-serve-tested:1"
# What Podman needs inside of another container: no files of limits, no network of its own.
RUN = [
    "podman", "--runtime", "runc", "run", "--rm", "--network", "host", "--no-healthcheck", "--pull=never",
    "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000",
]  # fmt: skip
LOCKED_UP = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"]
LARGEST_BYTES = 330e6
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The serving image with a bundle in it."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or not BASE:
        pytest.skip(
            f"needs {' '.join(missing) or 'an image with Python 3.11 and pip'}: apt-get install buildah podman runc, "
            "and MEDLOOM_TEST_BASE=IMAGE, such as python:3.11-slim-bookworm"
        )
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz", phantom=True)
    options = [f"--builder-option={one}" for one in os.environ.get("MEDLOOM_TEST_BUILD_OPTIONS", "").split()]
    command = ["image", "build", "serve", str(bundle), "--tag", TAG, "--base", BASE, "--builder", "buildah", *options]
    assert cli.main(command) == 0
    return TAG


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def _served(image, *options):
    """The address at which a container answers."""
    port, name = _free_port(), f"medloom-tested-{os.getpid()}"
    command = [*RUN, "--name", name, *LOCKED_UP, *options, image, "serve", "/opt/medloom/model", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in process.stdout:
            if f":{port}" in line:
                break
        yield f"http://127.0.0.1:{port}", name, process
    finally:
        subprocess.run(["podman", "kill", name], capture_output=True, check=False)
        process.wait(60)
        process.stdout.close()


def _ask(address, content, kind, accept="application/json"):
    request = urllib.request.Request(f"{address}/invocations", content, {"Content-Type": kind, "Accept": accept})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


def _tiff(**options):
    file = BytesIO()
    tifffile.imwrite(file, PIXELS, **options)
    return file.getvalue()


@pytest.mark.parametrize("user", [None, "0:0", "4711:4711"], ids=["its-own", "root", "unknown"])
def test_a_container_answers_whoever_it_runs_as_and_ends_on_sigterm(image, user):
    with _served(image, *([] if user is None else ["--user", user])) as (address, name, process):
        assert json.loads(_ask(address, _tiff(), "image/tiff"))["height"] == 40
        pid = subprocess.run(
            ["podman", "inspect", "-f", "{{.State.Pid}}", name], capture_output=True, text=True, check=True
        ).stdout.strip()
        os.kill(int(pid), 15)
        assert process.wait(60) in (0, 143)


def test_what_was_left_out_is_not_missed(image):
    """Every compression and every format that the reading of images promises is read inside."""
    with _served(image) as (address, _, _):
        for compression in (None, "lzw", "deflate", "packbits", "zstd", "jpeg"):
            assert json.loads(_ask(address, _tiff(compression=compression), "image/tiff"))["height"] == 40
        for form in ("PNG", "JPEG", "BMP", "GIF", "WEBP"):
            file = BytesIO()
            Image.fromarray(PIXELS).save(file, form)
            assert json.loads(_ask(address, file.getvalue(), f"image/{form.lower()}"))["height"] == 40
        for accept in ("image/png", "image/tiff", "application/x-npy"):
            assert len(_ask(address, _tiff(), "image/tiff", accept)) > 50


def test_the_image_is_small_and_says_what_is_in_it(image):
    size = subprocess.run(
        ["podman", "image", "inspect", "-f", "{{.Size}}", image], capture_output=True, text=True, check=True
    ).stdout
    assert int(size) < LARGEST_BYTES
    program = "import sys, pathlib; print(pathlib.Path(sys.argv[1]).read_text())"
    bill = subprocess.run(
        [*RUN, "--entrypoint", "python3", image, "-c", program, "/opt/medloom/sbom.json"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = {one["name"] for one in json.loads(bill)["components"]}
    assert {"numpy", "onnxruntime", "medloom", "libc6"} <= names
    assert not {"torch", "pandas", "scipy", "monai", "lightning", "matplotlib"} & names


def test_dicom_of_every_lossy_and_lossless_coding_is_decoded_inside(image):
    program = (
        "import sys; from medloom.imaging import decode; "
        "print(*[decode(open(path, 'rb').read()).pixels.shape for path in sys.argv[1:]])"
    )
    names = ("JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm", "JPEGLSNearLossless_16.dcm", "MR_small_RLE.dcm")
    files = [get_testdata_file(name) for name in names]
    mounts = [word for at, file in enumerate(files) for word in ("-v", f"{file}:/in/{at}.dcm:ro")]
    done = subprocess.run(
        [*RUN, *LOCKED_UP, *mounts, "--entrypoint", "python3", image, "-c", program,
         *[f"/in/{at}.dcm" for at in range(len(files))]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(") == len(files)
