"""Writing down in a bundle what was measured of it on images of another source; everything else stays as it is."""

from __future__ import annotations

from pathlib import Path

from medloom.files import sha256_bytes
from medloom.packaging.archive import pack
from medloom.packaging.bundle import CHECKSUM, MANIFEST, Bundle, checksum_line
from medloom.packaging.card import card_files
from medloom.packaging.manifest import Validation

__all__ = ["write_validated"]


def write_validated(bundle: Bundle, path: Path, validation: Validation) -> Path:
    """Write a bundle anew with a validation added to those that it has; its answers are the same.

    Args:
        bundle: The bundle, which is not changed.
        path: Where the new one is written.
        validation: What was measured.

    Returns:
        ``path``.
    """
    manifest = bundle.manifest.model_copy(update={"validations": (*bundle.manifest.validations, validation)})
    cards = card_files(manifest)
    sums = {name: sha256_bytes(content) for name, content in cards.items()}
    manifest = manifest.model_copy(update={"files": {**manifest.files, **sums}})
    data = manifest.model_dump_json(indent=2).encode() + b"\n"
    kept = {name: bundle.folder / name for name in manifest.files if name not in cards}
    pack(path, {**kept, **cards, MANIFEST: data, CHECKSUM: checksum_line(data)})
    return path
