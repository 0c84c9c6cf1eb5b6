"""Labels that may be wrong, against the paper's formulas written out sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.training.answers import class_answers, label_answers, number_answers, presence_answers, yes_answers
from medloom.training.diagnosis.suspects import confident_disagreements, find_suspects


def by_the_paper(probabilities, given):
    """Northcutt et al. 2021, equations 2 and 3, and their ranking by normalised margin."""
    classes = range(probabilities.shape[1])
    thresholds = {
        j: np.mean([row[j] for row, label in zip(probabilities, given, strict=True) if label == j])
        for j in classes
        if j in given
    }
    found = []
    for place, (row, label) in enumerate(zip(probabilities, given, strict=True)):
        above = [j for j in thresholds if row[j] >= thresholds[j]]
        if above and (best := max(above, key=lambda j: row[j])) != label:
            margin = row[label] - max(row[j] for j in classes if j != label)
            found.append((margin, place, best))
    return [(place, best) for _, place, best in sorted(found)]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_ranks_as_the_paper_says(classes):
    generator = np.random.default_rng(classes)
    true = generator.integers(0, classes, 200)
    given = np.where(generator.random(200) < 0.1, generator.integers(0, classes, 200), true)
    logits = generator.normal(0, 1, (200, classes)) + 3 * np.eye(classes)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = confident_disagreements(probabilities, given)
    assert found == by_the_paper(probabilities, given)
    assert len(found) > 5


def test_a_class_that_nobody_is_said_to_be_of_is_never_suggested():
    probabilities = np.array([[0.1, 0.1, 0.8], [0.6, 0.2, 0.2], [0.2, 0.7, 0.1]])
    assert confident_disagreements(probabilities, np.array([0, 0, 1])) == by_the_paper(probabilities, [0, 0, 1])


def test_each_kind_of_answer_names_what_was_given_and_what_is_suggested():
    logits = np.array([[4.0], [4.0], [-4.0], [-4.0], [-4.0]])
    truth = np.array([[1.0], [1.0], [0.0], [0.0], [1.0]])
    (one,) = find_suspects(yes_answers(("ill", "well"), logits, truth))
    assert (one.place, one.given, one.suggested, one.probability) == (4, "well", "no well", 0.018)
    (one,) = find_suspects(label_answers(("a", "b"), np.hstack([logits, -logits]), np.hstack([truth, 1 - truth * 0])))
    assert one.place == 4
    classes = class_answers(("a", "b"), np.hstack([logits, -logits]), 1 - truth)
    assert [(one.given, one.suggested) for one in find_suspects(classes)] == [("a", "b")]
    masks = presence_answers(1 / (1 + np.exp(-logits[:, 0])), truth[:, 0])
    assert [(one.given, one.suggested) for one in find_suspects(masks)] == [("foreground", "no foreground")]
    assert find_suspects(number_answers(("level",), logits, truth)) == []


def test_labels_that_are_not_known_are_no_suspects():
    logits = np.array([[4.0], [4.0], [-4.0], [-4.0], [-4.0]])
    truth = np.array([[1.0], [1.0], [0.0], [0.0], [np.nan]])
    answers = yes_answers(("no", "yes"), logits, truth)
    assert find_suspects(answers) == []
    assert [(one.samples, one.answered, one.true) for one in answers.variety()] == [(4, 0.5, 0.5)]
