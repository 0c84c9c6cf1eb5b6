import json
import shutil

import pytest

from medloom.packaging import read_bundle
from medloom.packaging.bundle import checksum_line
from support.bundles import write_tiny_bundle


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz")


@pytest.fixture
def folder(bundle_path, tmp_path):
    """The bundle unpacked, to be changed."""
    with read_bundle(bundle_path) as bundle:
        shutil.copytree(bundle.folder, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def rewrite(folder):
    """Edit the manifest of ``folder`` as an attacker who knows the format would."""

    def edit(change):
        manifest = json.loads((folder / "bundle.json").read_text())
        change(manifest)
        data = json.dumps(manifest).encode()
        (folder / "bundle.json").write_bytes(data)
        (folder / "bundle.json.sha256").write_bytes(checksum_line(data))

    return edit
