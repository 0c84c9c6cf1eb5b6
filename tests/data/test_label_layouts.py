"""Folders, CSVs and arrays become labels; everything wrong is said in one pass, by line."""

import contextlib
import io

import numpy as np
import pytest

from medloom.data.layouts.array import Arrays, ArrayVectors, read_vector
from medloom.data.layouts.csv_labels import Columns, CsvLabels
from medloom.data.layouts.folder_classes import FolderClasses
from medloom.data.layouts.labels import LabelError, LabelRule, understand
from medloom.errors import DataError, RecipeError

CHEST = r"(person\d+|(?:NORMAL2-)?IM-\d+)"


def folders(names, patient_pattern=None, **rule):
    return FolderClasses(patient_pattern, LabelRule(**rule)).find(names, dict.fromkeys(names, b"").__getitem__)


def meant(listing):
    return listing.target.kind, listing.target.names


def test_folders_are_classes_and_the_folder_above_is_the_published_part():
    listing = folders(["x/set/train/NORMAL/1.jpeg", "x/set/val/NORMAL/2.jpeg", "x/set/Test/PNEUMONIA/3.jpeg"])
    assert meant(listing) == ("binary", ("NORMAL", "PNEUMONIA"))
    assert [(item.published, item.labels, item.mask) for item in listing.items] == [
        ("test", (1.0,), ""),
        ("train", (0.0,), ""),
        ("validation", (0.0,), ""),
    ]


def test_a_tree_without_parts_has_no_published_split_and_may_have_many_classes():
    listing = folders(["a/1.png", "b/1.png", "c/1.png"])
    assert meant(listing) == ("multi-class", ("a", "b", "c"))
    assert {item.published for item in listing.items} == {""}


def test_classes_come_in_the_order_of_the_recipe():
    items = folders(["sick/1.png", "well/1.png"], classes=("well", "sick")).items
    assert {item.images[0]: item.labels for item in items} == {"sick/1.png": (1.0,), "well/1.png": (0.0,)}


def test_folders_that_the_recipe_does_not_name_are_problems_for_each_image():
    listing = folders(["a/1.png", "b/1.png", "old/1.png", "old/2.png"], classes=("a", "b"))
    assert [(problem.kind, problem.file) for problem in listing.problems] == [
        ("label", "old/1.png"), ("label", "old/2.png")
    ]  # fmt: skip
    assert len(listing.items) == 2


def test_folders_that_differ_in_case_are_one_class_and_that_is_said():
    listing = folders(["train/NORMAL/1.png", "train/NORMAL/2.png", "test/Normal/3.png", "test/SICK/4.png"])
    assert listing.target.names == ("NORMAL", "SICK")
    assert any("'Normal' (1 image)" in note for note in listing.notes)


def test_images_without_a_class_or_outside_the_parts_are_said():
    listing = folders(["train/a/1.png", "train/b/1.png", "train/x.png", "a/9.png", "logo.png"])
    assert {(problem.kind, problem.file) for problem in listing.problems} == {
        ("label", "train/x.png"), ("split", "a/9.png")
    }  # fmt: skip
    assert listing.notes[0].startswith("1 image is in no folder")


def test_the_copy_in_the_published_archive_is_left_out_and_other_roots_are_not():
    names = ["chest/train/A/1.png", "chest/train/B/1.png"]
    listing = folders([*names, *(f"chest/{name}" for name in names)])
    assert [item.images[0] for item in listing.items] == names
    assert "2 files are there twice" in listing.notes[0]
    assert len(folders(["site1/A/1.png", "site1/B/1.png", "site2/A/1.png", "site2/B/1.png"]).items) == 4


def test_patients_come_from_the_first_group_wherever_the_file_lies():
    names = ["val/P/person83_bacteria_407.jpeg", "test/P/person83_virus_1.jpeg", "train/N/IM-0083-0001.jpeg"]
    listing = folders([*names, "train/N/NORMAL2-IM-0083-0001.jpeg", "train/N/odd.jpeg"], patient_pattern=CHEST)
    assert [item.patient for item in listing.items] == [
        "IM-0083", "NORMAL2-IM-0083", "person83", "person83", "train/N/odd.jpeg"
    ]  # fmt: skip
    assert [item.known for item in listing.items] == [True, True, True, True, False]
    assert listing.patients == "data.labels.patient_pattern"


