"""``prepare`` for classification: labels without masks, colours converted, counts that add up."""

import io
import json

import numpy as np
import pytest
import yaml
from PIL import Image

from medloom.data import SPLITS, PixelStore, labels_of, meta_of, open_source, prepare, read_catalogue
from medloom.data.phantom import PhantomPlan, make_phantom
from medloom.errors import DataError, RecipeError
from medloom.recipe import Recipe, parse_recipe
from medloom.transforms import Preprocess

SIZE = 24


def recipe(data, split=None, target=None, **preprocess) -> Recipe:
    whole = {
        "name": "test",
        "target": {"kind": "auto", **(target or {})},
        "data": data,
        "split": split or {},
        "preprocess": {"size": [SIZE, SIZE], **preprocess},
    }
    return parse_recipe(yaml.safe_dump(whole))


def run(dataset, folder, made):
    with open_source(dataset) as source:
        work = Preprocess.of(made.preprocess)
        return prepare(made, source, folder / "run", folder / "cache", workers=1, preprocess=work)


def picture(seed, mode="L") -> bytes:
    depth = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 255, (SIZE, SIZE + seed % 3, *depth), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, "PNG")
    return stream.getvalue()


CSV = {"layout": "csv", "labels": {"patient": "who", "metadata": {"numeric": ["age"]}, "groups": ["sex"]}}


