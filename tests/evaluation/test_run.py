import json

import numpy as np
import pandas as pd
import pytest

from medloom.data import open_source
from medloom.errors import DataError
from medloom.evaluation import evaluate, point_lines
from medloom.evaluation.masks import Case, GridChoice, summarise
from medloom.evaluation.masks.cases import evaluate_cases
from medloom.evaluation.masks.family import notes_of
from medloom.evaluation.masks.gallery import BOTH, TRUTH, Drawn, asked_class, draw_case, make_gallery
from medloom.files import read_json, write_bytes
from medloom.imaging import decode, encode_png
from medloom.inference import MaskPoint
from medloom.targets import IGNORED


@pytest.fixture
def run(recipe, predictor, data, tmp_path):
    folder, catalogue = data

    def start(config=None, rows=catalogue, **kwargs):
        changed = recipe.model_copy(update={"evaluate": config}) if config else recipe
        with open_source(folder) as source:
            return evaluate(changed, rows, source, predictor, tmp_path / "run", **kwargs)

    return start


def test_the_point_is_chosen_on_validation_and_used_on_test(run):
    summary = run()
    assert summary["operating_point"]["min_region_px"] >= 5  # the four bright pixels are gone
    assert summary["test"]["metrics"]["false_positive_rate"]["value"] == 0.0
    assert summary["test"]["baselines"]["plain"]["metrics"]["false_positive_rate"]["value"] == 1.0
    assert summary["test"]["metrics"]["dice_foreground"]["value"] > 0.8
    assert summary["within_limit"]


def test_all_metrics_can_be_taken_again_from_the_saved_table(run, tmp_path):
    summary = run()
    table = pd.read_csv(tmp_path / "run/evaluation/cases.csv")
    for split in ("validation", "test"):
        assert summarise(table[table["split"] == split], 50) == summary[split]
    assert read_json(tmp_path / "run/evaluation/summary.json") == summary
    assert len(pd.read_csv(tmp_path / "run/evaluation/patients.csv")) == 6


def test_the_same_run_writes_the_same_bytes(run, tmp_path):
    run()
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    run()
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_fixed_values_of_the_recipe_are_used_and_nothing_is_searched(run, recipe):
    fixed = recipe.evaluate.model_copy(update={"threshold": 0.4, "min_region_px": 0})
    steps = []
    summary = run(fixed, progress=lambda done, total: steps.append((done, total)))
    assert summary["operating_point"] == {"threshold": 0.4, "min_region_px": 0}
    assert summary["rule"] == "fixed in the recipe: threshold and min_region_px"
    assert point_lines(summary) == "Lesion from probability 0.4 on.\n"
    assert steps == [(done, 24) for done in range(1, 25)]


def test_progress_counts_validation_twice_when_it_is_searched(run):
    steps = []
    run(progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (36, 36)


def test_the_gallery_shows_outlines_on_the_image_and_names_nobody(run, tmp_path):
    run()
    folder = tmp_path / "run/evaluation"
    gallery = json.loads((folder / "gallery.json").read_text())
    assert "channel FLAIR" in gallery["note"]
    assert dict(gallery["legend"])["true"] == "#56b4e9"
    assert [group["name"] for group in gallery["groups"]] == ["worst", "worst_foreground", "best"]
    items = [item for group in gallery["groups"] for item in group["items"]]
    assert 6 <= len(items) <= 9
    for group in gallery["groups"]:
        assert [item["order"] for item in group["items"]] == sorted(item["order"] for item in group["items"])
    assert items[0]["caption"].startswith(f"{items[0]['sample_id']}: Dice ")
    picture = decode((folder / items[0]["file"]).read_bytes()).pixels
    assert picture.shape == (512, 512, 3)
    assert (picture == (86, 180, 233)).all(axis=-1).any()
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.suffix in (".json", ".csv"))
    assert b"s1.npy" not in written
    assert str(tmp_path).encode() not in written


def test_the_gallery_shows_where_the_network_looked_below_the_outlines(run, data, tmp_path):
    folder, _ = data
    for name in [f"s{index}" for index in range(16, 24)]:  # the test images, and their masks, twice as large
        np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy").repeat(2, axis=0).repeat(2, axis=1))
        mask = decode((folder / f"{name}_mask.png").read_bytes()).pixels[..., 0]
        write_bytes(folder / f"{name}_mask.png", encode_png(mask.repeat(2, axis=0).repeat(2, axis=1)))
    asked = []

    def heatmap(image, table, output):
        asked.append((image.shape, table, output))
        heat = np.zeros(image.shape[2:], np.float32)
        heat[24:30, 2:8] = 1
        return heat

    run(heatmap=heatmap)
    written = tmp_path / "run/evaluation"
    gallery = read_json(written / "gallery.json")
    items = {item["sample_id"]: item for group in gallery["groups"] for item in group["items"]}
    assert asked == [((1, 2, 32, 32), None, 0)] * len(items)
    assert "Seg-Grad-CAM" in gallery["heatmaps"]
    for item in items.values():
        plain, heat = (decode((written / item[key]).read_bytes()).pixels.astype(int) for key in ("file", "heatmap"))
        inside, outside = (slice(25 * 16, 29 * 16), slice(3 * 16, 7 * 16)), (slice(0, 22 * 16), slice(10 * 16, None))
        np.testing.assert_allclose(heat[inside], 0.4 * plain[inside] + 0.6 * np.array([255, 40, 0]), atol=2)
        assert abs(heat - plain)[outside].max() <= 1
        assert not item["caption"].endswith("lesion")
        lines = (plain == TRUTH).all(axis=-1)
        assert (heat[lines] == TRUTH).all()


