import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs

from medloom.errors import DataError, UserError
from medloom.evaluation.external import ScoreOptions, evaluate_masks, evaluate_scores
from medloom.evaluation.masks import summarise
from medloom.files import write_bytes
from medloom.imaging import encode_png

NAME = "Ödegård^Smith"


@pytest.fixture
def files(tmp_path):
    """Write two CSV texts and measure them."""

    def measure(labels, predictions, options=None, resamples=0, encoding="utf-8"):
        (tmp_path / "labels.csv").write_bytes(labels.encode(encoding))
        (tmp_path / "scores.csv").write_bytes(predictions.encode(encoding))
        return evaluate_scores(
            tmp_path / "labels.csv", tmp_path / "scores.csv", tmp_path / "out", options, resamples=resamples
        )

    return measure


def values(summary):
    return {name: metric["value"] for name, metric in summary["test"]["metrics"].items()}


def random_binary(n=80, seed=0):
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.4).astype(int)
    score = np.clip(0.3 * truth + 0.7 * rng.random(n), 0, 1)
    ids = [f"{index:03d}" for index in range(n)]
    return ids, truth, score


def test_binary_results_agree_with_scikit_learn_whatever_the_order_and_the_endings(files, tmp_path):
    ids, truth, score = random_binary()
    labels = pd.DataFrame({"image": ids, "level": truth, "patient": [f"{NAME}{i // 2}" for i in range(80)]})
    order = np.random.default_rng(1).permutation(80)
    scores = pd.DataFrame({"image": [f"images/{ids[i]}.jpeg" for i in order], "score": score[order]})
    summary = files(labels.to_csv(index=False), scores.to_csv(index=False), resamples=40)
    found = values(summary)
    assert found["roc_auc"] == pytest.approx(theirs.roc_auc_score(truth, score))
    assert found["f1"] == pytest.approx(theirs.f1_score(truth, score >= 0.5))
    assert summary["test"]["counts"]["patients"] == 40
    assert summary["interval"]["over"] == "patients"
    assert summary["warnings"] == []
    cases = pd.read_csv(tmp_path / "out" / "cases.csv")
    assert cases["truth"].tolist() == truth.tolist()
    assert cases["sample_id"].iloc[0] == "line-2"
    for path in (tmp_path / "out").iterdir():
        assert NAME not in path.read_text()


def test_classes_labels_and_values_are_told_apart(files):
    rng = np.random.default_rng(2)
    ids = [f"i{index}" for index in range(60)]
    classes = rng.choice(["bcc", "mel", "nv"], 60)
    score = rng.dirichlet(np.ones(3), 60)
    labels = pd.DataFrame({"id": ids, "diagnosis": classes})
    scores = pd.DataFrame({"id": ids, **{f"score_{name}": score[:, i] for i, name in enumerate(("bcc", "mel", "nv"))}})
    summary = files(labels.to_csv(index=False), scores.to_csv(index=False))
    assert summary["target"] == {"kind": "multi-class", "names": ["bcc", "mel", "nv"]}
    assert values(summary)["roc_auc"] == pytest.approx(theirs.roc_auc_score(classes, score, multi_class="ovr"))

    many = rng.random((60, 2)) < 0.5
    labels = pd.DataFrame({"id": ids, "mass": many[:, 0].astype(int), "nodule": many[:, 1].astype(int)})
    scores = pd.DataFrame({"id": ids, "nodule": score[:, 1], "mass": score[:, 0]})
    summary = files(labels.to_csv(index=False), scores.to_csv(index=False), ScoreOptions(targets=("mass", "nodule")))
    assert summary["target"]["kind"] == "multi-label"
    assert values(summary)["roc_auc"] == pytest.approx(theirs.roc_auc_score(many, score[:, :2]))

    labels = pd.DataFrame({"id": ids, "age": rng.normal(60, 9, 60).round(1)})
    scores = pd.DataFrame({"id": ids, "prediction": rng.normal(60, 9, 60)})
    summary = files(labels.to_csv(index=False), scores.to_csv(index=False), ScoreOptions(targets=("age",)))
    assert summary["target"]["kind"] == "regression"
    assert values(summary)["mae"] == pytest.approx(theirs.mean_absolute_error(labels["age"], scores["prediction"]))