def test_a_pattern_that_gives_one_patient_several_classes_is_pointed_out():
    listing = folders(["N/IM-83.jpeg", "P/person83.jpeg"], patient_pattern=r"(?:person|IM-)(\d+)")
    assert any(note.startswith("1 patient has images of several classes") for note in listing.notes)


def test_dicom_files_without_a_suffix_are_images_and_notes_without_one_are_not():
    dicom, note = bytes(128) + b"DICM", b"Exported on a Monday."
    held = {
        "a/IM0001": dicom, "a/1.2.840.113619.7": dicom, "b/x.dcm": dicom, "b/README": note, "b/DICOMDIR": dicom,
        "b/notes.txt": note,
    }  # fmt: skip
    listing = FolderClasses().find(list(held), held.__getitem__)
    assert [item.images[0] for item in listing.items] == ["a/1.2.840.113619.7", "a/IM0001", "b/x.dcm"]
    held["labels.csv"] = b"image,level\nIM0001,0\nx,1\n"
    listing = CsvLabels().find(list(held), held.__getitem__)
    assert [(problem.kind, problem.file) for problem in listing.problems] == [("missing_row", "a/1.2.840.113619.7")]


def test_one_class_is_no_task_and_folders_are_no_numbers():
    with pytest.raises(DataError, match="one class only"):
        folders(["a/1.png"])
    with pytest.raises(RecipeError, match="layout csv"):
        folders([], kind="regression")


def table(text, *files, classes=(), **columns):
    held = {"labels.csv": text.encode() if isinstance(text, str) else text}
    return CsvLabels(LabelRule(classes=classes), Columns(**columns)).find(["labels.csv", *files], held.__getitem__)


def found(listing):
    return {item.images[0]: item.labels for item in listing.items}


def test_image_and_level_need_no_configuration():
    listing = table("image,level\n001,a\n002,c\n1,b\n", "a/001.png", "a/002.png", "a/1.png")
    assert found(listing) == {"a/001.png": (0.0,), "a/002.png": (2.0,), "a/1.png": (1.0,)}
    assert (*meant(listing), listing.problems) == ("multi-class", ("a", "b", "c"), ())


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfimage,level\na,0\nb,1\n",
        "image,level\r\na,0\r\nb,1\r\n",
        'level,"x,y",image\n0,"1,2",a\n1,"multi\nline",b\n\n',
        " image , level \n a.png , 0\n b , 1 \n",
        "image,level\ndeep/er/a.png,0\nset\\b,1.0\n",
        "image,level\nother/a.tif,0\nb.jpg,1\n",
        "\ufeffimage;level\r\na;0\r\nb;1\r\n",
        'note\timage\tlevel\n"x, y; z"\ta\t0\n\tb\t1\n',
        '"note, or none"|image|level\n|a|0\n|b|1\n',
        b"\xef\xbb\xbfsep=;\r\nimage;level\r\na;0\r\nb;1\r\n",
        '"sep=,"\nimage,a;b;c,level\na,,0\nb,,1\n',
        "SEP=\t\nimage\tlevel\na\t0\nb\t1\n",
    ],
    ids=[
        "bom",
        "crlf",
        "quoted",
        "blanks",
        "folders",
        "extensions",
        "semicolons",
        "tabs",
        "bars",
        "sep",
        "quoted sep",
        "tab",
    ],
)
def test_a_file_is_read_as_it_was_meant(text):
    listing = table(text, "set/a.png", "set/b.png")
    assert found(listing) == {"set/a.png": (0.0,), "set/b.png": (1.0,)}
    assert listing.problems == ()


def test_a_decimal_comma_is_one_where_semicolons_divide_the_cells():
    text = "image;level;age\na;0,5;61\nb;-1,25;n/a\n"
    listing = table(text, "a.png", "b.png", numeric=("age",))
    assert (listing.target.kind, found(listing)) == ("regression", {"a.png": (0.5,), "b.png": (-1.25,)})
    with pytest.raises(DataError, match="different words"):  # 1,234 of a table with tabs may as well be a thousand
        table("image\tlevel\n" + "".join(f"{n}\t1,{n}\n" for n in range(25)), *(f"{n}.png" for n in range(25)))


