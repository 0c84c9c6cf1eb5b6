import gzip
import io
import tarfile

import pytest

from medloom.errors import BundleError
from medloom.packaging.archive import ArchiveLimits, extract, pack


def _tar(*entries, format=tarfile.USTAR_FORMAT):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=format) as tar:
        for entry, data in entries:
            tar.addfile(entry, io.BytesIO(data))
    return raw.getvalue()


def _entry(name, data=b"x", **fields):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry, data


def _special(name, kind, **fields):
    return _entry(name, b"", type=kind, **fields)


def _place(tmp_path, tar):
    archive, destination = tmp_path / "in" / "model.tar.gz", tmp_path / "out"
    archive.parent.mkdir()
    destination.mkdir()
    archive.write_bytes(gzip.compress(tar))
    return archive, destination


def _everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_is_packed_comes_out_again(tmp_path):
    (tmp_path / "big").write_bytes(bytes(range(256)) * 5000)
    files = {"b/two.bin": tmp_path / "big", "one.json": b"{}", "empty": b""}
    (tmp_path / "out").mkdir()
    pack(tmp_path / "a.tar.gz", files)
    assert extract(tmp_path / "a.tar.gz", tmp_path / "out") == ["b/two.bin", "empty", "one.json"]
    assert (tmp_path / "out/b/two.bin").read_bytes() == (tmp_path / "big").read_bytes()
    assert (tmp_path / "out/one.json").read_bytes() == b"{}"


def test_the_same_files_give_the_same_bytes(tmp_path):
    pack(tmp_path / "first.tar.gz", {"a": b"1", "b": b"2"})
    pack(tmp_path / "second.tar.gz", {"b": b"2", "a": b"1"})
    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second.tar.gz").read_bytes()


def test_what_is_packed_can_be_read_by_others(tmp_path):
    pack(tmp_path / "a.tar.gz", {"folder/a": b"1"})
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert tar.extractfile("folder/a").read() == b"1"


def test_a_bundle_packed_again_with_a_folder_entry_is_read(tmp_path):
    tar = _tar(_special("./", tarfile.DIRTYPE), _entry("./a.json", b"{}"), format=tarfile.GNU_FORMAT)
    archive, destination = _place(tmp_path, tar)
    assert extract(archive, destination) == ["a.json"]


HOSTILE = {
    "up": [_entry("../evil")],
    "up inside": [_entry("a/../../evil")],
    "absolute": [_entry("/tmp/evil")],
    "backslash": [_entry("..\\evil")],
    "drive": [_entry("C:evil")],
    "hidden": [_entry(".bashrc")],
    "space": [_entry("a b")],
    "symlink": [_special("link", tarfile.SYMTYPE, linkname="/tmp")],
    "write through a symlink": [_special("link", tarfile.SYMTYPE, linkname="../in"), _entry("link/evil")],
    "hard link": [_entry("a"), _special("b", tarfile.LNKTYPE, linkname="a")],
    "fifo": [_special("pipe", tarfile.FIFOTYPE)],
    "device": [_special("null", tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "twice": [_entry("a"), _entry("a", b"y")],
    "twice but for case": [_entry("a"), _entry("A", b"y")],
    "file as folder": [_entry("a"), _entry("a/b")],
    "sparse": [_special("s", tarfile.GNUTYPE_SPARSE)],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_but_regular_files_with_plain_names_is_taken_and_nothing_lands_outside(tmp_path, name):
    archive, destination = _place(tmp_path, _tar(*HOSTILE[name]))
    with pytest.raises(BundleError):
        extract(archive, destination)
    assert _everything(archive.parent) == ["model.tar.gz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert not any(path.is_symlink() for path in destination.rglob("*"))


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_extended_headers_are_not_read(tmp_path, format):
    archive, destination = _place(tmp_path, _tar(_entry("a" * 150), format=format))
    with pytest.raises(BundleError, match="ustar"):
        extract(archive, destination)


def test_headers_that_say_no_more_than_when_are_passed_over(tmp_path):
    made = _tar(_entry("abc", mtime=1.5), _entry("d/e", mtime=-2.25), format=tarfile.PAX_FORMAT)
    archive, destination = _place(tmp_path, made)
    assert extract(archive, destination) == ["abc", "d/e"]


@pytest.mark.parametrize(
    "said", [{"path": "other"}, {"size": "900"}, {"GNU.sparse.size": "1"}, {"mtime": "1\n9 path=x"}]
)
def test_headers_that_say_more_than_when_are_refused(tmp_path, said):
    archive, destination = _place(tmp_path, _tar(_entry("abc", pax_headers=said), format=tarfile.PAX_FORMAT))
    with pytest.raises(BundleError, match="ustar"):
        extract(archive, destination)


def test_a_name_that_is_no_utf8_is_refused(tmp_path):
    tar = bytearray(_tar(_entry("abc")))
    tar[0] = 0xFF
    tar[148:156] = b"%06o\0 " % (sum(tar[:148]) + 8 * ord(" ") + sum(tar[156:512]))
    archive, destination = _place(tmp_path, bytes(tar))
    with pytest.raises(BundleError, match="not a sound"):
        extract(archive, destination)


def test_set_user_id_is_not_kept(tmp_path):
    archive, destination = _place(tmp_path, _tar(_entry("tool", mode=0o6777)))
    extract(archive, destination)
    assert (destination / "tool").stat().st_mode & 0o7777 == 0o600


def test_a_bomb_stops_at_the_limit(tmp_path):
    archive, destination = _place(tmp_path, _tar(_entry("zeros", bytes(4_000_000))))
    limits = ArchiveLimits(ratio_above_bytes=1_000_000)
    with pytest.raises(BundleError, match="too many bytes"):
        extract(archive, destination, limits)
    assert sum(path.stat().st_size for path in destination.rglob("*")) <= 2_000_000


def test_a_size_that_lies_allocates_nothing(tmp_path):
    entry, _ = _entry("a")
    entry.size = 2**32
    archive, destination = _place(tmp_path, entry.tobuf(tarfile.USTAR_FORMAT) + b"x" * 512)
    with pytest.raises(BundleError, match="cut short"):
        extract(archive, destination)


def test_too_many_entries_are_refused(tmp_path):
    archive, destination = _place(tmp_path, _tar(*[_entry(f"f{index}") for index in range(6)]))
    with pytest.raises(BundleError, match="more than 5 entries"):
        extract(archive, destination, ArchiveLimits(max_files=5))


@pytest.mark.parametrize(
    "data", [b"", b"not gzip", gzip.compress(b"", mtime=0), gzip.compress(b"not a tar" * 100, mtime=0)]
)
def test_what_is_no_archive_is_refused(tmp_path, data):
    archive, destination = _place(tmp_path, b"")
    archive.write_bytes(data)
    with pytest.raises(BundleError):
        extract(archive, destination)


def test_an_archive_cut_anywhere_is_refused(tmp_path):
    archive, destination = _place(tmp_path, _tar(_entry("a", b"0123456789" * 300)))
    whole = archive.read_bytes()
    for part in range(16):
        archive.write_bytes(whole[: len(whole) * part // 16])
        with pytest.raises(BundleError):
            extract(archive, destination)
        for file in destination.iterdir():
            file.unlink()