def often(header, *rows):
    """A table with each row five times, for fewer cases have no metric; ``#`` is its number."""
    return header + "\n" + "".join(f"{row.replace('#', str(number))}\n" for number in range(5) for row in rows)


def test_decisions_of_the_predictions_are_taken_as_they_are(files):
    summary = files(
        often("image,truth", "a#,ill", "b#,well", "c#,ill"),
        often("image,score,decision", "a#,0.1,ill", "b#,0.2,well", "c#,0.3,1"),
        ScoreOptions(classes=("well", "ill")),
    )
    assert values(summary)["sensitivity"] == 1.0
    assert summary["rule"] == "as the predictions say"


def test_a_threshold_that_is_named_decides_instead(files):
    labels = often("image,truth", "a#,1", "b#,0", "c#,1")
    scores = often("image,score,decision", "a#,0.1,1", "b#,0.2,0", "c#,0.3,1")
    assert values(files(labels, scores, ScoreOptions(threshold=0.25)))["sensitivity"] == 0.5
    assert values(files(labels, scores))["sensitivity"] == 1.0


def test_the_id_column_may_have_its_name_in_one_file_only(files):
    labels, scores = often("who,code,truth", "x,a#,1", "y,b#,0"), often("file,score", "b#.png,0.2", "a#.png,0.9")
    assert values(files(labels, scores, ScoreOptions(id_column="code", targets=("truth",))))["roc_auc"] == 1.0
    with pytest.raises(DataError, match="no column nowhere"):
        files(labels, scores, ScoreOptions(id_column="nowhere", targets=("truth",)))


def test_what_is_wrong_with_many_rows_is_said_once(files):
    rows = range(300)
    labels = "image,truth\n" + "".join(f"{row},{row % 2}\n" for row in rows)
    with pytest.raises(DataError) as caught:
        files(labels, "image,score\n" + "".join(f"{row},1.5\n" for row in rows))
    assert caught.value.problems == (
        "predictions lines 2-301: a value outside 0 to 1 in column score; expected a probability",
    )


def test_which_class_is_positive_is_said_where_it_was_guessed(files):
    labels, scores = often("image,truth", "a#,ill", "b#,well"), often("image,score", "a#,0.9", "b#,0.2")
    summary = files(labels, scores)
    assert any("well was taken for the positive class" in text for text in summary["warnings"])
    told = files(labels, scores, ScoreOptions(classes=("well", "ill")))
    assert values(told)["roc_auc"] == 1.0
    assert not any("positive class" in text for text in told["warnings"])


def test_without_patients_the_intervals_are_over_images_and_it_is_said(files):
    summary = files("image,truth\na,1\nb,0\nc,1\n", "image,score\na,0.9\nb,0.2\nc,0.8\n", resamples=10)
    assert summary["interval"]["over"] == "images"
    assert "over images" in summary["warnings"][0]


def test_byte_order_mark_carriage_returns_quotes_semicolons_and_leading_zeros_are_understood(files):
    plain = files("image,truth\n001,1\n01,0\n", "image,score\n001,0.75\n01,0.25\n")
    odd = files(
        'image;truth\r\n"001";1\r\n01;0\r\n\r\n', "image;score\r\n01; 0.25\r\n001;0.75\r\n", encoding="utf-8-sig"
    )
    assert values(odd) == values(plain)


def test_everything_that_is_wrong_is_said_at_once_with_its_line_and_without_names(files):
    labels = (
        f'image,truth,patient\n{NAME},1,p\nb,0,p\nb,0,p\nb,1,p\nc,7,p\nd,,p\ne,1,\n,1,p\n"x\ny",0,p\ng,0,p\nshort,1\n'
    )
    predictions = "image,score\nb,0.5\nc,nan\nd,1.5\ne,zero\nb,0.4\nextra,0.1\ng,0.2\n"
    with pytest.raises(DataError) as caught:
        files(labels, predictions, ScoreOptions(classes=("0", "1")))
    assert caught.value.exit_code == 2
    text = str(caught.value)
    for line in (
        "labels lines 2, 10: no prediction of this id",
        "labels line 4: same id as line 3, with the same values",
        "labels line 5: same id as line 3, with other values",
        "labels line 6: unknown class in column truth",
        "labels line 7: nothing in column truth",
        "labels line 8: nothing in column patient",
        "labels line 9: no id",
        "labels line 13: 2 cells; expected 3",
        "predictions lines 3, 5: no finite number in column score",
        "predictions line 4: a value outside 0 to 1",
        "predictions line 6: same id as line 2",
        "predictions line 7: no label of this id",
    ):
        assert line in text
    assert NAME not in text
    assert "extra" not in text


