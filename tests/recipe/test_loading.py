from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import yaml

from medloom.errors import RecipeError
from medloom.recipe import Recipe, builtin_names, load_recipe, parse_recipe, resolve_target
from medloom.recipe.changes import changed
from medloom.recipe.kinds import KINDS
from medloom.recipe.reference import allowed_at
from medloom.registry import LAYOUTS, LOSSES, METRICS, NETWORKS, names_for
from medloom.targets import KINDS as TARGETS
from medloom.targets import Target

BOOLEANS = [
    "split.keep",
    "split.stratify",
    "preprocess.normalise.nonzero",
    "preprocess.normalise.per_channel",
    "tracking.pictures",
    "train.compile",
    "train.channels_last",
    "model.freeze_statistics",
    "model.deep_supervision",
    "package.fingerprint",
]

BESIDE = {
    "model.freeze_statistics": ["model.args={}", "model.name=smp-unet", "model.weights=efficientnet-lite0"],
    "model.deep_supervision": ["model.args={}", "model.name=dynunet"],
    "tracking.pictures": ["tracking.trackers=[mlflow]"],
}
"""What a boolean acts beside."""


def value_at(recipe: Recipe, key: str) -> object:
    value: object = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value


def message(*overrides: str, text: str = "name: x") -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", builtin_names())
def test_every_built_in_recipe_loads_under_its_own_name(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", builtin_names())
def test_the_description_of_a_built_in_recipe_stays_true_with_another_network(name):
    recipe = load_recipe(name)
    described, network = (re.sub(r"[\W_]", "", text.lower()) for text in (recipe.description, recipe.model.name))
    assert network not in described


def test_every_boolean_of_the_schema_is_in_the_table_below():
    assert sorted(BOOLEANS) == sorted(_boolean_keys())


def _boolean_keys(path: str = "") -> list[str]:
    found = []
    node = allowed_at(tuple(part for part in path.split(".") if part))
    for key, child in node["properties"].items():
        name = f"{path}.{key}".strip(".")
        if "properties" in child:
            found += _boolean_keys(name)
        elif {"type": "boolean"} in [child, *child.get("anyOf", [])] or child.get("type") == "boolean":
            found.append(name)
    return found


@pytest.mark.parametrize("key", BOOLEANS)
@pytest.mark.parametrize("word", ["true", "True", "1", "yes", "YES", "'true'", "on"])
def test_a_boolean_can_be_switched_on(key, word):
    assert value_at(load_recipe("brain-mri", [f"{key}={word}", *BESIDE.get(key, ())]), key) is True


@pytest.mark.parametrize("key", BOOLEANS)
@pytest.mark.parametrize("word", ["false", "False", "0", "no", "NO", "'no'", "off"])
def test_a_boolean_can_be_switched_off(key, word):
    assert value_at(load_recipe("brain-mri", [f"{key}={word}", *BESIDE.get(key, ())]), key) is False


@pytest.mark.parametrize("key", BOOLEANS)
@pytest.mark.parametrize("word", ["junk", "", "2", "1.0", "[true]", "null", "'on'"])
def test_a_boolean_that_is_none_is_refused_by_name(key, word):
    expected = "auto, true" if key in ("train.compile", "train.channels_last") else "true"
    assert message(f"{key}={word}").startswith(f"{key}: expected {expected}, false, yes, no, 1 or 0; got ")


def test_a_switch_takes_auto_beside_what_a_boolean_takes():
    assert value_at(load_recipe("brain-mri", ["train.compile=auto"]), "train.compile") == "auto"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "evaluate.threshold=2",
            "evaluate.threshold: expected a number from 0 to 1 or one of auto, per-class or a group of names",
        ),
        ("train.clip=a", "train.clip: expected a number above 0 or empty; got 'a'"),
        ("train.epochs=0", "train.epochs: expected a whole number of at least 1; got 0"),
        (f"train.seed={2**64}", "train.seed: expected a whole number from 0 to 18446744073709551615; got 184467440737"),
        ("train.epochs=nan", "train.epochs: expected a whole number of at least 1; got 'nan'"),
        ("train.optimizer.lr=.inf", "train.optimizer.lr: expected a number above 0; got inf"),
        ("train=3", "train: expected a group of keys; got 3"),
        ("preprocess.size=256", "preprocess.size: expected a list of 2: a whole number from 16 to 4096 and"),
        ("data.missing_channel=foo", "data.missing_channel: expected text (What a missing channel file gets: `refuse`"),
        ("data.missing_channel=copy:T1", "data.missing_channel: no channel 'T1' to copy; channels are grey"),
        ("target.mask_values={a: 1, b: 1}", "target.mask_values: two classes have the same pixel value"),
        ("split.train=0.9", "split: train, validation and test must add up to 1; they make 1.2"),
        ("split.fold=1", "split: fold says which of the folds is the test set, and folds is empty"),
        ("split={folds: 3, validation: 0.7}", "split: validation is 0.7 and a fold of 3 leaves 0.67 for training"),
        ("split={folds: 5, file: a.csv}", "split: file is one given split and folds are several of their own"),
        ("data.phantom.slices=[9, 5]", "data.phantom.slices: the first number must not be above the second"),
        ("model.name=unnet", "got 'unnet', did you mean 'unet'?"),
        ("loss.name=dice_ce", "got 'dice_ce', did you mean 'dice-ce'?"),
        ("train.epocs=3", "train.epocs: unknown key, did you mean 'epochs'?; allowed here: epochs, batch_size"),
        ("trian.epochs=3", "trian: unknown key, did you mean 'train'?"),
        ("train.optimizer.name=adan", "one of adamw, adam, sgd; got 'adan', did you mean 'adam'?"),
        ("preprocess.crop=[64, 64]", "preprocess.crop: there is no such key for target.kind masks, only for binary"),
        ("train.monitor=auc", "train.monitor: expected one of dice_balanced, dice_foreground, dice_all, loss; got"),
        ("evaluate.view=2", "evaluate.view: unknown key, did you mean 'views'?"),
        ("target.kind=binari", "target.kind: expected one of masks, binary"),
        ("package.runtime=onx", "package.runtime: expected one of onnx, openvino, torch; got 'onx', did you mean"),
        ("train.epochs=yes", "train.epochs: YAML reads true, false, yes and no as booleans"),
        ("name=A b", "name: expected text (Name of the recipe, in lower-case letters, digits and hyphens); got 'A b'"),
    ],
)
def test_a_wrong_value_gives_one_line_with_the_field_what_is_allowed_and_what_came(override, expected):
    text = message(override)
    assert expected in text
    assert "\n" not in text


