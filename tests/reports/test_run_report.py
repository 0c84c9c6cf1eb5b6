import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from medloom.evaluation import Choice
from medloom.evaluation.masks import CASE_COLUMNS, METRICS, Masks, patient_table
from medloom.files import write_bytes, write_json, write_text
from medloom.imaging import encode_png
from medloom.recipe import MasksRecipe
from medloom.reports import write_run_report
from medloom.targets import Target
from support.figures import Figures

TARGET = Target("masks", ("background", "vessel"))


def cases(split, patients, foreground=True):
    """Made-up rows of cases.csv."""
    rng = np.random.default_rng(len(split))
    rows = []
    for patient in range(patients):
        for index in range(6):
            truth_px = 120 if foreground and index % 2 else 0
            overlap_px = int(rng.integers(40, 110)) if truth_px else 0
            predicted_px = overlap_px + int(rng.integers(0, 30)) * (index > 3)
            total = truth_px + predicted_px
            dice = 2 * overlap_px / total if total else 1.0
            rows.append(
                {
                    "sample_id": f"P{patient:03d}-{index:03d}",
                    "patient_id": f"P{patient:03d}",
                    "split": split,
                    "class": "vessel",
                    "pixels": 4096,
                    "truth_px": truth_px,
                    "predicted_px": predicted_px,
                    "overlap_px": overlap_px,
                    "dice": dice,
                    "iou": dice / (2 - dice),
                    "hd95": 3.5 if truth_px and predicted_px else np.nan,
                    "hd95_unit": "px",
                    "regions": int(truth_px > 0),
                    "regions_found": int(overlap_px > 0),
                    "regions_false": int(truth_px == 0 and predicted_px > 0),
                    "false_positive": np.nan if truth_px else float(predicted_px > 0),
                    "probability": 0.9 if predicted_px else 0.2,
                    "plain_predicted_px": predicted_px + 50,
                    "plain_overlap_px": overlap_px,
                }
            )
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS))


def write_evaluation(folder, test, resamples=50):
    validation = cases("validation", 4)
    grid = {"thresholds": [0.4, 0.55], "min_regions_px": [0, 20]}
    grid |= {"dice_foreground": [[0.7, 0.7], [0.6, 0.6]], "false_positive_rate": [[0.4, 0.1], [0.2, 0.0]]}
    point = {"threshold": 0.55, "min_region_px": 20}
    choice = Choice(point, "the best of them", notes=("no point was good enough",), search=grid)
    table = pd.concat([validation, test])
    write_json(folder / "summary.json", Masks(TARGET).summary(table, choice, resamples))
    write_text(folder / "patients.csv", patient_table(table).to_csv(index=False))
    write_json(folder / "operating_point.json", choice.plain())


def write_pictures(run_dir):
    picture = encode_png(np.zeros((8, 8, 3), np.uint8))
    item = {"file": "gallery/P001-003.png", "sample_id": "P001-003", "order": [0.25, -111.0]}
    item["caption"] = "P001-003: Dice 0.250, true 120 px, predicted 9 px"
    item["scale"] = {"width_px": 8, "mm_per_px": 3.0}
    write_bytes(run_dir / "evaluation" / item["file"], picture)
    groups = [
        {"name": "worst", "title": "Three worst images", "most": 3, "items": [item]},
        {"name": "best", "title": "No picture", "most": 3, "items": []},
    ]
    gallery = {"note": "Test images.", "heatmaps": "", "legend": [["true", "#50dc64"]], "groups": groups}
    write_json(run_dir / "evaluation" / "gallery.json", gallery)
    epochs = [{"epoch": n, "metric": n / 20, "file": f"epoch_{n:04d}.png"} for n in range(1, 16)]
    for epoch in epochs:
        write_bytes(run_dir / "progress" / epoch["file"], picture)
    facts = {"monitor": "dice_balanced", "samples": ["P002-004"], "epochs": epochs}
    facts |= {"legend": [["true", "#010203"]], "scale": {"width_px": 8, "mm_per_px": None}}
    write_json(run_dir / "progress" / "progress.json", facts)


