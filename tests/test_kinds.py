"""What is predicted is one value: nobody asks for its kind, everybody looks it up in a table."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from medloom.targets import KINDS, LABELS, Target

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))

NAMES = {*KINDS, "segmentation", "classification", "real"}
"""Words that say what is predicted, or did."""

OWNERS = {"target", "labels", "listing", "meaning", "manifest", "prediction", "predictor", "recipe", "config"}
"""Whose ``kind`` is that of an answer; a file, a problem or a phantom has a kind as well."""

CLASSES = {
    *(
        "Predictor",
        "LabelPredictor",
        "Prediction",
        "MaskPrediction",
        "LabelPrediction",
        "VolumePrediction",
        "LabelVolumePrediction",
    ),
    *("Network", "MaskNetwork", "Classifier", "Ensemble", "MaskPoint", "LabelPoint"),
    *("MasksRecipe", "LabelsRecipe", "BinaryRecipe", "MultiClassRecipe", "MultiLabelRecipe", "RegressionRecipe"),
    *("MasksTarget", "LabelsTarget", "FileResult", "LabelResult", "MaskResult"),
}

TABLES = {
    "data": "medloom.data.kinds",
    "evaluation": "medloom.evaluation.kinds",
    "explanation": "medloom.explanation.kinds",
    "inference answers": "medloom.inference.answers",
    "inference writers": "medloom.inference.writers",
    "models": "medloom.models.kinds",
    "recipe": "medloom.recipe.kinds",
    "reports": "medloom.reports.sections",
    "training": "medloom.training.kinds",
    "tuning": "medloom.tuning.kinds",
}


def questions(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of a module that ask for the kind of an answer, outside of a table."""
    tables = {id(value) for node in tree.body for value in _table(node)}
    for node in ast.walk(tree):
        if id(node) not in tables and any(
            asks(node) for asks in (_compares_a_kind, _tests_the_class, _is_keyed_by_kind)
        ):
            yield node.lineno
        elif isinstance(node, ast.MatchValue) and _says_a_kind(node.value):
            yield node.value.lineno


def _table(statement: ast.stmt) -> Iterator[ast.AST]:
    """Everything in a dictionary that a module keeps under a name in capitals."""
    target = statement.target if isinstance(statement, ast.AnnAssign) else None
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
    if isinstance(target, ast.Name) and target.id.isupper() and statement.value:
        yield from ast.walk(statement.value)


def _compares_a_kind(node: ast.AST) -> bool:
    if not isinstance(node, ast.Compare):
        return False
    looked_for = isinstance(node.ops[0], ast.In | ast.NotIn)  # "masks" in arrays: whether there is such a name
    sides = [*([] if looked_for and isinstance(node.left, ast.Constant) else [node.left]), *node.comparators]
    return any(_says_a_kind(side) or _is_a_kind(side) for side in sides)


def _says_a_kind(node: ast.AST) -> bool:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(_says_a_kind(one) for one in node.elts)
    return isinstance(node, ast.Constant) and node.value in NAMES


def _is_a_kind(node: ast.AST) -> bool:
    """``target.kind``, ``recipe.task`` or ``summary["target"]["kind"]``."""
    if isinstance(node, ast.Attribute):
        return node.attr == "task" or (node.attr == "kind" and _last_name(node.value) in OWNERS)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value == "task" or (node.slice.value == "kind" and _last_name(node.value) in OWNERS)
    return False


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return node.id if isinstance(node, ast.Name) else ""


def _tests_the_class(node: ast.AST) -> bool:
    if not (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("isinstance", "issubclass")
        and len(node.args) == 2
    ):
        return False
    names = {one.id for one in ast.walk(node.args[1]) if isinstance(one, ast.Name)}
    return bool(names & CLASSES)


def _is_keyed_by_kind(node: ast.AST) -> bool:
    return isinstance(node, ast.Dict) and any(
        isinstance(key, ast.Constant) and key.value in NAMES - {"masks"} for key in node.keys
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(SOURCES[0].parents[1]).as_posix())
def test_nobody_asks_what_kind_of_answer_it_holds(path):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert [f"{number}: {lines[number - 1].strip()}" for number in questions(ast.parse(text))] == []


@pytest.mark.parametrize(
    "code",
    [
        'if target.kind == "masks": pass',
        'x = 1 if recipe.task == "segmentation" else 2',
        'y = summary["target"]["kind"] in ("binary", "multi-class")',
        "z = isinstance(predictor, Predictor)",
        'w = {"binary": 1, "multi-label": 2}.get(kind, 0)',
        'match kind:\n    case "regression": pass',
        "v = target.kind in KINDS",
    ],
)
def test_the_guard_sees_a_question(code):
    assert list(questions(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ['KINDS = {"binary": 1}', "KINDS[target.kind](x)", 'problem.kind == "size"', "isinstance(x, Image)"]
)
def test_the_guard_lets_tables_and_other_kinds_be(code):
    assert not list(questions(ast.parse(code)))


@pytest.mark.parametrize("room", TABLES)
def test_every_room_has_a_line_for_every_kind(room):
    table = importlib.import_module(TABLES[room]).KINDS
    assert set(KINDS) <= set(table)
    assert set(table) <= {*KINDS, "auto"}


def test_labels_are_the_kinds_without_a_mask():
    assert {kind for kind, traits in KINDS.items() if not traits.truth_is_mask} == set(LABELS)


@pytest.mark.parametrize(
    ("target", "outputs", "activation", "width"),
    [
        (Target("masks", ("background", "lesion")), 1, "sigmoid", 0),
        (Target("masks", ("background", "a", "b")), 3, "softmax", 0),
        (Target("binary", ("no", "yes")), 1, "sigmoid", 1),
        (Target("multi-class", ("a", "b")), 2, "softmax", 1),
        (Target("multi-label", ("a", "b", "c")), 3, "sigmoid", 3),
        (Target("regression", ("age",)), 1, "identity", 1),
    ],
    ids=lambda value: value.kind if isinstance(value, Target) else str(value),
)
def test_a_target_says_what_the_network_gives(target, outputs, activation, width):
    assert (target.outputs, target.activation, target.truth_width) == (outputs, activation, width)
    assert Target.from_plain(target.plain()) == target


@pytest.mark.parametrize(
    ("kind", "names", "says"),
    [
        ("binary", ("a",), "a binary target with 1 classes"),
        ("binary", ("a", "b", "c"), "a binary target with 3 classes"),
        ("masks", ("a",), "a masks target with 1 classes"),
        ("regression", (), "a regression target with 0 targets"),
        ("shapes", ("a",), "there is no kind 'shapes'"),
    ],
)
def test_a_target_with_names_that_do_not_fit_is_refused(kind, names, says):
    with pytest.raises(ValueError, match=says):
        Target(kind, names)
