"""File names become samples; nothing is opened."""

import pytest

from medloom.data.layouts import build_layout, natural_key
from medloom.data.layouts.image_mask import ImageMask
from medloom.data.layouts.lgg_mri import LggMri
from medloom.errors import RecipeError
from medloom.recipe import parse_recipe
from medloom.registry import LAYOUTS
from medloom.targets import KINDS


def lgg(*slices, root="", patient="TCGA_CS_1"):
    names = [f"{root}{patient}/{patient}_{number}" for number in slices]
    return [f"{name}.tif" for name in names] + [f"{name}_mask.tif" for name in names]


@pytest.mark.parametrize("root", ["", "kaggle_3m/", "lgg-mri-segmentation/kaggle_3m/", "deep/er/and/deeper/"])
def test_lgg_patients_are_found_below_any_folder(root):
    listing = LggMri().find(lgg(1, 2, root=root) + lgg(1, root=root, patient="TCGA_DU_2"))
    assert [item.patient for item in listing.items] == ["TCGA_CS_1", "TCGA_CS_1", "TCGA_DU_2"]
    assert listing.problems == ()


def test_lgg_slices_come_in_the_order_of_their_numbers():
    listing = LggMri().find(sorted(lgg(10, 2, 1, 20)))
    assert [item.sample.rpartition("_")[2] for item in listing.items] == ["1", "2", "10", "20"]


def test_lgg_pairs_each_slice_with_its_own_mask():
    for item in LggMri().find(lgg(1, 10, 11)).items:
        assert item.mask == item.images[0].replace(".tif", "_mask.tif")


def test_lgg_leaves_other_files_alone():
    extra = ["data.csv", "README.md", "kaggle_3m/data.csv", "TCGA_CS_1/notes.txt"]
    listing = LggMri().find(lgg(1) + extra)
    assert (len(listing.items), listing.problems, listing.notes) == (1, (), ())


def test_lgg_images_that_are_no_slices_are_counted():
    notes = LggMri().find([*lgg(1), "loose.tif", "TCGA_CS_1/preview.png"]).notes
    assert len(notes) == 1
    assert notes[0].startswith("2 images")


def test_lgg_names_every_file_without_its_partner():
    names = lgg(1, 2, 3)
    names.remove("TCGA_CS_1/TCGA_CS_1_2_mask.tif")
    names.remove("TCGA_CS_1/TCGA_CS_1_3.tif")
    listing = LggMri().find(names)
    assert len(listing.items) == 1
    assert {(problem.kind, problem.file) for problem in listing.problems} == {
        ("missing_mask", "TCGA_CS_1/TCGA_CS_1_2.tif"),
        ("missing_image", "TCGA_CS_1/TCGA_CS_1_3_mask.tif"),
    }


def test_the_second_copy_in_the_published_archive_is_left_out():
    names = lgg(1, 2, root="kaggle_3m/") + lgg(1, 2, root="lgg-mri-segmentation/kaggle_3m/")
    listing = LggMri().find(names)
    assert [item.images[0].split("/")[0] for item in listing.items] == ["kaggle_3m", "kaggle_3m"]
    assert "4 files are there twice" in listing.notes[0]


def test_patterns_name_patient_and_sample():
    layout = ImageMask("{patient}/img/{sample}.png", "{patient}/seg/{sample}_m.png", ("grey",), "refuse")
    listing = layout.find(["set/b/img/10.png", "set/b/seg/10_m.png", "set/b/img/9.png", "set/b/seg/9_m.png"])
    assert [(item.patient, item.sample, item.mask) for item in listing.items] == [
        ("b", "9", "set/b/seg/9_m.png"),
        ("b", "10", "set/b/seg/10_m.png"),
    ]


@pytest.mark.parametrize(("image", "mask"), [("{sample}.png", "{sample}_seg.png"), ("{sample}_t1.png", "{sample}.png")])
def test_of_two_patterns_that_fit_the_one_that_says_more_wins(image, mask):
    names = [image.format(sample="7"), mask.format(sample="7")]
    (item,) = ImageMask(image, mask, ("grey",), "refuse").find(names).items
    assert (item.images, item.mask) == ((names[0],), names[1])


def test_a_patient_alone_names_the_one_image_of_each_patient():
    layout = ImageMask("images/{patient}.png", "masks/{patient}.png", ("grey",), "refuse")
    names = [f"set/{kind}/{patient}.png" for kind in ("images", "masks") for patient in ("b", "a")]
    listing = layout.find(names)
    assert [(item.patient, item.sample) for item in listing.items] == [("a", "a"), ("b", "b")]
    assert [item.mask for item in listing.items] == ["set/masks/a.png", "set/masks/b.png"]
    assert listing.notes == ()


