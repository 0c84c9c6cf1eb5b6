"""Weights that are on this machine: in a mirror, or in a package of Python; without a network and without torch.

``MEDLOOM_WEIGHTS`` names the mirror, for places that have no internet: ``ORGANISATION/NAME/FILE`` as on Hugging Face.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from medloom.models.published import Published

__all__ = ["MIRROR", "Here", "mirrored", "published_here"]

MIRROR = "MEDLOOM_WEIGHTS"
"""The environment variable that names the mirror."""


class Here(NamedTuple):
    """A file of weights on this machine.

    Args:
        file: The file.
        place: Where that is, for people; names no folder of this machine.
    """

    file: Path
    place: str


def mirrored(*parts: str) -> Path | None:
    """Return a file of the mirror; None if there is no mirror or it has no such file."""
    root = os.environ.get(MIRROR)
    file = Path(root).expanduser().joinpath(*parts) if root else None
    return file if file is not None and file.is_file() else None


def published_here(name: str, published: Published) -> Here | None:
    """Return the file of published weights, from the mirror or else from a package; None where neither has it.

    Args:
        name: As ``medloom.registry.WEIGHTS`` calls them.
        published: What is known of them.
    """
    file = mirrored(*(published.repository or name).split("/"), published.file)
    if file is not None:
        return Here(file, f"the folder that {MIRROR} names")
    file = None if published.package is None else _from_package(*published.package)
    return None if file is None or published.package is None else Here(file, f"the package {published.package[0]}")


def _from_package(module: str, inside: str) -> Path | None:
    """A file that a package of Python brings; None if it is not installed."""
    spec = find_spec(module)
    file = None if spec is None or spec.origin is None else Path(spec.origin).parent / inside
    return file if file is not None and file.is_file() else None
