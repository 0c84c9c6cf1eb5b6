"""What the tests have a fence run: `medloom.imaging.decode`, and every fault that a decoder may have."""

import ctypes
import itertools
import os
import resource
import signal
import sys

import numpy as np

import medloom.imaging
from medloom.errors import DecodeError
from medloom.imaging import Image
from medloom.imaging.types import Reduction


def _crash():
    ctypes.string_at(0)


def _hang():
    for _ in itertools.count():
        pass


def _starve():
    return np.empty(2**28, np.uint8)  # not touched: the limit is on addresses


def _vanish():
    os._exit(3)


def _be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def _raise():
    raise KeyError("not one of ours")


def _lie():
    return Image(np.array([[["no number"]]], dtype=object), "png")


FAULTS = {
    b"crash": _crash,
    b"hang": _hang,
    b"starve": _starve,
    b"vanish": _vanish,
    b"killed": _be_killed,
    b"raise": _raise,
    b"lie": _lie,
}


def decode(data, **options):
    if fault := FAULTS.get(data):
        return fault()
    return medloom.imaging.decode(data, **options)


def who(data, **options):
    """Say which process answers, what it may use, and whether torch is in it."""
    del data, options
    notes = (str(os.getpid()), str(resource.getrlimit(resource.RLIMIT_CORE)), str("torch" in sys.modules))
    return Image(np.zeros((1, 1, 1), np.uint8), "png", notes=notes)


def odd(data, **options):
    """Give an image with every field and of the dtype that was named, or a refusal with every field."""
    del options
    if data == b"refuse":
        raise DecodeError("page_required", "message ü", field="field", hint="hint")
    pixels = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(data.decode())
    return Image(pixels, "x", (0.1, 1 / 3), ("a", "ü"), (-1e300, 5e-324), Reduction(7, 9, (0.1, 0.2, 0.3, 1 / 7)))
