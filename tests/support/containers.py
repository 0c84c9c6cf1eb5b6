"""Images that are really built, and containers that really run, without rights and without a place to write to."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess

import pytest

from medloom.cli import main as cli

__all__ = [
    "BASE",
    "LOCKED_UP",
    "NO_NETWORK",
    "RUN",
    "built",
    "inside",
    "name_of",
    "needs_tools",
    "output_of",
    "running",
]

BASE = os.environ.get("MEDLOOM_TEST_BASE", "")
_TOOLS = ("buildah", "podman", "runc")

# What Podman needs inside of another container: no limits of its own.
RUN = [
    "podman", "--runtime", "runc", "run", "--rm", "--no-healthcheck", "--pull=never",
    "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000",
]  # fmt: skip
LOCKED_UP = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"]
NO_NETWORK = ["--network", "none"]
"""Not even loopback to the machine: questions are asked from inside."""


def needs_tools(*more):
    """Skip the test where images cannot be built."""
    missing = [tool for tool in (*_TOOLS, *more) if shutil.which(tool) is None]
    if missing or not BASE:
        pytest.skip(
            f"needs {' '.join(missing) or 'an image with Python 3.11 and pip'}: apt-get install "
            f"{' '.join((*_TOOLS, *more))}, and MEDLOOM_TEST_BASE=IMAGE, such as python:3.11-slim-bookworm"
        )


def built(kind, tag, *words):
    """Build an image of a kind, with the layers of an earlier time where nothing has changed."""
    options = [f"--builder-option={one}" for one in os.environ.get("MEDLOOM_TEST_BUILD_OPTIONS", "").split()]
    command = ["image", "build", kind, *map(str, words), "--tag", tag, "--base", BASE, "--builder", "buildah"]
    assert cli.main([*command, "--builder-option=--layers", *options]) == 0
    return tag


def name_of(what):
    """What a container of this process is called."""
    return f"medloom-{what}-{os.getpid()}"


@contextlib.contextmanager
def running(name, image, *words, options=()):
    """A container and its process, whose output can be read line by line."""
    command = [*RUN, "--name", name, *LOCKED_UP, *options, image, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        subprocess.run(["podman", "kill", name], capture_output=True, check=False)
        process.wait(60)
        process.stdout.close()


def output_of(*command, **more):
    """What a command prints; it has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inside(name, program, *words, given=""):
    """What a program of Python prints inside of a container that runs."""
    return output_of("podman", "--runtime", "runc", "exec", "-i", name, "python3", "-c", program, *words, input=given)
