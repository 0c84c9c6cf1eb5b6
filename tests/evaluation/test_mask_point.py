import numpy as np
import pytest
from scipy import ndimage

from medloom.evaluation.masks import choose_point
from medloom.evaluation.masks.family import _middle
from medloom.evaluation.masks.per_class import choose_per_class
from medloom.evaluation.masks.point import MIN_REGIONS_PX, THRESHOLDS, PointSearch, _total
from medloom.inference import MaskPoint, erase_small, to_mask
from medloom.metrics import dice_from_counts
from medloom.recipe.kinds.masks import MasksEvaluate


def dice(truth, predicted):
    """Dice of two masks; two empty ones agree."""
    truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
    return float(dice_from_counts((truth & predicted).sum(), truth.sum(), predicted.sum()))


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
        for j, size in enumerate(choice.min_regions_px):
            dices, false_positives = [], []
            for truth, probabilities in make():
                mask = to_mask(erase_small(probabilities, threshold, size), threshold)
                for index in range(1, max(2, len(probabilities))):
                    if (truth == index).any():
                        dices.append(dice(truth == index, mask == index))
                if not truth.any():
                    false_positives.append(mask.any())
            assert choice.dice_foreground[i, j] == pytest.approx(np.mean(dices))
            assert choice.false_positive_rate[i, j] == pytest.approx(np.mean(false_positives))


def square(size, value=0.9, at=2):
    probabilities = np.zeros((1, 40, 40), np.float32)
    probabilities[0, at : at + size, at : at + size] = value
    return probabilities


EMPTY = np.zeros((40, 40), np.uint8)


def of_one(found):
    """The same cases, all of one patient: there is no other to doubt them by."""
    return [(*case, "P001") for case in found]


def test_a_class_taken_for_another_does_not_make_the_point_refuse_all_foreground():
    truth = (square(20)[0] > 0).astype(np.uint8)  # of two classes, and the rim is taken for the other
    inner, whole = square(16, 0.9, at=4), square(20, 0.9)
    probabilities = np.concatenate([1 - whole, inner, whole - inner])
    empty = np.concatenate([np.ones((1, 40, 40), np.float32), np.zeros((2, 40, 40), np.float32)])
    choice = choose_point(of_one([(truth, probabilities), (EMPTY, empty)]), MasksEvaluate())
    assert choice.point == MaskPoint(0.5, 0)
    assert choice.within_limit
    assert (choice.foreground_cases, choice.empty_cases) == (1, 1)


def test_small_false_positives_are_kept_out_by_the_smallest_region():
    truth = (square(9)[0] > 0).astype(np.uint8)
    found = [(truth, square(9)), (EMPTY, square(4, at=20))]
    choice = choose_point(of_one(found), MasksEvaluate())
    assert 16 < choice.point.min_region_px <= 81
    assert choice.within_limit
    assert choice.point.threshold == 0.5


def test_a_small_gain_in_dice_does_not_buy_false_positives():
    """At 0.1 the region is found whole, but so is a shadow on one empty image of ten, which the limit would allow."""
    truth = (square(20)[0] > 0).astype(np.uint8)
    dim_edge = np.maximum(square(20, 0.2), square(19, 0.9))
    found = [(truth, dim_edge), (EMPTY, square(20, 0.2))] + [(EMPTY, square(3, 0.0))] * 9
    choice = choose_point(of_one(found), MasksEvaluate(max_false_positive_rate=0.2))
    assert choice.point == MaskPoint(0.5, 0)


def test_without_a_point_below_the_limit_the_fewest_false_positives_win():
    truth = (square(4)[0] > 0).astype(np.uint8)
    found = [(truth, square(4, 0.6)), (EMPTY, square(30, 0.995)), (EMPTY, square(3, 0.7))]
    choice = choose_point(of_one(found), MasksEvaluate(max_false_positive_rate=0.1))
    chosen = choice.thresholds.index(choice.point.threshold), choice.min_regions_px.index(choice.point.min_region_px)
    assert not choice.within_limit
    assert choice.false_positive_rate[chosen] == choice.false_positive_rate.min() == 0.5
    assert choice.dice_foreground[chosen] == choice.dice_foreground[choice.false_positive_rate == 0.5].max() == 1.0


def test_fixed_values_are_kept_and_only_the_rest_is_searched():
    one = choose_point(of_one(cases()), MasksEvaluate(threshold=0.3))
    assert one.point.threshold == 0.3
    assert one.min_regions_px == MIN_REGIONS_PX
    other = choose_point(of_one(cases()), MasksEvaluate(min_region_px=33))
    assert (other.point.min_region_px, other.thresholds) == (33, tuple(sorted(THRESHOLDS)))
    both = choose_point([], MasksEvaluate(threshold=0.0, min_region_px=7))
    assert both.point == MaskPoint(0.0, 7)


def test_equal_points_give_the_threshold_nearest_to_one_half_and_the_smallest_size():
    assert choose_point(of_one([(EMPTY, square(3, 0.0))]), MasksEvaluate()).point == MaskPoint(0.5, 0)
    assert choose_point([], MasksEvaluate()).point == MaskPoint(0.5, 0)


