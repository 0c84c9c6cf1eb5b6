"""The contract of ``docs/bundle.md``: somebody without Medloom gets the same bits from the bundle file alone."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import medloom
from medloom.errors import BundleError
from medloom.imaging import decode
from medloom.inference import MaskPoint
from medloom.inference.answers.certainty import OF_CLASSES, OF_LABELS, OF_MASKS, OF_TWO
from medloom.inference.calibration import Calibration, Curve
from medloom.inference.quality import Quality
from medloom.packaging import read_bundle
from medloom.packaging.writer import layout_of
from medloom.recipe import load_recipe
from support.bundles import (
    spatial_graph,
    spatial_label_graph,
    tiny_label_recipe,
    tiny_recipe,
    write_tiny_bundle,
    write_tiny_label_bundle,
)

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "bundle.md"
THREADS = 2

GUARD = """
import runpy, sys
class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"numpy", "PIL", "onnxruntime"}:
            raise ImportError(f"the outsider has no {name}")
sys.meta_path.insert(0, Nobody())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not [name for name in sys.modules if name.partition(".")[0] == "medloom"]
"""


POINT = MaskPoint(0.5, 4)


@dataclass
class Case:
    """A model, and an image to ask it about, or slices and which of them; ``recipe`` holds arguments of its maker."""

    pixels: Any
    suffix: str = ".png"
    recipe: dict[str, Any] = field(default_factory=dict)
    point: MaskPoint = POINT
    metadata: dict[str, Any] = field(default_factory=dict)
    thresholds: tuple[float, ...] = ()
    number: int | None = None
    rows: tuple[Any, ...] = ()
    calibration: Calibration | None = None
    quality: Quality | None = None


def _noise(shape, dtype=np.uint8, high=255, seed=0):
    """Blobs of a few pixels on a black ground."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((-(-shape[0] // 3), -(-shape[1] // 3), *shape[2:]))
    blobs = coarse.repeat(3, axis=0).repeat(3, axis=1)[: shape[0], : shape[1]]
    return (np.where(blobs > 0.4, blobs, 0) * high + rng.random(shape) * high / 20).astype(dtype)


GREY, RGB = {"channels": ("grey",)}, {"channels": ("red", "green", "blue")}


def _with(base, normalise=None, **preprocess):
    more = {"normalise": normalise} if normalise else {}
    return {**base, "preprocess": {**preprocess, **more}}


def _affine(scale, shift, method="platt"):
    return Calibration(method, scale, tuple(map(float, shift)))


def _expects(names, below):
    """A quality in which each number counts, with others' signs."""
    weights = tuple(0.3 * (-1) ** place * (place + 1) for place in range(len(names)))
    return Quality("dice" if names == OF_MASKS else "correct", names, weights, 0.25, below, 0.1)


_CURVE = Curve((0.1, 0.35, 0.5, 0.8), (0.02, 0.02, 0.6, 0.95))

