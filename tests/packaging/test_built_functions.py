"""A function's zip as Lambda runs it: its own Python, nothing to write to but /tmp, no shared memory, no home.

Debian 13 stands for Amazon Linux 2023: another Python than that which made the zip, and nothing beside it.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO

import numpy as np
import pytest
import tifffile
from starlette.testclient import TestClient

from medloom.cli import main as cli
from medloom.packaging import read_bundle
from medloom.serving import Model, Models, Service, create_app
from medloom.serving.lambda_ import LIMITS
from support.bundles import write_tiny_bundle
from support.lambda_runtime import runtime_api
from support.other_environment import PLACE

pytestmark = [pytest.mark.slow]

CLIENT = "awslambdaric==4.2.2"
ENTER = """
set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/tmp"
mount -o remount,bind,ro "$1"
chmod 1777 "$1/tmp"
exec chroot --userspec=993:990 "$1" /usr/bin/env -i PATH=/usr/bin:/bin LANG=en_US.UTF-8 \
    AWS_LAMBDA_RUNTIME_API="$2" LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime \
    PYTHONPATH=/var/runtime:/var/task sh -c 'cd /var/task && exec "$@"' sh "${@:3}"
"""
HANDLER = ["/usr/bin/python3", "-m", "awslambdaric", "lambda_function.lambda_handler"]
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)


@pytest.fixture(scope="module")
def system():
    """A system with Python 3.13 and AWS's client, made on first use and kept."""
    if os.geteuid() or shutil.which("debootstrap") is None:
        pytest.skip("needs root and debootstrap: apt-get install debootstrap")
    root = PLACE / "lambda-trixie"
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        make = ["debootstrap", "--variant=minbase", "--include=python3", "trixie", str(root)]
        if subprocess.run(make, capture_output=True).returncode:
            pytest.skip("Debian 13 cannot be installed: is its mirror reached?")
        tags = [f"--platform={tag}_x86_64" for tag in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
        install = [sys.executable, "-m", "pip", "install", "-q", "--only-binary=:all:", "--python-version=3.13", *tags]
        if subprocess.run([*install, f"--target={root}/var/runtime", CLIENT], capture_output=True).returncode:
            pytest.skip(f"{CLIENT} cannot be installed: is the package index reached?")
        (root / "dev" / "shm").rmdir()  # Lambda has none
        (root / "complete").touch()
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz", phantom=True)


@pytest.fixture(scope="module")
def function(system, bundle, tmp_path_factory):
    """The system with the unpacked zip in it."""
    file = tmp_path_factory.mktemp("function") / "function.zip"
    assert cli.main(["lambda", "package", str(bundle), "-o", str(file)]) == 0
    task = system / "var" / "task"
    shutil.rmtree(task, ignore_errors=True)
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            (task / name).parent.mkdir(parents=True, exist_ok=True)
            (task / name).write_bytes(archive.read(name))
    return system


def _tiff(**options):
    file = BytesIO()
    tifffile.imwrite(file, PIXELS, **options)
    return file.getvalue()


def _event(body, accept):
    return {
        "version": "2.0",
        "rawPath": "/invocations",
        "rawQueryString": "",
        "headers": {"content-type": "image/tiff", "accept": accept},
        "requestContext": {"http": {"method": "POST", "sourceIp": "192.0.2.1"}, "stage": "$default"},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def _answers(function, events):
    with runtime_api(events) as api:
        command = ["unshare", "--mount", "bash", "-c", ENTER, "bash", str(function), api.address, *HANDLER]
        process = subprocess.Popen(command)
        try:
            assert api.done.wait(120)
        finally:
            process.kill()
            process.wait()
        return api.answers


def test_an_image_gets_the_bytes_that_the_server_answers(function, bundle):
    asked = [(_tiff(compression=how), accept) for how, accept in (
        (None, "application/json"), ("lzw", "image/png"), ("jpeg", "application/json"), ("zstd", "application/x-npy")
    )]  # fmt: skip
    answers = _answers(function, [_event(*one) for one in asked])
    with read_bundle(bundle) as found:
        models = Models([Model("tiny", found.predictor(), found.manifest)])
        with Service(models, LIMITS) as service, TestClient(create_app(service)) as client:
            for (body, accept), (kind, said) in zip(asked, answers, strict=True):
                expected = client.post(
                    "/invocations", content=body, headers={"content-type": "image/tiff", "accept": accept}
                )
                assert (kind, said["statusCode"], expected.status_code) == ("response", 200, 200)
                got = base64.b64decode(said["body"]) if said["isBase64Encoded"] else said["body"].encode()
                assert got == expected.content


def test_a_damaged_image_is_refused_and_the_function_goes_on(function):
    answers = _answers(function, [_event(_tiff()[:90], "application/json"), _event(_tiff(), "application/json")])
    assert [said["statusCode"] for _, said in answers] == [400, 200]


def test_nothing_but_the_zip_and_the_client_is_there(function):
    program = "import os, torch"
    command = ["unshare", "--mount", "bash", "-c", ENTER, "bash", str(function), "-", "/usr/bin/python3", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "No module named 'torch'" in done.stderr
    assert not (function / "dev" / "shm").exists()
