"""A whole volume in one request: the mask as NIfTI in its own geometry, or the figures as JSON."""

import base64
import gzip
import io
import json
import zipfile
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medloom.imaging.fence import DecodeFence
from medloom.packaging import read_bundle
from medloom.serving import Limits, Service, create_app
from support.bundles import tiny_label_recipe, tiny_recipe, write_tiny_bundle, write_tiny_label_bundle

AFFINE = np.array([[-0.6, 0, 0, 10], [0, 0, 1.5, -20], [0, -0.7, 0, 30], [0, 0, 0, 1]], np.float64)
NIFTI, GZIP = "application/x-nifti", "application/gzip"


def _voxels():
    voxels = np.full((5, 24, 20), 20, np.uint8)
    voxels[2:4, 6:15, 4:12] = 250
    return voxels


def _nifti(voxels=None):
    return nibabel.Nifti1Image((_voxels() if voxels is None else voxels).T, AFFINE).to_bytes()


def _slice(plane, height, uid="1.2.3"):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.{height}"
    data.SeriesInstanceUID, data.PatientName = uid, "Doe^Jane"
    data.Rows, data.Columns = plane.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.5, 0.75]
    data.ImagePositionPatient = [0, 0, 5 * height]
    data.PixelData = plane.tobytes()
    data["PixelData"].VR = "OB"
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _zip(*series):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes/readme.txt", "no image")
        archive.writestr("__MACOSX/._IM0.dcm", b"litter")
        for uid, voxels, *folder in series:
            for height, plane in enumerate(voxels):
                archive.writestr(f"{uid}{folder}/Doe_Jane_{len(voxels) - height}", _slice(plane, height, uid))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    recipe = tiny_recipe(channels=("grey",), size=(24, 24))
    recipe = recipe.model_copy(
        update={"target": recipe.target.model_copy(update={"mask_values": {"background": 0, "polyp": 7}})}
    )
    with read_bundle(write_tiny_bundle(tmp_path_factory.mktemp("grey") / "m.tar.gz", recipe)) as bundle:
        return bundle.predictor(threads=1), bundle.manifest


@pytest.fixture(scope="module")
def client(grey, make_client):
    return make_client(create_app(Service.of(*grey)))


def _post(client, body, kind=NIFTI, accept=None, query=""):
    headers = {"Content-Type": kind, **({"Accept": accept} if accept else {})}
    return client.post(f"/invocations{query}", content=body, headers=headers)


def _expected(predictor, voxels):
    return np.stack([predictor.predict(plane).value_mask for plane in voxels])


@pytest.mark.parametrize("accept", [NIFTI, GZIP, f"image/png;q=0.1, {NIFTI}"])
@pytest.mark.parametrize("kind", [NIFTI, GZIP, "application/octet-stream"])
def test_a_nifti_volume_gets_a_nifti_mask_in_its_own_geometry(grey, client, accept, kind):
    response = _post(client, gzip.compress(_nifti()) if kind == GZIP else _nifti(), kind, accept)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == (GZIP if accept == GZIP else NIFTI)
    data = gzip.decompress(response.content) if accept == GZIP else response.content
    found = nibabel.Nifti1Image.from_bytes(data)
    np.testing.assert_array_equal(np.asarray(found.dataobj).T, _expected(grey[0], _voxels()))
    assert set(np.unique(found.dataobj)) == {0, 7}
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)


def test_json_of_a_volume_has_the_figures_of_each_class_and_slice(grey, client):
    found = _post(client, _nifti()).json()
    mask = _expected(grey[0], _voxels()) > 0
    assert (found["slices"], found["area_px"], found["foreground"]) == (5, mask.sum(), True)
    (polyp,) = found["masks"]
    assert (polyp["class"], polyp["value"], polyp["area_px"]) == ("polyp", 7, mask.sum())
    assert polyp["slices_px"] == mask.sum(axis=(1, 2)).tolist()
    assert polyp["volume_ml"] == pytest.approx(mask.sum() * 0.6 * 0.7 * 1.5 / 1000)
    assert found["model"]["name"] == grey[1].name


def test_a_zip_with_a_dicom_series_gets_a_mask_in_the_patients_space(grey, client):
    for kind in ("application/zip", "application/octet-stream"):
        response = _post(client, _zip(("1.2.3", _voxels())), kind, NIFTI)
        assert response.status_code == 200, response.text
        found = nibabel.Nifti1Image.from_bytes(response.content)
        np.testing.assert_array_equal(np.asarray(found.dataobj).T, _expected(grey[0], _voxels()))
        np.testing.assert_allclose(np.diag(found.affine), [-0.75, -0.5, 5, 1])


def test_one_of_two_series_in_a_zip_is_chosen_and_the_refusal_lists_them_without_names(client, assert_problem):
    body = _zip(("1.2.3", _voxels()), ("1.2.4", _voxels()[:3]))
    refused = _post(client, body, "application/zip")
    said = assert_problem(refused, 400, "corrupt")["message"]
    assert "series 0: 5 slices; series 1: 3 slices" in said
    assert "Doe" not in refused.text
    for series, slices in (("0", 5), ("1", 3), ("1.2.4", 3)):
        assert _post(client, body, "application/zip", query=f"?series={series}").json()["slices"] == slices


