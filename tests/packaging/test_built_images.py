"""Images that are really built and run: without rights, without a place to write to, as a user nobody knows."""

from __future__ import annotations

import base64
import json
import os
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

from support.aws import BUCKET, REGION, opened_aws
from support.bundles import write_tiny_bundle
from support.containers import LOCKED_UP, NO_NETWORK, RUN, built, inside, name_of, needs_tools, output_of, running
from support.lambda_events import from_s3, s3_record
from support.lambda_runtime import runtime_api

pytestmark = [pytest.mark.slow]

TAGS = {runtime: f"localhost/medloom-serve-{runtime}-tested:1" for runtime in ("onnx", "openvino")}
LARGEST_BYTES = {"onnx": 330e6, "openvino": 400e6}
NETWORK = ["--network", "host"]  # the machine's own loopback
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
ASKS = """
import sys, urllib.request
content, kind = bytes.fromhex(sys.stdin.read()), sys.argv[1]
request = urllib.request.Request("http://127.0.0.1:8080/invocations", content, {"Content-Type": kind})
print(urllib.request.urlopen(request, timeout=120).read().decode())
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz", phantom=True)


@pytest.fixture(scope="module")
def image(bundle):
    """The serving image with a bundle in it."""
    needs_tools()
    return built("serve", TAGS["onnx"], bundle)


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def _served(image, *options):
    """The address at which a container answers."""
    port, name = _free_port(), name_of("serves")
    words = ["serve", "/opt/medloom/model", "--port", str(port)]
    with running(name, image, *words, options=[*NETWORK, *options]) as process:
        for line in process.stdout:
            if f":{port}" in line:
                break
        yield f"http://127.0.0.1:{port}", name, process


def _ask(address, content, kind, accept="application/json"):
    request = urllib.request.Request(f"{address}/invocations", content, {"Content-Type": kind, "Accept": accept})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


def _tiff(**options):
    file = BytesIO()
    tifffile.imwrite(file, PIXELS, **options)
    return file.getvalue()


def _ends_on_sigterm(name, process):
    output_of("podman", "--runtime", "runc", "kill", "--signal", "TERM", name)
    return process.wait(60) == 0


@pytest.mark.parametrize("user", [None, "0:0", "4711:4711"], ids=["its-own", "root", "unknown"])
def test_a_container_answers_whoever_it_runs_as_and_ends_on_sigterm(image, user):
    with _served(image, *([] if user is None else ["--user", user])) as (address, name, process):
        assert json.loads(_ask(address, _tiff(), "image/tiff"))["height"] == 40
        assert _ends_on_sigterm(name, process)


@pytest.mark.parametrize("runtime", list(TAGS))
def test_a_small_image_of_each_runtime_answers_without_a_network(bundle, runtime):
    needs_tools()
    image, name = built("serve", TAGS[runtime], bundle, "--runtime", runtime), name_of("alone")
    words = ["serve", "/opt/medloom/model", "--runtime", runtime]
    with running(name, image, *words, options=NO_NETWORK) as process:
        for line in process.stdout:
            if ":8080" in line:
                break
        said = json.loads(inside(name, ASKS, "image/tiff", given=_tiff().hex()))
        assert (said["height"], said["width"]) == PIXELS.shape[:2]
        assert _ends_on_sigterm(name, process)
    size = int(output_of("podman", "image", "inspect", "-f", "{{.Size}}", image))
    assert size < LARGEST_BYTES[runtime]


def test_the_image_answers_events_of_lambda(image):
    """As Lambda runs it: as a user nobody knows, with /tmp alone to write to."""
    request = {
        "version": "2.0",
        "rawPath": "/invocations",
        "rawQueryString": "",
        "headers": {"content-type": "image/tiff"},
        "requestContext": {"http": {"method": "POST", "sourceIp": "192.0.2.1"}, "stage": "$default"},
        "body": base64.b64encode(_tiff()).decode(),
        "isBase64Encoded": True,
    }
    with runtime_api([request]) as api:
        options = [*NETWORK, "--user", "993:990", "--env", f"AWS_LAMBDA_RUNTIME_API={api.address}"]
        with running(name_of("lambda"), image, "lambda", options=options) as process:
            assert api.done.wait(120), process.stdout.read()
    ((kind, said),) = api.answers
    assert (kind, said["statusCode"]) == ("response", 200), said
    assert json.loads(said["body"])["height"] == 40


def test_the_image_answers_objects_of_a_bucket_for_lambda(image):
    """AWS's client is in it, without the services that nobody asks."""
    with opened_aws() as aws:
        put = aws.client("s3").put_object(Bucket=BUCKET, Key="in/a 1.tif", Body=_tiff())
        event = from_s3(s3_record("in/a 1.tif", bucket=BUCKET, etag=put["ETag"].strip('"'), size=len(_tiff())))
        settings = {
            "MEDLOOM_OUTPUT": f"s3://{BUCKET}/out/",
            **{name: os.environ[name] for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
            "AWS_DEFAULT_REGION": REGION,
        }
        with runtime_api([event]) as api:
            options = [*NETWORK, "--user", "993:990", "--env", f"AWS_LAMBDA_RUNTIME_API={api.address}"]
            options += [f"--env={name}={value}" for name, value in settings.items()]
            with running(name_of("lambda"), image, "lambda", options=options) as process:
                assert api.done.wait(120), process.stdout.read()
        assert [kind for kind, _ in api.answers] == ["response"], api.answers
        (found,) = aws.objects("out/json/")
        stored = aws.client("s3").get_object(Bucket=BUCKET, Key=found)["Body"].read()
    assert json.loads(stored)["height"] == 40


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


def test_the_image_says_what_is_in_it(image):
    program = "import sys, pathlib; print(pathlib.Path(sys.argv[1]).read_text())"
    bill = output_of(*RUN, *NO_NETWORK, "--entrypoint", "python3", image, "-c", program, "/opt/medloom/sbom.json")
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
        [*RUN, *LOCKED_UP, *NO_NETWORK, *mounts, "--entrypoint", "python3", image, "-c", program,
         *[f"/in/{at}.dcm" for at in range(len(files))]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(") == len(files)