MASKS = {
    "colours": Case(_noise((45, 61, 3)), recipe=RGB),
    "the network's size": Case(_noise((32, 32, 3)), recipe={**RGB, "views": 2}),
    "views": Case(_noise((50, 37, 3)), recipe={**RGB, "views": 11, "size": (24, 33)}),
    "classes, padded, percentiles": Case(
        _noise((41, 90), np.uint16, 60000),
        recipe=_with({**GREY, "classes": 3, "views": 4}, {"method": "percentile"}, fit="pad"),
        point=MaskPoint(0.62, 9),
    ),
    "enlarged, all channels together": Case(
        _noise((13, 9, 3)), ".tif", _with(RGB, {"method": "minmax", "per_channel": False, "nonzero": False})
    ),
    "luma": Case(
        _noise((30, 70, 3)), recipe=_with({**GREY, "views": 3}, {"min_spread": 80.0}, colour="grey", fit="pad")
    ),
    "luma without alpha, 16 bits": Case(
        _noise((31, 33, 4)), recipe=_with(GREY, {"method": "zscore", "nonzero": False}, colour="grey")
    ),
    "grey with alpha as colours": Case(_noise((40, 30, 2)), recipe=_with(RGB, {"method": "imagenet"}, colour="rgb")),
    "16 bits by mean": Case(_noise((64, 48), np.uint16, 4095), ".tif", GREY, MaskPoint(0.3, 0)),
    "floats": Case(_noise((64, 48), np.float32, 3.0) - np.float32(1.5), ".tif", _with(GREY, {"nonzero": False})),
    "below zero": Case(_noise((40, 40), np.float32, 300.0) - np.float32(1000), ".tif", GREY),
    "a window": Case(
        _noise((40, 52), np.int16, 2000) - np.int16(500),
        ".npy",
        _with({**GREY, "classes": 4}, {"method": "none"}, window=(200.0, 900.5)),
        MaskPoint(0.7, 5),
    ),
    "a window of one": Case(
        _noise((20, 52), np.int16, 90), ".npy", _with(GREY, {"method": "none"}, window=(40.0, 1.0)), MaskPoint(0.7, 3)
    ),
    "nothing there": Case(np.zeros((40, 40, 3), np.uint8), recipe={**RGB, "views": 2}),
    "all alike": Case(np.full((40, 40), 7, np.uint16), recipe=GREY),
    "calibrated": Case(_noise((50, 37, 3)), recipe={**RGB, "views": 3}, calibration=_affine((0.6,), (0.4,))),
    "classes, calibrated": Case(
        _noise((50, 37, 3)),
        recipe={**RGB, "classes": 3},
        calibration=_affine((0.6, 1.7, 1.1), (0.0, 0.4, -0.2), "temperature"),
        quality=_expects(OF_MASKS, 0.999),
    ),
    "how good a mask is": Case(_noise((45, 61, 3)), recipe={**RGB, "views": 2}, quality=_expects(OF_MASKS, 0.1)),
    "how good an empty mask is": Case(
        _noise((40, 40, 3)), recipe=RGB, point=MaskPoint(0.5, 2000), quality=_expects(OF_MASKS, 0.9)
    ),
    "the middle of five slices": Case(
        [_noise((41, 50), seed=one) for one in range(5)],
        recipe={**GREY, "context": 1, "classes": 3},
        point=MaskPoint(0.55, 4),
        number=2,
    ),
    "a slice near the end, two on either side": Case(
        [_noise((33, 32, 3), seed=one) for one in range(4)], recipe={**RGB, "context": 2, "views": 3}, number=3
    ),
    "a threshold for each class": Case(
        _noise((41, 90, 3)), recipe={**RGB, "classes": 4, "views": 2}, point=MaskPoint((0.9, 0.35, 0.6), 6)
    ),
    "large regions only": Case(_noise((70, 70, 3), seed=3), recipe={**RGB, "classes": 3}, point=MaskPoint(0.55, 60)),
}

ABC, PEOPLE = {"names": ("a", "b", "c")}, {"metadata": True}
ROWS = (
    ({"age": "40", "sex": "female"}, {"age": "61", "sex": "male"}),
    ({"age": "33.5", "sex": "male"}, {"age": "47", "sex": "other"}, {"age": "", "sex": "Å"}),
)

