"""What is in an image: a bill of materials (CycloneDX), a list of licences, and the size of each package."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Part", "as_cyclonedx", "as_list", "debian_parts", "python_parts"]

_SPEC = "1.6"
_LONGEST = 80


@dataclass(frozen=True)
class Part:
    """A package in an image.

    Args:
        name: Of the package.
        version: Its version.
        purl: Its address for tools, such as ``pkg:pypi/numpy@2.4.6``.
        licence: What it says of its licence; None where that is in its files alone.
        expression: Whether the licence is an SPDX expression.
        bytes: Of its files in the image; None where nobody has counted.
    """

    name: str
    version: str
    purl: str
    licence: str | None = None
    expression: bool = False
    bytes: int | None = None


def python_parts(packages: Path) -> list[Part]:
    """Return what is installed in a folder, by name."""
    found = [_python_part(one) for one in metadata.distributions(path=[str(packages)])]
    return sorted(found, key=lambda part: part.name.lower())


def debian_parts(status: Path) -> list[Part]:
    """Return the packages of the system that the image begins with.

    Args:
        status: Such as ``/var/lib/dpkg/status``; where there is none nothing is returned.

    Source: https://manpages.debian.org/bookworm/dpkg-dev/deb-src-control.5.en.html
    """
    if not status.is_file():
        return []
    found = []
    for text in status.read_text(encoding="utf-8").split("\n\n"):
        said = dict(re.findall(r"^([A-Za-z-]+): (.+)$", text, re.MULTILINE))
        if said.get("Status", "").endswith(" installed"):
            name, version = said["Package"], said["Version"]
            purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A')}?arch={said['Architecture']}"
            found.append(Part(name, version, purl, bytes=int(said.get("Installed-Size", 0)) * 1024))
    return found


def as_cyclonedx(name: str, version: str, parts: Sequence[Part]) -> dict[str, Any]:
    """Return the bill of materials; the same parts give the same bill.

    Args:
        name: Of the image.
        version: Of Medloom.
        parts: What is in it.

    Source: https://cyclonedx.org/docs/1.6/json/
    """
    about = {"type": "container", "bom-ref": "image", "name": name, "version": version}
    number = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join([name, version, *(part.purl for part in parts)]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": _SPEC,
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {"component": about},
        "components": [_component(part) for part in parts],
    }


def as_list(parts: Sequence[Part]) -> str:
    """Return a line for each part: name, version and licence. Texts of licences lie beside the packages."""
    rows = [f"{part.name} {part.version}: {part.licence or 'see its files'}" for part in parts]
    return "\n".join(rows) + "\n"


def _component(part: Part) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "library", "bom-ref": part.purl, "name": part.name, "version": part.version}
    if part.licence is not None:
        said["licenses"] = [{"expression": part.licence} if part.expression else {"license": {"name": part.licence}}]
    return said | {"purl": part.purl}


def _python_part(found: metadata.Distribution) -> Part:
    name, version = found.metadata["Name"], found.version
    licence = _said(found, "License-Expression")
    size = sum(path.stat().st_size for path in _files(found))
    normal = re.sub(r"[-_.]+", "-", name).lower()
    said = licence or next(_licences(found), None)
    return Part(name, version, f"pkg:pypi/{normal}@{version}", said, licence is not None, size)


def _said(found: metadata.Distribution, key: str) -> str | None:
    return next(iter(found.metadata.get_all(key) or ()), None)


def _licences(found: metadata.Distribution) -> Iterator[str]:
    """What a package says of its licence in words: in a line of its own, or among what it is classified as."""
    said = (_said(found, "License") or "").strip()
    if said and said != "UNKNOWN" and len(said) <= _LONGEST and "\n" not in said:
        yield said
    for one in found.metadata.get_all("Classifier") or []:
        if one.startswith("License :: "):
            yield one.rpartition(" :: ")[2]


def _files(found: metadata.Distribution) -> Iterator[Path]:
    for name in found.files or ():
        path = Path(str(found.locate_file(name)))
        if path.is_file():
            yield path
