"""Pushing of images: the steps that are printed, Amazon's registry on loopback, and a real registry."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import threading

import pytest
from moto.core.exceptions import JsonRESTError
from moto.ecr.responses import ECRResponse

from medloom.cli import main as cli
from support.aws import ACCOUNT, REGION, opened_aws
from support.bundles import write_tiny_bundle
from support.containers import built, needs_tools, output_of

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
RECORDS = """#!/bin/sh
[ "$1" = --version ] && exit 0
echo "$@" >> "$0.said"
[ "$1" = login ] && cat >> "$0.given"
exit 0
"""


@pytest.fixture(scope="module")
def aws():
    with opened_aws() as aws:
        yield aws


@pytest.fixture
def builder(tmp_path, monkeypatch):
    """A builder that notes what it is asked: AWS's host names lead nowhere here."""
    path = tmp_path / "bin" / "buildah"
    path.parent.mkdir()
    path.write_text(RECORDS)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def _build(*words):
    return cli.main(["image", "build", "serve", "--builder", "buildah", *words])


def test_the_repository_is_made_once_and_the_builder_logs_in_before_it_pushes(aws, builder, capfd):
    for _ in range(2):
        assert _build("--push", f"{HOST}/hospital/serve") == 0
    said = capfd.readouterr().err
    assert said.count("made the repository hospital/serve in ECR") == 1
    (found,) = aws.client("ecr").describe_repositories(repositoryNames=["hospital/serve"])["repositories"]
    assert found["registryId"] == ACCOUNT
    asked = (builder.parent / "buildah.said").read_text().splitlines()
    assert [line.partition(" ")[0] for line in asked] == ["build", "login", "push"] * 2
    assert asked[1] == f"login --username AWS --password-stdin {HOST}"
    assert re.fullmatch(rf"push {re.escape(HOST)}/hospital/serve:[0-9.]+", asked[2])
    password = (builder.parent / "buildah.given").read_text()
    assert password
    assert password not in said


def test_without_push_the_steps_are_printed_and_nothing_is_asked_of_aws(aws, builder, capfd):
    assert _build("--tag", "lab/mine:7") == 0
    said = capfd.readouterr().err
    steps = [shlex.split(line, comments=True) for line in said.splitlines() if line.startswith("  ")]
    assert [step[:3] for step in steps] == [
        ["aws", "ecr", "create-repository"],
        ["aws", "ecr", "get-login-password"],
        ["buildah", "tag", "lab/mine:7"],
        ["buildah", "push", "ACCOUNT.dkr.ecr.REGION.amazonaws.com/mine:7"],
    ]
    assert (builder.parent / "buildah.said").read_text().startswith("build ")
    assert "mine" not in str(aws.client("ecr").describe_repositories()["repositories"])


def test_what_aws_refuses_is_told_with_the_rights_that_are_needed(builder, monkeypatch, capfd):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    assert _build("--push", f"{HOST}/serve") == 1
    said = capfd.readouterr().err
    assert f"{HOST}/serve" in said
    assert "AWS cannot be reached" in said
    assert "Traceback" not in said


def test_who_may_not_look_at_repositories_may_still_push(aws, builder, capfd, monkeypatch):
    def denied(self):
        raise JsonRESTError("AccessDeniedException", "is not authorized to perform: ecr:DescribeRepositories")

    monkeypatch.setattr(ECRResponse, "describe_repositories", denied)
    assert _build("--push", f"{HOST}/others") == 0
    asked = (builder.parent / "buildah.said").read_text()
    assert f"push {HOST}/others:" in asked


@pytest.mark.slow
def test_an_image_is_pushed_to_a_registry_and_comes_back(tmp_path, monkeypatch, capfd):
    """Debian's registry, as a process; over plain HTTP, which the builder is told to take."""
    needs_tools("docker-registry", "skopeo")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{found.getsockname()[1]}"
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": at},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(settings))
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{at}"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    bundle = write_tiny_bundle(tmp_path / "model.tar.gz", phantom=True)
    process = subprocess.Popen(
        ["docker-registry", "serve", str(tmp_path / "registry.yml")], stderr=subprocess.PIPE, text=True
    )
    next(line for line in process.stderr if "listening on" in line)
    draining = threading.Thread(target=process.stderr.read)
    draining.start()
    try:
        built("serve", f"{at}/lab/serve:1", bundle, "--push", f"{at}/lab/serve:1")
        assert f"pushed {at}/lab/serve:1" in capfd.readouterr().err
        look = ["skopeo", "inspect", "--tls-verify=false", "--config", "--raw"]
        there = json.loads(output_of(*look, f"docker://{at}/lab/serve:1"))
        assert there["config"]["Entrypoint"] == ["python3", "-m", "medloom.container"]
        assert there["config"]["Healthcheck"]["Test"][0] == "CMD"
        assert there["config"]["User"] == "10001:10001"
        output_of("buildah", "rmi", f"{at}/lab/serve:1")
        output_of("buildah", "pull", "-q", f"{at}/lab/serve:1")
    finally:
        subprocess.run(["buildah", "rmi", f"{at}/lab/serve:1"], capture_output=True, check=False)
        process.kill()
        process.wait()
        draining.join()
        process.stderr.close()