def test_json_may_hold_a_volume(client):
    body = json.dumps({"image": base64.b64encode(_nifti()).decode()})
    assert _post(client, body, "application/json").json()["slices"] == 5
    body = json.dumps(
        {"image": base64.b64encode(_zip(("1.2.3", _voxels()))).decode(), "content_type": "application/zip"}
    )
    assert _post(client, body, "application/json").json()["slices"] == 5
    body = json.dumps({"image": base64.b64encode(_nifti()).decode(), "page": 2})
    assert "slices" not in _post(client, body, "application/json").json()


def test_a_page_of_a_volume_and_one_slice_are_images_unless_nifti_is_asked_for(client):
    assert _post(client, _nifti(), query="?page=2").json()["height"] == 24
    assert "slices" not in _post(client, _nifti(), query="?page=2").json()
    one = _nifti(_voxels()[2:3])
    assert "slices" not in _post(client, one).json()
    assert nibabel.Nifti1Image.from_bytes(_post(client, one, accept=NIFTI).content).shape == (20, 24, 1)


def test_labels_of_a_volume_are_those_of_its_slices(tmp_path, make_client):
    with read_bundle(write_tiny_label_bundle(tmp_path / "m.tar.gz", tiny_label_recipe())) as bundle:
        predictor, client = (
            bundle.predictor(threads=1),
            make_client(create_app(Service.of(bundle.predictor(), bundle.manifest))),
        )
    found = _post(client, _nifti()).json()
    each = [_post(client, _nifti(), query=f"?page={number}").json() for number in range(5)]
    assert [one["probabilities"] for one in found["slices"]] == [one["probabilities"] for one in each]
    assert predictor.volume_forms == ("application/json",)
    assert _post(client, _nifti(), accept=NIFTI).status_code == 406


REFUSED = {
    "a mask of a volume as PNG": ({"body": _nifti(), "accept": "image/png"}, 406, "not_acceptable"),
    "a page as NIfTI": ({"body": _nifti(), "accept": NIFTI, "query": "?page=1"}, 406, "not_acceptable"),
    "a page and a series": ({"body": _zip(("1.2.3", _voxels())), "kind": "application/zip",
                             "query": "?page=1&series=0"}, 400, "bad_page"),
    "a series in NIfTI": ({"body": _nifti(), "query": "?series=0"}, 415, "unsupported"),
    "no such series": ({"body": _zip(("1.2.3", _voxels())), "kind": "application/zip", "query": "?series=4"},
                       400, "corrupt"),
    "a zip called NIfTI": ({"body": _zip(("1.2.3", _voxels()))}, 415, "mismatch"),
    "NIfTI called a zip": ({"body": _nifti(), "kind": "application/zip"}, 415, "mismatch"),
    "a zip without DICOM": ({"body": _zip(), "kind": "application/zip"}, 400, "corrupt"),
    "a damaged zip": ({"body": _zip(("1.2.3", _voxels()))[:-40], "kind": "application/zip"}, 400, "corrupt"),
    "slices at one place": ({"body": _zip(("1.2.3", _voxels(), "a"), ("1.2.3", _voxels(), "b")),
                             "kind": "application/zip"}, 400, "corrupt"),
    "cut": ({"body": _nifti()[:-9]}, 400, "truncated"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_volume_is_refused_with_its_reason_and_without_names(client, assert_problem, what):
    asked, status, code = REFUSED[what]
    response = _post(client, **asked)
    assert_problem(response, status, code)
    assert "Doe" not in response.text


def test_a_zip_that_unpacks_to_more_than_the_budget_is_refused(grey, make_client, assert_problem):
    predictor, manifest = grey
    small = replace(predictor, budget=replace(predictor.budget, max_decoded_bytes=2000))
    client = make_client(create_app(Service.of(small, manifest)))
    assert_problem(_post(client, _zip(("1.2.3", _voxels())), "application/zip"), 400, "corrupt")
    assert_problem(_post(client, _nifti()), 413, "too_large")


def test_a_volume_that_takes_too_long_is_refused_between_two_slices(grey, make_client, assert_problem):
    client = make_client(create_app(Service.of(*grey, Limits(volume_timeout_s=-1.0))))
    said = assert_problem(_post(client, _nifti()), 413, "too_slow")
    assert "of 5 slices 0 were predicted" in said["message"]


def test_volumes_are_read_behind_the_fence(grey, make_client, assert_problem):
    predictor, manifest = grey
    with DecodeFence(1, volumes="medloom.data.whole:read_whole") as fence:
        fenced = replace(predictor, decoder=fence.decode, volume_decoder=fence.read_volume)
        client = make_client(create_app(Service.of(fenced, manifest)))
        for body, kind in ((_nifti(), NIFTI), (_zip(("1.2.3", _voxels())), "application/zip")):
            found = nibabel.Nifti1Image.from_bytes(_post(client, body, kind, NIFTI).content)
            np.testing.assert_array_equal(np.asarray(found.dataobj).T, _expected(predictor, _voxels()))
        assert_problem(_post(client, _nifti()[:-9]), 400, "truncated")
        assert _post(client, _nifti(_voxels()[:1])).json()["height"] == 24


def test_the_description_names_what_a_volume_is_answered_with(client):
    found = client.get("/").json()
    assert found["volume_answers"][0] == "application/json"
    assert {NIFTI, GZIP, "application/dicom; form=seg"} <= {*found["volume_answers"]}
    assert {"application/zip", NIFTI} <= set(found["content_types"])