def test_probabilities_that_do_not_add_up_are_refused(files):
    with pytest.raises(DataError, match="do not add up to 1"):
        files("image,truth\na,0\nb,1\nc,2\n", "image,score_0,score_1,score_2\na,1,1,1\nb,0,1,0\nc,0,0,1\n")


@pytest.mark.parametrize(
    ("labels", "predictions", "options", "message"),
    [
        ("image,a,b\nx,1,0\n", "image,score\nx,0.4\n", None, "--target"),
        ("image,truth\nx,1\n", "image,one,two\nx,0.4,0.1\n", None, "--score"),
        ("image,truth\nx,1\n", "image,score\nx,0.4\n", ScoreOptions(patient="who"), "no column who"),
        ("image,truth\nx,1\ny,2\nz,3\n", "image,score_1\nx,0.4\n", None, "no score column for 2, 3"),
        ("", "image,score\nx,0.4\n", None, "empty"),
        ("image,truth\n", "image,score\n", None, "no row below the header"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(files, labels, predictions, options, message):
    with pytest.raises(DataError, match=message):
        files(labels, predictions, options)


def test_scores_without_ids_may_come_as_an_array_in_the_order_of_the_labels(tmp_path):
    ids, truth, score = random_binary(30)
    pd.DataFrame({"image": ids, "truth": truth}).to_csv(tmp_path / "labels.csv", index=False)
    np.save(tmp_path / "scores.npy", score)
    summary = evaluate_scores(tmp_path / "labels.csv", tmp_path / "scores.npy", tmp_path / "out", resamples=0)
    assert values(summary)["roc_auc"] == pytest.approx(theirs.roc_auc_score(truth, score))
    np.save(tmp_path / "scores.npy", score[:-1])
    with pytest.raises(DataError, match="29 rows of scores for 30 labels"):
        evaluate_scores(tmp_path / "labels.csv", tmp_path / "scores.npy", tmp_path / "out", resamples=0)
    (tmp_path / "scores.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="no sound NPY"):
        evaluate_scores(tmp_path / "labels.csv", tmp_path / "scores.npy", tmp_path / "out", resamples=0)


def test_groups_are_found_by_their_names(files):
    ids, truth, score = random_binary()
    labels = pd.DataFrame({"image": ids, "truth": truth, "sex": ["F", "M"] * 40, "age_approx": 44})
    scores = pd.DataFrame({"image": ids, "score": score})
    groups = files(labels.to_csv(index=False), scores.to_csv(index=False))["test"]["groups"]
    assert [(group["column"], group["value"]) for group in groups] == [
        ("sex", "F"),
        ("sex", "M"),
        ("age_approx", "40 to 59"),
    ]


@pytest.fixture
def masks(tmp_path):
    """Write true and predicted masks of three classes, in other formats and with other endings."""
    rng = np.random.default_rng(0)
    pixels = []
    for index in range(6):
        truth = rng.integers(0, 3, (12, 10)).astype(np.uint8)
        predicted = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 3, truth.shape)).astype(np.uint8)
        name = f"person{index // 2}_{index}"
        write_bytes(tmp_path / "true" / f"{name}_mask.png", encode_png(truth))
        write_bytes(tmp_path / "true" / f"{name}.png", encode_png(truth + 100))  # the image itself
        (tmp_path / "predicted").mkdir(exist_ok=True)
        np.save(tmp_path / "predicted" / f"{name}.npy", predicted)
        pixels.append((truth, predicted))
    return tmp_path, pixels


def test_folders_of_masks_are_measured_class_by_class(masks):
    folder, pixels = masks
    summary = evaluate_masks(
        folder / "true",
        folder / "predicted",
        folder / "out",
        classes=("background", "core", "rim"),
        patient_pattern=r"person(\d+)_",
        resamples=20,
    )
    truth, predicted = (np.concatenate([pair[side].ravel() for pair in pixels]) for side in (0, 1))
    assert summary["test"]["pixel_confusion"]["matrix"] == theirs.confusion_matrix(truth, predicted).tolist()
    per_image = [theirs.f1_score(a.ravel() == 2, b.ravel() == 2) for a, b in pixels]
    assert summary["test"]["per_target"]["rim"]["metrics"]["dice_all"]["value"] == pytest.approx(np.mean(per_image))
    per_image = [theirs.jaccard_score(a.ravel() == 1, b.ravel() == 1) for a, b in pixels]
    assert summary["test"]["per_target"]["core"]["metrics"]["iou_all"]["value"] == pytest.approx(np.mean(per_image))
    assert summary["test"]["counts"]["patients"] == 3
    assert "roc_auc" not in summary["test"]["metrics"]
    assert "person" not in (folder / "out" / "cases.csv").read_text()
    table = pd.read_csv(folder / "out" / "cases.csv")
    assert summarise(table, 20)["metrics"]["dice_all"] == summary["test"]["metrics"]["dice_all"]
    assert json.loads((folder / "out" / "summary.json").read_text()) == summary


def test_one_class_may_have_any_value_on_either_side(tmp_path):
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 2:5] = 1
    write_bytes(tmp_path / "a" / "x.png", encode_png(mask * 255))
    write_bytes(tmp_path / "b" / "deep" / "x.png", encode_png(mask))
    summary = evaluate_masks(tmp_path / "a", tmp_path / "b", tmp_path / "out", resamples=0)
    assert values(summary)["dice_foreground"] == 1.0
    assert "over images" in summary["warnings"][0]


def test_every_mask_that_does_not_fit_is_named(masks):
    folder, _ = masks
    (folder / "predicted" / "person0_0.npy").rename(folder / "predicted" / "person9_9.npy")
    with pytest.raises(DataError) as caught:
        evaluate_masks(folder / "true", folder / "predicted", folder / "out")
    assert caught.value.problems == ("person0_0_mask.png: no predicted mask", "person9_9.npy: no true mask")
    (folder / "predicted" / "person9_9.npy").rename(folder / "predicted" / "person0_0.npy")
    np.save(folder / "predicted" / "person0_0.npy", np.zeros((3, 3), np.uint8))
    np.save(folder / "predicted" / "person0_1.npy", np.full((12, 10), 0.5, np.float32))
    (folder / "predicted" / "person1_2.npy").write_bytes(b"no array")
    with pytest.raises(DataError) as caught:
        evaluate_masks(folder / "true", folder / "predicted", folder / "out")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "person0_0_mask.png",
        "person0_1.npy",
        "person1_2.npy",
    ]


