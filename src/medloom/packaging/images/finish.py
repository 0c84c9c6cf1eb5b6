"""What a Containerfile runs on what it has installed: ``python -m medloom.packaging.images.finish serve FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from medloom import __version__
from medloom.files import write_json, write_text
from medloom.packaging.images.bill import as_cyclonedx, as_list, debian_parts, python_parts
from medloom.packaging.images.rehearsal import compile_what_is_used, import_what_serves
from medloom.packaging.images.trimming import trim

__all__ = ["main"]

_STATUS = Path("/var/lib/dpkg/status")


def main(arguments: Sequence[str]) -> None:
    """Leave out, compile and list.

    Args:
        arguments: ``serve`` or ``train``, and the folder in which ``lib`` holds the packages.
    """
    kind, root = arguments[0], Path(arguments[1])
    if kind == "serve":
        trim(root / "lib")
        import_what_serves()
        compile_what_is_used()
    packages, system = python_parts(root / "lib"), debian_parts(_STATUS)
    write_json(root / "sbom.json", as_cyclonedx(f"medloom-{kind}", __version__, [*packages, *system]))
    write_text(root / "licences.txt", as_list(packages))
    sizes = {part.name: part.bytes or 0 for part in sorted(packages, key=lambda part: -(part.bytes or 0))}
    write_json(root / "sizes.json", sizes)


if __name__ == "__main__":
    main(sys.argv[1:])