def test_lines_are_counted_behind_a_line_that_says_what_divides_the_cells():
    listing = table("sep=;\nimage;level\na;0\nb;1\ngone;1\n", "a.png", "b.png")
    assert [problem.file for problem in listing.problems] == ["labels.csv line 5"]


def test_a_table_with_tabs_may_be_called_so():
    held = {"labels.tsv": b"image\tlevel\na\t0\nb\t1\n"}
    listing = CsvLabels().find([*held, "a.png", "b.png"], held.__getitem__)
    assert found(listing) == {"a.png": (0.0,), "b.png": (1.0,)}


def test_words_that_differ_in_case_are_one_class_and_that_is_said():
    text = "image,level\na,benign\nb,Malignant\nc,malignant\nd,malignant\n"
    files = ["a.png", "b.png", "c.png", "d.png"]
    listing = table(text, *files)
    assert meant(listing) == ("binary", ("benign", "malignant"))
    assert [item.labels for item in listing.items] == [(0.0,), (1.0,), (1.0,), (1.0,)]
    assert any(note.startswith("'Malignant' (1 image) is taken for the class 'malignant'") for note in listing.notes)
    assert table(text, *files, classes=("BENIGN", "Malignant")).target.names == ("BENIGN", "Malignant")
    assert table(text, *files, classes=("benign", "malignant", "Malignant")).items[1].labels == (2.0,)


NIH = ["No Finding", "Mass", "Effusion", "Effusion|Mass"] * 2 + ["Cardiomegaly|Effusion|Mass", "Cardiomegaly"]


def joined_table(words, **rule):
    rows = "".join(f"{number},{word}\n" for number, word in enumerate(words))
    held = {"labels.csv": f"image,level\n{rows}".encode()}
    names = ["labels.csv", *(f"{number}.png" for number in range(len(words)))]
    return CsvLabels(LabelRule(**rule)).find(names, held.__getitem__)


@pytest.mark.parametrize("rule", [{}, {"kind": "multi-label"}, {"separator": "|"}])
def test_labels_joined_in_one_word_are_several_labels(rule):
    listing = joined_table(NIH, **rule)
    assert meant(listing) == ("multi-label", ("Cardiomegaly", "Effusion", "Mass"))
    expected = [[float(name in word) for name in listing.target.names] for word in NIH]
    assert [list(item.labels) for item in listing.items] == expected
    assert any("divided at '|': 3 labels" in note and "'No Finding' means none" in note for note in listing.notes)


def test_joined_labels_may_be_divided_otherwise_be_blank_or_unknown():
    words = [word.replace("|", " + ") for word in NIH] + [""]
    listing = joined_table(words, separator="+", blank="mask")
    assert (len(listing.items), "1 image has no known label and is left out" in listing.notes) == (10, True)
    given = joined_table(NIH, kind="multi-label", classes=("Mass", "Effusion"))
    assert (given.target.names, len(given.items)) == (("Mass", "Effusion"), 8)
    assert {problem.detail.split(";")[0] for problem in given.problems} == {"unknown label 'Cardiomegaly'"}
    assert joined_table([*NIH, "No Finding|Mass"]).target.names[-1] == "No Finding"


def test_as_classes_joined_words_count_each_alone_and_that_is_said():
    listing = joined_table(NIH, kind="multi-class")
    (note,) = (note for note in listing.notes if "several labels" in note)
    assert note.startswith("3 images have several labels in one word, such as 'Cardiomegaly|Effusion|Mass'")
    assert "target.kind=multi-label" in note


def test_a_bar_in_the_name_of_a_class_is_no_second_label():
    listing = table("image,level\na,grade I|II\nb,grade III|IV\n", "a.png", "b.png")
    assert listing.target.kind == "binary"
    assert not any("several labels" in note for note in listing.notes)


