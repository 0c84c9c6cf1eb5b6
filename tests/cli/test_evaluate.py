import json
import re

import numpy as np
import pytest

from medloom.cli.main import main
from medloom.files import write_bytes
from medloom.imaging import encode_png

LABELS = "image,truth,patient\n" + "".join(f"{i:03d},{i % 2},p{i // 2}\n" for i in range(40))
SCORES = "image,score\n" + "".join(f"{i:03d}.png,{0.3 + 0.2 * (i % 2) + 0.01 * (i % 30)}\n" for i in range(40))


def evaluate(*more, labels="labels.csv", predictions="scores.csv"):
    return main(["evaluate", "--labels", labels, "--predictions", predictions, "-o", "out", *more])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "scores.csv").write_text(SCORES)
    return tmp_path


def test_scores_of_another_model_give_metrics_a_table_and_a_report(folder, capsys):
    assert evaluate("--resamples", "50") == 0
    shown = capsys.readouterr()
    assert re.search(r"ROC AUC +0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\)", shown.out)
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["cases.csv", "report.html", "summary.json"]
    assert "warning" not in shown.err
    page = (folder / "out" / "report.html").read_text()
    assert "Measured on 40 images of 20 patients" in page
    assert not re.findall(r"""src=["'](?!data:)""", page)


def test_the_result_can_be_had_as_json(folder, capsys):
    assert evaluate("--resamples", "0", "--threshold", "0.4", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["target"]["kind"] == "binary"
    assert summary["operating_point"]["thresholds"] == [0.4]


def test_what_is_wrong_ends_with_exit_code_two_and_nothing_written(folder, capsys):
    (folder / "scores.csv").write_text(SCORES + "000.png,0.5\nzzz,2\n")
    assert evaluate() == 2
    shown = capsys.readouterr().err
    assert "predictions line 42: same id as line 2" in shown
    assert "predictions line 43: no label of this id" in shown
    assert "predictions line 43: a value outside 0 to 1" in shown
    assert not (folder / "out").exists()


def test_a_missing_patient_column_is_warned_of(folder, capsys):
    (folder / "labels.csv").write_text(re.sub(r",p(atient|\d+)\n", "\n", LABELS))
    assert evaluate("--resamples", "10") == 0
    assert "intervals are over images" in capsys.readouterr().err
    assert "Measured on 40 images." in (folder / "out" / "report.html").read_text()


def test_masks_of_another_model_give_dice_and_a_report(folder, capsys):
    rng = np.random.default_rng(0)
    for index in range(4):
        truth = rng.integers(0, 3, (9, 9)).astype(np.uint8)
        write_bytes(folder / "true" / f"{index}.png", encode_png(truth))
        write_bytes(folder / "said" / f"{index}.png", encode_png(np.roll(truth, index % 2, 0)))
    assert evaluate("--resamples", "10", "--classes", "none,core,rim", labels="true", predictions="said") == 0
    assert "Dice, images with foreground" in capsys.readouterr().out
    page = (folder / "out" / "report.html").read_text()
    assert "Which class was taken for which" in page
    assert "rim" in page


@pytest.mark.parametrize(
    "arguments",
    [
        "evaluate",
        "evaluate --labels labels.csv",
        "evaluate --labels labels.csv --predictions scores.csv",
        "evaluate some-run --labels labels.csv --predictions scores.csv -o out",
        "evaluate --labels nowhere --predictions scores.csv -o out",
    ],
)
def test_options_that_do_not_go_together_are_refused(folder, capsys, arguments):
    assert main(arguments.split()) == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        ("a.tar.gz --data images --threshold 0.9", "--threshold: of no effect on a bundle"),
        ("a.tar.gz --data images --part validation --kind binary", "--part, --kind: of no effect on a bundle"),
        ("some-run --threshold 0.9", "--threshold: of no effect on a run"),
        ("some-run -o out --group sex --resamples 9", "--output, --group, --resamples: of no effect on a run"),
        ("--labels true --predictions said -o out --threshold 0.9", "--threshold: of no effect on masks"),
        (
            "--labels labels.csv --predictions scores.csv -o out --set evaluate.views=2 --patient-pattern p(.)",
            "--set, --patient-pattern: of no effect on scores",
        ),
    ],
)
def test_an_option_that_would_be_of_no_effect_is_refused_and_not_passed_over(folder, capsys, words, idle):
    (folder / "a.tar.gz").write_bytes(b"")
    for name in ("true", "said", "images"):
        (folder / name).mkdir()
    assert main(["evaluate", *words.split()]) == 2
    assert idle in capsys.readouterr().err
    assert not (folder / "out").exists()