def test_a_grid_without_foreground_or_without_empty_cases_is_plain_json():
    only_foreground = choose_point(of_one([(np.ones((40, 40), np.uint8), square(9))]), MasksEvaluate()).search()
    assert only_foreground["empty_cases"] == 0
    assert only_foreground["false_positive_rate"][0][0] is None
    assert choose_point([], MasksEvaluate()).search()["dice_foreground"][0][0] is None


def _patients(dims):
    """A patient for each number: a region with an edge of that probability, which a low threshold would find."""
    truth = (square(20)[0] > 0).astype(np.uint8)
    for number, dim in enumerate(dims):
        yield truth, np.maximum(square(20, dim), square(14, 0.9)), f"P{number:03d}"
        yield EMPTY, square(3, 0.0), f"P{number:03d}"


def test_a_gain_that_all_patients_share_moves_the_point_and_one_by_a_single_patient_does_not():
    shared = choose_point(_patients([0.2] * 6), MasksEvaluate())
    assert shared.point == MaskPoint(0.2, 0)
    lonely = choose_point(_patients([0.2, *[0.0] * 5]), MasksEvaluate())
    assert lonely.point == MaskPoint(0.5, 0)


def test_the_standard_error_is_that_of_the_jackknife_over_patients():
    search = PointSearch((0.2, 0.5), (0,))
    for case in _patients([0.3, 0.3, 0.1, 0.0]):
        search.add(*case)
    total = sum(one.dice for one in search._patients.values()) / 4
    found = np.array([(one.dice[0] - one.dice[1])[0] for one in search._patients.values()])
    choice = search.best(1.0)
    error = found.std(ddof=1) / np.sqrt(4)  # of a mean, the jackknife's is the ordinary one
    assert np.allclose(choice.dice_foreground, total)
    assert choice.point.threshold == (0.5 if found.mean() <= error else 0.2)
    behind, jackknife = search._behind_best(_total(search._patients.values(), (2, 1)), np.ones((2, 1), bool))
    assert behind[1, 0] == pytest.approx(found.mean())
    assert jackknife[1, 0] == pytest.approx(error)


# A threshold for each class


def two_classes(patients=8, dim=0.2):
    """A class that is surely seen, and one of which only the middle is: the rim has a low probability, as has a shadow
    of the first class on empty images."""
    for number in range(patients):
        truth = np.zeros((40, 40), np.uint8)
        truth[2:14, 2:14], truth[20:38, 20:38] = 1, 2
        first, second = np.zeros((2, 40, 40), np.float32)
        first[2:14, 2:14] = 0.9
        second[20:38, 20:38] = dim
        second[22:36, 22:36] = 0.9
        yield truth, np.stack([1 - first - second, first, second]), f"P{number:03d}"
        shadow = np.zeros((40, 40), np.float32)
        shadow[5:25, 5:25] = 0.3
        yield EMPTY, np.stack([1 - shadow, shadow, 0 * shadow]), f"P{number:03d}"


def test_each_class_gets_a_threshold_of_its_own_where_that_is_better():
    shared = choose_point(two_classes(), MasksEvaluate())
    assert shared.point.threshold == 0.5
    found = choose_per_class(two_classes, MasksEvaluate(threshold="per-class"), 2)
    assert found.point.threshold == (0.5, 0.2)
    row = found.thresholds.index(found.point.threshold)
    assert (
        found.dice_foreground[row, 0]
        == 1.0
        > shared.dice_foreground.max(initial=0, where=shared.false_positive_rate == 0)
    )
    assert found.false_positive_rate[row, 0] == 0.0
    assert found.within_limit


def test_one_threshold_for_all_stays_where_others_are_no_better():
    found = choose_per_class(lambda: two_classes(dim=0.0), MasksEvaluate(threshold="per-class"), 2)
    assert found.point == MaskPoint((0.5, 0.5), 0)
    assert choose_per_class(lambda: [], MasksEvaluate(threshold="per-class"), 3).point == MaskPoint((0.5,) * 3, 0)


def test_the_grid_of_thresholds_for_each_class_says_what_post_processing_would_give():
    search = PointSearch([(0.3, 0.6), (0.6, 0.2), (0.4, 0.4)], (0, 12))
    for one in multi_class_cases():
        search.add(*one, "P001")
    choice = search.best(1.0)
    for i, threshold in enumerate(choice.thresholds):
        for j, size in enumerate(choice.min_regions_px):
            dices, false = [], []
            for truth, probabilities in multi_class_cases():
                mask = to_mask(erase_small(probabilities, threshold, size), threshold)
                dices += [dice(truth == index, mask == index) for index in (1, 2) if (truth == index).any()]
                false += [] if truth.any() else [mask.any()]
            assert choice.dice_foreground[i, j] == pytest.approx(np.mean(dices))
            assert choice.false_positive_rate[i, j] == pytest.approx(np.mean(false))


def test_thresholds_that_are_named_are_those_of_their_classes_in_any_order():
    found = choose_point(two_classes(), MasksEvaluate(threshold={"a": 0.4, "b": 0.2}))
    assert found.point.threshold == (0.4, 0.2)


def test_folds_with_one_and_with_several_thresholds_meet_in_the_middle():
    points = [MaskPoint(0.5, 10), MaskPoint((0.3, 0.9), 30), MaskPoint((0.7, 0.2), 20)]
    assert _middle(points) == MaskPoint((0.5, 0.5), 20)
    assert _middle(points[:1] * 2) == MaskPoint(0.5, 10)