def test_words_that_may_be_joined_labels_or_classes_stop_with_both_readings():
    with pytest.raises(DataError, match=r"such as 'Oedema\|finding 0'.*multi-label.*multi-class"):
        joined_table([f"Oedema|finding {number}" for number in range(6)])


def test_a_number_that_lost_its_leading_zeros_is_pointed_out_and_never_guessed():
    listing = table("image,level\n1,0\n2.0,1\n7,1\n003,0\n", "001.png", "002.png", "003.png")
    assert found(listing) == {"003.png": (0.0,)}
    said = [problem.detail for problem in listing.problems if problem.kind == "missing_image"]
    assert [("'001'" in text, "'002'" in text) for text in said] == [(True, False), (False, True), (False, False)]


def test_accents_in_either_form_name_the_same_file():
    listing = table("image,level\nu\u0308,0\nb,1\n", "\u00fc.png", "b.png")
    assert set(found(listing)) == {"\u00fc.png", "b.png"}


def test_everything_wrong_is_reported_in_one_pass_with_its_line():
    text = (
        "image,level,age,who\n"
        "a,0,40,p1\n"
        "b,1,41,p2\n"
        "gone,1,40,p2\n"
        "c,2,40,p2\n"
        "d,,40,p2\n"
        "e,1,old,p2\n"
        "f,1,40,\n"
        "a,0,40,p1\n"
        "g,0,40,p3\n"
        "g.png,1,40,p3\n"
        "short,1\n"
        "twin,0,1,p4\n"
    )
    files = [f"set/{name}.png" for name in "abcdefgh"] + ["x/twin.png", "y/twin.png"]
    listing = table(text, *files, classes=("0", "1"), patient="who", numeric=("age",))
    assert [item.images[0] for item in listing.items] == ["set/a.png", "set/b.png"]
    expected = [
        ("missing_image", "line 4"), ("label", "line 5"), ("label", "line 6"), ("metadata", "line 7"),
        ("label", "line 8"), ("duplicate", "line 9"), ("duplicate", "line 10"), ("duplicate", "line 11"),
        ("row", "line 12"), ("ambiguous", "line 13"),
    ]  # fmt: skip
    assert [(problem.kind, problem.file) for problem in listing.problems] == [
        *((kind, f"labels.csv {line}") for kind, line in expected),
        ("missing_row", "set/h.png"),
    ]
    texts = {problem.file: problem.detail for problem in listing.problems}
    assert "unknown class '2'; expected one of 0, 1" in texts["labels.csv line 5"]
    assert "same image as line 2, with the same label" in texts["labels.csv line 9"]
    assert "lines 10, 11" in texts["labels.csv line 10"]


def test_a_name_with_its_folder_is_not_ambiguous():
    listing = table("image,level\nx/twin,0\ny/twin.png,1\n", "set/x/twin.png", "set/y/twin.png")
    assert found(listing) == {"set/x/twin.png": (0.0,), "set/y/twin.png": (1.0,)}


def test_images_in_folders_without_any_labelled_image_are_counted_and_no_problem():
    listing = table("image,level\na,0\nb,1\n", "train/a.png", "train/b.png", "test/c.png", "test/d.png")
    assert listing.problems == ()
    assert any(note.startswith("2 images are in folders") for note in listing.notes)


