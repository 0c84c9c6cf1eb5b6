"""Phantom radiographs and skin photographs: the files of the real sets, and a class that can and must be learnt."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from medloom.data.layouts.csv_labels import Columns, CsvLabels
from medloom.data.layouts.folder_classes import FolderClasses
from medloom.data.layouts.labels import LabelRule
from medloom.data.phantom import PhantomPlan, make_phantom
from medloom.data.phantom.chest import chest_image
from medloom.data.phantom.skin import skin_image
from medloom.errors import DataError
from medloom.imaging import inspect
from medloom.targets import Target

CHEST = PhantomPlan(kind="chest-xray", patients=12, size=48, slices=(4, 5), prevalence=0.5, seed=3)
SKIN = PhantomPlan(kind="melanoma", patients=6, size=40, slices=(4, 8), prevalence=0.2, seed=3)
SKIN_COLUMNS = Columns(image="image_name", patient="patient_id", groups=("sex",))


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("plan", [CHEST, SKIN], ids=lambda plan: plan.kind)
def test_the_same_configuration_gives_the_same_bytes(plan, tmp_path):
    assert content(make_phantom(plan, tmp_path / "a")) == content(make_phantom(plan, tmp_path / "b"))


@pytest.mark.parametrize("plan", [CHEST, SKIN], ids=lambda plan: plan.kind)
def test_an_image_does_not_depend_on_the_number_of_patients(plan, tmp_path):
    few = content(make_phantom(plan, tmp_path / "few"))
    more = content(make_phantom(replace(plan, patients=15), tmp_path / "more"))
    pictures = [name for name in few if name.endswith(("jpg", "jpeg"))]
    assert len(pictures) > 20
    assert all(few[name] == more[name] for name in pictures)


def test_radiographs_lie_as_the_published_ones_do(tmp_path):
    held = content(make_phantom(CHEST, tmp_path))
    listing = FolderClasses(r"(person\d+|IM-\d+)").find(list(held), held.__getitem__)
    assert (listing.target, listing.problems) == (Target("binary", ("NORMAL", "PNEUMONIA")), ())
    assert len({item.patient for item in listing.items}) == 12
    parts = {part: {item.labels for item in listing.items if item.published == part} for part in ("train", "test")}
    assert parts == {"train": {(0.0,), (1.0,)}, "test": {(0.0,), (1.0,)}}
    assert {item.labels for item in listing.items if item.published == "validation"} == {(0.0,), (1.0,)}


def test_every_radiograph_is_grey_and_has_its_own_size(tmp_path):
    make_phantom(CHEST, tmp_path)
    headers = [inspect(path.read_bytes()) for path in tmp_path.rglob("*.jpeg")]
    assert {header.channels for header in headers} == {1}
    assert len({(header.height, header.width) for header in headers}) > len(headers) / 2


def test_the_skin_set_has_the_columns_of_the_published_one_and_is_read_by_them(tmp_path):
    files = content(make_phantom(SKIN, tmp_path))
    listing = CsvLabels(LabelRule(("target",)), SKIN_COLUMNS).find(sorted(files), files.__getitem__)
    assert (listing.target.kind, listing.problems, len({item.patient for item in listing.items})) == ("binary", (), 6)
    header = files["melanoma/train.csv"].decode().splitlines()[0]
    assert header == (
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target"
    )


@pytest.mark.parametrize("prevalence", [0.02, 0.3])
def test_the_share_of_melanomas_is_the_one_asked_for(tmp_path, prevalence):
    plan = PhantomPlan(kind="melanoma", patients=40, size=32, slices=(4, 6), prevalence=prevalence)
    files = content(make_phantom(plan, tmp_path))
    rows = list(csv.DictReader(io.StringIO(files["melanoma/train.csv"].decode())))
    assert abs(sum(row["target"] == "1" for row in rows) - prevalence * len(rows)) <= 1


def test_age_carries_signal_and_blanks_occur(tmp_path):
    plan = PhantomPlan(kind="melanoma", patients=120, size=32, slices=(4, 4), prevalence=0.15)
    files = content(make_phantom(plan, tmp_path))
    rows = list(csv.DictReader(io.StringIO(files["melanoma/train.csv"].decode())))
    known = [row for row in rows if row["age_approx"]]
    assert 0 < len(rows) - len(known) < 0.1 * len(rows)
    score = roc_auc_score([int(row["target"]) for row in known], [float(row["age_approx"]) for row in known])
    assert 0.65 < score < 0.95


def drawn(kind, count):
    """Images of 64 x 64 and their classes."""
    truth = np.arange(count) % 2
    pictures = []
    for index, positive in enumerate(truth):
        rng = np.random.default_rng([9, index])
        pixels = chest_image(rng, 64, ill=bool(positive)) if kind == "chest" else None
        pixels = skin_image(rng, 64, melanoma=bool(positive)) if pixels is None else pixels
        pictures.append(np.asarray(Image.fromarray(pixels).resize((64, 64)), np.float64))
    return np.stack(pictures), truth


def mosaic(pictures, side):
    """Mean and deviation in squares of ``side`` pixels, which hide hairs and noise."""
    count = 64 // side
    squares = pictures.reshape(len(pictures), count, side, count, side, -1)
    return squares.mean(axis=(2, 4)), squares.std(axis=(2, 4))


def chest_features(pictures):
    standard = (pictures - pictures.mean(axis=(1, 2), keepdims=True)) / pictures.std(axis=(1, 2), keepdims=True)
    return np.concatenate([part.reshape(len(part), -1) for part in mosaic(standard, 8)], axis=1)


def skin_features(pictures):
    """How far the colours of an image are spread, wherever they are."""
    level = mosaic(np.log(pictures + 8), 4)[0].reshape(len(pictures), -1, 3)
    level = level[:, np.arange(256).reshape(16, 16)[3:13, 3:13].ravel()]
    tints = np.stack([level[..., 0] - level[..., 2], level[..., 0] - level[..., 1], level.sum(axis=2)], axis=2)
    tints -= np.median(tints, axis=1, keepdims=True)
    return np.quantile(tints, np.linspace(0, 1, 15), axis=1).transpose(1, 0, 2).reshape(len(pictures), -1)


FEATURES = {"chest": chest_features, "skin": skin_features}


@pytest.mark.parametrize("kind", ["chest", "skin"])
def test_brightness_does_not_tell_the_classes_apart_and_a_model_does(kind):
    pictures, truth = drawn(kind, 300)
    flat = pictures.reshape(len(pictures), -1)
    for simple in (flat.mean(axis=1), flat.std(axis=1)):
        score = roc_auc_score(truth, simple)
        assert max(score, 1 - score) < 0.75
    features = FEATURES[kind](pictures)
    forest = RandomForestClassifier(200, random_state=0, n_jobs=1).fit(features[:200], truth[:200])
    assert roc_auc_score(truth[200:], forest.predict_proba(features[200:])[:, 1]) > 0.8


def test_an_interrupted_set_is_completed_and_another_layout_is_refused(tmp_path):
    whole = content(make_phantom(SKIN, tmp_path / "set", layout="csv"))
    (tmp_path / "set/phantom.json").write_text(
        whole["phantom.json"].decode().replace('"complete": true', '"complete": false')
    )
    (tmp_path / "set/melanoma/train.csv").unlink()
    assert content(make_phantom(SKIN, tmp_path / "set")) == whole
    with pytest.raises(DataError, match="melanoma phantoms come in the layout csv"):
        make_phantom(SKIN, tmp_path / "other", layout="lgg-mri")
