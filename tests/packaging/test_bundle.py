import hashlib
import json
import random
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import medloom
from medloom.errors import BundleError, UserError, VerifyError
from medloom.files import sha256_file
from medloom.imaging import decode, encode_png
from medloom.inference import MaskPoint
from medloom.packaging import read_bundle, verify, write_bundle
from medloom.packaging.archive import pack
from medloom.packaging.bundle import checksum_line
from medloom.targets import Target
from support.bundles import tiny_graph, tiny_recipe, write_tiny_bundle


def test_a_bundle_gives_a_predictor_that_finds_what_it_was_made_to_find(bundle_path):
    pixels = np.full((48, 40, 3), 20, np.uint8)
    pixels[10:20, 10:25, 2] = 250
    prediction = medloom.load(bundle_path).predict(pixels)
    truth = pixels[..., 2] == 250
    assert prediction.mask.shape == truth.shape
    assert 2 * (prediction.mask.astype(bool) & truth).sum() / (prediction.area_px + truth.sum()) > 0.9


def test_the_manifest_says_what_the_recipe_and_the_run_said(bundle_path):
    with read_bundle(bundle_path) as bundle:
        manifest = bundle.manifest
    assert manifest.channels == ("pre", "FLAIR", "post")
    assert manifest.preprocess.size == (32, 32)
    assert manifest.operating_point() == MaskPoint(0.5, 4)
    assert manifest.metrics["dice"]["value"] == 0.5
    assert manifest.target == Target("masks", ("class0", "class1"), (0, 1))
    assert manifest.views == 1
    assert manifest.training_data.fingerprint == "0" * 64
    assert not manifest.phantom
    assert {"python", "numpy", "onnxruntime"} <= manifest.versions.keys()


def test_the_same_inputs_give_the_same_bundle(bundle_path, tmp_path):
    again = write_tiny_bundle(tmp_path / "again.tar.gz")
    assert again.read_bytes() == bundle_path.read_bytes()


def test_checksums_are_those_that_sha256sum_makes(folder):
    manifest = (folder / "bundle.json").read_bytes()
    assert (folder / "bundle.json.sha256").read_text() == f"{hashlib.sha256(manifest).hexdigest()}  bundle.json\n"
    for name, expected in json.loads(manifest)["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected


def test_nothing_stays_unpacked(bundle_path, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    medloom.load(bundle_path)
    verify(bundle_path)
    with read_bundle(bundle_path) as bundle:
        assert bundle.folder.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_bundle_leaves_nothing_unpacked(tmp_path, monkeypatch):
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(unpacked))
    pack(tmp_path / "bad.tar.gz", {"bundle.json": b"{}"})
    with pytest.raises(BundleError):
        read_bundle(tmp_path / "bad.tar.gz")
    assert list(unpacked.iterdir()) == []


def test_verify_replays_the_golden_example_from_the_archive_and_from_its_folder(bundle_path, folder):
    for path in (bundle_path, folder):
        report = verify(path)
        assert report.name == "tiny"
        assert report.max_difference < 1e-6
        assert report.differing_px == 0
        assert report.files == 8


def test_the_golden_example_has_foreground_and_background(folder):
    probabilities = np.load(folder / "golden/probabilities.npy")
    assert 0.0 < (probabilities >= 0.5).mean() < 0.5


def test_another_runtime_gives_the_golden_answer(bundle_path):
    assert verify(bundle_path, runtime="openvino").max_difference < 1e-5


def test_verify_says_when_the_model_answers_differently(folder, rewrite):
    expected = np.load(folder / "golden/probabilities.npy")
    expected[0, 3, 3] += 0.01
    np.save(folder / "golden/probabilities.npy", expected)
    digest = hashlib.sha256((folder / "golden/probabilities.npy").read_bytes()).hexdigest()
    rewrite(lambda manifest: manifest["files"].update({"golden/probabilities.npy": digest}))
    with pytest.raises(VerifyError, match=r"off by 0\.01"):
        verify(folder)


def test_one_flipped_byte_anywhere_in_the_archive_is_noticed(bundle_path, tmp_path):
    whole = bundle_path.read_bytes()
    bad = tmp_path / "bad.tar.gz"
    harmless = range(10)  # the gzip header: time and system
    for at in random.Random(0).sample(range(len(harmless), len(whole)), 60):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(BundleError):
            read_bundle(bad)


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.safetensors", "code/inference.py", "golden/input.npy", "bundle.json"]
)
def test_one_flipped_byte_in_an_unpacked_file_is_noticed(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match="changed after the bundle was made"):
        medloom.load(folder)


