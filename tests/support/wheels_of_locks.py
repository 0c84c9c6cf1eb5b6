"""Which file of the package index each pin of a lock means on x86-64 and on arm64.

A lock holds hashes alone. ``wheels_of_locks.txt`` beside this file says what they are of, so that a test needs no
network; ``python tests/support/wheels_of_locks.py`` asks the index and writes it anew after a change of the locks.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

__all__ = ["MACHINES", "RECORD", "fitting", "pins", "recorded"]

MACHINES = ("x86_64", "aarch64")
RECORD = Path(__file__).with_suffix(".txt")
LOCKS = Path(__file__).parents[2] / "src" / "medloom" / "packaging" / "images" / "locks"

_PYTHON = (3, 11)
_GLIBC = 36
"""Of Debian bookworm, which images begin with: glibc 2.36."""

_JSON = "application/vnd.pypi.simple.v1+json"
_INDEX = "https://pypi.org/simple"


def pins(lock: Path, machine: str) -> Iterator[tuple[str, set[str]]]:
    """Yield ``name==version`` and the hashes of every pin that is installed in an image for a machine."""
    place = {"platform_machine": machine, "sys_platform": "linux", "python_version": "3.11"}
    place |= {"python_full_version": "3.11.2", "platform_system": "Linux", "implementation_name": "cpython"}
    for part in re.split(r"^(?=[a-z])", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        said, _, rest = part.partition("\\\n")
        pin, _, marker = (word.strip() for word in said.partition(";"))
        if not marker or Marker(marker).evaluate(place):
            yield pin, set(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))


def fitting(machine: str) -> set[Tag]:
    """Return the tags of wheels that the Python of an image takes."""
    first = {"x86_64": 5, "aarch64": 17}[machine]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC, first - 1, -1)]
    platforms += [f"{older}_{machine}" for older in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    return {*cpython_tags(_PYTHON, platforms=platforms), *compatible_tags(_PYTHON, "cp311", platforms)}


def recorded() -> dict[str, str]:
    """Return the names of files by their hashes."""
    lines = RECORD.read_text(encoding="utf-8").splitlines()
    return {line.partition("  ")[0]: line.partition("  ")[2] for line in lines if not line.startswith("#")}


def main() -> None:
    """Ask the index for the files of every pin, and keep those that an image may take."""
    taken = set.union(*(fitting(machine) for machine in MACHINES))
    known = recorded() if RECORD.is_file() else {}
    found: dict[str, str] = {}
    wanted = {
        pin: hashes for lock in LOCKS.glob("*.txt") for machine in MACHINES for pin, hashes in pins(lock, machine)
    }
    for pin, hashes in sorted(wanted.items()):
        files = {digest: name for digest, name in known.items() if digest in hashes} or _asked(pin)
        for digest, name in files.items():
            if digest in hashes and name.endswith(".whl") and parse_wheel_filename(name)[3] & taken:
                found[digest] = name
    lines = [f"{digest}  {name}\n" for digest, name in sorted(found.items(), key=lambda one: one[1].lower())]
    RECORD.write_text("# sha256 and name of each wheel that an image may install\n" + "".join(lines), encoding="utf-8")


def _asked(pin: str) -> dict[str, str]:
    name = pin.partition("==")[0]
    request = urllib.request.Request(f"{_INDEX}/{name}/", headers={"Accept": _JSON})
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    return {one["hashes"]["sha256"]: one["filename"] for one in files}


if __name__ == "__main__":
    main()
