"""Where the truth is ignored nothing is measured: neither what was predicted there nor what lies there."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import f1_score, jaccard_score

from evaluation.conftest import SIZE, disc
from medloom.data import open_source
from medloom.evaluation.masks import Case, Masks, evaluate_cases
from medloom.evaluation.masks.gallery import BOTH, PREDICTED, TRUTH, draw_case
from medloom.evaluation.masks.point import PointSearch
from medloom.evaluation.reading import Reading
from medloom.files import write_bytes
from medloom.imaging import encode_png
from medloom.metrics import hausdorff95
from medloom.targets import IGNORED

NAMES = {1: ("background", "lesion"), 3: ("background", "liver", "tumour")}


def a_case(truth, probabilities, **more):
    predicted = (probabilities[0] >= 0.4) if len(probabilities) == 1 else probabilities.argmax(axis=0)
    return Case("P001-001", "P001", "test", truth, predicted.astype(np.uint8), probabilities, **more)


def noise(outputs, seed):
    """Truth, probabilities and an ignored part of any shape."""
    rng = np.random.default_rng(seed)
    scores = ndimage.gaussian_filter(rng.standard_normal((outputs, 40, 50)), (0, 2, 2)) * 8
    probabilities = 1 / (1 + np.exp(-scores))
    probabilities = probabilities if outputs == 1 else probabilities / probabilities.sum(axis=0)
    truth = rng.integers(0, max(2, outputs), (40, 50)).astype(np.uint8)
    ignored = ndimage.gaussian_filter(rng.standard_normal((40, 50)), 3) > 0.02
    return truth, probabilities.astype(np.float32), ignored


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_that_of_the_known_pixels_alone(outputs, seed):
    truth, probabilities, ignored = noise(outputs, seed)
    case = a_case(np.where(ignored, IGNORED, truth).astype(np.uint8), probabilities)
    table = evaluate_cases([case], NAMES[outputs])
    for index, name in enumerate(NAMES[outputs][1:], start=1):
        row = table[table["class"] == name].iloc[0]
        true, guess = truth[~ignored] == index, case.predicted[~ignored] == index
        assert row["dice"] == pytest.approx(f1_score(true, guess))
        assert row["iou"] == pytest.approx(jaccard_score(true, guess))
        assert row["pixels"] == (~ignored).sum()
        assert (row["truth_px"], row["predicted_px"], row["overlap_px"]) == (
            true.sum(),
            guess.sum(),
            (true & guess).sum(),
        )
        assert row["probability"] == probabilities[index - (outputs == 1)][~ignored].max()
        if outputs > 1:
            found = [row[f"predicted_as_{other}"] for other in NAMES[outputs]]
            np.testing.assert_array_equal(found, np.bincount(case.predicted[~ignored & (truth == index)], minlength=3))


@pytest.mark.parametrize("spacing", [None, (0.5, 2.0)])
def test_regions_and_distances_take_both_sides_as_background_there(spacing):
    truth, probabilities, ignored = noise(1, 5)
    truth = ndimage.gaussian_filter(truth.astype(float), 2) > 0.5
    case = a_case(np.where(ignored, IGNORED, truth).astype(np.uint8), probabilities, spacing_mm=spacing)
    row = evaluate_cases([case], NAMES[1]).iloc[0]
    true, guess = truth & ~ignored, (case.predicted > 0) & ~ignored
    labels, count = ndimage.label(true, np.ones((3, 3)))
    assert row["hd95"] == hausdorff95(true, guess, spacing)
    assert (row["regions"], row["regions_found"]) == (count, len(set(labels[guess & true])))


@pytest.mark.parametrize("outputs", [1, 3])
def test_what_lies_where_the_truth_is_ignored_changes_no_column(outputs):
    truth, probabilities, ignored = noise(outputs, 7)
    other = np.where(ignored, probabilities[..., ::-1, ::-1], probabilities)
    ignoring = np.where(ignored, IGNORED, truth).astype(np.uint8)
    tables = [evaluate_cases([a_case(ignoring, one)], NAMES[outputs]) for one in (probabilities, other)]
    assert tables[0].equals(tables[1])


def test_an_image_whose_foreground_is_all_ignored_is_an_empty_one():
    truth = np.where(disc(16, 16, 6), IGNORED, 0).astype(np.uint8)
    row = evaluate_cases([a_case(truth, disc(16, 16, 5)[None].astype(np.float32))], NAMES[1]).iloc[0]
    assert (row["truth_px"], row["predicted_px"], row["false_positive"], row["probability"]) == (0, 0, 0.0, 0.0)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_operating_point_counts_known_pixels_alone(outputs):
    """Beside an ignored part that no region crosses, the search is that of the image without it."""
    whole, cut = PointSearch((0.3, 0.5, 0.7), (0, 5, 20)), PointSearch((0.3, 0.5, 0.7), (0, 5, 20))
    for seed in range(6):
        truth, probabilities, _ = noise(outputs, seed)
        truth *= seed % 3 > 0
        probabilities[:, :, 24] = 0.0 if outputs == 1 else np.array([1.0, 0.0, 0.0])[:, None]
        cut.add(truth[:, :25], probabilities[:, :, :25], f"P{seed}")
        truth[:, 25:] = IGNORED
        whole.add(truth, probabilities, f"P{seed}")
    found, expected = whole.best(0.5), cut.best(0.5)
    np.testing.assert_array_equal(found.dice_foreground, expected.dice_foreground)
    np.testing.assert_array_equal(found.false_positive_rate, expected.false_positive_rate)
    assert (found.point, found.empty_cases) == (expected.point, expected.empty_cases)


def test_a_region_that_runs_into_the_ignored_part_is_kept_for_its_whole_size():
    truth = np.zeros((SIZE, SIZE), np.uint8)
    truth[:, 16:] = IGNORED
    truth[10:14, 14:16] = 1
    probabilities = np.zeros((1, SIZE, SIZE), np.float32)
    probabilities[0, 10:14, 14:24] = 0.9
    search = PointSearch((0.5,), (0, 20, 60))
    search.add(truth, probabilities, "P001")
    assert search.best(1.0).dice_foreground.tolist() == [[1.0, 1.0, 0.0]]


def test_the_gallery_draws_no_outline_there():
    truth = np.where(np.arange(SIZE)[None] >= 16, IGNORED, disc(16, 16, 8)).astype(np.uint8)
    picture = draw_case(a_case(truth, disc(16, 14, 8)[None].astype(np.float32)), np.zeros((SIZE, SIZE, 1), np.uint8), 0)
    drawn = np.zeros(picture.shape[:2], bool)
    for colour in (TRUTH, PREDICTED, BOTH):
        drawn |= (picture == colour).all(axis=-1)
    assert drawn[:, : picture.shape[1] // 2].any()
    assert not drawn[:, picture.shape[1] // 2 :].any()


def test_a_run_measures_the_same_whatever_the_images_show_where_masks_are_ignored(data, recipe, predictor, tmp_path):
    """A false positive in every image, in a corner: left out of both, it is as if it were not there."""
    folder, catalogue = data
    ignoring = recipe.model_copy(update={"target": recipe.target.model_copy(update={"ignore": 254})})
    tables, points = [], []
    for bright in (False, True):
        for index in range(len(catalogue)):
            rng = np.random.default_rng(index)
            pixels = np.load(folder / f"s{index}.npy")
            pixels[:8, :8] = 0
            pixels[:7, :7, 0] = rng.integers(0, 255, (7, 7)) * bright
            np.save(folder / f"s{index}.npy", pixels)
            truth = np.zeros((SIZE, SIZE), np.uint8) if index % 3 == 0 else disc(16, 14, 3 + index % 4) * np.uint8(255)
            truth[:8, :8] = 254
            write_bytes(folder / f"s{index}_mask.png", encode_png(truth))
        with open_source(folder) as source:
            reading = Reading(ignoring, source, predictor)
            table, choice = Masks(recipe.predicts()).measure(ignoring, reading, catalogue)
        tables.append(table)
        points.append(choice)
    assert tables[0].equals(tables[1])
    assert points[0].point == points[1].point
    assert points[0].search == points[1].search
    assert (tables[0]["pixels"] == SIZE * SIZE - 64).all()