def write_training(run_dir):
    line = {"train_loss": 0.5, "val_loss": 0.6, "dice_foreground": 0.7, "dice_all": 0.8, "lr": 0.001, "seconds": 2.0}
    lines = [{"epoch": n, **line, "false_positive_rate": None, "dice_balanced": 0.7 + n / 100} for n in (1, 2, 3)]
    write_text(run_dir / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    facts = {"best_epoch": 3, "best_metric": 0.73, "monitor": "dice_balanced", "epochs": 3, "finished": True}
    facts |= {"device": "cpu", "precision": "32", "seconds": 90.0, "images_per_s": 44.4, "peak_rss_bytes": 10**9}
    write_json(run_dir / "training.json", facts)


def write_prepared(run_dir, phantom=False):
    counts = {"patients": 4, "samples": 24, "foreground_samples": 12, "foreground_share": 0.5}
    prepared = {
        "phantom": phantom,
        "target": TARGET.plain(),
        "counts": dict.fromkeys(("train", "validation", "test"), counts),
    }
    write_json(
        run_dir / "prepare.json", {**prepared, "warnings": ["2 images are nearly the same <b>"], "set_aside": []}
    )
    recipe = MasksRecipe(name="trial", description="A trial.").plain()
    recipe["data"]["path"] = "/home/doctor/patient-smith"
    write_text(run_dir / "recipe.yaml", yaml.safe_dump(recipe))
    write_json(run_dir / "run.json", {"data": "/home/doctor/patient-smith", "environment": {"python": "3.11.9"}})


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_prepared(folder)
    write_training(folder)
    write_evaluation(folder / "evaluation", cases("test", 5))
    write_text(folder / "evaluation" / "cases.csv", cases("test", 5).to_csv(index=False))
    write_pictures(folder)
    return folder


def test_the_headlines_come_first_with_interval_and_number(page, run_dir, visible):
    metric = json.loads((run_dir / "evaluation/summary.json").read_text())["test"]["metrics"]["dice_foreground"]
    text = visible(page)
    headline = f"{metric['value']:.3f} {metric['low']:.3f} to {metric['high']:.3f} n = {metric['n']}"
    assert headline in text
    titles = [
        "Metric and what it says",
        "Operating point",
        "Split",
        "Test patients",
        "Error gallery",
        "Training",
        "Recipe",
    ]
    positions = [page.index(f">{title}<") for title in titles]
    assert positions == sorted(positions)
    assert page.index(f"{metric['value']:.3f}") < positions[0]


def test_a_report_says_that_nobody_measured_the_model_elsewhere(page, visible):
    assert "Not validated elsewhere" in visible(page)
    assert "medloom evaluate BUNDLE --data OTHER" in visible(page)


def test_every_metric_says_what_it_means(page, visible):
    text = visible(page)
    for name in ("dice_foreground", "false_positive_rate", "dice_all", "hd95_px", "roc_auc"):
        assert METRICS[name].meaning.replace("'", "&#39;") in text


def test_the_page_needs_no_other_file(page):
    assert not re.findall(r"""src=["'](?!data:)""", page)
    assert "://" not in page


def test_every_figure_names_the_file_that_it_comes_from(page, run_dir):
    named = set(re.findall(r'href="([^"]*)"', page))
    assert {"evaluation/summary.json", "evaluation/cases.csv", "evaluation/operating_point.json"} <= named
    assert {"metrics.jsonl", "training.json", "prepare.json", "evaluation/gallery.json"} <= named
    assert [name for name in named if not (run_dir / name).is_file()] == []


def test_every_number_comes_from_a_file_of_the_run(page, run_dir):
    assert Figures(run_dir).strangers(page) == []
    summary = json.loads((run_dir / "evaluation/summary.json").read_text())
    value = f"{summary['test']['metrics']['dice_foreground']['value']:.3f}"
    assert Figures(run_dir).strangers(page.replace(value, "0.98765")) == ["0.98765"]


def test_a_page_says_first_in_plain_words_what_was_found_and_what_speaks_against_it(page, run_dir, visible):
    metric = json.loads((run_dir / "evaluation/summary.json").read_text())["test"]["metrics"]["dice_foreground"]
    top, text = page.index("In plain words"), visible(page)
    assert top < page.index("Before you rely on it") < page.index("Metric and what it says")
    assert f"overlap with a Dice of {metric['value']:.3f} (" in text
    for caveat in ("Only 5 test patients", "were chosen on 4 validation patients", "Not validated elsewhere"):
        assert page.index(caveat) < page.index("Metric and what it says")


def test_pictures_have_a_bar_that_says_how_large_they_are(page):
    assert 'style="width:20.83%"><span>5 mm</span>' in page  # of 8 pixels, 3 mm each
    assert 'style="width:25.00%"><span>2 px</span>' in page


def test_pictures_carry_pseudonym_and_dice(page):
    assert "P001-003: Dice 0.250, true 120 px, predicted 9 px" in page
    assert "Epoch 15: dice_balanced 0.750" in page
    assert "background:#50dc64" in page
    assert "background:#010203" in page
    assert "No picture" not in page


def test_only_a_few_epochs_are_shown_the_first_and_the_last_among_them(page, visible):
    shown = [int(number) for number in re.findall(r"<figcaption>Epoch (\d+)", page)]
    assert (len(shown), shown[0], shown[-1]) == (6, 1, 15)
    assert "6 of 15 epochs shown" in visible(page)


def test_warnings_of_the_preparation_are_shown_and_escaped(page):
    assert "2 images are nearly the same &lt;b&gt;" in page
    assert "Only 5 test patients" in page
    assert "No point was good enough." in page


def test_where_the_images_lie_is_not_told(page):
    assert "smith" not in page


def test_nothing_is_said_of_lesions_slices_or_brains_where_there_are_none(page, visible):
    text = visible(page).split("What it was made with")[0]
    assert "A pixel is vessel from a probability of 0.55 ; regions below 20 px of" in text
    assert not re.findall(r"(?i)lesion|slice|brain|flair|false alarm|figure", text)


def test_phantom_runs_say_so(run_dir, page):
    assert "Phantom data" not in page
    write_prepared(run_dir, phantom=True)
    assert "Phantom data" in write_run_report(run_dir).read_text()
    write_prepared(run_dir)  # as the other tests expect it


def test_the_same_facts_give_the_same_page(run_dir, page):
    assert write_run_report(run_dir).read_text() == page


def test_a_run_that_was_only_prepared_says_that_nothing_was_measured(tmp_path, visible):
    write_prepared(tmp_path)
    text = visible(write_run_report(tmp_path).read_text())
    assert "has not been measured yet" in text
    assert "Split" in text
    assert "Error gallery" not in text


@pytest.mark.parametrize(
    ("test", "resamples", "warning"),
    [
        (cases("test", 3, foreground=False), 20, "No test image holds foreground"),
        (cases("test", 0), 20, "There is no test image"),
        (cases("test", 12), 0, "No intervals were taken"),
    ],
)
def test_missing_facts_are_named_and_do_no_harm(tmp_path, test, resamples, warning, visible):
    write_prepared(tmp_path)
    write_evaluation(tmp_path / "evaluation", test, resamples)
    text = visible(write_run_report(tmp_path).read_text())
    assert warning in text
    assert not re.search(r"\b(nan|None|undefined)\b", text.split("What it was made with")[0])
