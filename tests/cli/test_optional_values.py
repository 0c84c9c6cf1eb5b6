import pytest

from medloom.cli.optional_values import with_values


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("predict b d --series", "predict b d --series="),
        ("predict b --series d -o out", "predict b --series= d -o out"),
        ("predict b --series -o out d", "predict b --series= -o out d"),
        ("predict b d --series 0", "predict b d --series=0"),
        ("predict b d --series 1.2.840.10 -o out", "predict b d --series=1.2.840.10 -o out"),
        ("predict b d --series=3", "predict b d --series=3"),
        ("predict b --series 7 -o out", "predict b --series= 7 -o out"),
        ("predict b -- --series 0", "predict b -- --series 0"),
        ("evaluate --series 0", "evaluate --series 0"),
        ("", ""),
    ],
)
def test_an_option_alone_gets_an_empty_value_and_never_a_file_that_exists(tmp_path, monkeypatch, given, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").mkdir()
    assert with_values(given.split()) == expected.split()
