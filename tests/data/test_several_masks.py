"""Images with several masks, masks whose values drift, and masks that are pictures in colour."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from medloom.data import image_files, open_source, preparation, prepare
from medloom.data.alignment import Alignment, read_mask
from medloom.data.checks import ClassMap, UnfitError, joined_classes, mask_classes
from medloom.data.layouts import build_layout
from medloom.data.layouts.image_mask import ImageMask
from medloom.data.masks import MASKS
from medloom.data.page_reader import PageReader
from medloom.errors import RecipeError
from medloom.imaging import decode
from medloom.recipe import parse_recipe
from medloom.targets import IGNORED
from medloom.transforms import Preprocess

THREE = {"background": 0, "liver": 1, "tumour": 2}
BINARY = {"background": 0, "lesion": 255}


def random_masks(count, classes=2, seed=0):
    return np.random.default_rng(seed).integers(0, classes, (count, 12, 15), dtype=np.uint8)


def saved(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, kind, **options)
    return decode(stream.getvalue())


def test_masks_of_one_class_are_joined_to_their_union():
    masks = random_masks(3)
    np.testing.assert_array_equal(joined_classes(masks, ClassMap(BINARY)), masks.max(axis=0))


def test_masks_of_several_classes_are_joined_where_they_do_not_contradict_each_other():
    liver, tumour = random_masks(2)
    masks = [liver * (1 - tumour), tumour * 2]
    np.testing.assert_array_equal(joined_classes(masks, ClassMap(THREE)), np.where(tumour, 2, liver))


@pytest.mark.parametrize(("other", "named"), [(2, "tumour"), (IGNORED, "ignored")])
def test_masks_that_say_two_classes_of_a_pixel_are_refused_with_both(other, named):
    first, second = np.zeros((2, 6, 6), np.uint8)
    first[1:4, 1:4], second[3:5, 3:5] = 1, other
    with pytest.raises(UnfitError, match=f"1 pixel: liver in one of its masks and {named} in another"):
        joined_classes([first, second], ClassMap(THREE))


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(UnfitError, match="its masks differ in size: 4x4 and 4x5"):
        joined_classes([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], ClassMap(BINARY))


def test_all_masks_of_an_image_are_found_in_order_and_no_image_is_taken_for_one():
    names = ["b/benign (1).png", "b/benign (1)_mask.png", "b/benign (2).png", "b/benign (2)_mask.png"]
    names += [f"b/benign (1)_mask_{number}.png" for number in (10, 2, 1)]
    listing = ImageMask("{sample}.png", "{sample}_mask{part}.png").find(names)
    first, second = listing.items
    ends = ["", "_1", "_2", "_10"]
    assert first.masks == tuple(f"b/benign (1)_mask{end}.png" for end in ends)
    assert (second.images, second.masks) == (("b/benign (2).png",), ("b/benign (2)_mask.png",))
    assert (listing.problems, listing.notes) == ((), ())


def test_every_mask_without_an_image_is_a_problem():
    listing = ImageMask("{sample}.png", "{sample}_mask{part}.png").find(["a_mask.png", "a_mask_1.png"])
    assert [(problem.kind, problem.file) for problem in listing.problems] == [
        ("missing_image", "a_mask.png"), ("missing_image", "a_mask_1.png")
    ]  # fmt: skip


def test_a_part_of_a_published_split_is_read_from_the_path_in_any_case_and_folders_that_say_nothing_are_passed():
    names = [
        f"set/{part}/{group}/{kind}/7.png"
        for part in ("Train", "val", "TEST")
        for group in "ab"
        for kind in ("im", "gt")
    ]
    listing = ImageMask("{split}/{folder}/im/{sample}.png", "{split}/{folder}/gt/{sample}.png").find(names)
    assert {item.images[0]: (item.mask, item.published) for item in listing.items} == {
        f"set/{said}/{group}/im/7.png": (f"set/{said}/{group}/gt/7.png", part)
        for said, part in (("Train", "train"), ("val", "validation"), ("TEST", "test"))
        for group in "ab"
    }


def test_a_field_may_have_a_number_of_characters():
    names = ["Image_01L.jpg", "Image_01L_1stHO.png", "Image_12R.jpg", "Image_12R_1stHO.png"]
    listing = ImageMask("Image_{patient:2}{sample}.jpg", "Image_{patient:2}{sample}_1stHO.png").find(names)
    assert [(item.patient, item.sample) for item in listing.items] == [("01", "L"), ("12", "R")]


def test_fields_with_nothing_between_them_are_refused_with_the_way_out():
    with pytest.raises(RecipeError, match=r"where \{patient\} ends and \{sample\} begins.*\{patient:2\}"):
        ImageMask("Image_{patient}{sample}.jpg", "m/{patient}{sample}.png")


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_masks_saved_as_jpeg_are_read_as_they_were_before(quality):
    mask = np.kron(random_masks(1)[0], np.ones((6, 6), np.uint8)) * np.uint8(255)
    drifted = saved(mask, "JPEG", quality=quality)
    assert len(np.unique(drifted.pixels)) > 2
    found = mask_classes(drifted, ClassMap(BINARY, tolerance=127))
    np.testing.assert_array_equal(found, mask > 0)
    with pytest.raises(UnfitError, match=r"need target\.mask_tolerance|expected only 0"):
        mask_classes(drifted, ClassMap(BINARY))


def test_a_value_beyond_the_tolerance_is_of_no_class():
    values = ClassMap(BINARY, (128,), tolerance=20)
    assert values(np.array([[0, 20, 235, 255, 108, 148]])).tolist() == [[0, 0, 1, 1, IGNORED, IGNORED]]
    for pixel in (21, 234, 107, 149):
        with pytest.raises(UnfitError, match=f"mask has the values {pixel}"):
            values(np.array([[0, pixel]]))


COLOURS = {"background": (0, 0, 0), "liver": (250, 50, 83), "tumour": (250, 50, 84), "ignore": (224, 224, 192)}


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_mask_in_colours_is_read_by_the_table_of_colours(kind):
    indices = random_masks(1, 4, seed=2)[0]
    picture = np.array(list(COLOURS.values()), np.uint8)[indices]
    expected = np.where(indices == 3, IGNORED, indices)
    np.testing.assert_array_equal(mask_classes(saved(picture, kind), ClassMap(THREE, colours=COLOURS)), expected)


def test_colours_of_no_class_and_transparent_pixels_are_refused():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[1, 1] = (1, 2, 3)
    with pytest.raises(UnfitError, match=r"mask has the colours \(1, 2, 3\); expected only \(0, 0, 0\) \(background\)"):
        mask_classes(saved(picture), ClassMap(THREE, colours=COLOURS))
    clear = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(UnfitError, match="transparent"):
        mask_classes(saved(clear), ClassMap(THREE, colours=COLOURS))


def test_a_mask_in_colours_without_their_table_names_the_key():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[1, 1] = (250, 50, 83)
    with pytest.raises(UnfitError, match=r"target\.mask_colours"):
        mask_classes(saved(picture), ClassMap(THREE))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mask_values: {a: 0, b: 100}, mask_tolerance: 50", "mask_tolerance: expected less than half of 100"),
        ("mask_values: {a: 0, b: 255}, ignore: 60, mask_tolerance: 30", "expected less than half of 60"),
        ("mask_values: {a: 0, b: 1}, mask_colours: {a: [0, 0, 0]}", "mask_colours: expected the names of mask_values"),
        ("mask_values: {a: 0, b: 1}, mask_colours: {a: [0, 0, 0], b: [0, 0, 0]}", "two classes have the same colour"),
        (
            "mask_values: {a: 0, b: 9}, mask_tolerance: 1, mask_colours: {a: [0, 0, 0], b: [9, 9, 9]}",
            "leave one of them",
        ),
    ],
)
def test_tolerances_and_colours_that_cannot_be_are_refused(target, said):
    with pytest.raises(RecipeError, match=said):
        parse_recipe(f"name: one\ntarget: {{kind: masks, {target}}}\n")


IDRID = {"background": 0, "MA": 1, "HE": 2}
FILES = [f"{kind}/IDRiD_{number}{end}" for number in (1, 2) for kind, end in (("im", ".jpg"), ("gt", "_MA.tif"))]
FILES += ["gt/IDRiD_1_HE.tif", "gt/IDRiD_1_EX.tif"]


def a_file_for_each_class(**more):
    data = "layout: image-mask, image: 'im/{sample}.jpg', mask: 'gt/{sample}_{class}.tif'"
    target = {"mask_values": IDRID, **more}
    return parse_recipe(f"name: one\ntarget: {{kind: masks, {str(target)[1:-1]}}}\ndata: {{{data}}}\n")


def test_each_class_may_have_a_file_and_files_of_other_classes_are_counted():
    listing = build_layout(a_file_for_each_class()).find(FILES, FILES.index)
    assert [(item.sample, item.masks) for item in listing.items] == [
        ("IDRiD_1", ("gt/IDRiD_1_HE.tif", "gt/IDRiD_1_MA.tif")),
        ("IDRiD_2", ("gt/IDRiD_2_MA.tif",)),
    ]
    assert (listing.problems, listing.notes) == (
        (), ("1 image fits neither data.image nor data.mask: left out",)
    )  # fmt: skip


@pytest.mark.parametrize("value", [1, 255])
def test_what_is_not_0_in_the_file_of_a_class_is_of_that_class(value):
    classes = MASKS.class_map(a_file_for_each_class())
    mask = random_masks(1)[0]
    for file, index in (("set/gt/7_MA.tif", 1), ("set/gt/7_HE.tif", 2)):
        image = saved(mask * np.uint8(value))
        np.testing.assert_array_equal(mask_classes(image, classes.of_file(file)), mask * index)
    with pytest.raises(UnfitError, match="the mask of one class has the values 1, 2; expected 0 and one other"):
        mask_classes(saved(random_masks(1, 3)[0]), classes.of_file("gt/7_MA.tif"))


def test_pixels_that_count_nowhere_do_so_in_the_file_of_a_class_too():
    classes = MASKS.class_map(a_file_for_each_class(ignore=255)).of_file("gt/7_HE.tif")
    assert classes(np.array([[0, 9, 255]])).tolist() == [[0, 2, IGNORED]]


def test_a_file_for_each_class_is_trained_and_measured_on(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})
    recipe, expected = a_file_for_each_class(), {}
    for number in range(9):
        first, second = random_masks(2, seed=number)
        found = {"MA": first * (1 - second), "HE": second} if number % 3 else {"MA": first}
        for folder in ("im", "gt"):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(random_masks(1, 200, number)[0]).save(tmp_path / f"set/im/{number}.jpg")
        for name, mask in found.items():
            Pillow.fromarray(mask * np.uint8(255)).save(tmp_path / f"set/gt/{number}_{name}.tif")
        expected[f"im/{number}.jpg"] = sum(int(mask.sum()) * IDRID[name] for name, mask in found.items())
    work = Preprocess((12, 15))
    with open_source(tmp_path / "set") as source:
        made = prepare(recipe, source, tmp_path / "run", tmp_path / "cache", workers=1, preprocess=work)
        reader = PageReader(source.read)
        for row in made.catalogue.to_dict("records"):
            stored = np.asarray(made.store.masks[made.store.rows([row["sample_id"]])[0]])
            image = reader.image(row["image"], None)
            truth = read_mask(Alignment(reader), image_files(row["mask"]), MASKS.class_map(recipe), None, image)
            np.testing.assert_array_equal(truth, stored)
            assert int(stored.sum()) == expected[row["image"]]


def test_colours_and_arrays_have_no_file_for_each_class():
    with pytest.raises(RecipeError, match="a file holds one class and no colours"):
        a_file_for_each_class(mask_colours={"background": [0, 0, 0], "MA": [1, 1, 1], "HE": [2, 2, 2]})
    with pytest.raises(RecipeError, match=r"\{class\} in .* is not one of"):
        build_layout(
            parse_recipe("name: a\ntarget: {kind: masks}\ndata: {layout: array, mask: '{sample}_{class}.npy'}")
        )


def test_idrid_and_totalsegmentator_are_read_as_they_are_published():
    top = ("A. Segmentation/1. Original Images", "A. Segmentation/2. All Segmentation Groundtruths")
    idrid = [f"{top[0]}/a. Training Set/IDRiD_01.jpg"]
    idrid += [
        f"{top[1]}/a. Training Set/{folder}/IDRiD_01_{name}.tif"
        for folder, name in (("1. Microaneurysms", "MA"), ("2. Haemorrhages", "HE"), ("3. Hard Exudates", "EX"))
    ]
    image = "1. Original Images/a. Training Set/{sample}.jpg"
    mask = "2. All Segmentation Groundtruths/a. Training Set/{part}/{sample}_{class}.tif"
    (one,) = ImageMask(f"A. Segmentation/{image}", f"A. Segmentation/{mask}", classes=tuple(IDRID)).find(idrid).items
    assert (one.images, one.masks) == ((idrid[0],), tuple(idrid[1:3]))
    organs = ["s0011/ct.nii.gz", *(f"s0011/segmentations/{name}.nii.gz" for name in ("liver", "liver_left", "spleen"))]
    layout = ImageMask(
        "{patient}/ct.nii.gz", "{patient}/segmentations/{class}.nii.gz", classes=("no", "liver", "spleen")
    )
    (one,) = layout.find(organs).items
    assert (one.patient, one.masks) == ("s0011", (organs[1], organs[3]))
