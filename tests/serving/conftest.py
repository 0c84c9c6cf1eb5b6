import asyncio
import io

import httpx
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medloom.packaging import read_bundle
from support import browser
from support.bundles import tiny_label_recipe, write_tiny_bundle, write_tiny_label_bundle
from support.visitor import WEBGL, Visitor, browsers


class Client:
    """Asks the application itself, without a socket. What it raises, a server would log."""

    def __init__(self, app):
        self._transport = httpx.ASGITransport(app)

    def request(self, method, path, content=None, headers=None):
        async def ask():
            async with httpx.AsyncClient(transport=self._transport, base_url="http://test") as client:
                return await client.request(method, path, content=content, headers=headers)

        return asyncio.run(ask())

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, content=None, headers=None):
        return self.request("POST", path, content, headers)


@pytest.fixture(scope="session")
def make_client():
    return Client


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz", phantom=True)


@pytest.fixture(scope="session")
def served(bundle_path):
    """Predictor and manifest of one bundle."""
    with read_bundle(bundle_path) as bundle:
        return bundle.predictor(threads=1), bundle.manifest


@pytest.fixture(scope="session")
def label_bundle_path(tmp_path_factory):
    """Two classes, with the metadata ``age`` and ``sex``."""
    folder = tmp_path_factory.mktemp("labels")
    return write_tiny_label_bundle(folder / "model.tar.gz", tiny_label_recipe(metadata=True), phantom=True)


@pytest.fixture(scope="session")
def served_labels(label_bundle_path):
    """Predictor and manifest of a bundle for classification."""
    with read_bundle(label_bundle_path) as bundle:
        return bundle.predictor(threads=1), bundle.manifest


@pytest.fixture(scope="session")
def assert_problem():
    """Check that a response is a problem with this status and code; returns its body."""

    def check(response, status, code):
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        body = response.json()
        assert (body["status"], body["code"]) == (status, code)
        assert len(body["message"]) > 10
        return body

    return check


@pytest.fixture(scope="session")
def make_dicom():
    """Make an uncompressed DICOM file of grey pixels of one byte."""

    def make(pixels):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
        data.Rows, data.Columns = pixels.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        data.PixelData = pixels.tobytes()
        data["PixelData"].VR = "OB"
        buffer = io.BytesIO()
        data.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    return make


@pytest.fixture(scope="module")
def start():
    """Start a browser with some flags."""
    pytest.importorskip("playwright", reason="needs Playwright: pip install playwright")
    with browsers(browser.executable()) as found:
        yield found


@pytest.fixture(scope="module")
def window(start):
    return start(WEBGL)


@pytest.fixture
def visit(window, url):
    """Open the page; in the end it has complained of nothing and asked nobody else."""
    visitors = []

    def open_it(browser=window, address=url, **options):
        visitors.append(Visitor(browser, address, **options))
        return visitors[-1]

    yield open_it
    for visitor in visitors:
        refused = [text for text in visitor.said if "Failed to load resource" not in text]
        assert (refused, visitor.elsewhere()) == ([], [])
        visitor.close()
