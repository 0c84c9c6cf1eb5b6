"""Taking up a run that is there."""

from __future__ import annotations

import pytest

from medloom.errors import DataError, RecipeError, UserError
from medloom.pipeline import Run, prepare, run_folder, train

FOUND = {"kind": "binary", "classes": ["0", "1"]}


@pytest.fixture
def begun(make_recipe, tmp_path):
    """A run whose labels were found out and that has begun to train."""
    run = Run.start(make_recipe(FOUND), tmp_path / "run")
    (run.folder / "checkpoints").mkdir()
    return run


def test_a_run_that_has_begun_lends_what_it_found_out_to_a_recipe_that_leaves_it_open(begun, make_recipe):
    taken = Run.start(make_recipe(train={"epochs": 9}), begun.folder)
    assert (taken.recipe.target.kind, taken.recipe.target.classes) == ("binary", ("0", "1"))
    assert taken.recipe.train.epochs == 9
    assert Run.open(begun.folder).recipe == taken.recipe


def test_the_order_of_the_classes_alone_may_be_left_open(begun, make_recipe):
    assert Run.start(make_recipe({"kind": "binary"}), begun.folder).recipe == begun.recipe
    assert Run.start(make_recipe({"classes": ["0", "1"]}), begun.folder).recipe == begun.recipe


@pytest.mark.parametrize(
    ("target", "labels", "said"),
    [
        ({"kind": "multi-class"}, {}, r"target\.kind: is 'multi-class', was 'binary'"),
        ({"classes": ["1", "0"]}, {}, r"target\.classes: is \['1', '0'\], was \['0', '1'\]"),
        ({"columns": ["other"]}, {}, r"target\.columns"),
        ({}, {"patient": "image"}, r"data\.labels\.patient"),
        ({}, {"metadata": {"numeric": ["age"]}}, r"data\.labels\.metadata\.numeric"),
    ],
)
def test_another_setting_of_the_labels_is_refused_and_named(begun, make_recipe, target, labels, said):
    with pytest.raises(RecipeError, match=said) as refused:
        Run.start(make_recipe(target, labels), begun.folder)
    assert "auto" not in str(refused.value)
    assert Run.open(begun.folder).recipe == begun.recipe


def test_a_run_that_was_only_prepared_takes_any_recipe(make_recipe, tmp_path):
    Run.start(make_recipe(FOUND), tmp_path / "run")
    taken = Run.start(make_recipe({"kind": "multi-class"}), tmp_path / "run")
    assert (taken.recipe.target.kind, taken.recipe.target.classes) == ("multi-class", ())


@pytest.mark.parametrize("split", [{}, {"folds": 4}])
def test_a_run_whose_folds_have_begun_is_not_turned_into_another(make_recipe, tmp_path, split):
    run = Run.start(make_recipe(split={"folds": 3}), tmp_path / "run")
    Run.start(make_recipe(FOUND, split={"folds": 3, "fold": 0}), run.folder / "fold-0")
    (run.folder / "fold-0" / "checkpoints").mkdir()
    with pytest.raises(RecipeError, match=r"split\.folds"):
        Run.start(make_recipe(split=split), run.folder)
    assert Run.open(run.folder).recipe == run.recipe
    assert Run.start(make_recipe(split={"folds": 3}, train={"epochs": 9}), run.folder).recipe.train.epochs == 9


def test_planning_a_run_writes_nothing(make_recipe, tmp_path):
    assert Run.planned(make_recipe(), tmp_path / "run").folder == tmp_path / "run"
    assert list(tmp_path.iterdir()) == []


def test_the_place_of_the_images_is_used_and_not_kept(make_recipe, tmp_path):
    run = Run.start(make_recipe(FOUND, data={"path": str(tmp_path / "images")}), tmp_path / "run")
    assert run.recipe.data.path == str(tmp_path / "images")
    assert Run.open(run.folder).recipe.data.path is None
    assert str(tmp_path) not in (run.folder / "recipe.yaml").read_text()


def test_a_name_is_a_folder_in_runs_and_a_path_is_one_anywhere(tmp_path):
    assert run_folder("brain-2", tmp_path) == tmp_path / "brain-2"
    assert run_folder("./brain-2", tmp_path).as_posix() == "brain-2"
    assert run_folder(tmp_path / "x y") == tmp_path / "x y"


@pytest.mark.parametrize("name", ["", "..", "-x", "two words", "a" * 101])
def test_what_is_no_name_is_refused_and_a_name_explained(name):
    with pytest.raises(UserError, match="a name has letters, digits, dots, hyphens and underscores"):
        run_folder(name)


def test_the_same_recipe_with_open_labels_goes_on_where_the_run_stands(pictures, make_recipe, tmp_path):
    epochs = []
    for wanted in (1, 2, 2):
        run = Run.start(make_recipe(train={"epochs": wanted}), tmp_path / "run")
        prepare(run, pictures, workers=1)
        epochs.append(train(Run.open(run.folder)).epochs_done)
    assert epochs == [1, 2, 2]


def test_facts_that_were_damaged_are_the_users_to_mend(begun):
    (begun.folder / "prepare.json").write_bytes(b'{"counts": {')
    with pytest.raises(DataError, match=r"prepare\.json is damaged; remove it and run `medloom prepare` again"):
        begun.facts("prepare.json", "prepare")