def test_all_wrong_fields_are_named_at_once():
    text = message("train.epochs=0", "evaluate.threshold=x", "data.page=-1")
    assert [line.split(":")[0] for line in text.splitlines()] == ["data.page", "train.epochs", "evaluate.threshold"]


@pytest.mark.parametrize("override", ["train.epochs", "=5", "", "train.epochs.x=[", "train.epochs=[1"])
def test_an_override_that_is_not_one_is_shown(override):
    assert f"--set {override!r}" in message(override)


@pytest.mark.parametrize("text", ["{patient}/{sample}.png", "*.png", "[a] b", "@x"])
def test_what_is_no_yaml_is_text_where_the_recipe_wants_text(text):
    assert parse_recipe("name: x", [f"data.image={text}", f"data.path={text}"]).data.image == text
    assert "is not valid YAML" in message("train.epochs={sample}.png")


@pytest.mark.parametrize("text", ["", "# only a comment"])
def test_an_empty_recipe_says_so(text):
    assert message(text=text) == "the recipe is empty; `medloom init` writes one to edit"


def test_an_override_below_a_value_is_refused():
    assert "epochs is a value, not a group" in message("train.epochs.more=1", text="name: x\ntrain: {epochs: 3}")


def test_a_group_whose_keys_are_all_commented_out_means_the_defaults():
    assert parse_recipe("name: x\ntrain:\n  # epochs: 3\n") == parse_recipe("name: x")
    assert parse_recipe("name: x\ntrain:\n", ["train.epochs=3"]).train.epochs == 3


