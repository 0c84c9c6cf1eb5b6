"""Several masks of one image: classes in one recipe, asked about where they overlap; sides joined."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.data import open_source
from medloom.data.layouts import build_layout
from medloom.data.survey import Undecided, survey, written
from medloom.errors import DataError
from medloom.imaging import encode_png
from medloom.recipe import parse_recipe


def mask(place):
    pixels = np.zeros((40, 40), np.uint8)
    pixels[5:15, place : place + 10] = 255
    return encode_png(pixels)


def write(folder, called, names=("oedema", "core"), step=12):
    """An image and a mask of each name under what ``called`` makes of number and name."""
    for number in range(6):
        files = {f"images/{number}.png": encode_png(np.full((40, 40), 90, np.uint8))}
        files |= {called.format(n=number, name=name): mask(2 + step * place) for place, name in enumerate(names)}
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


def masks_of(recipe, folder):
    with open_source(folder) as source:
        return [item.masks for item in build_layout(recipe).find(source.names(), source.read).items]


SHAPES = {
    "masks/{name}/{n}.png": "masks/{class}/{sample}.png",
    "masks/{n}_{name}.png": "masks/{sample}_{class}.png",
    "images/{n}_{name}_mask.png": "{sample}_{class}_mask.png",
    "masks/the {name}/{n}_{name}.png": "masks/{part}/{sample}_{class}.png",
}


@pytest.mark.parametrize("called", SHAPES)
def test_a_file_for_each_class_is_one_recipe_where_no_pixel_is_of_two(tmp_path, called):
    found = survey(write(tmp_path, called))
    recipe = parse_recipe(written(found))
    assert recipe.data.mask == SHAPES[called]
    assert recipe.target.mask_values == {"background": 0, "core": 1, "oedema": 2}
    assert sorted(map(len, masks_of(recipe, tmp_path))) == [2] * 6
    assert any("are these the classes?" in check for check in found.checks)


@pytest.mark.parametrize("called", [called for called in SHAPES if called.startswith("masks/")])
def test_classes_that_overlap_are_asked_about_and_never_joined(tmp_path, called):
    write(tmp_path, called, step=5)
    with pytest.raises(Undecided) as undecided:
        survey(tmp_path)
    (first, *_), options = undecided.value.options[0].settings, undecided.value.options
    assert len(options) == 2
    assert all("{class}" not in option.settings[0] for option in options)
    assert "a pixel is of several classes" in str(undecided.value) or "core alone" in str(undecided.value)
    key, _, value = first.partition("=")
    recipe = parse_recipe(written(survey(tmp_path, {key: value})))
    assert recipe.data.mask == value
    assert sorted(map(len, masks_of(recipe, tmp_path))) == [1] * 6


def test_classes_that_overlap_beside_their_images_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match="put the masks of each class into a folder of its own"):
        survey(write(tmp_path, "images/{n}_{name}_mask.png", step=5))


def test_one_class_alone_is_read_where_the_user_says_so(tmp_path):
    write(tmp_path, "masks/{name}/{n}.png")
    recipe = parse_recipe(written(survey(tmp_path, {"data.mask": "masks/core/{sample}.png"})))
    assert recipe.target.mask_values == {"background": 0, "core": 255}
    assert {masks[0].split("/")[1] for masks in masks_of(recipe, tmp_path)} == {"core"}


@pytest.mark.parametrize(
    ("called", "pattern"),
    [
        ("masks/{name} lung/{n}.png", "masks/{part}/{sample}.png"),
        ("masks/{n}_{name}.png", "masks/{sample}_{part}.png"),
    ],
)
def test_left_and_right_of_one_thing_are_joined_and_said_to_be(tmp_path, called, pattern):
    found = survey(write(tmp_path, called, names=("left", "right")))
    recipe = parse_recipe(written(found))
    assert recipe.data.mask == pattern
    assert sorted(map(len, masks_of(recipe, tmp_path))) == [2] * 6
    assert "left and right, whose foreground is joined" in " ".join(written(found).replace("#", " ").split())
    assert len(recipe.target.mask_values) == 2


def test_an_image_with_one_side_alone_is_said(tmp_path):
    write(tmp_path, "masks/{name} lung/{n}.png", names=("left", "right"))
    (tmp_path / "masks" / "left lung" / "3.png").unlink()
    assert any("1 image has a mask of one side only" in check for check in survey(tmp_path).checks)


def test_numbered_masks_of_an_image_are_no_classes(tmp_path):
    with pytest.raises(DataError, match="no image is named as it is"):
        survey(write(tmp_path, "masks/{n}_{name}.png", names=("1", "2")))
