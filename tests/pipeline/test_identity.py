"""No stage stands on other data than the network was trained on."""

from __future__ import annotations

import csv
import io
import shutil

import numpy as np
import pandas as pd
import pytest

import medloom
from medloom.cli.main import main
from medloom.errors import DataError
from medloom.files import read_json, sha256_file, write_bytes
from medloom.imaging import encode_png
from medloom.packaging import read_bundle
from medloom.pipeline import Run, evaluate, finish_folds, fold_runs, measure_fold, package, prepare, report, train

SIZE = 24
STAGES = {"evaluate": evaluate, "package": package, "report": report, "train": train}


def write_people(folder, names) -> None:
    """Three pictures of each person; all that is drawn of a person follows from the name."""
    rows = []
    for name in names:
        rng = np.random.default_rng([ord(letter) for letter in name])
        level = ord(name[-1]) % 2
        for number in range(3):
            picture = np.clip(rng.normal(80 + 60 * level, 20, (SIZE, SIZE)), 0, 255).astype(np.uint8)
            write_bytes(folder / "pictures" / f"{name}_{number}.png", encode_png(picture))
            rows.append({"image": f"{name}_{number}", "level": level, "patient": name})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(folder / "labels.csv", text.getvalue().encode())


NINE, MORE = [f"m{number}" for number in range(9)], [f"k{number}" for number in range(9)]


@pytest.fixture
def people(tmp_path):
    write_people(tmp_path / "people", NINE)
    return tmp_path / "people"


@pytest.fixture(scope="module")
def finished(place, make_recipe):
    """A whole run on nine people, of which each test gets a copy."""
    write_people(place / "original" / "people", NINE)
    return medloom.run(
        make_recipe(), data=place / "original" / "people", run=place / "original" / "run", workers=1
    ).folder


