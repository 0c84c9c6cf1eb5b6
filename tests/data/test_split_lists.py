"""A split that is published as lists of images or patients in text files."""

import pytest

from medloom.data.layouts import Item, Listing
from medloom.data.splits import as_listed
from medloom.errors import DataError

ITEMS = tuple(Item(f"p{number // 2}", f"s{number}", (f"set/p{number // 2}/s{number}.png",), "") for number in range(6))


def listed(lists, items=ITEMS, **texts):
    names = [f"set/{name}.txt" for name in texts]
    files = {f"set/{name}.txt": text.encode() for name, text in texts.items()}
    return as_listed(Listing(items), lists, names, files.__getitem__)


def parts(listing):
    return {item.sample: item.published for item in listing.items}


LISTS = {"train": "train.txt", "test": "test.txt"}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("s0.png\ns1.png\ns2.png\ns3.png\n", "s4.png\ns5.png"),
        ("\ufeffs0\r\ns1\r\n\r\ns2\r\ns3\r\n", "s4\r\ns5"),
        ("set/p0/s0.png\n./p0/s1\np1/s2.png\np1\\s3.png", "p2/s4\np2/s5"),
        ("p0\np1\n", "p2\n"),
    ],
)
def test_lines_name_images_in_any_way_or_patients(train, test):
    listing = listed(LISTS, train=train, test=test)
    assert parts(listing) == {**{f"s{number}": "train" for number in range(4)}, "s4": "test", "s5": "test"}
    assert (listing.problems, listing.notes) == ((), ())


def test_images_in_no_list_or_in_two_are_problems_and_idle_lines_are_counted():
    listing = listed(LISTS, train="p0\ns2\ns4\n", test="s4\ns5\ngone.png\n")
    assert parts(listing) == {"s0": "train", "s1": "train", "s2": "train", "s5": "test"}
    assert {problem.file: problem.detail for problem in listing.problems} == {
        "set/p1/s3.png": "in none of split.lists",
        "set/p2/s4.png": "in the lists of test and train; expected one",
    }
    assert listing.notes == ("1 line of test in split.lists: no such image",)


def test_a_name_that_two_patients_share_is_refused():
    items = tuple(Item(who, f"{who}-view", (f"{who}/view.png",), "") for who in ("p1", "p2"))
    with pytest.raises(DataError, match=r"2 images of several patients are called alike") as caught:
        listed({"train": "train.txt"}, items, train="view.png\n")
    # A survey writes the summary of what does not hold into recipes; what is listed is for the user alone.
    assert "view" not in caught.value.summary
    assert caught.value.problems == ("view.png",)


def test_a_list_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(DataError, match=r"split\.lists: there is no tests\.txt in the data") as caught:
        listed({"test": "tests.txt"}, test="p0\n")
    assert caught.value.problems == ("set/test.txt",)


def test_without_lists_nothing_changes():
    assert listed({}).items == ITEMS
