"""A folder becomes a recipe: what is found on real layouts, and what is asked or refused."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.data import PhantomPlan, make_phantom, open_source
from medloom.data.layouts import build_layout
from medloom.data.survey import Device, Undecided, survey, written
from medloom.errors import DataError, RecipeError
from medloom.imaging import encode_png
from medloom.recipe import load_recipe, parse_recipe


def write(folder, files):
    """Write made-up files: bytes as they are, arrays as PNG."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encode_png(content))
    return folder


def grey(value=90, side=48):
    return np.full((side, side), value, np.uint8)


def mask(value=255, side=48):
    pixels = np.zeros((side, side), np.uint8)
    pixels[8:20, 8:20] = value
    return pixels


def found_in(folder, **settings):
    """The survey, and the recipe that is written from it."""
    found = survey(folder, {key.replace("__", "."): value for key, value in settings.items()})
    return found, parse_recipe(written(found))


def items_of(recipe, folder):
    with open_source(folder) as source:
        return build_layout(recipe).find(source.names(), source.read).items


def answers(items):
    """Whose each image is and what the truth is; which metadata go with it is a matter of taste."""
    return [(item.patient, item.images, item.masks, item.labels, item.published, item.known) for item in items]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    def made(recipe, **plan):
        data = load_recipe(recipe, [f"data.phantom.{key}={value}" for key, value in plan.items()]).data
        return make_phantom(PhantomPlan.of(data.phantom), tmp_path_factory.mktemp(recipe), layout=data.layout)

    return made


@pytest.mark.parametrize(
    ("recipe", "plan"),
    [
        ("brain-mri", {"patients": 4, "size": 48, "slices": "[6,8]"}),
        ("chest-xray", {"patients": 30, "size": 48, "slices": "[1,3]"}),
        ("melanoma", {"patients": 20, "size": 48, "slices": "[2,4]", "prevalence": 0.3}),
    ],
    ids=["lgg", "kermany", "siim"],
)
def test_a_published_set_is_read_as_its_built_in_recipe_reads_it(phantoms, recipe, plan):
    folder = phantoms(recipe, **plan)
    found, own = found_in(folder)
    built_in = load_recipe(recipe)
    assert answers(items_of(own, folder)) == answers(items_of(built_in, folder))
    assert found.samples == len(items_of(built_in, folder))
    assert own.target == built_in.target
    assert own.data.channels == built_in.data.channels
    assert own.split == built_in.split


def test_images_and_masks_in_folders_are_found_with_their_values(tmp_path):
    files = {f"set/images/c{n}.png": grey() for n in range(6)} | {f"set/masks/c{n}.png": mask(7) for n in range(6)}
    found, recipe = found_in(write(tmp_path, files))
    assert (recipe.data.image, recipe.data.mask) == ("images/{sample}.png", "masks/{sample}.png")
    assert recipe.target.mask_values == {"background": 0, "lesion": 7}
    assert recipe.data.channels == ("grey",)
    assert found.samples == 6
    assert any("No patient was found" in text and "too good" in text for text in found.warnings)


def test_the_patient_is_the_folder_and_the_recipe_names_nobody(tmp_path):
    people = ["Ada_1815", "Grace_1906", "Emmy_1882", "Lise_1878"]
    files = {f"{who}/s{n}.png": grey() for who in people for n in range(3)}
    files |= {f"{who}/s{n}_seg.png": mask() for who in people for n in range(3)}
    found, recipe = found_in(write(tmp_path, files))
    assert (recipe.data.image, recipe.data.mask) == ("{patient}/{sample}.png", "{patient}/{sample}_seg.png")
    assert found.patients == 4
    said = written(found) + str(found.plain())
    assert not any(who[:4] in said for who in people)


def test_a_number_in_the_names_that_repeats_is_the_patient(tmp_path):
    files = {f"images/p{who}_slice_{n}.png": grey() for who in range(10, 17) for n in range(3)}
    files |= {name.replace("images", "masks"): mask() for name in files}
    found, recipe = found_in(write(tmp_path, files))
    assert recipe.data.image == "images/{patient}_slice_{sample}.png"
    assert found.patients == 7


