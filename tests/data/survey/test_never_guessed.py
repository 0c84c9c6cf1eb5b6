"""Folders that look like something else: what is asked, what is refused with a reason, and what is still right."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from medloom.data.survey import Undecided, survey, written
from medloom.errors import DataError
from medloom.imaging import encode_png
from medloom.recipe import parse_recipe

GREY = encode_png(np.full((40, 40), 90, np.uint8))
MASK = encode_png(np.pad(np.full((9, 9), 255, np.uint8), (5, 26)))


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def recipe_of(folder, **settings):
    return parse_recipe(written(survey(folder, {key.replace("__", "."): value for key, value in settings.items()})))


def refusal(folder):
    with pytest.raises(DataError) as refused:
        survey(folder)
    return str(refused.value)


@pytest.mark.parametrize("word", ["class_", "grade_", "KL", "birads-", "stage"])
def test_folders_with_a_number_after_a_word_for_classes_are_classes(tmp_path, word):
    files = {f"{word}{level}/x{level}{n}.png": GREY for level in range(4) for n in range(4)}
    recipe = recipe_of(write(tmp_path, files))
    assert (recipe.target.kind, recipe.data.layout) == ("multi-class", "folder-classes")
    assert recipe.target.classes == tuple(f"{word}{level}" for level in range(4))


@pytest.mark.parametrize("word", ["patient_", "P", "sub-", "LIDC-00"])
def test_folders_of_patients_without_anything_else_are_no_classes(tmp_path, word):
    said = refusal(write(tmp_path, {f"{word}{who}/{n}.png": GREY for who in range(10, 14) for n in range(4)}))
    assert "Nothing seems to say what is to be predicted" in said
    assert word not in said


@pytest.mark.parametrize("word", ["fold_", "batch", "site-", "images_00"])
def test_folders_that_hold_whatever_fits_are_neither_classes_nor_patients(tmp_path, word):
    files = {f"{word}{place}/{n}.png": GREY for place in range(1, 5) for n in range(4)}
    assert "no way that is known" in refusal(write(tmp_path, files))
    files |= {name.replace(".png", "_mask.png"): MASK for name in files}
    found = survey(write(tmp_path, files))
    assert found.patients == 0
    assert any("No patient was found" in text for text in found.warnings)


def test_images_without_a_class_beside_those_with_one_are_refused_and_not_left_to_prepare(tmp_path):
    files = {f"train/{name}/{n}.png": GREY for name in ("cat", "dog") for n in range(6)}
    files |= {f"test/{n}.png": GREY for n in range(4)}
    assert "4 images lie straight in a folder such as test, without a class" in refusal(write(tmp_path, files))


def test_more_folders_than_classes_have_are_refused_with_what_to_write(tmp_path):
    files = {f"kind{chr(97 + k // 5)}{chr(97 + k % 5)}/{n}.png": GREY for k in range(25) for n in range(2)}
    assert "there are 25 folders; if they are classes, write the recipe by hand" in refusal(write(tmp_path, files))


def test_a_table_about_patients_is_refused_with_its_reason(tmp_path):
    files = {f"{who:05d}/s{n}.png": GREY for who in range(6) for n in range(3)}
    files["labels.csv"] = "BraTS21ID,MGMT_value\n" + "\n".join(f"{who:05d},{who % 2}" for who in range(6))
    assert "6 rows are about folders, such as patients" in refusal(write(tmp_path, files))


def test_a_column_of_many_words_is_no_class_without_being_said_so(tmp_path):
    rows = "\n".join(f"a{n}.png,finding {n % 25}" for n in range(75))
    files = {f"a{n}.png": GREY for n in range(75)} | {"t.csv": f"image,diagnosis\n{rows}"}
    assert "the labels are 25 different words" in refusal(write(tmp_path, files))


def test_masks_and_a_table_of_labels_are_asked_about(tmp_path):
    files = {f"images/a{n}.png": GREY for n in range(12)} | {f"masks/a{n}_mask.png": MASK for n in range(12)}
    files["t.csv"] = "image,label\n" + "\n".join(f"a{n},{n % 2}" for n in range(12))
    with pytest.raises(Undecided) as undecided:
        survey(write(tmp_path, files))
    assert [option.settings for option in undecided.value.options] == [("target.kind=masks",), ("target.kind=binary",)]
    assert recipe_of(tmp_path, target__kind="masks").data.layout == "image-mask"


def test_images_and_masks_that_begin_with_their_own_word_belong_together(tmp_path):
    files = {f"img/img{n:04d}.png": GREY for n in range(5)} | {f"label/label{n:04d}.png": MASK for n in range(5)}
    recipe = recipe_of(write(tmp_path, files))
    assert (recipe.data.image, recipe.data.mask) == ("img/img{sample}.png", "label/label{sample}.png")


def test_masks_with_more_values_than_classes_are_refused_unless_it_is_said_how_they_drift(tmp_path):
    smooth = np.zeros((40, 40), np.uint8)
    smooth[4:14] = 255
    smooth[14:24] = np.arange(255, 5, -25, np.uint8)[:, None]
    smooth[24:34, :] = np.arange(40, dtype=np.uint8) * 3
    smooth[34:] = np.arange(120, 240, 3, np.uint8)
    files = {f"images/{n}.png": GREY for n in range(4)} | {f"masks/{n}.png": encode_png(smooth) for n in range(4)}
    assert "hold more values than classes have" in refusal(write(tmp_path, files))


def test_volumes_of_four_axes_are_refused_with_their_reason(tmp_path):
    for folder, count in (("images", 2), ("masks", 1)):
        (tmp_path / folder).mkdir()
        for number in range(3):
            shape = (8, 8, 3, count) if count > 1 else (8, 8, 3)
            data = np.zeros(shape, np.int16)
            data[2:4] = 1
            nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / folder / f"{number}.nii.gz")
    assert "can be read" in refusal(tmp_path)


def test_a_published_part_named_in_a_column_is_said_not_to_be_kept(tmp_path):
    parts = ("train", "train", "test", "val")
    rows = "\n".join(f"a{n},{'no' if n % 2 else 'yes'},{parts[n % 4]}" for n in range(24))
    files = {f"a{n}.png": GREY for n in range(24)} | {"t.csv": f"image,label,split\n{rows}"}
    found = survey(write(tmp_path, files))
    (split,) = [finding for finding in found.findings if finding.key == "split.by"]
    assert "the column split says in which part an image is, which is not kept" in split.evidence


def test_paths_in_a_table_may_be_those_of_windows_and_begin_elsewhere(tmp_path):
    rows = "\n".join(f"D:\\data\\scans\\a{n}.png,{'no' if n % 2 else 'yes'}" for n in range(24))
    files = {f"scans/a{n}.png": GREY for n in range(24)} | {"t.csv": f"path,label\n{rows}"}
    recipe = recipe_of(write(tmp_path, files))
    assert (recipe.data.labels.image, recipe.target.classes) == ("path", ("no", "yes"))


def test_nobody_is_named_in_anything_that_is_said(tmp_path):
    people = [f"{first}_{last}" for first in ("Adalbert", "Grace", "Emmy", "Lise", "Rosa") for last in "ABCDE"]
    files = {f"{who}/{who}_{n}.png": GREY for who in people for n in range(3)}
    files |= {name.replace(".png", "_mask.png"): MASK for name in files}
    found = survey(write(tmp_path, files))
    said = written(found) + str(found.plain())
    assert found.patients == 25
    assert not any(who.partition("_")[0] in said for who in people)


def test_parts_in_the_names_of_folders_are_published_parts(tmp_path):
    files, counts = {}, {"Training": 6, "Validation": 3, "Test": 4}
    for part, count in counts.items():
        for number in range(count):
            files[f"ISIC2018_Task1-2_{part}_Input/ISIC_{part[:2]}{number:05d}.png"] = GREY
            files[f"ISIC2018_Task1_{part}_GroundTruth/ISIC_{part[:2]}{number:05d}_segmentation.png"] = MASK
    found = survey(write(tmp_path, files))
    recipe = parse_recipe(written(found))
    assert recipe.data.image == "ISIC2018_Task1-2_{split}_Input/{sample}.png"
    assert recipe.data.mask == "ISIC2018_Task1_{split}_GroundTruth/{sample}_segmentation.png"
    assert found.samples == 13
    (split,) = [finding for finding in found.findings if finding.key == "split.published"]
    assert "test 4, train 6, validation 3" in split.evidence


def test_a_part_without_masks_is_left_alone(tmp_path):
    files = {f"{part}/images/{n}.png": GREY for part in ("train", "test") for n in range(6)}
    files |= {f"train/masks/{n}.png": MASK for n in range(6)}
    found = survey(write(tmp_path, files))
    assert parse_recipe(written(found)).data.image == "train/images/{sample}.png"
    assert found.samples == 6
    assert any("6 images fit neither" in note for note in found.notes)


def test_two_truths_of_one_image_are_asked_about_however_many_there_are(tmp_path):
    files = {f"Lung/images/{n}.png": GREY for n in range(40)} | {f"Lung/lung masks/{n}.png": MASK for n in range(40)}
    for folder, content in (("images", GREY), ("lung masks", MASK), ("infection masks", MASK)):
        files |= {f"Infection/{folder}/{n}.png": content for n in range(100, 106)}
    with pytest.raises(Undecided) as undecided:
        survey(write(tmp_path, files))
    settings = {option.settings[0] for option in undecided.value.options}
    assert settings == {
        "data.mask=lung masks/{sample}.png",
        "data.mask=Infection/infection masks/{sample}.png",
    }


def test_classes_may_be_called_labels(tmp_path):
    recipe = recipe_of(write(tmp_path, {f"label_{k}/{k}{n}.png": GREY for k in range(3) for n in range(4)}))
    assert recipe.target.classes == ("label_0", "label_1", "label_2")


def test_a_weaker_reading_is_not_taken_where_a_stronger_one_does_not_hold(tmp_path):
    files = {f"{name}/{folder}{n}.png": GREY for folder in "xy" for name in ("one", "two") for n in range(6)}
    files["t.csv"] = "image,label\n" + "\n".join(f"{folder}{n},{n % 2}" for folder in "xy" for n in range(6))
    said = refusal(write(tmp_path, files))
    assert "may mean several files" in said
    assert "--set data.layout=folder-classes" in said
    assert recipe_of(tmp_path, data__layout="folder-classes").target.classes == ("one", "two")


def test_masks_that_belong_to_no_image_are_said_to(tmp_path):
    files = {f"study/images/{n}.png": GREY for n in range(4)} | {
        f"study/masks/part{n}.png": MASK for n in range(30, 34)
    }
    assert "4 files seem to be masks, and no image is named as it is" in refusal(write(tmp_path, files))


def test_folders_above_images_and_masks_that_may_be_classes_are_mentioned(tmp_path):
    files = {
        f"{name}/{folder}/{name}{n}.png": GREY
        for name in ("COVID", "Normal")
        for folder in ("images",)
        for n in range(4)
    }
    files |= {name.replace("images", "masks"): MASK for name in files}
    found = survey(write(tmp_path, files))
    assert any("2 folders that may be classes; this recipe predicts masks" in check for check in found.checks)


def test_series_of_patients_are_no_classes(tmp_path):
    series = ("native", "portal")
    files = {f"LIVER-{who:03d}/ct/{one}/{n}.png": GREY for who in range(5) for one in series for n in range(3)}
    assert "may be series or visits" in refusal(write(tmp_path, files))


def test_of_several_images_in_a_patients_folder_those_with_a_mask_are_taken(tmp_path):
    files = {}
    for who in range(1, 7):
        head = f"training/patient{who:03d}/patient{who:03d}"
        files[f"{head}_4d.png"] = GREY
        for frame in (1, 12):
            files |= {f"{head}_frame{frame:02d}.png": GREY, f"{head}_frame{frame:02d}_gt.png": MASK}
    found = survey(write(tmp_path, files))
    recipe = parse_recipe(written(found))
    assert recipe.data.image == "{patient}/{patient}_frame{sample}.png"
    assert recipe.data.mask == "{patient}/{patient}_frame{sample}_gt.png"
    assert (found.samples, found.patients) == (12, 6)
    assert any("6 images fit neither" in note for note in found.notes)


@pytest.mark.parametrize(("folder", "people"), [("case_{:05d}", 6), ("{}", 0)])
def test_an_image_and_a_mask_called_alike_in_every_folder_belong_together(tmp_path, folder, people):
    names = [folder.format(who if people else "abcdef"[who]) for who in range(6)]
    files = {
        f"{name}/{file}.png": content for name in names for file, content in (("imaging", GREY), ("segmentation", MASK))
    }
    found = survey(write(tmp_path, files))
    field = "{patient}" if people else "{sample}"
    assert parse_recipe(written(found)).data.mask == f"{field}/segmentation.png"
    assert (found.samples, found.patients) == (6, people)


def test_two_sets_in_one_folder_are_not_mixed(tmp_path):
    files = {}
    for task in ("Task01_A", "Task02_B"):
        files |= {f"{task}/imagesTr/x{n}.png": GREY for n in range(4)} | {
            f"{task}/labelsTr/x{n}.png": MASK for n in range(4)
        }
        files[f"{task}/dataset.json"] = "{}"
    assert "there are 2 of them; name the folder of one set" in refusal(write(tmp_path, files))


def test_thumbnails_in_folders_of_classes_are_no_class(tmp_path):
    files = {f"{name}/{n}.png": GREY for name in ("cat", "dog") for n in range(6)}
    files |= {f"cat/thumbs/{n}.png": GREY for n in range(6)}
    assert "6 images lie in a folder inside of another one that holds images" in refusal(write(tmp_path, files))


def test_many_images_in_no_folder_are_not_left_out_of_the_classes(tmp_path):
    files = {f"{name}/{n}.png": GREY for name in ("cat", "dog") for n in range(6)}
    files |= {f"bird{n}.png": GREY for n in range(6)}
    assert "6 images lie in no folder, and so without a class" in refusal(write(tmp_path, files))


def test_a_sequence_that_some_patients_lack_is_not_left_out_without_a_word(tmp_path):
    files = {}
    for who in range(1, 11):
        for name in ("flair", "t1", "t2", "seg"):
            files[f"BraTS_{who:03d}/BraTS_{who:03d}_{name}.png"] = MASK if name == "seg" else GREY
    del files["BraTS_003/BraTS_003_t1.png"], files["BraTS_004/BraTS_004_t1.png"]
    found = survey(write(tmp_path, files))
    assert parse_recipe(written(found)).data.channels == ("flair", "t1", "t2")
    assert found.samples == 8
    assert any("2 samples that lack a channel" in text for text in found.warnings)


def test_two_folders_of_images_for_the_same_masks_are_asked_about(tmp_path):
    files = {f"{folder}/{n}.png": GREY for folder in ("images", "images enhanced") for n in range(5)}
    with pytest.raises(Undecided) as undecided:
        survey(write(tmp_path, files | {f"masks/{n}.png": MASK for n in range(5)}))
    assert [option.settings for option in undecided.value.options] == [
        ("data.image=images/{sample}.png",),
        ("data.image=images enhanced/{sample}.png",),
    ]


def test_one_folder_that_is_called_otherwise_takes_nobody_elses_name(tmp_path):
    files = {f"P{who:02d}/s{n}.png": GREY for who in range(6) for n in range(3)} | {
        f"extra/s{n}.png": GREY for n in range(3)
    }
    found = survey(write(tmp_path, files | {name.replace(".png", "_seg.png"): MASK for name in files}))
    assert parse_recipe(written(found)).data.image == "{patient}/{sample}.png"
    assert found.patients == 7
