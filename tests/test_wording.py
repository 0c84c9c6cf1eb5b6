"""How counts are said."""

from medloom.wording import counted


def test_one_has_the_singular_and_nothing_and_several_the_plural():
    said = [counted(count, "image") for count in (0, 1, 2, 1200)]
    assert said == ["0 images", "1 image", "2 images", "1,200 images"]
    assert [counted(count, "class is", "classes are") for count in (1, 2)] == ["1 class is", "2 classes are"]