def test_a_missing_file_is_named(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        read_bundle(folder)


def test_a_link_in_the_place_of_a_file_is_refused(folder, tmp_path):
    (folder / "model.onnx").rename(tmp_path / "elsewhere")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="regular file"):
        read_bundle(folder)


def test_a_file_that_the_bundle_does_not_list_is_refused(folder, tmp_path):
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    pack(tmp_path / "more.tar.gz", {**files, "code/more.py": b""})
    with pytest.raises(BundleError, match=r"code/more\.py"):
        read_bundle(tmp_path / "more.tar.gz")


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "../up", "/etc/passwd", ".hidden", "a\\b", ""])
def test_a_manifest_that_lists_a_file_whose_name_is_not_plain_is_refused(folder, name, rewrite):
    rewrite(lambda manifest: manifest["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=5), "format 5; this version of Medloom reads 2 to 4"),
        (
            lambda m: m.update(format=1, task="segmentation"),
            "format 1; this version of Medloom reads 2 to 4: package the model",
        ),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["point"].update(threshold=7), "point: threshold is 7"),
        (lambda m: m["point"].update(surprise=7), "point: .*surprise"),
        (lambda m: m.update(point={}), "point: "),
        (lambda m: m["target"].update(kind="shapes"), "target: .*there is no kind 'shapes'"),
        (lambda m: m["target"].update(names="ab"), "target: .*as lists"),
        (lambda m: m["target"].update(values=[0, 0]), "target: .*a value of its own"),
        (lambda m: m["target"].update(values=[0, 1, 2]), "target: .*a value of its own"),
        (lambda m: m["target"].update(values=[0, 65536]), "target: .*a value of its own"),
        (lambda m: m["target"].update(values=[0, "1"]), "target: "),
        (lambda m: m["target"].update(values=3), "target: "),
        (lambda m: m["target"].update(names=["alone"]), "target: .*1 classes"),
        (lambda m: m["target"].update(kind="binary"), "target: .*a binary target has no values"),
        (lambda m: m.update(target={"kind": "binary", "names": ["no", "yes"]}), "point: "),
        (lambda m: m.update(views=0), "views"),
        (lambda m: m["preprocess"].update(surprise=1), r"preprocess\.surprise"),
        (lambda m: m.update(metrics={"dice": float("nan")}), "NaN"),
        (lambda m: m["files"].update({"../secret": "0" * 64}), "secret"),
        (lambda m: m["files"].pop("model.onnx"), r"no model\.onnx"),
        (lambda m: m["golden"].update(input="/etc/hostname"), "/etc/hostname"),
        (lambda m: m["golden"].update(answer=["golden/probabilities.npy"]), "golden.answer names .*expected .*mask"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_the_field(folder, change, message, rewrite):
    rewrite(change)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


@pytest.mark.parametrize("data", [b"", b"[" * 200_000, b"null", b"\xff\xfe"])
def test_a_manifest_that_is_no_manifest_is_refused(folder, data):
    (folder / "bundle.json").write_bytes(data)
    (folder / "bundle.json.sha256").write_bytes(checksum_line(data))
    with pytest.raises(BundleError):
        read_bundle(folder)


def test_a_missing_bundle_says_what_was_expected(tmp_path):
    with pytest.raises(BundleError, match=r"expected a model\.tar\.gz"):
        medloom.load(tmp_path / "nothing.tar.gz")


def test_an_unknown_runtime_is_named(bundle_path):
    with pytest.raises(UserError, match="valid: onnx, openvino, torch"):
        medloom.load(bundle_path, runtime="tensorflow")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"runtime": "openvino", "providers": ["CPUExecutionProvider"]}, "no openvino provider .*valid: .*CPU"),
        ({"providers": ["CUDA"]}, "no onnx provider .*valid: .*CPUExecutionProvider"),
    ],
)
def test_threads_and_providers_that_cannot_be_are_named(bundle_path, asked, message):
    with pytest.raises(UserError, match=message):
        medloom.load(bundle_path, **asked)