LABELS = {
    "binary": Case(_noise((45, 61)), recipe={"kind": "binary"}, thresholds=(0.4,)),
    "binary of a float32 threshold": Case(_noise((45, 61)), recipe={"kind": "binary"}, thresholds=(0.1,)),
    "multi-class, cropped": Case(
        _noise((70, 40, 3)),
        recipe={"kind": "multi-class", **ABC, **_with(RGB, {"method": "zscore"}, crop=(21, 30)), "views": 6},
    ),
    "multi-label": Case(
        _noise((40, 40, 3)), recipe={"kind": "multi-label", **ABC, **RGB, "views": 2}, thresholds=(0.2, 0.4, 0.9)
    ),
    "regression": Case(
        _noise((50, 40), np.uint16, 4000),
        ".tif",
        {"kind": "regression", "names": ("grade", "mm"), **_with({}, fit="pad")},
    ),
    "binary, calibrated": Case(
        _noise((45, 61)), recipe={"kind": "binary"}, thresholds=(0.4,), calibration=_affine((1.3,), (-0.5,))
    ),
    "multi-class, calibrated": Case(
        _noise((40, 40, 3)), recipe={"kind": "multi-class", **ABC, **RGB}, calibration=_affine((0.7,) * 3, (0, 1.5, -1))
    ),
    "multi-class, isotonic": Case(
        _noise((40, 40, 3)),
        recipe={"kind": "multi-class", **ABC, **RGB},
        calibration=Calibration("isotonic", curves=(_CURVE, Curve(), _CURVE)),
    ),
    "multi-label, isotonic": Case(
        _noise((40, 40, 3)),
        recipe={"kind": "multi-label", **ABC, **RGB, "views": 2},
        thresholds=(0.2, 0.4, 0.9),
        calibration=Calibration("isotonic", curves=(_CURVE, Curve(), _CURVE)),
    ),
    "how likely one of two classes is right": Case(
        _noise((45, 61)), recipe={"kind": "binary"}, thresholds=(0.4,), quality=_expects(OF_TWO, 0.99)
    ),
    "how likely one of several classes is right": Case(
        _noise((40, 40, 3)), recipe={"kind": "multi-class", **ABC, **RGB}, quality=_expects(OF_CLASSES, 0.2)
    ),
    "how likely several labels are right": Case(
        _noise((40, 40, 3)),
        recipe={"kind": "multi-label", **ABC, **RGB, "views": 2},
        thresholds=(0.2, 0.4, 0.9),
        quality=_expects(OF_LABELS, 0.99),
        calibration=_affine((1.3, 1.0, 0.8), (-0.5, 0.1, 0.2)),
    ),
    "metadata": Case(_noise((40, 40)), recipe=PEOPLE, metadata={"age": 65, "sex": "male"}),
    "metadata in words": Case(_noise((40, 40)), recipe=PEOPLE, metadata={"age": " 6.5e1 ", "sex": " female "}),
    "metadata blank": Case(_noise((40, 40)), recipe=PEOPLE, metadata={"age": "N/A", "sex": None}),
    "metadata unknown": Case(_noise((40, 40)), recipe=PEOPLE, metadata={"sex": "another"}),
    "members of an ensemble": Case(
        _noise((40, 40)), recipe={**PEOPLE, "views": 3}, metadata={"age": 50, "sex": "A\u030a"}, rows=ROWS
    ),
    "the second of three slices": Case(
        [_noise((45, 61), seed=one) for one in range(3)],
        recipe={**PEOPLE, "context": 1, "views": 2},
        metadata={"age": 44},
        number=1,
    ),
    "half a JPEG": Case(_noise((130, 201, 3)), ".jpg", {"kind": "multi-class", **ABC, **RGB}),
    "a quarter of a JPEG, padded": Case(
        _noise((203, 190)), ".jpg", {"kind": "regression", **ABC, **_with({}, fit="pad")}
    ),
    "an eighth of a JPEG, grey": Case(
        _noise((401, 603, 3)), ".jpg", {"kind": "multi-class", **ABC, **_with({}, colour="grey")}
    ),
    "a whole JPEG, for its window": Case(
        _noise((130, 201)),
        ".jpg",
        {"kind": "multi-class", **ABC, **_with({}, {"method": "none"}, window=(100.0, 200.0))},
    ),
}

CASES = {**MASKS, **LABELS}


def _save(case, folder):
    """Write the image, or the slices; return their paths."""
    stack = [case.pixels] if case.number is None else case.pixels
    paths = [folder / f"image{one or ''}{case.suffix}" for one in range(len(stack))]
    for path, pixels in zip(paths, stack, strict=True):
        if case.suffix == ".npy":
            np.save(path, pixels)
        else:
            Image.fromarray(pixels).save(path)
    return paths


def _ask(predictor, case, folder):
    """Predict with Medloom."""
    if case.number is None:
        return predictor.predict(folder / f"image{case.suffix}", metadata=case.metadata)
    paths = [folder / f"image{one or ''}{case.suffix}" for one in range(len(case.pixels))]
    return predictor.predict_slices(paths, metadata=case.metadata)[case.number]


def _write_labels(case, path):
    rows = {"rows": case.rows} if case.rows else {}
    recipe = tiny_label_recipe(**case.recipe)
    return write_tiny_label_bundle(
        path,
        recipe,
        thresholds=case.thresholds,
        graph=spatial_label_graph,
        calibration=case.calibration,
        quality=case.quality,
        **rows,
    )


