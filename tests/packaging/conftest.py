import pytest

from medloom.packaging.testing import write_tiny_bundle


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz")