def test_two_kinds_of_masks_are_asked_for_with_the_settings_to_choose_from(tmp_path):
    files = {f"images/{n}.png": grey() for n in range(5)}
    files |= {f"{what} masks/{n}.png": mask() for n in range(5) for what in ("lung", "infection")}
    with pytest.raises(Undecided) as undecided:
        survey(write(tmp_path, files))
    settings = sorted(option.settings for option in undecided.value.options)
    assert settings == [("data.mask=infection masks/{sample}.png",), ("data.mask=lung masks/{sample}.png",)]
    assert "--set 'data.mask=lung masks/{sample}.png'" in str(undecided.value)
    found, recipe = found_in(tmp_path, data__mask="lung masks/{sample}.png")
    assert recipe.data.mask == "lung masks/{sample}.png"
    assert recipe.target.mask_values == {"background": 0, "lung": 255}
    assert found.samples == 5


def test_the_class_that_means_nothing_was_found_is_the_negative_one(tmp_path):
    files = {f"{name}/{name}{n}.png": grey(n) for name in ("Normal", "COVID") for n in range(4)}
    _, recipe = found_in(write(tmp_path, files))
    assert (recipe.target.kind, recipe.target.classes) == ("binary", ("Normal", "COVID"))


def test_masks_among_the_images_of_classes_are_never_taken_for_images(tmp_path):
    files = {f"{name}/{name} ({n}).png": grey() for name in ("benign", "malignant") for n in range(4)}
    files |= {f"{name}/{name} ({n})_mask.png": mask() for name in ("benign", "malignant") for n in range(4)}
    found, recipe = found_in(write(tmp_path, files))
    assert recipe.target.kind == "masks"
    assert found.samples == 8
    assert any("8 masks lie among the images of the classes" in text for text in found.considered)


def test_second_masks_of_an_image_are_joined_and_not_left_out(tmp_path):
    files = {f"images/{n}.png": grey() for n in range(4)} | {f"images/{n}_mask.png": mask() for n in range(4)}
    files["images/2_mask_1.png"] = mask()
    _, recipe = found_in(write(tmp_path, files))
    assert recipe.data.mask == "{sample}_mask{part}.png"
    assert sorted(len(item.masks) for item in items_of(recipe, tmp_path)) == [1, 1, 1, 2]


def test_what_is_laid_out_in_no_known_way_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"2 files \(2 \.txt\), 0 images, 0 tables.*medloom init image-mask"):
        survey(write(tmp_path, {"a.txt": b"a", "b/c.txt": b"b"}))


def test_a_gpu_is_given_more_to_do(tmp_path):
    files = {f"images/{n}.png": grey(side=300) for n in range(4)}
    files |= {f"masks/{n}.png": mask(side=300) for n in range(4)}
    write(tmp_path, files)
    values = {}
    for device in (Device(2), Device(8, 24)):
        found = {finding.key: finding for finding in survey(tmp_path, device=device).findings}
        values[device.has_gpu] = [found[key].value for key in ("preprocess.size", "train.epochs", "train.batch_size")]
        assert device.text in found["train.epochs"].evidence
    assert values == {False: [[128, 128], 30, 8], True: [[256, 256], 60, 16]}


def test_every_line_of_the_recipe_has_its_evidence_above_it(tmp_path):
    files = {f"{name}/{n}.png": grey(n) for name in ("cat", "dog") for n in range(4)}
    found, recipe = found_in(write(tmp_path, files), train__epochs=3)
    text = written(found)
    assert recipe.train.epochs == 3
    lines = text.splitlines()
    for finding in found.findings:
        key = finding.key.rpartition(".")[2]
        places = [number for number, line in enumerate(lines) if line.lstrip().startswith(f"{key}: ")]
        above = [lines[place - 1].strip() for place in places]
        assert any(line.startswith("#") for line in above), finding.key