def test_precision_may_be_written_as_a_number():
    assert load_recipe("brain-mri", ["train.precision=32"]).train.precision == "32"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nname: *b",
        "name: !!python/object/apply:os.system ['true']",
        "!!python/object/new:type {}",
        "name: x\nname: y",
        "name: x\ntrain: {epochs: 1, epochs: 2}",
        "[" * 5000,
        "name: " + "[" * 4000 + "]" * 4000,
        "name: 2026-13-45",
        "name: x\ntrain: {epochs: " + "9" * 5000 + "}",
        "name: x\n" + "# c\n? [1]\n: 2",
        "- a\n- b",
        "",
        "name: 'x",
    ],
)
def test_hostile_or_broken_yaml_is_a_recipe_error(text):
    with pytest.raises(RecipeError):
        parse_recipe(text)


def test_an_alias_in_an_override_is_refused():
    assert "may not use YAML aliases" in message("data.channels=[&a x, *a]")


def test_values_run_nothing(tmp_path):
    marker = tmp_path / "x"
    load_recipe("brain-mri", [f"data.path='; touch {marker}'"])
    assert not marker.exists()


def test_a_file_that_is_too_large_or_binary_is_refused(tmp_path):
    large, binary = tmp_path / "large.yaml", tmp_path / "binary.yaml"
    large.write_text("# " + "x" * 300_000)
    binary.write_bytes(b"\xff\xfe\x00")
    for path, word in ((large, "at most"), (binary, "UTF-8"), (tmp_path / "none.yaml", "no recipe file")):
        with pytest.raises(RecipeError, match=word):
            load_recipe(path)


def test_a_recipe_is_utf_8_whatever_the_locale_is(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("name: x\ndescription: Größe\n", encoding="utf-8")
    code = "import sys; from medloom.recipe import load_recipe; print(ascii(load_recipe(sys.argv[1]).description))"
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, file], env=ascii_only, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ascii("Größe")


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'brain-mri'"):
        load_recipe("brain-mir")


def test_a_resolved_recipe_loads_as_itself():
    recipe = load_recipe("brain-mri", ["train.epochs=7", "model.args={channels: [8, 16], note: null}"])
    assert parse_recipe(yaml.safe_dump(recipe.plain())) == recipe


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(
    ("place", "table"),
    [(("loss", "name"), LOSSES), (("train", "monitor"), METRICS), (("data", "layout"), LAYOUTS)],
    ids=[".".join(place) for place in (("loss", "name"), ("train", "monitor"), ("data", "layout"))],
)
def test_the_schema_of_a_kind_has_the_names_of_the_registry_for_it(kind, place, table):
    assert tuple(allowed_at(place, kind)["enum"]) == names_for(table, kind)


def test_the_networks_for_masks_are_those_of_the_registry():
    assert tuple(allowed_at(("model", "name"))["enum"]) == names_for(NETWORKS, "masks")


def test_every_kind_of_answer_has_a_recipe_that_says_so():
    assert set(KINDS) == {*TARGETS, "auto"}
    for kind in KINDS:
        assert parse_recipe("name: x", [f"target.kind={kind}"]).target.kind == kind


MASKS_OF_OLD = """
name: x
data: {layout: image-mask, mask_values: {background: 0, tumour: 1}}
train: {monitor: dice_lesion, lesion_share: 0.4}
evaluate: {flips: true, min_lesion_px: 9, max_false_alarms: 0.1}
"""
LABELS_OF_OLD = """
name: x
task: classification
data: {layout: csv, labels: {kind: real, targets: [age, dose], file: t.csv}}
evaluate: {rounds: 3}
"""


