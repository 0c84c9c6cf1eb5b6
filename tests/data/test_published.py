"""A published split is respected, repaired without a leak, or ignored; labels are balanced."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medloom.data.catalogue import join_labels
from medloom.data.kinds import KINDS
from medloom.data.splits import SplitRule, split_as_published, split_patients
from medloom.errors import DataError
from medloom.targets import Target


def labelled(labels, **columns):
    return pd.DataFrame({"labels": [join_labels(row) for row in labels], **columns})


def strata(labels, kind):
    return KINDS[kind].strata(labelled(labels))


def counts(labels, kind, *names):
    return KINDS[kind].counts(labelled(labels), Target(kind, names))


def frame(leak=True):
    """40 patients of 3 images in train, 6 in validation, 10 in test; two of test also in train, one in validation."""
    rows = []
    for patient in range(56):
        part = "train" if patient < 40 else "validation" if patient < 46 else "test"
        rows += [(f"P{patient:02d}", part, patient % 2)] * 3
    if leak:
        rows += [("P50", "train", 0), ("P51", "train", 1), ("P51", "train", 1), ("P52", "validation", 0)]
    made = pd.DataFrame(rows, columns=["patient_id", "published", "stratum"])
    ids = [f"{patient}-{number:03d}" for number, patient in enumerate(made["patient_id"])]
    return made.assign(sample_id=ids, image=[f"{name}.png" for name in ids], foreground_px=0, given_split="")


def test_a_leak_in_a_split_to_be_respected_is_named_with_the_way_out():
    with pytest.raises(DataError, match=r"3 patients .* split\.published=repair") as caught:
        split_as_published(frame(), SplitRule())
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "patient P50: 1 in train, 3 in test",
        "patient P51: 2 in train, 3 in test",
        "patient P52: 1 in validation, 3 in test",
    ]


def test_a_clean_split_is_taken_as_it_is():
    made, dropped, notes = split_as_published(frame(leak=False), SplitRule())
    assert (made["split"] == made["published"]).all()
    assert len(dropped) == 0
    assert "18 samples only" in notes[0]


def test_repair_draws_validation_from_train_keeps_test_and_leaves_no_leak():
    whole = frame()
    made, dropped, notes = split_as_published(whole, SplitRule(published="repair"))
    assert set(made.loc[made["split"] == "test", "sample_id"]) == set(
        whole.loc[whole["published"] == "test", "sample_id"]
    )
    assert made.groupby("patient_id")["split"].nunique().max() == 1
    assert len(made) + len(dropped) == len(whole)
    assert set(dropped["patient_id"]) == {"P50", "P51", "P52"}
    assert (dropped["published"] != "test").all()
    assert any(note.startswith("4 samples of 3 patients were dropped") for note in notes)
    counts = made["split"].value_counts()
    assert abs(counts["validation"] / (counts["validation"] + counts["train"]) - 0.15 / 0.85) < 0.03
    assert abs(made.loc[made["split"] == "validation", "stratum"].mean() - 0.5) < 0.1


def test_repair_depends_on_the_seed_and_on_nothing_else():
    one, again, other = (
        split_as_published(frame(), SplitRule(published="repair", seed=seed))[0]["split"].tolist() for seed in (0, 0, 1)
    )
    assert one == again != other


def test_validation_is_drawn_from_train_where_none_is_published():
    whole = frame(leak=False)
    whole = whole[whole["published"] != "validation"]
    made, _, notes = split_as_published(whole, SplitRule())
    assert ((made["split"] == "test") == (made["published"] == "test")).all()
    assert (made["split"] == "validation").sum() > 10
    assert "drawn from train" in notes[0]


def test_ignore_draws_anew():
    made, _, _ = split_as_published(frame(), SplitRule(published="ignore"))
    pd.testing.assert_series_equal(made["split"], split_patients(frame(), SplitRule())["split"])


def test_folds_divide_what_is_not_published_as_test():
    rule = SplitRule(folds=5, published="repair")
    made, dropped, notes = split_as_published(frame(), rule)
    assert (
        made["sample_id"][made["split"] == "held-out"].tolist()
        == frame().query("published == 'test'")["sample_id"].tolist()
    )
    assert not set(made.loc[made["split"] == "held-out", "patient_id"]) & set(made.loc[made["fold"] >= 0, "patient_id"])
    assert len(made) + len(dropped) == len(frame())
    assert "is held out" in notes[0]
    with pytest.raises(DataError, match=r"leave out split\.hold_out"):
        split_as_published(frame(), replace(rule, hold_out=0.2))


def test_without_a_published_test_part_a_new_split_is_asked_for():
    with pytest.raises(DataError, match="no test part"):
        split_as_published(frame().query("published != 'test'"), SplitRule(published="repair"))


def test_strata_are_classes_rarest_labels_and_fifths():
    assert strata(np.array([[0.0], [2.0]]), "multi-class") == ["0", "2"]
    several = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]], float)
    assert strata(several, "multi-label") == ["1", "0", "2", "-1", "1"]
    values = np.random.default_rng(0).normal(size=(100, 1))
    assert sorted(pd.Series(strata(values, "regression")).value_counts()) == [20] * 5


def test_rare_classes_are_spread_over_the_parts_by_patient():
    rng = np.random.default_rng(0)
    rows = [(f"P{p:03d}", int(p % 12 == 0 and k == 0)) for p in range(72) for k in range(int(rng.integers(4, 12)))]
    made = pd.DataFrame(rows, columns=["patient_id", "label"])
    labels = made[["label"]].to_numpy(float)
    made = made.assign(
        sample_id=[str(row) for row in range(len(made))], foreground_px=0, stratum=strata(labels, "binary")
    )
    made = split_patients(made, SplitRule())
    assert made.groupby("patient_id")["split"].nunique().max() == 1
    assert made[made["label"] == 1]["split"].value_counts().to_dict() == {"train": 4, "validation": 1, "test": 1}


def test_thin_and_empty_parts_are_pointed_out():
    split = ["train"] * 4 + ["test"] * 2
    made = labelled(np.array([[0.0], [0], [1], [1], [0], [0]]), patient_id=list("abcdef"), split=split)
    warnings = KINDS["binary"].warnings(made, Target("binary", ("well", "sick")))
    assert "No sample is in validation." in warnings
    assert any(text.startswith("No patient in test has the label sick") for text in warnings)
    assert "50% of the samples in train have the label sick, 33% of all." in warnings
    assert (
        "Fewer than 5 patients in train have the labels well (2), sick (2): metrics on them say little there."
        in warnings
    )
    assert "Fewer than 5 patients in test have the label well (2): metrics on it say little there." in warnings
    assert len(warnings) == 5


def test_counts_are_by_class_label_or_number():
    assert counts([[0.0], [1], [1]], "binary", "a", "b") == {"classes": {"a": 1, "b": 2}}
    assert counts([[0.0, 1], [1, 1]], "multi-label", "a", "b") == {"classes": {"a": 1, "b": 2}}
    found = counts([[1.0], [3.0]], "regression", "age")
    assert found == {"targets": {"age": {"mean": 2.0, "std": 1.0, "min": 1.0, "max": 3.0}}}
    assert counts([], "regression", "age")["targets"]["age"]["mean"] is None
