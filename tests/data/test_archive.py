"""Hostile zip archives: each is refused, and nothing is ever written (safety contract, c3)."""

import stat
import struct
import zipfile
from dataclasses import replace

import pytest

from medloom.data.archive import DEFAULT_LIMITS, ZipReader
from medloom.errors import DataError


def make_zip(path, entries, method=zipfile.ZIP_DEFLATED):
    """Write an archive; an entry is (name or ZipInfo, content)."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def with_mode(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def contents(archive, limits=DEFAULT_LIMITS):
    with ZipReader(archive, limits) as reader:
        return {name: reader.read(name) for name in reader.names()}


def refused(tmp_path, archive, match, limits=DEFAULT_LIMITS):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=match) as caught:
        contents(archive, limits)
    assert sorted(tmp_path.rglob("*")) == before
    return caught.value


def patched(path, old, new, count):
    data = path.read_bytes()
    assert data.count(old) >= count
    path.write_bytes(data.replace(old, new, count) if count > 0 else data.replace(old, new))
    return path


def test_a_good_archive_comes_out_byte_for_byte(tmp_path):
    files = {"a/1.tif": b"one" * 1000, "a/2.tif": b"", "b/c/3.tif": bytes(range(256))}
    assert contents(make_zip(tmp_path / "x.zip", [("a/", b""), *files.items()])) == files


def test_stored_and_deflated_read_alike(tmp_path):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert contents(make_zip(tmp_path / f"{method}.zip", [("a", b"abc" * 99)], method)) == {"a": b"abc" * 99}


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "a\\..\\evil", "C:evil", "C:/evil", "a//b", "./a", "a\nb"]
)
def test_a_name_that_leads_outside_is_refused(tmp_path, name):
    error = refused(tmp_path, make_zip(tmp_path / "x.zip", [("good", b"1"), (name, b"evil")]), "not a safe")
    assert len(error.problems) == 1


def test_every_bad_name_is_listed_not_only_the_first(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("../a", b""), ("good", b""), ("/b", b""), ("c\\d", b"")])
    assert len(refused(tmp_path, archive, "not a safe").problems) == 3


def test_a_name_with_a_nul_is_refused(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("good.tifXevil", b"1")])
    refused(tmp_path, patched(archive, b"good.tifXevil", b"good.tif\0evil", 2), "not a safe")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path, kind):
    archive = make_zip(tmp_path / "x.zip", [(with_mode("link", kind | 0o777), b"/etc/passwd")])
    assert "no regular file" in str(refused(tmp_path, archive, "not a safe"))


@pytest.mark.parametrize("names", [("A.tif", "a.tif"), ("p/1.tif", "P/2.tif"), ("caf\u00e9", "cafe\u0301")])
def test_names_that_collide_on_other_file_systems_are_refused(tmp_path, names):
    refused(tmp_path, make_zip(tmp_path / "x.zip", [(name, b"") for name in names]), "collides")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_the_same_name_twice_is_refused(tmp_path):
    refused(tmp_path, make_zip(tmp_path / "x.zip", [("a", b"1"), ("a", b"2")]), "twice")


def test_a_file_that_is_also_a_folder_is_refused(tmp_path):
    refused(tmp_path, make_zip(tmp_path / "x.zip", [("a", b"1"), ("a/b", b"2")]), "a file and a folder")


def test_encrypted_entries_are_refused_with_what_to_do(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("a", b"secret")])
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    refused(tmp_path, archive, "unpack it yourself")


def test_an_encryption_flag_in_the_local_header_only_is_found(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("a", b"secret")])
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    archive.write_bytes(data)
    refused(tmp_path, archive, "disagree")


def test_a_local_header_with_another_name_is_found(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("good.tif", b"1")])
    refused(tmp_path, patched(archive, b"good.tif", b"evil.tif", 1), "disagree")


def test_other_compression_is_refused_by_name(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("a", b"1" * 99)], zipfile.ZIP_LZMA)
    refused(tmp_path, archive, "not supported")


def test_a_wrong_checksum_is_found(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("first", b"1" * 50), ("second", b"payload")], zipfile.ZIP_STORED)
    refused(tmp_path, patched(archive, b"payload", b"pAyload", 1), "CRC")


def test_a_file_larger_than_it_states_is_found_by_counting(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("bomb", b"\0" * 1_000_000)])
    size = struct.pack("<L", 1_000_000)
    refused(tmp_path, patched(archive, size, struct.pack("<L", 10), 2), "states 10 bytes")


def test_a_truncated_archive_is_refused(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("a", bytes(range(256)) * 9)])
    archive.write_bytes(archive.read_bytes()[:-30])
    refused(tmp_path, archive, "not a readable zip")


def test_overlapping_entries_are_refused(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("a", b"x" * 64), ("b", b"x" * 64)], zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    struct.pack_into("<L", data, second + 42, 0)
    archive.write_bytes(data)
    refused(tmp_path, archive, "overlaps")


def test_a_thousandfold_bomb_is_refused_before_it_is_unpacked(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("bomb", b"\0" * (20 * 2**20))])
    refused(tmp_path, archive, "times its size")


def test_a_blank_mask_that_packs_well_is_no_bomb(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("mask.tif", b"\0" * 65_746)])
    assert contents(archive) == {"mask.tif": b"\0" * 65_746}


@pytest.mark.parametrize("limit", [{"entries": 2}, {"total_bytes": 25}, {"file_bytes": 9}])
def test_limits_can_be_lowered(tmp_path, limit):
    archive = make_zip(tmp_path / "x.zip", [(name, b"0123456789") for name in "abc"])
    refused(tmp_path, archive, "at most", replace(DEFAULT_LIMITS, **limit))


def test_an_archive_inside_stays_a_file(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", [("../evil", b"1")]).read_bytes()
    assert contents(make_zip(tmp_path / "x.zip", [("inner.zip", inner)])) == {"inner.zip": inner}
