"""``evaluate.threshold: per-class`` from files to the operating point, its sentence and the report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medloom.data import COLUMNS, open_source
from medloom.errors import RecipeError
from medloom.evaluation import evaluate
from medloom.files import read_json
from medloom.imaging import encode_png
from medloom.inference import MaskPoint, Predictor, default_point
from medloom.recipe import MasksRecipe, parse_recipe
from medloom.reports import write_evaluation_report
from medloom.transforms import Preprocess

SIZE = 24
CLASSES = {"background": 0, "core": 100, "rim": 200}


class Shy:
    """A runtime that is sure of the core (grey 200) and finds the rim (grey 100) with a probability of 0.2 only."""

    name = "shy"

    def run(self, batch, table=None):
        grey = batch[:, 0]
        core, rim = 0.9 * (grey > 150), 0.2 * ((grey > 50) & (grey <= 150))
        shadow = 0.3 * ((grey > 20) & (grey <= 50))
        return np.stack([1 - core - rim - shadow, core + shadow, rim], axis=1).astype(np.float32)


@pytest.fixture
def measured(tmp_path):
    def run(threshold):
        rows = []
        (tmp_path / "data").mkdir(exist_ok=True)
        for number in range(24):
            pixels, truth = np.zeros((2, SIZE, SIZE), np.uint8)
            if number % 3:
                pixels[4:20, 4:20], truth[4:20, 4:20] = 100, 200
                pixels[8:14, 8:14], truth[8:14, 8:14] = 200, 100
            else:
                pixels[2:22, 2:22] = 40
            for name, array in ((f"{number}.png", pixels), (f"{number}_mask.png", truth)):
                (tmp_path / "data" / name).write_bytes(encode_png(array))
            rows.append(
                {
                    **{"sample_id": f"P{number // 2:03d}-{number % 2}", "patient_id": f"P{number // 2:03d}"},
                    **{"image": f"{number}.png", "mask": f"{number}_mask.png", "frame": 0, "height": SIZE},
                    **{"width": SIZE, "channels": 1, "dtype": "uint8", "sha256": "", "fold": -1},
                    **{"foreground_px": int((truth > 0).sum()), "split": "validation" if number < 12 else "test"},
                }
            )
        recipe = MasksRecipe.model_validate(
            {
                "name": "rims",
                "target": {"mask_values": CLASSES},
                "data": {"layout": "image-mask"},
                "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}},
                "evaluate": {"bootstrap": 20, "threshold": threshold},
            }
        )
        target = recipe.predicts()
        predictor = Predictor(Shy(), Preprocess.of(recipe.preprocess), target, ("grey",), point=default_point(target))
        seen = []
        with open_source(tmp_path / "data") as source:
            catalogue = pd.DataFrame(rows, columns=list(COLUMNS))
            summary = evaluate(
                recipe, catalogue, source, predictor, tmp_path / "run", progress=lambda *counts: seen.append(counts)
            )
        assert seen[-1][0] == seen[-1][1] == len(seen)
        return summary, tmp_path / "run" / "evaluation"

    return run


def test_the_rim_is_found_by_a_threshold_of_its_own(measured):
    shared, _ = measured("auto")
    assert shared["test"]["per_target"]["rim"]["metrics"]["dice_foreground"]["value"] == 0.0
    summary, folder = measured("per-class")
    assert summary["operating_point"] == {"thresholds": [0.5, 0.2], "min_region_px": 0}
    assert summary["point_text"] == "Core from probability 0.5 on, rim from probability 0.2 on."
    for name in ("core", "rim"):
        assert summary["test"]["per_target"][name]["metrics"]["dice_foreground"]["value"] == 1.0
    assert summary["test"]["metrics"]["false_positive_rate"]["value"] == 0.0
    assert "then for each class" in summary["rule"]
    kept = read_json(folder / "operating_point.json")
    assert (kept["thresholds"], kept["tried"]) == ([0.5, 0.2], [[0.5, 0.2], [0.5, 0.5]])
    page = write_evaluation_report(folder).read_text()
    for text in ("From probability", "<td>rim</td><td>0.20</td>", "add up to 1"):
        assert text in page


def test_thresholds_that_a_recipe_names_are_taken_as_they_are(measured):
    summary, _ = measured({"rim": 0.15, "core": 0.6})
    assert summary["operating_point"]["thresholds"] == [0.6, 0.15]
    assert "fixed in the recipe: threshold" in summary["rule"]


@pytest.mark.parametrize(
    ("classes", "threshold", "says"),
    [
        ("{background: 0, lesion: 255}", "per-class", "there is one foreground class"),
        ("{background: 0, lesion: 255}", "{lesion: 0.5}", "there is one foreground class"),
        ("{background: 0, a: 1, b: 2}", "{a: 0.5}", "expected one for each of a, b"),
        ("{background: 0, a: 1, b: 2}", "{a: 0.5, b: 0}", "above 0"),
        ("{background: 0, a: 1, b: 2}", "each", "per-class"),
    ],
)
def test_thresholds_that_do_not_fit_the_classes_are_refused(classes, threshold, says):
    text = f"name: one\ntarget: {{mask_values: {classes}}}\ndata: {{layout: image-mask}}\n"
    with pytest.raises(RecipeError, match=says):
        parse_recipe(f"{text}evaluate: {{threshold: {threshold}}}")


def test_a_point_with_a_threshold_for_each_class_keeps_its_form():
    point = MaskPoint((0.3, 0.6), 4)
    assert point.plain() == {"thresholds": [0.3, 0.6], "min_region_px": 4}
    assert (point.of_class(2), MaskPoint(0.4).of_class(2)) == (0.6, 0.4)