def test_a_network_without_a_feature_map_has_a_gallery_of_outlines_alone(run, tmp_path):
    run(heatmap=lambda *given: None)
    gallery = read_json(tmp_path / "run/evaluation/gallery.json")
    assert not any("heatmap" in item for group in gallery["groups"] for item in group["items"])


def test_of_several_classes_the_heat_map_is_of_the_one_with_the_most_wrong_pixels():
    truth, predicted = np.zeros((2, 16, 16), np.uint8)
    truth[:8], truth[12:, :3] = 1, 2
    predicted[:7] = 1
    case = Case("S", "P", "test", truth, predicted, np.zeros((4, 16, 16), np.float32))
    assert asked_class(case, 4) == 1
    truth[6] = IGNORED
    truth[7] = 0
    assert asked_class(case, 4) == 2
    assert asked_class(Case("S", "P", "test", predicted, predicted, case.probabilities), 4) == 1
    drawn = {"S": Drawn(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8), 2, "oedema")}
    table = evaluate_cases([case], ("background", "core", "oedema", "rim"))
    item = make_gallery({"worst": ["S"]}, drawn, table, "", "test").groups[0].items[0]
    assert item.caption.endswith("; heat map of oedema")
    assert item.variant == 2


def test_the_gallery_outlines_each_class():
    truth, predicted = np.zeros((2, 64, 64), np.uint8)
    truth[8:56, 8:56], truth[24:40, 24:40] = 1, 2
    predicted[8:56, 8:56] = 1
    case = Case("S", "P", "test", truth, predicted, np.zeros((3, 64, 64), np.float32))
    picture = draw_case(case, np.zeros((64, 64, 1), np.uint8), 0)
    blue, yellow = ((picture == colour).all(axis=-1) for colour in (TRUTH, BOTH))
    assert yellow[8 * 8, 8 * 8 : 8 * 56].all()
    assert blue[8 * 24, 8 * 24 : 8 * 40].all()


def test_notes_say_what_the_operating_point_cost():
    def notes(found, plain=0.8, within_limit=True, tried=(0.5, 0.9)):
        size = len(tried), 1
        grid = np.zeros(size)
        choice = GridChoice(MaskPoint(), grid, grid, tried, (0,), within_limit, 1, 1)
        return notes_of(choice, found, plain)

    assert notes(0.75) == ()
    assert "from 0.800 (at 0.5) to 0.050" in notes(0.05)[0]
    assert notes(0.05, tried=(0.9,)) == ()
    assert "finds no foreground on validation" in notes(0.0)[0]
    assert "no validation image holds foreground" in notes(None, None)[0]
    assert "kept to the highest false positive rate" in notes(0.75, within_limit=False)[0]


def test_no_test_patient_gives_a_summary_without_metrics(run, data):
    catalogue = data[1]
    summary = run(rows=catalogue[catalogue["split"] == "validation"])
    assert summary["test"]["metrics"]["dice_foreground"]["value"] is None
    assert summary["validation"]["metrics"]["dice_foreground"]["value"] > 0.8


def test_validation_alone_is_measured_without_reading_a_file_of_the_test_set(run, data, tmp_path):
    folder, catalogue = data
    run()
    before = {path: path.read_bytes() for path in (tmp_path / "run/evaluation").rglob("*") if path.is_file()}
    for row in catalogue[catalogue["split"] == "test"].to_dict("records"):
        (folder / row["image"]).unlink()
        (folder / row["mask"]).unlink()
    summary = run(part="validation", measured_with={"runtime": "bright"})
    assert "test" not in summary
    assert summary["measured_with"] == {"runtime": "bright"}
    assert summary["validation"] == read_json(tmp_path / "run/evaluation/summary.json")["validation"]
    assert {path: path.read_bytes() for path in before} == before
    beside = tmp_path / "run/evaluation/validation"
    gallery = read_json(beside / "gallery.json")
    assert gallery["note"].startswith("Validation images")
    shown = {item["sample_id"] for group in gallery["groups"] for item in group["items"]}
    assert shown <= set(catalogue.loc[catalogue["split"] == "validation", "sample_id"])
    assert all((beside / item["file"]).is_file() for group in gallery["groups"] for item in group["items"])
    assert set(pd.read_csv(beside / "patients.csv")["split"]) == {"validation"}


def test_images_of_another_size_are_measured_in_their_own_geometry(run, data, tmp_path):
    folder, catalogue = data
    np.save(folder / "s13.npy", np.load(folder / "s13.npy").repeat(2, axis=0).repeat(2, axis=1))
    mask = decode((folder / "s13_mask.png").read_bytes()).pixels[..., 0]
    write_bytes(folder / "s13_mask.png", encode_png(mask.repeat(2, axis=0).repeat(2, axis=1)))
    run()
    table = pd.read_csv(tmp_path / "run/evaluation/cases.csv").set_index("sample_id")
    row = table.loc[catalogue["sample_id"][13]]
    assert row["pixels"] == 64**2
    assert row["truth_px"] == 4 * (mask > 0).sum()


def test_a_mask_that_changed_since_prepare_is_named_by_its_pseudonym(run, data):
    folder, _ = data
    write_bytes(folder / "s0_mask.png", encode_png(np.zeros((5, 5), np.uint8)))
    with pytest.raises(DataError, match="P000-000"):
        run()