def test_a_name_that_comes_twice_in_a_pattern_must_match_the_same():
    layout = ImageMask("{patient}/{patient}_{sample}.png", "{patient}/{patient}_{sample}_m.png", ("grey",), "refuse")
    listing = layout.find(["a/a_1.png", "a/a_1_m.png", "a/b_2.png"])
    assert len(listing.items) == 1
    assert "1 image fits neither" in listing.notes[0]


def test_images_and_masks_without_partner_are_problems():
    layout = ImageMask("images/{sample}.png", "masks/{sample}.png", ("grey",), "refuse")
    listing = layout.find(["images/1.png", "masks/2.png", "images/3.png", "masks/3.png"])
    assert [(problem.kind, problem.file) for problem in listing.problems] == [
        ("missing_mask", "images/1.png"),
        ("missing_image", "masks/2.png"),
    ]


def test_without_a_patient_in_the_pattern_nobody_is_known():
    listing = ImageMask("images/{sample}.png", "masks/{sample}.png", ("grey",), "refuse").find(
        ["images/1.png", "masks/1.png"]
    )
    assert not listing.patients
    assert "{patient}" in listing.patients_hint
    assert not any(item.known for item in listing.items)


SEQUENCES = ("t1", "flair", "t2")


def sequences(rule):
    layout = ImageMask("{patient}/{sample}_{channel}.png", "{patient}/{sample}_seg.png", SEQUENCES, rule)
    return layout.find(["a/1_flair.png", "a/1_t2.png", "a/1_seg.png", "a/1_adc.png"])


def test_a_missing_sequence_is_refused_by_name():
    (problem,) = sequences("refuse").problems
    assert problem.kind == "missing_channel"
    assert "t1" in problem.detail


def test_a_missing_sequence_becomes_zeros():
    assert sequences("zeros").items[0].images == ("", "a/1_flair.png", "a/1_t2.png")


def test_a_missing_sequence_becomes_a_copy():
    assert sequences("copy:flair").items[0].images == ("a/1_flair.png", "a/1_flair.png", "a/1_t2.png")


def test_a_copy_of_a_sequence_that_is_missing_too_is_refused():
    assert sequences("copy:t1").problems[0].kind == "missing_channel"


def test_sequences_that_the_recipe_does_not_name_are_left_out_and_counted():
    assert any(note.startswith("1 image fits") for note in sequences("zeros").notes)


@pytest.mark.parametrize(
    ("image", "mask", "match"),
    [
        ("images/x.png", "masks/{sample}.png", "needs {sample}"),
        ("{case}/{sample}.png", "masks/{sample}.png", "{case}"),
        ("{patient}/{sample}.png", "masks/{sample}.png", "must have the names"),
        ("{sample}_{channel}.png", "{sample}_{channel}_m.png", "{channel}"),
        ("{sample}.png", "{sample}.png", "same pattern"),
    ],
)
def test_a_pattern_that_cannot_work_says_why(image, mask, match):
    with pytest.raises(RecipeError, match=match):
        ImageMask(image, mask, ("grey",), "refuse")


def test_literal_characters_of_a_pattern_are_literal():
    layout = ImageMask("a.b/{sample}+.png", "m/{sample}.png", ("grey",), "refuse")
    assert layout.find(["aXb/1+.png", "m/1.png"]).items == ()


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in LAYOUTS for kind in LAYOUTS[name].kinds or KINDS])
def test_every_layout_gives_nothing_for_nothing_and_states_its_rules(name, kind):
    pattern = f", {'mask' if kind == 'masks' else 'array'}: 'a/{{sample}}.npy'"
    data = f"{{layout: {name}{pattern if name in ('array', 'image-mask') else ''}}}"
    layout = build_layout(parse_recipe(f"name: test\ntarget: {{kind: {kind}}}\ndata: {data}"))
    if name not in ("csv", "dataset-json"):  # which need their file
        assert layout.find([], no_file).items == ()
    assert layout.rules()["layout"] == name
    assert layout.expects()


def no_file(name):
    raise AssertionError(f"{name} was read")


def test_numbers_sort_by_value():
    assert sorted(["s10", "s9", "s010", "s1a"], key=natural_key) == ["s1a", "s9", "s010", "s10"]
