"""Every back end, each running pieces of Python in place of ``medloom``."""

from __future__ import annotations

import contextlib
import sys

import pytest

from medloom.backends import LocalBackend, Slot
from medloom.jobs import Job
from support.sagemaker_backend import sagemaker_running

PROGRAM = (sys.executable, "-I", "-S", "-c")

TWO = (Slot(1), Slot(1))

SAVES = """
import os, signal, sys
def save(*_):
    os.write(1, b"saved\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
os.write(1, b"ready %d\\n" % os.getpid())
while True:
    signal.pause()
"""
"""Saves when it is asked to stop, as a training does."""


@contextlib.contextmanager
def _local():
    yield LocalBackend(TWO, PROGRAM)


BACKENDS = {"local": _local, "sagemaker": sagemaker_running(PROGRAM, at_a_time=len(TWO))}
"""A back end joins the shared tests with a line here: it runs two jobs at a time, each a piece of Python."""


@pytest.fixture(params=BACKENDS)
def backend(request):
    """One of the back ends."""
    with BACKENDS[request.param]() as found:
        yield found
        found.close()


def job(piece: str, **more) -> Job:
    """A job that is a piece of Python."""
    return Job("piece", (piece,), **more)
