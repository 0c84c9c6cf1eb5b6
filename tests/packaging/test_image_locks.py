"""What the locks of images can install on either processor; nothing is built here."""

from __future__ import annotations

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

from support.wheels_of_locks import LOCKS, MACHINES, fitting, pins, recorded


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_pin_has_a_wheel_for_the_python_of_an_image(lock, machine):
    """Images install with --only-binary=:all:, so a pin with a source archive alone would end the build."""
    names, taken, without = recorded(), fitting(machine), []
    found = dict(pins(lock, machine))
    assert found
    for pin, hashes in found.items():
        name, _, version = pin.partition("==")
        files = [parse_wheel_filename(names[one]) for one in hashes & names.keys()]
        fit = [file for file in files if file[3] & taken]
        assert all((file[0], str(file[1])) == (canonicalize_name(name), version) for file in fit), pin
        without += [] if fit else [pin]
    assert without == []  # after a change of locks: python tests/support/wheels_of_locks.py


def test_a_file_for_another_processor_or_python_does_not_count():
    wheels = {
        "a-1-cp311-cp311-manylinux_2_28_aarch64.whl": ("aarch64",),
        "a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl": ("x86_64",),
        "a-1-cp310-abi3-manylinux_2_34_x86_64.whl": ("x86_64",),
        "a-1-py3-none-any.whl": MACHINES,
        "a-1-cp312-cp312-manylinux_2_28_x86_64.whl": (),
        "a-1-cp311-cp311-manylinux_2_38_x86_64.whl": (),
        "a-1-cp311-cp311-musllinux_1_2_x86_64.whl": (),
        "a-1-cp311-cp311-macosx_11_0_arm64.whl": (),
    }
    for file, machines in wheels.items():
        tags = parse_wheel_filename(file)[3]
        assert tuple(machine for machine in MACHINES if tags & fitting(machine)) == machines, file
