"""Names of output files."""

import pytest

from medloom.serving.batch.names import Names


def test_names_need_few_bytes_each_and_none_comes_twice():
    names = Names()
    assert [names.give(one) for one in ("p/x1", "P/X1", "./p//x1")] == ["p/x1", "P/X1-2", "p/x1-3"]
    given = {names.give(f"q{number % 7}/x{number}") for number in range(20_000)}
    assert len(given) == 20_000
    assert len(names._slots) * 8 / 20_000 < 25


@pytest.mark.parametrize("ending", [".png", ".nii.gz"])
def test_a_folder_that_is_called_as_a_mask_makes_way_for_no_mask(ending):
    names = Names()
    assert names.give(f"a{ending}/b") == f"a{ending}/b"
    assert names.give("a") == "a-2"
    assert names.give(f"a{ending}/c") == f"a{ending}/c"
    assert names.give("d") == "d"
    with pytest.raises(NotADirectoryError, match="called as the mask of another image"):
        names.give(f"d{ending}/e")