def table(folder, header, rows):
    """A table and an image for each row, named by its first cell."""
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    files = {f"pictures/{row[0]}.png": grey(side=40) for row in rows}
    return write(folder, files | {"table.csv": "\n".join(lines).encode()})


def test_columns_are_told_apart_by_their_names_and_words(tmp_path):
    header = "image_id,lesion_id,dx,dx_type,age,sex,localization"
    kinds = ("nv", "mel", "bcc", "akiec")
    rows = [
        (
            f"ISIC_{n}",
            f"HAM_{n // 2}",
            kinds[n % 4],
            "histo",
            5 * (n % 17),
            ("male", "female")[n % 2],
            ("back", "face")[n % 2],
        )
        for n in range(40)
    ]
    found, recipe = found_in(table(tmp_path, header, rows))
    labels = recipe.data.labels
    assert (recipe.target.kind, recipe.target.columns) == ("multi-class", ("dx",))
    assert set(recipe.target.classes) == set(kinds)
    assert (labels.file, labels.image, labels.patient) == ("table.csv", "image_id", "lesion_id")
    assert (labels.metadata.numeric, labels.metadata.categorical) == (("age",), ("sex", "localization"))
    assert any("lesion" not in check and "training and test" in check for check in found.checks)


def test_a_column_that_says_the_same_in_words_is_no_second_reading(tmp_path):
    rows = [(f"a{n}", ("benign", "malignant")[n % 2], n % 2) for n in range(12)]
    found, recipe = found_in(table(tmp_path, "image,label_word,label", rows))
    assert recipe.target.columns == ("label_word",)
    (columns,) = [finding for finding in found.findings if finding.key == "target.columns"]
    assert "label, which say the same" in columns.instead
    assert recipe.target.classes == ("benign", "malignant")


def test_two_columns_that_may_be_the_label_are_asked_about(tmp_path):
    rows = [(f"a{n}", n % 2, "xyz"[n % 3]) for n in range(12)]
    with pytest.raises(Undecided) as undecided:
        survey(table(tmp_path, "image,swelling,shape", rows))
    settings = [option.settings for option in undecided.value.options]
    assert sorted(settings) == [("target.columns=[shape]",), ("target.columns=[swelling]",)]
    _, recipe = found_in(tmp_path, target__columns=["shape"])
    assert (recipe.target.kind, recipe.target.classes) == ("multi-class", ("x", "y", "z"))


def test_numbers_that_may_be_grades_or_measurements_are_asked_about(tmp_path):
    table(tmp_path, "image,level", [(f"a{n}", n % 5) for n in range(30)])
    with pytest.raises(Undecided) as undecided:
        survey(tmp_path)
    settings = [option.settings for option in undecided.value.options]
    assert settings == [("target.kind=multi-class",), ("target.kind=regression",)]
    assert found_in(tmp_path, target__kind="regression")[1].target.kind == "regression"


def test_what_blank_labels_mean_is_asked(tmp_path):
    rows = [(f"a{n}", *_cells(n)) for n in range(30)]
    with pytest.raises(Undecided) as undecided:
        survey(table(tmp_path, "image,edema,mass,nodule", rows))
    settings = [option.settings for option in undecided.value.options]
    assert settings == [("target.blank=negative",), ("target.blank=mask",)]
    _, recipe = found_in(tmp_path, target__blank="mask")
    assert (recipe.target.kind, recipe.target.columns) == ("multi-label", ("edema", "mass", "nodule"))


def _cells(number):
    return [("", "1.0", "0.0", "-1.0", "")[(number + place) % 5] for place in range(3)]


