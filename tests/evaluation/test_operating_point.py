import numpy as np
import pytest
from scipy import ndimage

from medloom.evaluation import choose_operating_point
from medloom.evaluation.operating_point import MIN_LESIONS_PX, THRESHOLDS, PointSearch, _total
from medloom.inference import OperatingPoint, postprocess
from medloom.metrics import dice
from medloom.recipe import EvaluateConfig


def field(seed, classes=1, size=48):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((classes, size, size)), (0, 3, 3))
    return (1 / (1 + np.exp(-6 * smooth / smooth.std() + 6))).astype(np.float32)


def cases(count=6):
    for seed in range(count):
        truth = (field(seed + 100)[0] > 0.5) if seed % 3 else np.zeros((48, 48))
        yield truth.astype(np.uint8), np.maximum(field(seed), 0.8 * truth[None].astype(np.float32) * field(seed + 50))


def multi_class_cases():
    for seed in range(4):
        scores = np.concatenate([np.full((1, 48, 48), 0.6, np.float32), field(seed, 2)])
        yield field(seed + 9, 2).argmax(axis=0).astype(np.uint8) * (seed % 2), scores / scores.sum(axis=0)


@pytest.mark.parametrize("make", [cases, multi_class_cases])
def test_the_grid_says_what_post_processing_would_give(make):
    search = PointSearch((0.2, 0.5, 0.9), (0, 10, 60))
    for one in make():
        search.add(*one, "P001")
    choice = search.best(1.0)
    for i, threshold in enumerate(choice.thresholds):
        for j, size in enumerate(choice.min_lesions_px):
            dices, alarms = [], []
            for truth, probabilities in make():
                mask = postprocess(probabilities, OperatingPoint(threshold, size))
                for index in range(1, max(2, len(probabilities))):
                    if (truth == index).any():
                        dices.append(dice(truth == index, mask == index))
                if not truth.any():
                    alarms.append(mask.any())
            assert choice.dice_lesion[i, j] == pytest.approx(np.mean(dices))
            assert choice.false_alarm_rate[i, j] == pytest.approx(np.mean(alarms))


def square(size, value=0.9, at=2):
    probabilities = np.zeros((1, 40, 40), np.float32)
    probabilities[0, at : at + size, at : at + size] = value
    return probabilities


EMPTY = np.zeros((40, 40), np.uint8)


def of_one(found):
    """The same cases, all of one patient: there is no other to doubt them by."""
    return [(*case, "P001") for case in found]


def test_a_class_taken_for_another_does_not_make_the_point_refuse_every_lesion():
    truth = (square(20)[0] > 0).astype(np.uint8)  # of two classes, and the rim is taken for the other
    inner, whole = square(16, 0.9, at=4), square(20, 0.9)
    probabilities = np.concatenate([1 - whole, inner, whole - inner])
    empty = np.concatenate([np.ones((1, 40, 40), np.float32), np.zeros((2, 40, 40), np.float32)])
    choice = choose_operating_point(of_one([(truth, probabilities), (EMPTY, empty)]), EvaluateConfig())
    assert choice.point == OperatingPoint(0.5, 0)
    assert choice.within_limit
    assert (choice.lesion_cases, choice.empty_cases) == (1, 1)


def test_small_false_alarms_are_kept_out_by_the_smallest_lesion():
    truth = (square(9)[0] > 0).astype(np.uint8)
    found = [(truth, square(9)), (EMPTY, square(4, at=20))]
    choice = choose_operating_point(of_one(found), EvaluateConfig())
    assert 16 < choice.point.min_lesion_px <= 81
    assert choice.within_limit
    assert choice.point.threshold == 0.5


def test_a_small_gain_in_dice_does_not_buy_false_alarms():
    """At 0.1 the lesion is found whole, but so is a shadow on one empty slice of ten, which the limit would allow."""
    truth = (square(20)[0] > 0).astype(np.uint8)
    dim_edge = np.maximum(square(20, 0.2), square(19, 0.9))
    found = [(truth, dim_edge), (EMPTY, square(20, 0.2))] + [(EMPTY, square(3, 0.0))] * 9
    choice = choose_operating_point(of_one(found), EvaluateConfig(max_false_alarms=0.2))
    assert choice.point == OperatingPoint(0.5, 0)