def test_threads_and_providers_are_arguments_of_load(bundle_path):
    pixels = np.full((48, 40, 3), 20, np.uint8)
    expected = medloom.load(bundle_path).predict(pixels)
    for runtime, provider in (("onnx", "CPUExecutionProvider"), ("openvino", "CPU")):
        found = medloom.load(bundle_path, runtime=runtime, threads=1, providers=[provider]).predict(pixels)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


def test_weights_are_kept_as_they_were(tmp_path):
    (tmp_path / "m.onnx").write_bytes(tiny_graph().SerializeToString())
    weights = {"b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "count": np.array(7)}
    path = write_bundle(
        tmp_path / "m.tar.gz",
        onnx=tmp_path / "m.onnx",
        weights=weights,
        recipe=tiny_recipe(),
        point=MaskPoint(),
        metrics={},
        fingerprint="",
        phantom=True,
    )
    with read_bundle(path) as bundle:
        found = load_file(bundle.folder / "model.safetensors")
        assert bundle.manifest.phantom
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].shape == value.shape


def test_three_classes_and_one_channel_make_a_bundle_too(tmp_path):
    recipe = tiny_recipe(channels=("grey",), classes=3)
    path = write_tiny_bundle(tmp_path / "m.tar.gz", recipe)
    assert verify(path).max_difference < 1e-6
    prediction = medloom.load(path).predict(np.eye(20, dtype=np.uint8) * 255)
    assert prediction.probabilities.shape == (3, 20, 20)


def test_a_graph_with_weights_elsewhere_is_not_packed(tmp_path):
    model = tiny_graph(data_location=1)
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="other files"):
        write_bundle(
            tmp_path / "m.tar.gz",
            onnx=tmp_path / "m.onnx",
            weights={},
            recipe=tiny_recipe(),
            point=MaskPoint(),
            metrics={},
            fingerprint="",
            phantom=False,
        )
    assert not (tmp_path / "m.tar.gz").exists()


def test_the_archive_holds_no_trace_of_time_or_owner(bundle_path):
    assert bundle_path.read_bytes()[4:8] == b"\0\0\0\0"
    with tarfile.open(bundle_path) as tar:
        for entry in tar:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname) == (0, 0, 0, "")


ENTRY_POINT = """
import base64, importlib.util, io, json, sys
import numpy as np
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("inference", sys.argv[1] + "/code/inference.py")
entry = importlib.util.module_from_spec(spec)
spec.loader.exec_module(entry)
model = entry.model_fn(sys.argv[1])
buffer = io.BytesIO()
np.save(buffer, np.full((20, 30, 3), 9, np.uint8))
data = entry.input_fn(buffer.getvalue(), "application/x-npy")
body, media_type = entry.output_fn(entry.predict_fn(data, model), "application/json")
text = json.dumps({"image": base64.b64encode(buffer.getvalue()).decode()})
data = entry.input_fn(text, "application/json; charset=utf-8")
assert entry.output_fn(entry.predict_fn(data, model), "application/json") == (body, media_type)
print(json.dumps([media_type, json.loads(body)["width"], sorted({"torch", "lightning", "monai"} & set(sys.modules))]))
"""


def test_the_entry_point_predicts_bytes_and_text_from_the_unpacked_folder_without_torch(folder):
    done = subprocess.run([sys.executable, "-c", ENTRY_POINT, str(folder)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["application/json", 30, []]


OLDER = Path(__file__).parent / "bundle_2.json"
"""The manifest of a bundle of format 2, as it was written."""


def test_a_bundle_of_format_2_which_knows_neither_steps_nor_values_in_masks_is_read_and_verified(folder, rewrite):
    golden = folder / "golden/mask.png"
    golden.write_bytes(encode_png(np.where(decode(golden.read_bytes()).pixels[..., 0] > 0, 255, 0).astype(np.uint8)))

    def older(manifest):
        files = {name: sha256_file(folder / name) for name in manifest["files"]}
        manifest.clear()
        manifest.update(json.loads(OLDER.read_text()), files=files)

    rewrite(older)
    with read_bundle(folder) as bundle:
        assert (bundle.manifest.format, bundle.manifest.target.values) == (2, ())
    assert verify(folder).differing_px == 0