@pytest.fixture
def done(finished, people, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return Run.open(tmp_path / "run")


def kept(folder):
    return {path: sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_people_who_are_added_after_training_are_not_taken_into_the_run(done, people):
    write_people(people, [*MORE, *NINE])
    before = kept(done.folder)
    with pytest.raises(DataError, match=r"27 samples added.*--run NAME") as refused:
        prepare(done, people, workers=1)
    assert str(people) not in str(refused.value)
    assert kept(done.folder) == before


def test_another_run_takes_them(done, people, make_recipe, tmp_path):
    write_people(people, [*MORE, *NINE])
    result = medloom.run(make_recipe(), data=people, run=tmp_path / "other", workers=1)
    assert sum(part["patients"] for part in result.prepared["counts"].values()) == 18


@pytest.mark.parametrize("stage", list(STAGES))
@pytest.mark.parametrize(
    ("change", "said"),
    [("moved", "moved between parts"), ("removed", "removed"), ("labels", "with another label")],
)
def test_no_stage_stands_on_a_catalogue_that_was_not_trained_on(done, stage, change, said):
    path = done.folder / "catalogue.csv"
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    if change == "moved":
        rows.loc[rows["split"] == "train", "split"] = "test"
    elif change == "removed":
        rows = rows.iloc[:-1]
    else:
        rows["labels"] = rows["labels"].replace({"[0]": "[1]", "[1]": "[0]"})
    rows.to_csv(path, index=False, lineterminator="\n")
    facts = read_json(done.folder / "prepare.json")
    medloom.files.write_json(done.folder / "prepare.json", {**facts, "catalogue_sha256": sha256_file(path)})
    with pytest.raises(DataError, match=said):
        STAGES[stage](done)


@pytest.mark.parametrize("stage", list(STAGES))
def test_no_stage_stands_on_a_catalogue_that_was_not_prepared(done, stage):
    path = done.folder / "catalogue.csv"
    path.write_text(path.read_text().replace(",test,", ",train,"))
    with pytest.raises(DataError, match="is not what was prepared"):
        STAGES[stage](done)


def test_the_same_images_are_prepared_again_as_often_as_one_likes(done, people):
    before = (done.folder / "catalogue.csv").read_bytes()
    prepare(done, people, workers=1)
    assert (done.folder / "catalogue.csv").read_bytes() == before
    for stage in STAGES.values():
        stage(done)


def test_a_picture_that_was_changed_after_training_is_not_measured(done, people):
    rows = pd.read_csv(done.folder / "catalogue.csv", dtype=str)
    picture = rows.loc[rows["split"] == "test", "image"].iloc[-1]
    write_bytes(people / picture, encode_png(np.zeros((SIZE, SIZE), np.uint8)))
    with pytest.raises(DataError, match="another image than when it was prepared"):
        evaluate(done)


def test_a_bundle_counts_who_was_trained_on(done):
    rows = pd.read_csv(done.folder / "trained_on.csv", dtype=str)
    counts = read_bundle(done.bundle).manifest.training_data.counts
    for part, group in rows.groupby("split"):
        assert counts[part]["patients"] == group["patient_id"].nunique()
        assert counts[part]["samples"] == len(group)


def test_a_run_that_is_begun_anew_keeps_nothing_of_the_network_before(done, people):
    write_people(people, [*MORE, *NINE])
    shutil.rmtree(done.folder / "checkpoints")
    prepare(done, people, workers=1)
    with pytest.raises(DataError, match="27 samples added"):
        report(done)
    train(done)
    assert not (done.folder / "evaluation").exists()
    assert not done.bundle.exists()
    assert len(pd.read_csv(done.folder / "trained_on.csv")) == 54
    evaluate(done)
    package(done)


def test_a_run_of_an_earlier_version_says_what_it_was_trained_on_after_it_trained_again(done):
    (done.folder / "identity.json").unlink()
    (done.folder / "trained_on.csv").unlink()
    with pytest.raises(DataError, match="medloom train"):
        report(done)
    train(done)
    report(done)


def test_folds_that_stand_on_other_people_are_not_put_together(people, make_recipe, tmp_path):
    run = Run.start(make_recipe(split={"folds": 3}), tmp_path / "run")
    folds = fold_runs(run)
    prepare(folds[0], people, workers=1)
    measure_fold(Run.open(folds[0].folder))
    write_people(people, [*MORE, *NINE])
    for fold in folds:
        with pytest.raises(DataError, match="27 samples added"):
            prepare(fold, people, workers=1)


def test_a_bundle_of_folds_counts_everyone_that_one_of_them_learned_from(people, make_recipe, tmp_path):
    run = Run.start(make_recipe(split={"folds": 3}, train={"epochs": 1}), tmp_path / "run")
    folds = fold_runs(run)
    for fold in folds:
        prepare(fold, people, workers=1)
        measure_fold(Run.open(fold.folder))
    finish_folds(run, folds)
    counts = read_bundle(run.bundle).manifest.training_data.counts
    assert counts == {"folds": 3, "train": {"patients": 9, "samples": 27}}


def test_the_command_says_what_changed_and_what_to_do(done, people, capsys):
    write_people(people, [*MORE, *NINE])
    code = main(["prepare", str(done.folder / "recipe.yaml"), "--run", str(done.folder), "--data", str(people)])
    assert code == 2
    assert "27 samples added" in capsys.readouterr().err


def parts_of(run):
    """The part and the fold of each person, whom the name of the file tells; each is in one alone."""
    rows = pd.read_csv(run.folder / "catalogue.csv", dtype=str, keep_default_na=False)
    people = rows["image"].str.extract(r"(\w+)_\d")[0]
    found = rows.groupby(people)[["split", "fold"]].agg(["unique"])
    assert (rows.groupby(people)["split"].nunique() == 1).all()
    return {name: (row["split", "unique"][0], row["fold", "unique"][0]) for name, row in found.iterrows()}


def test_people_who_are_known_stay_in_their_parts_when_others_come(people, make_recipe, tmp_path):
    run = Run.start(make_recipe(), tmp_path / "run")
    prepare(run, people, workers=1)
    before = parts_of(run)
    write_people(people, [*MORE, *NINE])
    prepare(run, people, workers=1)
    after = parts_of(run)
    assert {name: after[name] for name in before} == before
    shares = pd.Series([split for split, _ in after.values()]).value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.08)
    found = Run.open(run.folder)
    train(found)
    evaluate(found)


@pytest.mark.parametrize("split", [{"keep": False}, {"seed": 5}, {"train": 0.5, "validation": 0.25, "test": 0.25}])
def test_another_rule_of_the_split_or_keep_false_divides_everyone_anew(people, make_recipe, tmp_path, split):
    prepare(Run.start(make_recipe(), tmp_path / "run"), people, workers=1)
    again = Run.start(make_recipe(split=split), tmp_path / "run")
    write_people(people, [*MORE, *NINE])
    prepare(again, people, workers=1)
    fresh = Run.start(make_recipe(split=split), tmp_path / "fresh")
    prepare(fresh, people, workers=1)
    assert parts_of(again) == parts_of(fresh)


def test_all_folds_keep_people_where_the_first_of_them_has_them(people, make_recipe, tmp_path):
    run = Run.start(make_recipe(split={"folds": 3}), tmp_path / "run")
    folds = fold_runs(run)
    for fold in folds[:2]:
        prepare(fold, people, workers=1)
    before = parts_of(folds[0])
    write_people(people, [*MORE, *NINE])
    for fold in folds:
        prepare(fold, people, workers=1)
    found = [{name: place for name, (_, place) in parts_of(fold).items()} for fold in folds]
    assert found[0] == found[1] == found[2]
    assert {name: found[0][name] for name in before} == {name: place for name, (_, place) in before.items()}
    tested = [{name for name, (split, _) in parts_of(fold).items() if split == "test"} for fold in folds]
    assert sorted(name for one in tested for name in one) == sorted([*MORE, *NINE])
