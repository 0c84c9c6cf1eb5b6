"""Which row of a table is about which image."""

import pytest

from medloom.errors import DataError, InputError
from medloom.inference.inputs import ImageFile, open_images
from medloom.inference.metadata_files import read_metadata

COLUMNS = ("age", "sex")


def _images(*names):
    return [ImageFile(name, bytes, f"/data/set/{name}") for name in names]


@pytest.fixture
def read(tmp_path):
    def read(text, images, columns=COLUMNS, **options):
        path = tmp_path / "people.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_metadata(path, images, columns, **options)

    return read


@pytest.mark.parametrize(
    "name",
    [
        "001",
        "001.png",
        "001.jpg",
        "P1/001",
        "P1/001.png",
        "./P1/001.png",
        "P1\\001.png",
        "set/P1/001",
        "/data/set/P1/001.png",
        " 001 ",
    ],
)
def test_a_row_names_an_image_with_or_without_folders_and_extension(read, name):
    found = read(f"image,age,sex\n{name},61,male\n", _images("P1/001.png"))
    assert found.rows == ({"age": "61", "sex": "male"},)
    assert found.warnings == ()


@pytest.mark.parametrize("name", ["1", "001.0", "01", "P2/001", "001a", "png"])
def test_names_are_text_and_another_name_is_another_image(read, name):
    found = read(f"image,age,sex\n{name},61,male\n", _images("P1/001.png"))
    assert found.rows == ({},)
    assert len(found.warnings) == 2


def test_dots_of_a_uid_are_part_of_the_name(read):
    found = read("image,age,sex\n1.2.3,1,\n1.2.4,2,\n", _images("1.2.4.dcm", "1.2.3.dcm", "1.2"))
    assert [row.get("age") for row in found.rows] == ["2", "1", None]


def test_accents_in_either_form_and_the_suffixes_of_nifti_are_the_same_name(read):
    found = read("image,age,sex\ncafé,1,\nscan,2,\n", _images("café.png", "scan.nii.gz"))
    assert [row["age"] for row in found.rows] == ["1", "2"]


def test_the_folder_tells_images_of_the_same_name_apart(read):
    found = read("image,age,sex\na/1.png,1,\nb/1,2,\n", _images("b/1.png", "a/1.png"))
    assert [row["age"] for row in found.rows] == ["2", "1"]


def test_the_folder_that_was_named_on_the_command_line_counts(read, tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").write_bytes(b"x")
    with open_images([tmp_path / "test"]) as images:
        found = read("image,age,sex\ntrain/1.png,1,\ntest/1.png,2,\n", images)
    assert found.rows == ({"age": "2", "sex": ""},)
    assert "rows of people.csv that are about none of the images: 1, line 2" in found.warnings[0]


def test_the_column_with_the_name_is_the_first_or_the_one_that_is_named(read):
    text = "age,file,sex\n61,a,male\n"
    assert read(text, _images("a.png"), id_column="file").rows == ({"age": "61", "sex": "male"},)
    with pytest.raises(DataError, match="no column 'fil', did you mean 'file'"):
        read(text, _images("a.png"), id_column="fil")


def test_columns_that_the_model_does_not_take_are_left_alone(read):
    found = read("image,age,sex,name\na,61,male,Jane Doe\n", _images("a.png"))
    assert found.rows == ({"age": "61", "sex": "male"},)


def test_missing_rows_and_unknown_rows_are_counted_and_missing_columns_named(read):
    found = read("image,agee,sex\na,61,male\nx,1,\ny,2,\n", _images("a.png", "b.png", "c.png"))
    assert found.rows == ({"sex": "male"}, {}, {})
    columns, without, unknown = found.warnings
    assert "no column 'age', did you mean 'agee'?; it counts as blank" in columns
    assert "images without a row in people.csv, whose metadata count as blank: 2 of 3, b.png, c.png" in without
    assert "rows of people.csv that are about none of the images: 2, lines 3, 4" in unknown


def test_everything_that_contradicts_itself_is_said_in_one_pass_with_its_lines(read):
    text = (
        "image,age,sex\n"
        "a,1,\n"  # 2, again as 4 and 9
        "both,2,\n"  # 3: two images
        "a.png,3,\n"  # 4
        ",4,\n"  # 5: no name
        '"x\ny",5,\n'  # 6 and 7: a cell over two lines
        "short,6\n"  # 8
        "P1/a,1,\n"  # 9
        "gone,1,\n"  # 10, again as 11
        "gone,1,\n"
    )
    with pytest.raises(DataError) as caught:
        read(text, _images("P1/a.png", "P1/both.png", "P2/both.png"))
    assert caught.value.problems == (
        "people.csv line 2: about the same image as lines 4, 9; leave one of them",
        "people.csv line 3: 2 images have this name; give their folders",
        "people.csv line 5: nothing in the column image",
        "people.csv line 8: 2 cells; expected 3, as the first line has",
        "people.csv line 10: about the same image as line 11; leave one of them",
    )


def test_a_column_that_names_no_image_is_said_in_a_message_that_can_be_read(read):
    text = "patient,age,sex\n" + "".join(f"P{number // 2},1,\n" for number in range(1000))
    with pytest.raises(DataError, match="by its column patient; --id names another") as caught:
        read(text, _images("a.png"))
    assert len(caught.value.problems) == 201
    assert caught.value.problems[-1] == "and 300 more"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "empty"),
        (b"image,age,sex\n\xff,1,2\n", "UTF-8"),
        (b"image,weight\na,1\n", "none of the metadata columns that the model takes: age, sex"),
        (b"image,age,age\na,1,2\n", "twice"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(read, text, reason):
    with pytest.raises(DataError, match=reason):
        read(text, _images("a.png"))


def test_a_table_from_a_spreadsheet_with_a_mark_and_its_line_ends_is_read(read):
    found = read("image,age,sex\r\na,61,male\r\n".encode("utf-8-sig"), _images("a.png"))
    assert found.rows == ({"age": "61", "sex": "male"},)


def test_a_table_with_semicolons_and_decimal_commas_is_read(read):
    assert read("image;age;sex\na;61,5;male\n", _images("a.png")).rows == ({"age": "61.5", "sex": "male"},)


def test_a_table_that_is_not_there_and_a_model_without_metadata_are_refused(tmp_path, read):
    with pytest.raises(DataError, match="cannot be read"):
        read_metadata(tmp_path / "nothing.csv", _images("a.png"), COLUMNS)
    with pytest.raises(InputError, match="takes no metadata"):
        read("image,age\na,1\n", _images("a.png"), columns=())