@pytest.fixture
def tabled(tmp_path):
    """48 images of 16 patients with a CSV."""
    folder = tmp_path / "set"
    folder.mkdir()
    lines = ["image,level,who,age,sex"]
    for number in range(48):
        (folder / f"i{number:02d}.png").write_bytes(picture(number))
        lines.append(f"i{number:02d},{number // 3 % 2},p{number // 3:02d},{'' if number == 5 else 20 + number},f")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def test_labels_and_metadata_come_out_of_the_catalogue_as_they_went_in(tabled, tmp_path):
    prepared = run(tabled, tmp_path, recipe(CSV))
    catalogue = read_catalogue(tmp_path / "run" / "catalogue.csv")
    numbers = catalogue["image"].str[1:3].astype(int).to_numpy()
    np.testing.assert_array_equal(labels_of(catalogue), (numbers // 3 % 2)[:, None])
    ages = [meta["age"] for meta in meta_of(catalogue)]
    assert ages == ["" if number == 5 else str(20 + number) for number in numbers]
    assert set(catalogue["mask"]) == {""}
    assert prepared.facts["target"] == {"kind": "binary", "names": ["0", "1"]} == prepared.target.plain()
    assert sum(sum(prepared.facts["counts"][split]["classes"].values()) for split in SPLITS) == 48
    assert json.loads((tmp_path / "run" / "prepare.json").read_text())["target"] == prepared.facts["target"]


def test_patients_are_not_divided_and_classes_are_balanced(tabled, tmp_path):
    prepared = run(tabled, tmp_path, recipe(CSV))
    assert prepared.catalogue.groupby("patient_id")["split"].nunique().max() == 1
    assert all(min(prepared.facts["counts"][split]["classes"].values()) > 0 for split in SPLITS)


def test_a_store_without_masks_says_so_and_holds_none(tabled, tmp_path):
    store = run(tabled, tmp_path, recipe(CSV)).store
    assert not store.has_masks
    assert store.nbytes == store.images.nbytes
    assert not (store.path / "masks.npy").exists()
    for name in ("masks", "foreground_px"):
        with pytest.raises(DataError, match="no masks"):
            getattr(PixelStore.open(store.path), name)


def test_relabelling_and_another_crop_decode_nothing_again(tabled, tmp_path):
    first = run(tabled, tmp_path, recipe(CSV))
    table = (tabled / "labels.csv").read_text()
    (tabled / "labels.csv").write_text(table.replace("i07,0,", "i07,1,"))
    second = run(tabled, tmp_path, recipe(CSV, crop=[16, 16]))
    assert second.facts["store"]["reused"]
    assert second.store.key == first.store.key
    assert labels_of(first.catalogue).sum() + 1 == labels_of(second.catalogue).sum()


def test_wrong_labels_and_broken_files_are_named_together_and_add_up(tabled, tmp_path):
    (tabled / "i03.png").write_bytes(b"broken")
    table = (tabled / "labels.csv").read_text()
    (tabled / "labels.csv").write_text(table.replace("i07,0,", "gone,0,"))
    with pytest.raises(DataError) as caught:
        run(tabled, tmp_path, recipe(CSV))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["labels.csv line 9", "i07.png", "i03.png"]
    quarantine = {**CSV, "policy": "quarantine", "quarantine_limit": 0.1}
    facts = run(tabled, tmp_path, recipe(quarantine)).facts
    assert (facts["found"], facts["used"]) == (49, 46)
    assert {entry["reason"]: entry["count"] for entry in facts["set_aside"]} == {
        "missing_image": 1, "missing_row": 1, "unreadable": 1
    }  # fmt: skip


@pytest.mark.parametrize(("colour", "channels"), [("grey", ["grey"]), ("rgb", ["red", "green", "blue"])])
def test_images_of_one_three_and_four_channels_become_what_the_recipe_says(tabled, tmp_path, colour, channels):
    for number, mode in enumerate(("L", "RGB", "RGBA") * 16):
        (tabled / f"i{number:02d}.png").write_bytes(picture(number, mode))
    made = recipe({**CSV, "channels": channels}, colour=colour)
    prepared = run(tabled, tmp_path, made)
    assert prepared.store.images.shape == (48, len(channels), SIZE, SIZE)
    assert set(prepared.catalogue["channels"]) == {len(channels)}
    (tmp_path / "run" / "data_report" / "gallery_plain.png").stat()


def test_channel_names_that_cannot_be_are_refused_before_anything_is_read(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(RecipeError, match=r"data\.channels: preprocess\.colour=rgb makes 3"):
        run(tmp_path / "set", tmp_path, recipe({"layout": "folder-classes"}, colour="rgb"))


def test_a_published_leak_is_dropped_and_counted(tmp_path):
    for part, patients in (("train", range(12)), ("val", [12, 30]), ("test", range(30, 40))):
        for patient in patients:
            path = tmp_path / "set" / part / "AB"[patient % 2] / f"p{patient}_x.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(patient + len(part)))
    data = {"layout": "folder-classes", "labels": {"patient_pattern": r"p(\d+)_"}}
    with pytest.raises(DataError, match=r"split\.published=repair"):
        run(tmp_path / "set", tmp_path, recipe(data))
    facts = run(tmp_path / "set", tmp_path, recipe(data, {"published": "repair"})).facts
    assert (facts["found"], facts["used"], facts["set_aside"]) == (24, 23, [])
    assert facts["dropped"] == [{"reason": "shared_patient", "count": 1}]
    assert facts["counts"]["test"]["samples"] == 10
    assert facts["audit"]["shared_patients"] == 0
    assert any("1 sample of 1 patient was dropped" in text for text in facts["warnings"])


def test_numbers_are_labels_too(tabled, tmp_path):
    data = {"layout": "csv", "labels": {"patient": "who"}}
    target = {"kind": "regression", "columns": ["age"]}
    with pytest.raises(DataError, match="1 of 48") as caught:
        run(tabled, tmp_path, recipe(data, target=target))
    assert caught.value.problems == (
        "labels.csv line 7: no value for target age; expected one, or let target.blank say what a blank means",
    )
    facts = run(
        tabled, tmp_path, recipe({**data, "policy": "quarantine", "quarantine_limit": 0.1}, target=target)
    ).facts
    assert facts["target"] == {"kind": "regression", "names": ["age"]}
    assert facts["counts"]["train"]["targets"]["age"]["min"] >= 20


def test_vectors_beside_images_are_labels(tmp_path):
    for number in range(30):
        for folder, data in (("x", picture(number)), ("y", b"")):
            path = tmp_path / "set" / folder / f"{number}.{'png' if data else 'npy'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        np.save(tmp_path / "set" / "y" / f"{number}.npy", np.array([number % 2, number % 3 == 0], np.uint8))
    data = {"layout": "array", "image": "x/{sample}.png", "array": "y/{sample}.npy"}
    prepared = run(tmp_path / "set", tmp_path, recipe(data, target={"columns": ["p", "q"]}))
    assert prepared.facts["target"] == {"kind": "multi-label", "names": ["p", "q"]}
    numbers = [int(name[2:-4]) for name in prepared.catalogue["image"]]
    np.testing.assert_array_equal(labels_of(prepared.catalogue), [[n % 2, n % 3 == 0] for n in numbers])


def test_no_name_reaches_a_file_but_the_catalogue(tmp_path):
    plan = PhantomPlan(kind="melanoma", patients=8, size=32, slices=(4, 5), prevalence=0.4)
    make_phantom(plan, tmp_path / "set")
    labels = {"image": "image_name", "patient": "patient_id"}
    data = {"layout": "csv", "channels": ["r", "g", "b"], "labels": labels}
    made = recipe(data, target={"columns": ["target"]})
    prepared = run(tmp_path / "set", tmp_path, made)
    assert prepared.facts["phantom"] is True
    for path in (path for folder in ("run", "cache") for path in (tmp_path / folder).rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert path.name == "catalogue.csv" or (b"ISIC_" not in data and b"IP_0" not in data)
