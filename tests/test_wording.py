"""How counts are said."""

from medloom.wording import counted, metric_text


def test_one_has_the_singular_and_nothing_and_several_the_plural():
    said = [counted(count, "image") for count in (0, 1, 2, 1200)]
    assert said == ["0 images", "1 image", "2 images", "1,200 images"]
    assert [counted(count, "class is", "classes are") for count in (1, 2)] == ["1 class is", "2 classes are"]


def test_a_metric_is_said_with_its_interval_and_the_unit_of_a_length():
    assert metric_text({"value": 0.83012, "low": 0.787, "high": 0.91649}) == "0.830 (0.787 to 0.916)"
    assert metric_text({"value": 4.2, "low": None, "high": None}, "mm") == "4.200 mm"
    assert metric_text({"value": None}) == "not defined here"