@pytest.mark.parametrize("pattern", ["person(", r"person\d+"])
def test_a_pattern_that_finds_no_patient_is_refused(masks, pattern):
    folder, _ = masks
    with pytest.raises(UserError, match="--patient-pattern"):
        evaluate_masks(folder / "true", folder / "predicted", folder / "out", patient_pattern=pattern)


def test_classes_that_are_numbers_are_never_taken_for_the_columns_of_other_classes(files):
    labels = often("image,truth", "a#,1", "b#,2", "c#,3")
    for first in (0, 1):
        header = ",".join(f"score_{first + index}" for index in range(3))
        summary = files(labels, often(f"image,{header}", "a#,0.8,0.1,0.1", "b#,0.1,0.8,0.1", "c#,0.1,0.1,0.8"))
        assert values(summary)["accuracy"] == 1.0


@pytest.mark.parametrize("first", ["", "sep=;\n"])
def test_decimal_commas_are_numbers_where_semicolons_divide_the_cells(files, first):
    labels, scores = often("image,truth", "a#,1", "b#,0"), often("image,score", "a#,0.75", "b#,0.25")
    german = first + "".join(line.replace(",", ";").replace(".", ",") + "\n" for line in scores.splitlines())
    assert values(files(labels, german)) == values(files(labels, scores))
    ages, guesses = often("image;age", "a#;61,5", "b#;40,25"), often("image;prediction", "a#;60,5", "b#;41,25")
    assert values(files(ages, guesses, ScoreOptions(targets=("age",), kind="regression")))["mae"] == 1.0


def test_a_decimal_comma_in_a_table_that_commas_divide_is_refused_with_the_way_out(files):
    with pytest.raises(DataError) as caught:
        files(often("image,truth", "a#,1", "b#,0"), often("image,score", 'a#,"0,75"', 'b#,"0,25"'))
    assert "decimal commas are read where semicolons divide the cells" in caught.value.problems[0]
