"""Bundles of classifiers: written, loaded, verified, tampered with, and run by hosts of four functions."""

import base64
import hashlib
import importlib.util
import inspect
import io
import json
import sys

import numpy as np
import pytest

import medloom
from medloom.errors import BundleError, InputError, VerifyError
from medloom.inference import LabelPoint
from medloom.packaging import read_bundle, verify
from medloom.serving.problems import Problem
from medloom.targets import Target
from support.bundles import tiny_label_recipe, write_tiny_bundle, write_tiny_label_bundle

KINDS = {
    "binary": ("benign", "malignant"),
    "multi-class": ("a", "b", "c"),
    "multi-label": ("left", "right", "both"),
    "regression": ("grade",),
}


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory):
    recipe = tiny_label_recipe(metadata=True, views=2)
    return write_tiny_label_bundle(tmp_path_factory.mktemp("labels") / "model.tar.gz", recipe, thresholds=[0.7])


def _expected(kind, outputs, pixels, table=0.0):
    """The tiny graph by hand, on 8-bit pixels in units of ImageNet's mean and deviation."""
    mean = ((pixels / 255 - 0.449) / 0.226).mean() + table
    logits = np.arange(1, outputs + 1) * mean - np.arange(outputs) / 2
    if kind == "regression":
        return logits
    if kind == "multi-class":
        return np.exp(logits) / np.exp(logits).sum()
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("metadata", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_label_comes_out_of_its_bundle_as_computed_by_hand(tmp_path, kind, metadata):
    recipe = tiny_label_recipe(kind, names=KINDS[kind], metadata=metadata)
    path = write_tiny_label_bundle(tmp_path / "m.tar.gz", recipe)
    predictor = medloom.load(path)
    pixels = np.random.default_rng(0).integers(60, 190, (32, 32), np.uint8)
    given = {"age": 65, "sex": "male"} if metadata else {}
    found = predictor.predict(pixels, metadata=given)
    outputs = 1 if kind == "binary" else len(KINDS[kind])
    expected = _expected(kind, outputs, pixels, 1.5 + 1.0 if metadata else 0.0)
    expected = [1 - expected[0], expected[0]] if kind == "binary" else expected
    assert predictor.target == Target(kind, KINDS[kind])
    assert found.names == KINDS[kind]
    assert found.scores == pytest.approx(expected, abs=2e-3)  # the mean of three channels stands for one of grey
    assert verify(path).max_difference < 1e-6


def test_every_kind_is_loaded_by_the_same_function(bundle_path, tmp_path):
    loaded = [medloom.load(path) for path in (bundle_path, write_tiny_bundle(tmp_path / "m.tar.gz"))]
    assert [predictor.target.kind for predictor in loaded] == ["binary", "masks"]
    assert [predictor.forms[0] for predictor in loaded] == ["application/json"] * 2


def test_thresholds_views_and_metadata_travel_with_the_bundle(bundle_path):
    predictor = medloom.load(bundle_path)
    assert (predictor.point, predictor.views) == (LabelPoint((0.7,)), 2)
    assert predictor.target.names == ("benign", "malignant")
    assert predictor.metadata_columns == ("age", "sex")
    assert predictor.encode([{"age": 60, "sex": "female"}]).tolist() == [[1, 0, 1, 0, 0, 0]]
    with pytest.raises(InputError, match="this model takes age, sex"):
        predictor.encode([{"weight": 1}])


def test_the_manifest_says_what_kind_of_model_it_is(bundle_path):
    with read_bundle(bundle_path) as bundle:
        manifest = bundle.manifest
    assert manifest.target == Target("binary", ("benign", "malignant"))
    assert (manifest.operating_point(), manifest.model.table_features) == (LabelPoint((0.7,)), (6,))
    assert manifest.golden.answer == ("golden/probabilities.npy",)
    assert manifest.model.options["metadata"] == "fused"


def test_the_same_inputs_give_the_same_bundle(bundle_path, tmp_path):
    again = write_tiny_label_bundle(
        tmp_path / "again.tar.gz", tiny_label_recipe(metadata=True, views=2), thresholds=[0.7]
    )
    assert again.read_bytes() == bundle_path.read_bytes()


def test_verify_replays_the_golden_example_with_each_runtime_of_the_graph(bundle_path, folder):
    for path, runtime in ((bundle_path, None), (folder, "onnx"), (folder, "openvino")):
        report = verify(path, runtime=runtime)
        assert report.max_difference < 1e-5
        assert (report.files, report.differing_px) == (7, 0)


def test_the_golden_scores_are_not_at_an_end_of_the_scale(folder):
    scores = np.load(folder / "golden/probabilities.npy")
    assert scores.shape == (1,)
    assert 0.02 < scores[0] < 0.98


def test_verify_says_when_the_model_answers_differently(folder, rewrite):
    scores = np.load(folder / "golden/probabilities.npy")
    np.save(folder / "golden/probabilities.npy", scores + np.float32(0.01))
    digest = hashlib.sha256((folder / "golden/probabilities.npy").read_bytes()).hexdigest()
    rewrite(lambda manifest: manifest["files"].update({"golden/probabilities.npy": digest}))
    with pytest.raises(VerifyError, match=r"off by 0\.01"):
        verify(folder)


def test_swapped_classes_and_every_other_flipped_byte_are_noticed(folder):
    manifest = (folder / "bundle.json").read_bytes()
    swapped = manifest.replace(b"benign", b"######").replace(b"malignant", b"benign").replace(b"######", b"malignant")
    (folder / "bundle.json").write_bytes(swapped)
    with pytest.raises(BundleError, match="changed after the bundle was made"):
        medloom.load(folder)
    (folder / "bundle.json").write_bytes(manifest)
    for name in ("model.onnx", "model.safetensors", "golden/input.npy", "golden/probabilities.npy"):
        whole = (folder / name).read_bytes()
        data = bytearray(whole)
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(BundleError, match="changed after the bundle was made"):
            medloom.load(folder)
        (folder / name).write_bytes(whole)
    medloom.load(folder)


def _first_table(manifest):
    return manifest["tables"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("point"), "point: Field required"),
        (lambda m: m["target"].update(kind="masks"), "point: "),
        (lambda m: m["target"].update(kind="multi-class"), "point: "),
        (lambda m: m["target"].update(kind="ranking"), "target: .*ranking"),
        (lambda m: m["point"].update(thresholds=[1.5]), "point: "),
        (lambda m: m["point"].update(thresholds=[0.5, 0.5]), "point: "),
        (lambda m: m["point"].update(surprise=1), "point: .*surprise"),
        (lambda m: m.update(views=0), "views"),
        (lambda m: _first_table(m).pop("numeric"), "metadata is damaged"),
        (lambda m: _first_table(m)["numeric"][0].update(std=0), "mean or deviation"),
        (lambda m: _first_table(m)["categorical"][0].update(categories=[1]), "metadata is damaged"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(folder, change, message, rewrite):
    rewrite(change)
    with pytest.raises(BundleError, match=message):
        medloom.load(folder)


@pytest.fixture
def entry(folder):
    spec = importlib.util.spec_from_file_location("entry", folder / "code/inference.py")
    module = importlib.util.module_from_spec(spec)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


def _npy(pixels):
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


IMAGE = _npy(np.full((20, 30), 120, np.uint8))


TEXT_TYPES = ("application/json", "text/csv")


def _call(function, *arguments, context):
    """As sagemaker-inference calls: with the context where a function takes one more argument."""
    more = len(inspect.signature(function).parameters) > len(arguments)
    return function(*arguments, *([context] if more else []))


def test_in_a_batch_transform_awss_server_is_answered_why_an_image_was_refused(folder, entry, monkeypatch):
    asked = (entry, folder, b"no image", "application/octet-stream")
    with pytest.raises(Problem, match="none of dicom"):
        _ask_as_the_toolkit(*asked)
    monkeypatch.setenv("SAGEMAKER_BATCH", "True")
    content, kind = _ask_as_the_toolkit(*asked)
    said = json.loads(content)
    assert (kind, said["status"], said["code"], said["refused"]) == (
        "application/problem+json",
        415,
        "unsupported",
        True,
    )
    content, kind = _ask_as_the_toolkit(entry, folder, b"{", "application/json")
    assert json.loads(content)["code"] == "bad_json"
    content, kind = _ask_as_the_toolkit(entry, folder, IMAGE, "application/x-npy")
    assert "refused" not in json.loads(content)
    with pytest.raises(Problem, match="Accept"):
        _ask_as_the_toolkit(entry, folder, IMAGE, "application/x-npy", "text/html")


def _ask_as_the_toolkit(entry, folder, body, kind, accept="application/json"):
    """As sagemaker-inference does: bodies of a text type come as text, others as a bytearray, with a context."""
    context = object()
    given = bytes(body).decode() if kind in TEXT_TYPES else bytearray(body)
    model = _call(entry.model_fn, str(folder), context=context)
    data = _call(entry.input_fn, given, kind, context=context)
    found = _call(entry.predict_fn, data, model, context=context)
    return _call(entry.output_fn, found, accept, context=context)


def test_the_four_functions_answer_as_sagemakers_toolkit_calls_them(entry, folder):
    body = json.dumps({"image": base64.b64encode(IMAGE).decode(), "metadata": {"age": 70, "sex": "männlich"}}).encode()
    for data, kind in ((IMAGE, "application/x-npy"), (body, "application/json")):
        text, media_type = _ask_as_the_toolkit(entry, folder, data, kind)
        assert media_type == "application/json"
        assert json.loads(text) == _ask(entry, folder, data, kind)


def _ask(entry, folder, body, kind, accept="application/json"):
    model = entry.model_fn(str(folder))
    body, media_type = entry.output_fn(entry.predict_fn(entry.input_fn(body, kind), model), accept)
    assert media_type == "application/json"
    return json.loads(body)


def test_the_four_functions_answer_an_image_and_an_image_with_metadata(entry, folder):
    predictor = medloom.load(folder)
    for kind in ("application/x-npy", "application/octet-stream"):
        alone = _ask(entry, folder, IMAGE, kind)
        assert alone["probabilities"]["malignant"] == pytest.approx(predictor.predict(IMAGE).scores[1], abs=1e-6)
    metadata = {"age": 70, "sex": "male"}
    body = json.dumps({"image": base64.b64encode(IMAGE).decode(), "metadata": metadata}).encode()
    both = _ask(entry, folder, bytearray(body), "application/json")
    expected = predictor.predict(IMAGE, metadata=metadata).scores[1]
    assert both["probabilities"]["malignant"] == pytest.approx(expected, abs=1e-6)
    assert both["probabilities"] != alone["probabilities"]
    assert both["operating_point"] == {"thresholds": [0.7]}


def test_the_four_functions_refuse_as_the_server_does(entry, folder):
    wrong = json.dumps({"image": base64.b64encode(IMAGE).decode(), "metadata": {"weight": 1}}).encode()
    asked = [
        (b"{", "application/json", "application/json", "not sound JSON"),
        (wrong, "application/json", "application/json", "age, sex"),
        (b"age,sex", "text/csv", "application/json", "text/csv is not taken"),
        (IMAGE, "application/x-npy", "image/png", "takes none of application/json"),
    ]
    for body, kind, accept, said in asked:
        with pytest.raises(Problem, match=said):
            _ask_as_the_toolkit(entry, folder, body, kind, accept)


def test_a_classifier_predicts_without_torch(bundle_path, modules_after):
    loaded = modules_after(
        "import medloom, numpy as np\n"
        f"medloom.load({str(bundle_path)!r}).predict(np.zeros((8, 8), np.uint8), metadata={{'age': 3}})"
    )
    assert loaded.isdisjoint({"torch", "lightning", "monai", "timm"})