def test_a_recipe_of_the_earlier_form_is_read_as_todays_and_that_is_said_in_one_sentence():
    said = []
    masks = parse_recipe(MASKS_OF_OLD, noted=said.append)
    assert masks.target.kind == "masks"
    assert masks.target.mask_values == {"background": 0, "tumour": 1}
    assert (masks.train.monitor, masks.train.positive_share) == ("dice_foreground", 0.4)
    measured = masks.evaluate
    assert (measured.views, measured.min_region_px, measured.max_false_positive_rate) == (2, 9, 0.1)
    labels = parse_recipe(LABELS_OF_OLD, noted=said.append)
    assert labels.target.kind == "regression"
    assert labels.target.columns == ("age", "dose")
    assert (labels.evaluate.views, labels.data.labels.file) == (3, "t.csv")
    assert len(said) == 2
    assert "data.mask_values is target.mask_values" in said[0]
    assert "task is target.kind" in said[1]


def test_nothing_is_said_of_a_recipe_of_today():
    said = []
    for name in builtin_names():
        load_recipe(name, noted=said.append)
    assert said == []
    assert parse_recipe("name: x\ntask: classification").target.kind == "auto"
    assert parse_recipe("name: x\ntask: segmentation").target.kind == "masks"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("task: detection", "task"),
        ("task: [segmentation]", "task"),
        ("task: classification\ndata: {mask_values: {a: 0, b: 1}}", "mask_values"),
        ("data: {labels: {kind: binary}}", "data.labels"),
        ("data: {mask_values: {a: 0, b: 1}}\ntarget: {mask_values: {a: 0, b: 2}}", "data.mask_values"),
        ("data: {mask_values: {a: 0, b: 1}}\ntarget: masks", "target"),
        ("evaluate: {flips: true, views: 2}", "flips"),
    ],
)
def test_what_of_the_earlier_form_has_no_meaning_or_two_is_refused(text, named):
    assert named in message(text=f"name: x\n{text}")


@pytest.mark.parametrize(
    ("override", "kinds"),
    [
        ("model.dropout=0.5", "binary, multi-class, multi-label, regression, auto"),
        ("evaluate.rule=cost", "binary, multi-label, auto"),
        ("data.labels.groups=[sex]", "binary, multi-class, multi-label, regression, auto"),
    ],
)
def test_a_key_of_other_kinds_says_whose_it_is(override, kinds):
    key = override.partition("=")[0].removesuffix(".groups")
    assert message(override) == f"{key}: there is no such key for target.kind masks, only for {kinds}"


def test_the_kind_decides_the_keys_wherever_it_stands_among_the_overrides():
    recipe = parse_recipe("name: x", ["evaluate.rule=cost", "target.kind=binary"])
    assert value_at(recipe, "evaluate.rule") == "cost"


@pytest.mark.parametrize(
    ("found", "loss", "monitor"),
    [
        (Target("binary", ("no", "yes")), "cross-entropy", "auc"),
        (Target("multi-class", ("a", "b", "c")), "cross-entropy", "auc"),
        (Target("multi-label", ("level",)), "cross-entropy", "auc"),
        (Target("regression", ("level",)), "mse", "loss"),
    ],
    ids=lambda value: value.kind if isinstance(value, Target) else value,
)
def test_what_preparing_finds_out_becomes_the_target(found, loss, monitor):
    recipe = resolve_target(parse_recipe("name: x\ntarget: {kind: auto}\ntrain: {epochs: 3}"), found)
    assert recipe.predicts() == found
    assert (recipe.loss.name, recipe.train.monitor, recipe.train.epochs) == (loss, monitor, 3)
    assert parse_recipe(yaml.safe_dump(recipe.plain())) == recipe


