"""Segmentations and reports in a real archive: Orthanc with its DICOMweb plug-in, on this machine alone."""

import io
import json
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom import dcmread

from medloom.data.whole import read_sources, read_whole
from medloom.imaging import decode
from medloom.inference import MaskPoint
from medloom.inference.answers.figures import count_classes
from medloom.inference.answers.mask_volume import VolumePrediction
from medloom.inference.answers.masks import MaskPrediction
from medloom.inference.forms import Algorithm, Made, encode
from medloom.targets import Target
from support.dicom_sources import STUDY, make_image, make_series, zipped

pytest.importorskip("highdicom")

PLUGIN = next(iter(Path("/usr").glob("*/orthanc/plugins/libOrthancDicomWeb.so")), None) or next(
    iter(Path("/usr/share/orthanc/plugins").glob("libOrthancDicomWeb.so")), None
)
ORTHANC = shutil.which("Orthanc")
MODEL = Algorithm("brain-mri", "ab" * 32, "1.0")
TARGET = Target("masks", ("background", "tumour", "lung"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        ORTHANC is None or PLUGIN is None, reason="needs Orthanc: apt-get install orthanc orthanc-dicomweb"
    ),
]


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def orthanc(archive):
    """The archive, emptied."""
    for patient in archive.get("/patients").json():
        archive.delete(f"/patients/{patient}")
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An archive that is up; gives a client of it."""
    folder, port = tmp_path_factory.mktemp("orthanc"), _free_port()
    settings = {
        "Name": "test",
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    log = (folder / "log").open("wb")
    process = subprocess.Popen([ORTHANC, str(path)], stdout=log, stderr=subprocess.STDOUT)
    transport = httpx.HTTPTransport(retries=12)  # it listens after a second or so; pauses grow
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=60) as client:
            assert client.get("/system").json()["Name"] == "test", (folder / "log").read_text()
            yield client
    finally:
        process.terminate()
        process.wait(30)
        log.close()


@pytest.fixture(scope="module", params=["found", "empty"])
def objects(request, tmp_path_factory):
    """Files of a series, and the segmentation and report of a mask of it."""
    folder = tmp_path_factory.mktemp(request.param)
    voxels = np.random.default_rng(1).integers(0, 900, (4, 24, 30)).astype(np.uint16)
    files = make_series(folder, voxels, order=(3, 1, 0, 2))
    data = zipped(files)
    volume = read_whole(data)
    mask = np.random.default_rng(2).integers(0, 3, volume.voxels.shape).astype(np.uint8)
    mask[0] = 0
    mask *= request.param == "found"
    answer = VolumePrediction(
        TARGET, mask, volume.affine, MaskPoint(0.5), np.array([count_classes(one, TARGET) for one in mask]), 0.9,
        np.array([0.9, 0.8]), voxel_ml=0.0009375,
    )  # fmt: skip

    def made():
        return Made(
            answer, TARGET, MODEL, beside=frozenset(("seg", "sr")),
            read_sources=lambda: read_sources(data, whole=True),
        )  # fmt: skip

    return files, encode(made(), "seg"), encode(made(), "sr")


def _stow(client, files):
    boundary = "medloom-test"
    body = b"".join(
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + data + b"\r\n" for data in files
    )
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    answer = client.post(
        "/dicom-web/studies", content=body + f"--{boundary}--\r\n".encode(),
        headers={"Content-Type": kind, "Accept": "application/dicom+json"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_archive_takes_them_into_the_study_of_their_images_and_gives_them_back(orthanc, objects):
    files, segmentation, report = objects
    stored = _stow(orthanc, [*files, segmentation, report])
    assert len(stored["00081199"]["Value"]) == len(files) + 2
    assert not stored.get("00081198", {}).get("Value"), "some failed"

    uid = STUDY["StudyInstanceUID"]
    series = orthanc.get(f"/dicom-web/studies/{uid}/series", headers={"Accept": "application/dicom+json"}).json()
    assert sorted(one["00080060"]["Value"][0] for one in series) == ["MR", "SEG", "SR"]
    (patient,) = orthanc.get("/patients").json()
    assert orthanc.get(f"/patients/{patient}").json()["MainDicomTags"]["PatientID"] == "P-1"

    for data in (segmentation, report):
        sent = dcmread(io.BytesIO(data))
        (found,) = orthanc.post("/tools/lookup", content=sent.SOPInstanceUID).json()
        back = orthanc.get(f"/instances/{found['ID']}/file").content
        assert back == data


def test_sending_the_same_again_changes_nothing(orthanc, objects):
    files, segmentation, report = objects
    for _ in range(2):
        _stow(orthanc, [*files, segmentation, report])
    assert orthanc.get("/statistics").json()["CountInstances"] == len(files) + 2


def test_a_frame_of_probabilities_is_drawn(orthanc, tmp_path):
    image = make_image(tmp_path, np.zeros((24, 30), np.uint16))
    shares = np.zeros((3, 24, 30), np.float32)
    shares[1, 4:9, 5:20] = 0.8
    shares[0] = 1 - shares[1]
    answer = MaskPrediction(TARGET, shares, (shares[1] > 0.5).astype(np.uint8), MaskPoint(0.5))
    made = Made(answer, TARGET, MODEL, read_sources=lambda: read_sources(image))
    segmentation = encode(made, "seg-fractional")
    _stow(orthanc, [image, segmentation])
    (found,) = orthanc.post("/tools/lookup", content=dcmread(io.BytesIO(segmentation)).SOPInstanceUID).json()
    drawn = orthanc.get(f"/instances/{found['ID']}/frames/0/image-uint8", headers={"Accept": "image/png"})
    assert drawn.status_code == 200, drawn.text
    np.testing.assert_array_equal(decode(drawn.content).pixels[..., 0], np.rint(255 * shares[1]).astype(np.uint8))


def test_a_frame_of_a_label_map_is_drawn_with_the_numbers_of_its_segments(orthanc, tmp_path):
    image = make_image(tmp_path, np.zeros((24, 30), np.uint16))
    mask = np.random.default_rng(3).integers(0, 3, (24, 30)).astype(np.uint8)
    answer = MaskPrediction(TARGET, np.eye(3, dtype=np.float32)[mask].transpose(2, 0, 1), mask, MaskPoint(0.5))
    made = Made(answer, TARGET, MODEL, read_sources=lambda: read_sources(image))
    label_map, binary = encode(made, "seg-labelmap"), encode(made, "seg")
    assert not _stow(orthanc, [image, label_map, binary]).get("00081198", {}).get("Value"), "some failed"

    def drawn(data):
        (found,) = orthanc.post("/tools/lookup", content=dcmread(io.BytesIO(data)).SOPInstanceUID).json()
        return orthanc.get(f"/instances/{found['ID']}/frames/0/image-uint8", headers={"Accept": "image/png"})

    np.testing.assert_array_equal(decode(drawn(label_map).content).pixels[..., 0], mask)
    assert drawn(binary).status_code == 415, "frames of one bit are drawn now: the documentation says that they are not"


def test_frames_are_rendered_over_dicomweb_with_the_segment_on_its_pixels(orthanc, tmp_path):
    # Orthanc 1.10 renders frames of one bit only where a row fills whole bytes.
    image = make_image(tmp_path, np.zeros((24, 32), np.uint16))
    mask = np.random.default_rng(3).integers(0, 3, (24, 32)).astype(np.uint8)
    answer = MaskPrediction(TARGET, np.eye(3, dtype=np.float32)[mask].transpose(2, 0, 1), mask, MaskPoint(0.5))
    made = Made(answer, TARGET, MODEL, read_sources=lambda: read_sources(image))

    def rendered(data, frame):
        found = dcmread(io.BytesIO(data))
        place = f"series/{found.SeriesInstanceUID}/instances/{found.SOPInstanceUID}/frames/{frame}/rendered"
        study = f"/dicom-web/studies/{STUDY['StudyInstanceUID']}/{place}"
        drawn = orthanc.get(study, headers={"Accept": "image/png"})
        assert drawn.status_code == 200, drawn.text
        return decode(drawn.content).pixels[..., 0]

    binary, label_map = encode(made, "seg"), encode(made, "seg-labelmap")
    _stow(orthanc, [image, binary, label_map])
    for segment in (1, 2):
        np.testing.assert_array_equal(rendered(binary, segment), np.where(mask == segment, 255, 0))
    np.testing.assert_array_equal(rendered(label_map, 1), np.array([0, 128, 255])[mask])