def _write_masks(case, path):
    recipe = tiny_recipe(**case.recipe)
    graph = spatial_graph(recipe.data.input_channels, recipe.predicts().outputs)
    more = {"point": case.point, "calibration": case.calibration, "quality": case.quality}
    return write_tiny_bundle(path, recipe, graph=graph, **more)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Ask the outsider about all cases, in a process that can import nothing but what it needs."""
    folder = tmp_path_factory.mktemp("outsider")
    jobs = []
    for number, (name, case) in enumerate(CASES.items()):
        bundle = (_write_masks if name in MASKS else _write_labels)(case, folder / f"{number}" / "model.tar.gz")
        images = list(map(str, _save(case, folder / f"{number}")))
        for what, asked in (("image", images), ("golden", None)):
            job = {"bundle": str(bundle), "image": asked, "number": case.number or 0, "metadata": case.metadata}
            jobs.append({**job, "threads": THREADS})
            jobs[-1]["answer"] = str(folder / f"{number}" / f"{what}.npz")
    (folder / "jobs.json").write_text(json.dumps(jobs))
    arguments = [sys.executable, "-c", GUARD, str(HERE / "outsider.py"), str(folder / "jobs.json")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return {name: folder / str(number) for number, name in enumerate(CASES)}


@pytest.mark.parametrize("name", CASES)
def test_an_outsider_gets_the_same_bits_from_the_file_alone(name, answers):
    case, folder = CASES[name], answers[name]
    predictor = medloom.load(folder / "model.tar.gz", threads=THREADS)
    found = _ask(predictor, case, folder)
    outside = np.load(folder / "image.npz")
    assert outside["probabilities"].dtype == np.float32
    np.testing.assert_array_equal(outside["probabilities"], found.probabilities, strict=True)
    says, plain = json.loads(str(outside["says"])), found.plain()
    assert says == {key: plain[key] for key in says}
    if "mask" in outside:
        np.testing.assert_array_equal(outside["mask"], found.mask, strict=True)
        np.testing.assert_array_equal(outside["written"], found.value_mask)


@pytest.mark.parametrize("name", CASES)
def test_an_outsider_gets_the_golden_answer(name, answers):
    folder = answers[name]
    with read_bundle(folder / "model.tar.gz") as bundle:
        golden = np.load(bundle.folder / "golden/probabilities.npy")
    np.testing.assert_array_equal(np.load(folder / "golden.npz")["probabilities"], golden, strict=True)


def test_the_cases_are_worth_comparing(answers):
    """Masks are neither empty nor full, and views and the erasing of small regions change what comes out."""
    for name in MASKS.keys() - {"nothing there", "all alike", "how good an empty mask is"}:
        outside, folder = np.load(answers[name] / "image.npz"), answers[name]
        assert 0.02 < (outside["mask"] > 0).mean() < 0.98, name
        predictor = medloom.load(folder / "model.tar.gz")
        if predictor.views > 1:
            alone = _ask(replace(predictor, views=1), MASKS[name], folder)
            assert np.abs(alone.probabilities - outside["probabilities"]).max() > 0.01, name
    case, folder = MASKS["the middle of five slices"], answers["the middle of five slices"]
    other = _ask(medloom.load(folder / "model.tar.gz"), replace(case, pixels=case.pixels[:2], number=1), folder)
    assert np.abs(other.probabilities - np.load(folder / "image.npz")["probabilities"]).max() > 0.01
    predictor = medloom.load(answers["large regions only"] / "model.tar.gz")
    kept = predictor.at(MaskPoint(0.55, 0)).predict(answers["large regions only"] / "image.png")
    assert (kept.mask != np.load(answers["large regions only"] / "image.npz")["mask"]).any()


def test_the_labels_are_worth_comparing(answers):
    """No score is at an end of the scale, both sides of thresholds come, and JPEGs are read at a fraction."""
    for name in LABELS:
        scores = np.load(answers[name] / "image.npz")["probabilities"]
        assert (np.abs(scores) > 0.002).all(), name
        assert LABELS[name].recipe.get("kind") == "regression" or (scores < 0.998).all(), name
    for name, factor in {"half a JPEG": 2, "a quarter of a JPEG, padded": 4, "an eighth of a JPEG, grey": 8}.items():
        image = decode((answers[name] / "image.jpg").read_bytes(), at_least=(32, 32))
        assert f"decoded at 1/{factor} of its size" in image.notes


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.calibration])
def test_a_calibration_is_worth_comparing(name, answers):
    """It changes what comes out."""
    case, folder = CASES[name], answers[name]
    predictor = medloom.load(folder / "model.tar.gz", threads=THREADS)
    assert predictor.calibration == case.calibration
    own = replace(predictor, calibration=None).predict(folder / f"image{case.suffix}")
    assert np.abs(own.probabilities - np.load(folder / "image.npz")["probabilities"]).max() > 0.01


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.quality])
def test_a_quality_is_worth_comparing(name, answers):
    """The outsider says it, it is that of the bundle, and every number of the certainty counts in it."""
    says = json.loads(str(np.load(answers[name] / "image.npz")["says"]))["quality"]
    predictor = medloom.load(answers[name] / "model.tar.gz", threads=THREADS)
    assert predictor.quality == CASES[name].quality
    assert says["review"] == (says[predictor.quality.measure] < predictor.quality.review_below)
    assert 0.0 < says[predictor.quality.measure] < 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": "correct"}, "expects correct from size"),
        ({"names": ["a"], "weights": [1.0]}, "expects dice from a"),
        ({"weights": [1.0]}, "1 weights of a quality for 5"),
        ({"review_below": 1.5}, "between 0 and 1"),
        ({"farthest": 3}, "of this version"),
    ],
)
def test_a_quality_that_does_not_fit_the_model_is_refused(folder, rewrite, change, message):
    rewrite(lambda m: m.update(quality={**_expects(OF_MASKS, 0.5).plain(), **change}))
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_thresholds_of_classes_are_worth_comparing(answers):
    """They move classes and background, and other forms of a point ask for other steps."""
    folder = answers["a threshold for each class"]
    predictor, image = medloom.load(folder / "model.tar.gz", threads=THREADS), folder / "image.png"
    mask = predictor.predict(image).mask
    shared = predictor.at(MaskPoint(0.6, 6)).predict(image).mask
    assert ((mask > 0) != (shared > 0)).mean() > 0.01
    assert ((mask != shared) & (mask > 0) & (shared > 0)).mean() > 0.01
    assert len(np.unique(mask)) > 2


def test_an_outsider_cannot_import_medloom(tmp_path):
    (tmp_path / "cheat.py").write_text("import medloom\n")
    done = subprocess.run(
        [sys.executable, "-c", GUARD, str(tmp_path / "cheat.py")], capture_output=True, text=True, check=False
    )
    assert "the outsider has no medloom" in done.stderr


def test_the_resampling_of_the_page_gives_pillows_bits():
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    space: dict[str, Any] = {"np": np}
    exec(code[1], space)
    plane = np.random.default_rng(0).normal(0, 1000, (37, 53)).astype(np.float32)
    for height, width, box in [(16, 20, None), (37, 80, None), (90, 53, None), (20, 31, (0.0, 0.0, 52.25, 36.5))]:
        pillow = Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR, box)
        np.testing.assert_array_equal(space["resample"](plane, height, width, box), np.asarray(pillow))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["steps"]["resize"].update(filter="bicubic"), r"steps\.resize\.filter"),
        (lambda m: m["steps"]["normalise"].update(flat_below=0), r"steps\.normalise\.flat_below"),
        (lambda m: m["steps"]["views"].append({}), r"steps\.views"),
        (lambda m: m["steps"].update(surprise=1), "steps"),
        (lambda m: m.pop("steps"), "format 4 needs them"),
        (lambda m: m.update(format=2), "format 2 has none"),
    ],
)
def test_a_bundle_of_other_steps_than_are_computed_is_refused(folder, rewrite, change, message):
    rewrite(change)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": [1.0, 1.0], "shift": [0.0, 0.0]}, "a calibration of 2 outputs for 1"),
        ({"scale": [-1.0]}, "not above 0"),
        ({"smallest": [0.5, 0.5]}, "of this version"),
        ({"method": "other"}, "no calibration 'other'"),
    ],
)
def test_a_calibration_that_does_not_fit_the_model_is_refused(folder, rewrite, change, message):
    rewrite(lambda m: m.update(calibration={**Calibration("platt", (1.0,), (0.0,)).plain(), **change}))
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"thresholds": [0.5, 0.5], "min_region_px": 4}, "one for each of 1 classes"),
        ({"thresholds": 0.5, "min_region_px": 4}, "one for each of 1 classes"),
        ({"threshold": 0.5, "thresholds": [0.5], "min_region_px": 4}, "expected thresholds"),
    ],
)
def test_thresholds_that_do_not_fit_the_classes_are_refused(folder, rewrite, point, message):
    rewrite(lambda m: m.update(point=point))
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_the_page_names_every_key_of_the_manifest_and_of_its_steps(folder):
    manifest = json.loads((folder / "bundle.json").read_text())
    page = PAGE.read_text(encoding="utf-8")
    answer = manifest["steps"]["answer"].keys() - {"mean", "foreground", "decision", "class", "erased", "restored"}
    names = {*manifest, *manifest["steps"]["normalise"], *answer}
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


@pytest.mark.parametrize(("series", "kept"), [("1", "1"), ("1.2.840.113619.2.55", None)])
def test_no_identifier_of_a_series_gets_into_a_bundle(series, kept):
    recipe = load_recipe("dicom-csv", [f"data.series='{series}'"])
    assert recipe.data.series == series
    layout = layout_of(recipe)
    assert layout["data"]["series"] == kept
    assert "1.2.840" not in str(layout)