def test_several_labels_in_one_word_are_several_labels(tmp_path):
    words = ("No Finding", "Effusion", "Mass|Effusion", "Mass")
    rows = [(f"{n:04d}_000", words[n % 4], n // 2) for n in range(24)]
    _, recipe = found_in(table(tmp_path, "Image Index,Finding Labels,Patient ID", rows))
    assert (recipe.target.kind, recipe.target.columns) == ("multi-label", ("Finding Labels",))
    assert recipe.data.labels.patient == "Patient ID"


def test_a_table_that_names_no_image_is_no_label_file(tmp_path):
    files = {f"{name}/{name}{n}.png": grey(n) for name in ("a", "b") for n in range(4)}
    write(tmp_path, files | {"notes.csv": b"who,what\nme,this\nyou,that\n"})
    _, recipe = found_in(tmp_path)
    assert recipe.data.layout == "folder-classes"


def parts(folder, tables):
    """Tables of published parts, and an image for each row."""
    files = {f"{name.split('.')[0]}/{row.split(',')[0]}.png": grey() for name, rows in tables.items() for row in rows}
    lines = {name: "\n".join(["image,patient,label", *rows]).encode() for name, rows in tables.items()}
    return write(folder, files | lines)


def rows_of(begin, count, label="{}"):
    return [f"i{n},p{n // 2},{label.format('yes' if n % 2 else 'no')}" for n in range(begin, begin + count)]


def test_tables_that_are_called_as_published_parts_are_read_as_one_and_say_the_part(tmp_path):
    parts(tmp_path, {"train.csv": rows_of(0, 20), "test.csv": rows_of(20, 6)})
    found, recipe = found_in(tmp_path)
    assert recipe.data.labels.files == {"train": "train.csv", "test": "test.csv"}
    assert (found.samples, found.patients) == (26, 13)
    assert recipe.split.published == "respect"
    assert {item.published for item in items_of(recipe, tmp_path)} == {"train", "test"}


def test_one_of_them_alone_is_read_where_the_user_says_so(tmp_path):
    parts(tmp_path, {"train.csv": rows_of(0, 20), "test.csv": rows_of(20, 6)})
    found, recipe = found_in(tmp_path, data__labels__file="train.csv")
    assert (recipe.data.labels.file, recipe.data.labels.files, found.samples) == ("train.csv", {}, 20)


def test_the_user_may_say_which_part_each_of_them_is(tmp_path):
    parts(tmp_path, {"train.csv": rows_of(0, 20), "test.csv": rows_of(20, 6)})
    said = {"train": "train.csv", "validation": "test.csv"}
    found, recipe = found_in(tmp_path, data__labels__files=said)
    assert (recipe.data.labels.files, found.samples) == (said, 26)
    assert recipe.split.published == "ignore"


@pytest.mark.parametrize("label", [" ", "?"])
def test_a_part_whose_labels_are_kept_back_is_no_test_part(tmp_path, label):
    rows = rows_of(20, 6, label) if label == " " else [row.rpartition(",")[0] for row in rows_of(20, 6)]
    parts(tmp_path, {"train.csv": rows_of(0, 20), "test.csv": rows})
    if label == "?":
        (tmp_path / "test.csv").write_text("\n".join(["image,patient", *rows]))
    found, recipe = found_in(tmp_path)
    assert (recipe.data.labels.file, found.samples) == ("train.csv", 20)
    assert any("6 images are in folders of which the label file names none" in note for note in found.notes)


def test_where_labels_come_from_is_left_to_be_filled_in(phantoms):
    text = written(survey(phantoms("brain-mri", patients=4, size=32, slices="[4,4]"), {}))
    before = parse_recipe(text)
    lines = text.splitlines()
    begin = lines.index("  # origin:")
    filled = [line.replace("# ", "", 1) for line in lines[begin : begin + 3]]
    filled[1] += " two radiologists"
    after = parse_recipe("\n".join([*lines[:begin], *filled, *lines[begin + 3 :]]))
    assert before.data.origin.plain() == {}
    assert after.data.origin.plain() == {"labelled_by": "two radiologists"}


def test_a_setting_of_a_whole_group_is_refused_with_a_key_in_it(phantoms):
    folder = phantoms("brain-mri", patients=4, size=32, slices="[4,4]")
    with pytest.raises(RecipeError, match=r"^--set train: it is a group of keys; set one of them, such as train\.\w+"):
        written(survey(folder, {"train": 5}))
