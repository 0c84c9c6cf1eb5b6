import itertools

import numpy as np
import pytest

from medloom.metrics import caught_by_review, most_caught


def brute_force(bad, trust, share):
    """The mean over every order of cases that are trusted alike, with a part of the case in which the share ends."""
    room, found = share * len(bad), []
    for order in itertools.permutations(range(len(bad))):
        ranked = [trust[case] for case in order]
        if ranked != sorted(ranked):
            continue
        left, caught = room, 0.0
        for case in order:
            caught += bad[case] * min(1.0, max(0.0, left))
            left -= 1.0
        found.append(caught / sum(bad))
    return np.mean(found)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4, 0.5, 1.0])
def test_ties_are_reviewed_in_any_order(share):
    bad, trust = [1, 0, 0, 1, 1, 0, 0], [0.2, 0.2, 0.2, 0.5, 0.5, 0.9, 0.1]
    assert caught_by_review(np.array(bad), np.array(trust), share)[0] == pytest.approx(brute_force(bad, trust, share))


def test_trust_that_says_nothing_finds_the_share_and_perfect_trust_the_most():
    bad = np.array([1] * 3 + [0] * 17)
    assert caught_by_review(bad, np.zeros(20), 0.1)[0] == pytest.approx(0.1)
    assert caught_by_review(bad, 1 - bad, 0.1)[0] == pytest.approx(most_caught(bad, 0.1)) == pytest.approx(2 / 3)
    assert caught_by_review(bad, bad, 0.1)[0] == 0.0


def test_a_weight_counts_a_case_so_many_times():
    bad, trust, weights = np.array([1, 0, 1]), np.array([0.1, 0.2, 0.3]), np.array([[2.0, 1.0, 0.0], [1, 1, 1]])
    repeated = caught_by_review(np.array([1, 1, 0]), np.array([0.1, 0.1, 0.2]), 0.5)
    found = caught_by_review(bad, trust, 0.5, weights)
    assert found[0] == pytest.approx(repeated[0])
    assert found.shape == (2,)


def test_without_a_bad_case_there_is_nothing_to_catch():
    assert np.isnan(caught_by_review(np.zeros(4), np.arange(4), 0.5)).all()
    assert np.isnan(most_caught(np.zeros(4), 0.5))