def test_without_a_point_below_the_limit_the_fewest_false_alarms_win():
    truth = (square(4)[0] > 0).astype(np.uint8)
    found = [(truth, square(4, 0.6)), (EMPTY, square(30, 0.995)), (EMPTY, square(3, 0.7))]
    choice = choose_operating_point(of_one(found), EvaluateConfig(max_false_alarms=0.1))
    chosen = choice.thresholds.index(choice.point.threshold), choice.min_lesions_px.index(choice.point.min_lesion_px)
    assert not choice.within_limit
    assert choice.false_alarm_rate[chosen] == choice.false_alarm_rate.min() == 0.5
    assert choice.dice_lesion[chosen] == choice.dice_lesion[choice.false_alarm_rate == 0.5].max() == 1.0


def test_fixed_values_are_kept_and_only_the_rest_is_searched():
    one = choose_operating_point(of_one(cases()), EvaluateConfig(threshold=0.3))
    assert one.point.threshold == 0.3
    assert one.min_lesions_px == MIN_LESIONS_PX
    other = choose_operating_point(of_one(cases()), EvaluateConfig(min_lesion_px=33))
    assert (other.point.min_lesion_px, other.thresholds) == (33, tuple(sorted(THRESHOLDS)))
    both = choose_operating_point([], EvaluateConfig(threshold=0.0, min_lesion_px=7))
    assert both.point == OperatingPoint(0.0, 7)


def test_equal_points_give_the_threshold_nearest_to_one_half_and_the_smallest_size():
    assert choose_operating_point(of_one([(EMPTY, square(3, 0.0))]), EvaluateConfig()).point == OperatingPoint(0.5, 0)
    assert choose_operating_point([], EvaluateConfig()).point == OperatingPoint(0.5, 0)


def test_a_grid_without_lesions_or_without_empty_cases_is_plain_json():
    only_lesion = choose_operating_point(of_one([(np.ones((40, 40), np.uint8), square(9))]), EvaluateConfig()).plain()
    assert only_lesion["empty_cases"] == 0
    assert only_lesion["false_alarm_rate"][0][0] is None
    assert choose_operating_point([], EvaluateConfig()).plain()["dice_lesion"][0][0] is None


def _patients(dims):
    """A patient for each number: a lesion with an edge of that probability, which a low threshold would find."""
    truth = (square(20)[0] > 0).astype(np.uint8)
    for number, dim in enumerate(dims):
        yield truth, np.maximum(square(20, dim), square(14, 0.9)), f"P{number:03d}"
        yield EMPTY, square(3, 0.0), f"P{number:03d}"


def test_a_gain_that_all_patients_share_moves_the_point_and_one_by_a_single_patient_does_not():
    shared = choose_operating_point(_patients([0.2] * 6), EvaluateConfig())
    assert shared.point == OperatingPoint(0.2, 0)
    lonely = choose_operating_point(_patients([0.2, *[0.0] * 5]), EvaluateConfig())
    assert lonely.point == OperatingPoint(0.5, 0)


def test_the_standard_error_is_that_of_the_jackknife_over_patients():
    search = PointSearch((0.2, 0.5), (0,))
    for case in _patients([0.3, 0.3, 0.1, 0.0]):
        search.add(*case)
    total = sum(one.dice for one in search._patients.values()) / 4
    found = np.array([(one.dice[0] - one.dice[1])[0] for one in search._patients.values()])
    choice = search.best(1.0)
    error = found.std(ddof=1) / np.sqrt(4)  # of a mean, the jackknife's is the ordinary one
    assert np.allclose(choice.dice_lesion, total)
    assert choice.point.threshold == (0.5 if found.mean() <= error else 0.2)
    behind, jackknife = search._behind_best(_total(search._patients.values(), (2, 1)), np.ones((2, 1), bool))
    assert behind[1, 0] == pytest.approx(found.mean())
    assert jackknife[1, 0] == pytest.approx(error)
