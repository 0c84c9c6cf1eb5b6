"""Whether one network may stand in for several, by paired differences on the same cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medloom.evaluation import is_as_good
from medloom.evaluation.comparison import paired_headlines
from medloom.evaluation.kinds import KINDS
from medloom.evaluation.masks.cases import Case, evaluate_cases
from medloom.evaluation.masks.summary import summarise
from medloom.targets import Target

DICE = {"unit": "share", "better": "higher"}
ALARMS = {"unit": "share", "better": "lower"}


def cases(seed: int, shift: float) -> pd.DataFrame:
    """Squares in noise, two images of each of twelve patients, every third without foreground."""
    made = []
    rng = np.random.default_rng(seed)
    for number in range(24):
        truth = np.zeros((16, 16), np.uint8)
        truth[4:9, 4:9] = number % 3 > 0
        probability = np.clip(0.6 * truth + rng.uniform(0, 0.45 + shift, (16, 16)), 0, 1).astype(np.float32)
        predicted = (probability >= 0.5).astype(np.uint8)
        made.append(Case(f"s{number:02d}", f"p{number // 2:02d}", "test", truth, predicted, probability[None]))
    return evaluate_cases(made, ("background", "lesion"))


def test_paired_differences_of_masks_are_those_of_the_summaries_on_every_resample():
    ours, theirs = cases(0, 0.2), cases(1, 0.0)
    family = KINDS["masks"](Target("masks", ("background", "lesion")))
    found = paired_headlines(family, ours.sample(frac=1, random_state=0), theirs, 400)
    left, right = (summarise(table, 0)["metrics"] for table in (ours, theirs))
    assert set(found) == {
        "dice_foreground", "false_positive_rate", "patient_dice_foreground", "region_sensitivity",
    }  # fmt: skip
    for name, one in found.items():
        assert one["value"] == pytest.approx(left[name]["value"] - right[name]["value"]), name
        assert one["low"] <= one["value"] <= one["high"]
    people = sorted(set(ours["patient_id"]))
    foreground = [table[table["truth_px"] > 0].groupby("patient_id")["dice"] for table in (ours, theirs)]
    sums = [one.sum().reindex(people, fill_value=0.0).to_numpy() for one in foreground]
    sizes = foreground[0].count().reindex(people, fill_value=0).to_numpy()
    draws = np.random.default_rng(7).integers(len(people), size=(400, len(people)))
    apart = [(sums[0][draw].sum() - sums[1][draw].sum()) / sizes[draw].sum() for draw in draws]
    low, high = np.nanpercentile(apart, [2.5, 97.5])
    assert found["dice_foreground"]["low"] == pytest.approx(low, abs=0.02)
    assert found["dice_foreground"]["high"] == pytest.approx(high, abs=0.02)


def test_paired_differences_of_labels_pair_cases_by_their_name():
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2
    tables = [
        pd.DataFrame(
            {
                "sample_id": [f"s{number:02d}" for number in range(40)],
                "patient_id": [f"p{number // 2:02d}" for number in range(40)],
                "split": "test",
                "truth": truth,
                "score": np.clip(0.3 * truth + rng.uniform(0, 0.7, 40), 0, 1),
            }
        )
        for _ in range(2)
    ]
    tables = [table.assign(decision=(table["score"] >= 0.5).astype(int)) for table in tables]
    family = KINDS["binary"](Target("binary", ("no", "yes")))
    found = paired_headlines(family, tables[0].sample(frac=1, random_state=1), tables[1], 100)
    areas = [roc_auc_score(truth, table["score"]) for table in tables]
    assert found["roc_auc"]["value"] == pytest.approx(areas[0] - areas[1])
    same = paired_headlines(family, tables[0], tables[0].sample(frac=1, random_state=1), 100)["roc_auc"]
    assert (same["value"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="same cases"):
        paired_headlines(family, tables[0], tables[1][:-1], 100)


def found(dice, alarms=(0.0, -0.1, 0.1), unit="share", whole=0.8, patients=12):
    names = {"dice": dice, "alarms": alarms}
    differences = {name: dict(zip(("value", "low", "high"), one, strict=True)) for name, one in names.items()}
    return {
        "headlines": list(names),
        "meanings": {"dice": {**DICE, "unit": unit}, "alarms": ALARMS},
        "ensemble": {"dice": {"value": whole, "patients": patients, "n": 20}, "alarms": {"value": 0.1}},
        "difference": differences,
    }


@pytest.mark.parametrize(
    ("facts", "good"),
    [
        (found((0.0, -0.009, 0.02)), True),
        (found((0.0, -0.011, 0.02)), False),  # it may be worse by more than the margin
        (found((0.3, 0.2, 0.4), (0.02, -0.1, 0.2)), False),  # more false alarms
        (found((0.0, 0.0, 0.0), (-0.02, -0.1, 0.2)), True),  # fewer of them
        (found((0.0, 0.0, 0.0), (None, None, None)), True),  # no case without foreground
        (found((None, None, None)), False),
        (found((0.0, None, None)), False),  # one patient has no interval
        (found((0.0, 0.0, 0.0), patients=4), False),
        (found((0.0, 0.0, 0.0), patients=None), True),  # not known whose the twenty images are
        (found((0.0, 0.0, 0.0), whole=0.0), False),  # both find nothing
        (found((-3.0, -8.0, 2.0), unit="value", whole=1000.0), True),
        (found((-3.0, -8.0, 2.0), unit="value", whole=10.0), False),
    ],
)
def test_as_good_is_what_is_shown_to_be(facts, good):
    assert is_as_good(facts) is good