def test_metadata_and_groups_are_kept_as_text_with_their_blanks():
    text = "image,level,age,sex,site,patient\na,0,050.0,,x,001\nb,1,,m,y,1\n"
    config = {"numeric": ("age",), "categorical": ("sex",), "groups": ("sex", "site")}
    listing = table(text, "a.png", "b.png", patient="patient", **config)
    assert {item.patient: dict(item.meta) for item in listing.items} == {
        "001": {"age": "050.0", "sex": "", "site": "x"},
        "1": {"age": "", "sex": "m", "site": "y"},
    }


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("image level\na 0\n", "no column 'image'"),
        ("", "is empty"),
        ("image,level,image\na,0,b\n", "image twice"),
        ("name,level\na,0\n", "no column 'image'"),
        ("image,level\na,0\nb,0\n", "one class only"),
        ("image,level\na,\nb,nan\n", "no sample has a label"),
        ("image,level\n", "no row that can be used"),
        ("image,level\na,0,\nb,1,\n", "line 2: 3 cells; expected 2"),
        ('image,level\n"a,0\n', "no CSV that can be read"),
        ("image,level\na,0\n".encode("utf-16"), "not in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(text, match):
    with pytest.raises(DataError, match=match):
        table(text, "a.png", "b.png")


def test_several_tables_need_a_choice_and_one_can_be_named_by_its_end():
    held = dict.fromkeys(["set/train.csv", "set/test.csv"], b"image,level\na,0\nb,1\n")
    names = [*held, "set/a.png", "set/b.png"]
    with pytest.raises(DataError, match=r"data\.labels\.file"):
        CsvLabels().find(names, held.__getitem__)
    assert len(CsvLabels(file="train.csv").find(names, held.__getitem__).items) == 2
    with pytest.raises(DataError, match=r"there is no trian\.csv"):
        CsvLabels(file="trian.csv").find(names, held.__getitem__)


NAMES = ("as the columns",)


@pytest.mark.parametrize(
    ("words", "kind", "classes"),
    [
        ([["0"], ["1"], ["1.0"], [""]], "binary", ("0", "1")),
        ([["benign"], ["malignant"]], "binary", ("benign", "malignant")),
        ([["0.0"], ["1.0"], ["1.0"]], "binary", ("0", "1")),
        ([["T10"], ["9"], ["T2"]], "multi-class", ("9", "T10", "T2")),
        ([[f"{age}.0"] for age in range(35, 120, 5)], "regression", NAMES),
        ([[f"{age}"] for age in range(35, 120, 5)], "regression", NAMES),
        ([[f"{count}.0"] for count in range(12)], "regression", NAMES),
        ([*([str(age)] for age in range(40, 55)), ["x"]], "regression", NAMES),
        ([["0.5"], ["1.5"]], "regression", NAMES),
        ([[str(number)] for number in range(30)], "regression", NAMES),
        ([*([str(number)] for number in range(30)), ["x"]], "regression", NAMES),
        ([["0", "1"], ["1", "1"]], "multi-label", ("t0", "t1")),
        ([["0", "0.2"], ["1", "1"]], "regression", NAMES),
    ],
)
def test_the_kind_of_label_is_found_out(words, kind, classes):
    targets = [f"t{place}" for place in range(len(words[0]))]
    meaning = understand(words, LabelRule(tuple(targets)))
    names = tuple(targets) if classes is NAMES else classes
    assert (meaning.target.kind, meaning.target.names, meaning.columns) == (kind, names, tuple(targets))


@pytest.mark.parametrize(
    "words",
    [
        [["0"], ["1"], ["2"], ["3"], ["4"]],
        [["1.0"], ["2.0"], ["3.0"], [""]],
        [[str(number)] for number in range(15)],
        [["10"], ["9"], ["2"]],
        [["-1"], ["0"], ["1"]],
        [["0"], ["0.5"], ["1"], ["2"]] * 15,
    ],
    ids=["grades", "decimals", "many grades", "gaps", "minus one", "dementia rating"],
)
def test_numbers_that_may_be_classes_or_measurements_stop_with_both_readings(words):
    with pytest.raises(DataError, match=r"target\.kind=multi-class for .* target\.kind=regression for"):
        understand(words, LabelRule(("t",)))
    for kind in ("multi-class", "regression"):
        assert understand(words, LabelRule(("t",), kind)).target.kind == kind
    assert understand(words, LabelRule(("t",), classes=("0", "1", "2"))).target.kind == "multi-class"


def test_a_two_among_zeros_and_ones_makes_no_measurements_of_several_labels():
    with pytest.raises(DataError, match=r"target\.kind=multi-label for .* target\.kind=regression for"):
        understand([["0", "1"], ["1", "2"]], LabelRule(("a", "b")))


def test_many_words_are_not_taken_for_classes_unless_the_recipe_says_so():
    words = [[f"w{number:02d}"] for number in range(25)]
    with pytest.raises(DataError, match="25 different words"):
        understand(words, LabelRule(("t",)))
    assert len(understand(words, LabelRule(("t",), "multi-class")).target.names) == 25


@pytest.mark.parametrize(
    ("kind", "word", "match"),
    [
        ("regression", "many", "no finite number"),
        ("regression", "1e999", "no finite number"),
        ("multi-label", "2", "neither 0"),
    ],
)
def test_a_number_that_is_none_is_refused(kind, word, match):
    meaning = understand([["0"], ["1"]], LabelRule(("t",), kind))
    with pytest.raises(LabelError, match=match):
        meaning.numbers([word])


def test_a_kind_that_cannot_be_is_refused():
    with pytest.raises(RecipeError, match="takes one column"):
        understand([["0", "1"]], LabelRule(("a", "b"), "binary"))
    with pytest.raises(DataError, match="binary and there are 3 classes"):
        understand([["a"], ["b"], ["c"]], LabelRule(("t",), "binary"))


CHEXPERT = [["1", "-1", ""], ["0", "1", "-1.0"], ["", "-1", ""], ["1.0", "0", "0"]]


def meanings(rows, **rule):
    columns = tuple(f"t{place}" for place in range(len(rows[0])))
    meaning = understand(rows, LabelRule(columns, **rule))
    return meaning, np.array([meaning.numbers(row) for row in rows])


def test_blanks_and_minus_one_are_unknown_labels_that_are_said():
    nan = np.nan
    meaning, numbers = meanings(CHEXPERT, blank="mask")
    assert meaning.target.kind == "multi-label"
    np.testing.assert_array_equal(numbers, [[1, nan, nan], [0, 1, nan], [nan, nan, nan], [1, 0, 0]])
    assert meaning.notes == (
        "3 labels are blank and left out of the loss and the metrics (target.blank=mask)",
        "3 labels are -1, uncertain, and left out of the loss and the metrics (target.uncertain=mask)",
    )


@pytest.mark.parametrize(("uncertain", "value"), [("negative", 0.0), ("positive", 1.0)])
def test_a_recipe_says_what_blanks_and_minus_one_mean(uncertain, value):
    for kind in ("auto", "multi-label"):
        _, numbers = meanings(CHEXPERT, kind=kind, blank="negative", uncertain=uncertain)
        np.testing.assert_array_equal(numbers, [[1, value, 0], [0, 1, value], [0, value, 0], [1, 0, 0]])


def test_without_a_word_of_the_recipe_blanks_are_missing_and_many_of_them_stop():
    meaning, _ = meanings([["1", "0"], ["0", "1"]])
    with pytest.raises(LabelError, match=r"no value for target t1; .*target\.blank"):
        meaning.numbers(["1", ""])
    with pytest.raises(DataError, match=r"12 of 48 labels are blank.*target\.blank=mask.*target\.blank=negative"):
        meanings([["1", "0"], ["0", ""]] * 12)
    with pytest.raises(DataError, match="no sample has a label in t1"):
        meanings([["1", ""], ["0", "nan"]], blank="mask")
    strict, _ = meanings([["1", "0"], ["0", "1"]], kind="multi-label", uncertain="error")
    with pytest.raises(LabelError, match=r"target t0 is -1"):
        strict.numbers(["-1", "0"])


def test_of_one_class_minus_one_is_unknown_only_where_the_recipe_says_so():
    assert understand([["-1"], ["1"]], LabelRule(("t",))).target.names == ("-1", "1")
    meaning, numbers = meanings([["-1.0"], ["0"], ["1"], [""]], uncertain="mask", blank="mask")
    assert (meaning.target.kind, meaning.target.names) == ("binary", ("0", "1"))
    np.testing.assert_array_equal(numbers, [[np.nan], [0], [1], [np.nan]])
    with pytest.raises(DataError, match=r"target\.uncertain=mask"):
        meanings([["-1"], ["0"], ["1"]])


@pytest.mark.parametrize("kind", ["multi-label", "regression"])
def test_images_without_any_known_label_are_left_out_and_counted(kind):
    rows = "".join(f"{name},{a},{b}\n" for name, a, b in [("a", 1, 0), ("b", "", ""), ("c", "", 1), ("d", 0, "")])
    held = {"labels.csv": f"image,p,q\n{rows}".encode()}
    listing = CsvLabels(LabelRule(("p", "q"), kind, blank="mask")).find(
        ["labels.csv", *(f"{name}.png" for name in "abcd")], held.__getitem__
    )
    assert sorted(found(listing)) == ["a.png", "c.png", "d.png"]
    assert listing.problems == ()
    assert "1 image has no known label and is left out" in listing.notes


def npy(values) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def arrays(held, targets):
    layout = ArrayVectors("x/{sample}.png", "y/{sample}.npy", rule=LabelRule(tuple(targets)))
    names = [name for key in held for name in (f"x/{key}.png", f"y/{key}.npy")]
    return layout.find(names, lambda name: held[name[2:-4]])


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "i2", "u1", "?"])
def test_vectors_of_any_number_type_are_labels(dtype):
    listing = arrays({"a": npy(np.array([0, 1], dtype)), "b": npy(np.array([1, 1], dtype))}, ["p", "q"])
    assert meant(listing) == ("multi-label", ("p", "q"))
    assert found(listing) == {"x/a.png": (0.0, 1.0), "x/b.png": (1.0, 1.0)}
    assert {item.mask for item in listing.items} == {""}


