"""A folder and a zip archive are the same to everything that reads them."""

import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from medloom.data.opening import open_source
from medloom.data.sources import unread_files
from medloom.errors import DataError

FILES = {"p1/a_1.tif": b"one", "p1/a_1_mask.tif": b"mask", "p2/b.tif": b"two" * 500, "data.csv": b"x"}
LITTER = {"__MACOSX/p1/._a_1.tif": b"m", ".DS_Store": b"d", "p1/._a_1.tif": b"m", ".git/config": b"g", "Thumbs.db": b""}


@pytest.fixture(params=["folder", "zip"])
def location(request, tmp_path):
    """The same files in a folder and in an archive."""
    content = FILES | LITTER
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return tmp_path / "set.zip"
    for name, data in content.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "set"


def test_names_are_sorted_and_without_litter(location):
    with open_source(location) as source:
        assert source.names() == sorted(FILES)


def test_content_is_read_as_it_is_also_by_many_threads(location):
    with open_source(str(location)) as source, ThreadPoolExecutor(4) as pool:
        names = source.names() * 20
        assert list(pool.map(source.read, names)) == [FILES[name] for name in names]


def test_a_stamp_is_the_same_until_the_file_changes(location):
    with open_source(location) as source:
        before = source.stamp("p2/b.tif")
        assert source.stamp("p2/b.tif") == before
        assert source.stamp("p1/a_1.tif") != before


def test_a_changed_file_gets_another_stamp(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"1")
    with open_source(tmp_path) as source:
        before = source.stamp("a.tif")
        (tmp_path / "a.tif").write_bytes(b"22")
        assert source.stamp("a.tif") != before


def test_linked_folders_are_followed_and_loops_end(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.tif").write_bytes(b"1")
    root = tmp_path / "root"
    root.mkdir()
    (root / "p1").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    with open_source(root) as source:
        assert source.names() == ["p1/a.tif"]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08\x00"])
def test_what_is_neither_folder_nor_zip_is_refused_with_advice(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        open_source(tmp_path / "x")


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_source(tmp_path / "nowhere")


def test_archives_and_pairs_among_the_files_are_counted_and_not_named():
    names = ["a/Doe.zip", "b.TAR.GZ", "c.png", "d.hdr", "d.img", "e.HDR", "e.img.gz", "f.hdr", "g.img"]
    archives, pairs = unread_files(names)
    assert archives.startswith("2 archives lie among the files and are not opened")
    assert pairs.startswith("2 NIfTI or Analyze pairs of a .hdr and an .img file are not read")
    assert "Doe" not in archives
    assert unread_files(["a.png", "b.nii.gz", "f.hdr"]) == []