def test_a_key_that_does_not_fit_what_was_found_is_named():
    recipe = parse_recipe("name: x\ntarget: {kind: auto}\nevaluate: {rule: cost}")
    with pytest.raises(RecipeError, match=r"evaluate.rule: there is no such key for target.kind regression"):
        resolve_target(recipe, Target("regression", ("level",)))


def test_a_target_that_is_to_be_found_out_is_not_known_before():
    with pytest.raises(RecipeError, match=r"target.kind is auto: run `medloom prepare`"):
        parse_recipe("name: x\ntarget: {kind: auto}").predicts()
    with pytest.raises(RecipeError, match=r"target.classes is empty: run `medloom prepare`"):
        parse_recipe("name: x\ntarget: {kind: binary}").predicts()


def test_more_epochs_and_another_rule_may_change_and_another_network_may_not():
    before = load_recipe("chest-xray").plain()
    after = load_recipe("chest-xray", ["train.epochs=99", "evaluate.rule=cost", "model.name=resnet34"]).plain()
    assert changed(before, after) == ["model.name"]


def test_labels_that_were_found_in_the_words_of_one_column_are_the_names():
    found = Target("multi-label", ("Effusion", "Mass"))
    recipe = resolve_target(parse_recipe("name: x\ntarget: {kind: auto, columns: [Finding Labels]}"), found)
    assert (recipe.target.columns, recipe.target.classes) == (("Finding Labels",), ("Effusion", "Mass"))
    assert recipe.predicts() == found
    assert resolve_target(recipe, found) == recipe
    columns = resolve_target(parse_recipe("name: x\ntarget: {kind: auto, columns: [Effusion, Mass]}"), found)
    assert (columns.target.classes, columns.predicts()) == ((), found)


def test_labels_in_words_are_of_one_column():
    with pytest.raises(RecipeError, match="columns has several"):
        parse_recipe("name: x\ntarget: {kind: multi-label, columns: [a, b], separator: '|'}")


@pytest.mark.parametrize(
    ("kind", "names"),
    [("binary", ("a", "b")), ("multi-class", ("a", "b", "c")), ("multi-label", ("level",)), ("regression", ("level",))],
)
def test_what_is_found_out_contradicts_nothing_that_the_recipe_left_open(kind, names):
    """Else the same recipe could not go on with a run that it began."""
    auto = parse_recipe("name: x\ntarget: {kind: auto}")
    given = {key: value for key, value in auto.plain()["target"].items() if value not in ("auto", [])}
    assert given.items() <= resolve_target(auto, Target(kind, names)).plain()["target"].items()


def test_imagenet_takes_the_window_of_each_file_unless_the_recipe_says_otherwise():
    def window(**preprocess):
        text = yaml.safe_dump({"name": "x", "target": {"kind": "binary"}, "preprocess": preprocess})
        return parse_recipe(text).preprocess.window

    assert window() is None
    assert window(normalise={"method": "imagenet"}) == "auto"
    assert window(normalise={"method": "imagenet"}, window=None) is None
    assert window(normalise={"method": "imagenet"}, window=[40, 400]) == (40, 400)


def test_a_window_that_is_switched_off_stays_off_when_the_target_is_found_out():
    text = "{name: x, target: {kind: auto}, preprocess: {normalise: {method: imagenet}, window: null}}"
    found = resolve_target(parse_recipe(text), Target("binary", ("no", "yes")))
    assert found.preprocess.window is None


def test_a_soup_of_networks_that_take_metadata_is_refused_with_what_is_possible():
    settings = ["split.folds=5", "split.hold_out=0.2", "package.serve=soup"]
    with pytest.raises(RecipeError, match=r"package\.serve: expected ensemble or distilled where metadata go in"):
        load_recipe("melanoma", settings)
    assert load_recipe("melanoma", [*settings[:2], "package.serve=distilled"]).package.serve == "distilled"