def test_each_vector_that_does_not_fit_is_named():
    good = npy(np.array([0.5, 1.5]))
    held = {
        "a": good, "b": npy(np.array([1.0])), "c": npy(np.array([1.0, np.nan])), "d": good[:-3], "e": b"not an array",
        "f": npy(np.zeros(2)).replace(b"'<f8'", b"'|O' "), "g": npy(np.zeros((2, 1))), "h": good + b"!",
    }  # fmt: skip
    listing = arrays(held, ["p", "q"])
    assert set(found(listing)) == {"x/a.png"}
    assert sorted(problem.file for problem in listing.problems) == [f"y/{key}.npy" for key in "bcdefgh"]


@pytest.mark.parametrize("cut", range(0, 136, 7))
def test_a_damaged_header_is_refused(cut):
    data = bytearray(npy(np.array([1.0])))
    with pytest.raises(LabelError):
        read_vector(bytes(data[:cut]), 1)
    data[cut] ^= 0x5A
    with contextlib.suppress(LabelError):
        assert np.isfinite(read_vector(bytes(data), 1)).all()


def test_class_maps_go_the_way_of_masks_and_need_an_array():
    layout = Arrays("x/{sample}.png", "y/{sample}.npy")
    (item,) = layout.find(["x/1.png", "y/1.npy"], lambda name: b"").items
    assert (item.images, item.mask, item.labels) == (("x/1.png",), "y/1.npy", None)
    with pytest.raises(RecipeError, match=r"must end in \.npy"):
        Arrays("x/{sample}.png", "y/{sample}.png")


