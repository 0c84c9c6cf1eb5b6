"""Sets that a dataset.json describes: what it says is compared with the recipe, and every case is accounted for."""

import json

import pytest

from medloom.data.layouts.dataset_json import DatasetJson
from medloom.data.layouts.description import read_description
from medloom.errors import DataError

CT = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
TWO = {**CT, "channel_names": {"1": "T2", "0": "T1"}}
VALUES = {"background": 0, "liver": 1}


def found(described, names, channels=("CT",), values=VALUES, **options):
    files = {"set/dataset.json": json.dumps(described).encode(), **{f"set/{name}": b"" for name in names}}
    return DatasetJson(channels, values, **options).find(list(files), files.__getitem__)


def case(name, channels=1, ending=".nii.gz"):
    return [*(f"imagesTr/{name}_{number:04d}{ending}" for number in range(channels)), f"labelsTr/{name}{ending}"]


def problems(listing):
    return [(problem.kind, problem.file.removeprefix("set/")) for problem in listing.problems]


def test_channels_come_in_the_order_of_their_numbers():
    listing = found(TWO, [*case("a", 2), *case("b", 2)], ("T1", "T2"))
    assert [item.images for item in listing.items] == [
        tuple(f"set/imagesTr/{name}_{number:04d}.nii.gz" for number in range(2)) for name in "ab"
    ]
    assert [item.mask for item in listing.items] == ["set/labelsTr/a.nii.gz", "set/labelsTr/b.nii.gz"]
    assert (listing.problems, listing.notes) == ((), ())


def test_a_colour_picture_is_one_file_of_three_channels():
    described = {**CT, "channel_names": {"0": "R", "1": "G", "2": "B"}, "file_ending": "png"}
    listing = found(described, case("a", 1, ".png"), ("R", "G", "B"))
    assert [item.images for item in listing.items] == [("set/imagesTr/a_0000.png",)]


def test_every_case_of_which_a_file_is_missing_is_a_problem():
    names = [*case("a", 2), *case("b", 2)[:2], *case("c", 2)[2:], *case("d", 2)]
    names.remove("imagesTr/d_0001.nii.gz")
    names += ["imagesTr/e_0000.nii.gz", "imagesTr/e_0002.nii.gz", "labelsTr/e.nii.gz"]
    listing = found(TWO, names, ("T1", "T2"))
    assert [item.sample for item in listing.items] == ["a", "d"]
    assert problems(listing) == [
        ("missing_mask", "imagesTr/b_0000.nii.gz"),
        ("missing_image", "labelsTr/c.nii.gz"),
        ("missing_channel", "labelsTr/e.nii.gz"),
    ]


def test_what_the_list_of_training_leaves_out_is_counted():
    listed = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    described = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "numTraining": 2}
    names = ["imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b.nii.gz", "labelsTr/b.nii.gz", "imagesTs/c.nii.gz"]
    listing = found({**described, "training": listed}, names)
    assert [item.sample for item in listing.items] == ["a"]
    assert listing.notes == (
        "3 images are of no training case of dataset.json: left out",
        "dataset.json says numTraining 2 and lists 1",
    )


def test_files_of_version_one_have_numbers_that_the_list_leaves_out():
    listed = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    described = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "training": listed}
    listing = found(described, case("a"))
    assert [item.images for item in listing.items] == [("set/imagesTr/a_0000.nii.gz",)]


def test_paths_of_its_own_are_taken():
    described = {**TWO, "dataset": {"a": {"images": ["x/one.nii.gz", "x/two.nii.gz"], "label": "y/a.nii.gz"}}}
    listing = found(described, ["x/one.nii.gz", "x/two.nii.gz", "y/a.nii.gz"], ("T1", "T2"))
    assert listing.items[0].images == ("set/x/one.nii.gz", "set/x/two.nii.gz")


def test_the_patient_is_in_the_name_of_a_case_only_if_the_recipe_says_so():
    names = [name for phase in "12" for name in case(f"p7_{phase}")]
    unknown = found(CT, names)
    assert ({item.known for item in unknown.items}, len({item.patient for item in unknown.items})) == ({False}, 2)
    known = found(CT, names, patient_pattern=r"(p\d+)_")
    assert [(item.patient, item.known) for item in known.items] == [("p7", True)] * 2
    assert (known.patients, unknown.patients) == ("data.patient_pattern", "")


@pytest.mark.parametrize(
    ("channels", "values", "said"),
    [
        (("T1",), VALUES, "data.channels: T1; dataset.json has T1, T2"),
        (("T2", "T1"), VALUES, "data.channels: T2, T1; dataset.json has them in another order: T1, T2"),
        (("T1", "T2"), {"background": 0, "lesion": 255}, "dataset.json has {background: 0, liver: 1}"),
        (("T1", "T2"), {"liver": 0, "background": 1}, "target.mask_values: {liver: 0, background: 1}"),
    ],
)
def test_a_recipe_that_says_something_else_is_refused_with_both(channels, values, said):
    with pytest.raises(DataError) as caught:
        found(TWO, case("a", 2), channels, values)
    assert [said in problem for problem in caught.value.problems] == [True]


def test_other_names_for_the_same_values_are_the_users_choice():
    assert found(TWO, case("a", 2), ("pre", "post"), {"nothing": 0, "organ": 1}).items


def test_an_ignored_value_must_be_ignored_by_the_recipe():
    described = {**CT, "labels": {"background": 0, "liver": 1, "ignore": 2}}
    with pytest.raises(DataError) as caught:
        found(described, case("a"))
    assert caught.value.problems == ("target.ignore: 2 counts nowhere in dataset.json; set it",)
    assert found(described, case("a"), ignored=(2,)).items


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "holds no object"),
        ('{"labels": {"background": 0, "a": 1}}', "expected channel_names"),
        ('{"channel_names": {"0": "CT"}}', "expected labels"),
        ('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "whole": [1, 2], "core": 2}}', "regions"),
        ('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": "x"}}', "a whole number from 0"),
        ('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 0}}', "the same name or the same value"),
        (
            '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "training": [1]}',
            "an image and a label",
        ),
        ('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "training": {}}', "expected a list"),
    ],
)
def test_what_cannot_be_understood_is_refused(text, said):
    with pytest.raises(DataError, match=said):
        read_description(text.encode())


def test_none_and_several_descriptions_are_refused():
    layout = DatasetJson(("CT",), VALUES)
    with pytest.raises(DataError, match=r"there is no dataset\.json"):
        layout.find(["imagesTr/a.nii.gz"], {}.__getitem__)
    with pytest.raises(DataError, match=r"there are 2 files called dataset\.json"):
        layout.find(["a/dataset.json", "b/dataset.json"], {}.__getitem__)
