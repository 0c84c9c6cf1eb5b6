"""What a killed process left behind is removed by the next one in the same place, and nothing else is."""

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from medloom.errors import BundleError, DiskFullError
from medloom.files import TemporaryFolder, flush_files, remove_abandoned, replacing, write_soon, write_text
from medloom.packaging import read_bundle
from support.bundles import write_tiny_bundle

PREFIX = "medloom-test-"

HOLDERS = {
    "folder": """
import sys; from pathlib import Path; from medloom.files import TemporaryFolder
folder = TemporaryFolder("medloom-test-", Path(sys.argv[1]))
(folder.path / "secret").write_text("x")
""",
    "file": """
import sys; from pathlib import Path; from medloom.files import replacing
writing = replacing(Path(sys.argv[1]) / "out.csv")
writing.__enter__().write_text("secret")
""",
    "bundle": """
import sys, tempfile; tempfile.tempdir = sys.argv[1]
from medloom.packaging import read_bundle
bundle = read_bundle(sys.argv[2])
""",
}


@pytest.fixture
def hold():
    """Start a process that holds something in a folder until it is killed."""
    started = []

    def start(kind, *arguments):
        code = HOLDERS[kind] + "\nprint('ready', flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"ready\n"
        return started[-1]

    yield start
    for process in started:
        _kill(process)


def _kill(process):
    with process:
        process.kill()


def test_a_temporary_folder_is_private_and_goes_when_it_is_no_longer_needed(tmp_path):
    folder = TemporaryFolder(PREFIX, tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (folder.path / "inside").write_text("x")
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_stays_while_its_process_lives_and_goes_after_it_was_killed(tmp_path, hold):
    process = hold("folder", tmp_path)
    (held,) = tmp_path.iterdir()
    TemporaryFolder(PREFIX, tmp_path).remove()
    assert (held / "secret").exists()
    _kill(process)
    assert (held / "secret").exists()
    TemporaryFolder(PREFIX, tmp_path).remove()
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_file_is_private_and_goes_at_the_next_writing_there(tmp_path, hold):
    process = hold("file", tmp_path)
    (part,) = tmp_path.iterdir()
    assert part.stat().st_mode & 0o777 == 0o600
    remove_abandoned(".medloom-", tmp_path)
    assert part.exists()
    _kill(process)
    write_text(tmp_path / "other.csv", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other.csv"]


def test_what_is_not_ours_stays(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    place = tmp_path / "place"
    for folder in (elsewhere, place, place / "medloom-other", place / "own"):
        folder.mkdir()
    (elsewhere / "kept").write_text("x")
    (place / f"{PREFIX}link").symlink_to(elsewhere)
    os.mkfifo(place / f"{PREFIX}pipe")
    before = sorted(path.name for path in place.iterdir())
    remove_abandoned(PREFIX, place)
    assert sorted(path.name for path in place.iterdir()) == before
    assert (elsewhere / "kept").exists()


def test_another_users_folder_stays(tmp_path, monkeypatch):
    (tmp_path / f"{PREFIX}theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    remove_abandoned(PREFIX, tmp_path)
    assert (tmp_path / f"{PREFIX}theirs").exists()


def test_a_place_that_is_not_there_needs_no_cleaning(tmp_path):
    remove_abandoned(PREFIX, tmp_path / "nowhere")


def test_writing_leaves_nothing_beside_the_file_whether_it_ends_well_or_not(tmp_path):
    write_text(tmp_path / "a", "whole")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a") as beside:
        beside.write_bytes((tmp_path / "missing").read_bytes())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "whole")]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_an_unpacked_bundle_of_a_killed_process_goes_when_the_next_bundle_is_opened(tmp_path, hold, monkeypatch):
    path = write_tiny_bundle(tmp_path / "model.tar.gz")
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    process = hold("bundle", place, path)
    (held,) = place.iterdir()
    assert held.stat().st_mode & 0o777 == 0o700
    with read_bundle(path) as bundle:
        assert bundle.folder.parent == place
        assert held.exists()
    _kill(process)
    with read_bundle(path):
        assert not held.exists()
    assert list(place.iterdir()) == []
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(BundleError):
        read_bundle(path)
    assert list(place.iterdir()) == []


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path):
    write_text(tmp_path / ("x" * 255), "whole")
    assert (tmp_path / ("x" * 255)).read_text() == "whole"


def test_a_file_that_is_written_soon_is_whole_or_as_it_was_and_what_was_begun_is_removed(tmp_path):
    path = tmp_path / "sub" / "mask.png"
    write_soon(path, b"first")
    flush_files(tmp_path)
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o644
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DiskFullError, match="mask"):
            write_soon(path, b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [one.name for one in path.parent.iterdir()] == ["mask.png"]
    assert path.read_bytes() == b"first"


def test_threads_that_write_the_same_file_leave_one_of_them_whole(tmp_path):
    contents = [bytes([number]) * 50_000 for number in range(16)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda data: write_soon(tmp_path / "a.png", data), contents))
    assert (tmp_path / "a.png").read_bytes() in contents
    assert len(list(tmp_path.iterdir())) == 1