def stray(rows, files, **options):
    table = ("image,level\n" + "".join(f"{row}\n" for row in rows)).encode()
    found = CsvLabels(**options).find(["t.csv", *files], lambda name: table if name == "t.csv" else b"")
    return {item.sample: item.labels[0] for item in found.items}, [problem.kind for problem in found.problems]


def test_a_row_is_never_about_the_file_of_its_name_in_another_folder():
    # 1.png of a is not there; that of b is somebody else's
    assert stray(["a/1.png,0", "b/2.png,1", "c/2.png,1"], ["b/1.png", "b/2.png", "c/2.png"]) == (
        {"b/2.png": 1.0, "c/2.png": 1.0},
        ["missing_image"],
    )
    rows = ["a/1.png,0", "b/1.png,1", "b/2.png,0", "c/2.png,1"]
    kept, problems = stray(rows, ["b/1.png", "b/2.png", "c/2.png"])
    assert kept == {"b/1.png": 1.0, "b/2.png": 0.0, "c/2.png": 1.0}
    assert problems == ["missing_image"]


def test_folders_that_none_of_the_files_lies_in_say_nothing():
    assert stray(["old/1.png,0", "old/2.png,1"], ["new/1.png", "new/2.png"])[0] == {"new/1.png": 0.0, "new/2.png": 1.0}
    assert stray(["old/1.png,0", "old/x/2.png,1"], ["1.png", "x/2.png"])[0] == {"1.png": 0.0, "x/2.png": 1.0}
