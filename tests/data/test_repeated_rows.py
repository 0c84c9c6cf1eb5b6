"""Several rows of a label file about one image: refused, taken where they agree, or united."""

import io

import numpy as np
import pandas as pd
import pytest

from medloom.data.layouts.csv_labels import Columns, CsvLabels
from medloom.data.layouts.labels import LabelRule
from medloom.data.layouts.patients import PatientPattern

LETTERS = "abcdef"


def table(text, repeated, columns=("level",), patient=None, **rule):
    files = {"labels.csv": text.encode(), **{f"{name}.png": b"" for name in LETTERS}}
    layout = CsvLabels(LabelRule(columns, **rule), Columns(patient=patient), repeated=repeated)
    return layout.find(list(files), files.__getitem__)


def labels(listing):
    return {item.images[0]: item.labels for item in listing.items}


BOXES = "image,x,level\n" + "".join(
    f"{name},{box},{place % 2}\n" for place, name in enumerate(LETTERS) for box in range(1 + place % 3)
)


def test_rows_that_agree_are_one_image_and_are_counted():
    listing = table(BOXES, "agree")
    assert labels(listing) == {f"{name}.png": (place % 2.0,) for place, name in enumerate(LETTERS)}
    assert listing.problems == ()
    assert listing.notes == ("12 rows are about 6 images: rows about one image were joined (data.labels.repeated)",)


def test_without_a_word_in_the_recipe_they_are_mistakes_as_ever():
    listing = table(BOXES, "refuse")
    assert {problem.kind for problem in listing.problems} == {"duplicate"}
    assert len(listing.problems) == 6


@pytest.mark.parametrize("repeated", ["agree", "any"])
@pytest.mark.parametrize("kind", ["binary", "multi-class", "regression"])
def test_classes_and_measurements_that_differ_are_refused_with_every_line(kind, repeated):
    grades = {"multi-class": "a,0\nb,1\nc,2\n"}.get(kind, "a,0\nb,1\n")
    text = f"image,level\n{grades}d,0\ne,1\ne,0\nf,1\n"
    listing = table(text, repeated, kind=kind)
    wrong = [problem for problem in listing.problems if problem.kind == "duplicate"]
    assert len(wrong) == 2
    assert {problem.detail for problem in wrong} == {
        f"lines {len(grades) // 4 + 3}, {len(grades) // 4 + 4} are about one image and differ in its label, patient "
        "or metadata"
    }
    assert "e.png" not in labels(listing)


def test_rows_of_two_patients_are_never_one_image():
    text = "image,level,who\na,0,p1\na,0,p2\nb,1,p3\nb,1,p3\nc,0,p4\n"
    listing = table(text, "agree", patient="who")
    assert set(labels(listing)) == {"b.png", "c.png"}
    assert [problem.file for problem in listing.problems if problem.kind == "duplicate"] == [
        "labels.csv line 2", "labels.csv line 3"
    ]  # fmt: skip


def test_labels_of_several_readers_are_united_as_pandas_unites_them():
    generator, names = np.random.default_rng(3), ("mass", "nodule", "effusion")
    cells = generator.choice(["0", "1", ""], (18, 3), p=(0.5, 0.3, 0.2))
    frame = pd.DataFrame(cells, columns=names).assign(image=list(LETTERS) * 3)
    listing = table(frame.to_csv(index=False), "any", names, kind="multi-label", blank="mask")
    numbers = pd.read_csv(io.StringIO(frame.to_csv(index=False))).groupby("image")[list(names)]
    positive, unknown = numbers.max() > 0, numbers.apply(lambda part: part.isna().any())
    expected = positive.astype(float).mask(~positive & unknown)
    assert len(listing.items) >= 5
    for path, found in labels(listing).items():
        np.testing.assert_array_equal(found, expected.loc[path[0]])
    assert any("a label is there where one of its rows says so" in note for note in listing.notes)


def test_a_row_for_each_finding_in_words_unites_to_all_of_them():
    text = "image,level\na,Mass\na,Nodule\nb,No finding\nb,No finding\nc,Nodule\nd,Mass\ne,No finding\nf,Mass\n"
    listing = table(text, "any", kind="multi-label")
    assert listing.target.names == ("Mass", "Nodule")
    assert labels(listing) == {
        "a.png": (1, 1), "b.png": (0, 0), "c.png": (0, 1), "d.png": (1, 0), "e.png": (0, 0), "f.png": (1, 0)
    }  # fmt: skip


def test_agreeing_rows_say_the_same_in_other_words():
    listing = table("image,level\na,Yes\na,yes\nb,No\nc,No\n", "agree")
    assert labels(listing) == {"a.png": (1.0,), "b.png": (0.0,), "c.png": (0.0,)}


def files_of(cells, paths):
    text = "image,level\n" + "".join(f"{cell},{place % 2}\n" for place, cell in enumerate(cells))
    files = {"labels.csv": text.encode(), **dict.fromkeys(paths, b"")}
    return CsvLabels().find(list(files), files.__getitem__)


def test_folders_that_every_row_names_may_be_above_the_data():
    cells = [f"set-small/train/p{number}/study1/view.jpg" for number in range(4)]
    for above in ("", "train/", "copies/set-small/train/"):
        paths = [f"{above}p{number}/study1/view.jpg" for number in range(4)]
        listing = files_of(cells, paths)
        assert [item.images[0] for item in listing.items] == paths, above


def test_the_image_of_another_patient_is_never_taken_for_one_that_is_not_there():
    cells = [f"set/p{number}/study1/view.jpg" for number in range(4)]
    listing = files_of(cells, [f"p{number}/study1/view.jpg" for number in (0, 1, 5)])
    assert [item.images[0] for item in listing.items] == ["p0/study1/view.jpg", "p1/study1/view.jpg"]
    assert sum(problem.kind in ("missing_image", "ambiguous") for problem in listing.problems) == 2


@pytest.mark.parametrize(
    ("pattern", "path", "patient"),
    [
        (r"(patient\d+)/", "train/patient7/study1/view.jpg", "patient7"),
        (r"(patient\d+)\/", "train/patient7/study1/view.jpg", "patient7"),
        (r"(p\d+)_", "p1_set/p2_view.jpg", "p2"),
        (r"([^/]+)_", "p1_set/p2_view.jpg", "p2"),
        (r"^([^/]+)/", "p1/p2_view.jpg", "p1"),
    ],
)
def test_a_pattern_with_a_slash_looks_at_folders_and_any_other_at_the_name(pattern, path, patient):
    assert PatientPattern(pattern)(path) == patient
