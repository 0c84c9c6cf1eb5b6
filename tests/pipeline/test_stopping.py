"""A command that is stopped, or finds no room on the disk, says so in a line and leaves nothing half written."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import yaml

from medloom.cli.main import main
from medloom.errors import DiskFullError
from medloom.files import is_disk_full, replacing, write_bytes, write_text
from medloom.signals import StopRequest, announced
from pipeline.test_writing import hashes

IN_A_STAGE = {
    "prepare": "medloom.data.preparation.audit_leakage",
    "train": "medloom.pipeline.stages.train.find_store",
    "evaluate": "medloom.evaluation.driver.write_table",
    "package": "medloom.packaging.writer.pack",
    "report": "medloom.pipeline.stages.report.write_run_report",
    "predict": "medloom.serving.batch.small.write_table",
    "verify": "medloom.packaging.verify",
}
"""Something that each command does in the midst of its work."""


@pytest.fixture(scope="module")
def made(place):
    return {}


@pytest.fixture
def words(make_recipe, pictures, place, made, capsys):
    """The words of each command on a finished run."""
    run = place / "run"
    if not made:
        write_text(place / "recipe.yaml", yaml.safe_dump(make_recipe().plain()))
        made["begin"] = [str(place / "recipe.yaml"), "--run", str(run), "--data", str(pictures), "--workers", "1"]
        assert main(["run", *made["begin"]]) == 0
    capsys.readouterr()

    def of(command):
        whole = {
            "run": ["run", *made["begin"], "--again"],
            "prepare": ["prepare", *made["begin"]],
            "predict": ["predict", str(run), str(next((pictures / "pictures").iterdir())), "-o", str(place / "out")],
        }
        return whole.get(command, [command, str(run)])

    return of


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("command", IN_A_STAGE)
def test_a_command_that_is_stopped_says_so_in_a_line_and_leaves_the_run_as_it_was(
    command, number, code, words, place, tmp_path, monkeypatch, capsys
):
    before = hashes(place / "run")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(IN_A_STAGE[command], lambda *_, **__: os.kill(os.getpid(), number))
    assert main(words(command)) == code
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if "stopped" in line]
    assert "nothing half written is left" in line
    assert ("SIGTERM" in line) == (number == signal.SIGTERM)
    assert "Traceback" not in said.err
    assert hashes(place / "run") == before
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_says_at_once_what_it_waits_for_and_a_second_interrupt_ends_it(number):
    heard = []
    with announced(heard.append), StopRequest() as stop:
        os.kill(os.getpid(), number)
        assert stop.requested
        assert heard == ["stopping after this step; press Ctrl-C again to stop at once"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(heard) == 1


@pytest.fixture
def full():
    """A disk on which no file can be larger than so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("command", ["prepare", "run", "evaluate", "package", "report", "predict"])
def test_without_room_a_command_names_the_file_the_bytes_and_the_free_ones_and_changes_nothing(
    command, words, full, place, monkeypatch, capsys
):
    before = hashes(place / "run")
    monkeypatch.setenv("MEDLOOM_CACHE", str(place / f"cache-{command}"))
    full(300)
    assert main(words(command)) == 74
    full(resource.RLIM_INFINITY)
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "bytes" in line
    assert "are free" in line
    assert "checkpoint" not in line
    assert not list((place / f"cache-{command}").rglob("*.npy"))
    assert hashes(place / "run") == before


def test_a_file_without_room_is_not_there_and_the_old_one_is(tmp_path, full):
    write_bytes(tmp_path / "file", b"old")
    full(100)
    with pytest.raises(
        DiskFullError, match=r"could not write .*file: .* needs 5,000 bytes or more and [\d,]+ are free"
    ):
        write_bytes(tmp_path / "file", bytes(5000))
    with pytest.raises(DiskFullError, match="needs 100 bytes or more"), replacing(tmp_path / "file") as beside:
        beside.write_bytes(bytes(5000))
    full(resource.RLIM_INFINITY)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_libraries_say_of_a_full_disk_is_understood():
    assert is_disk_full(OSError(errno.ENOSPC, "whatever"))
    assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert is_disk_full(OSError("100 requested and 12 written"))
    assert not is_disk_full(FileNotFoundError(errno.ENOENT, "no such file"))


def test_what_is_free_is_said_for_a_library_that_names_no_file(monkeypatch, capsys):
    def command():
        raise RuntimeError("No space left on device")

    monkeypatch.setattr("medloom.cli.recipes.command", command)
    assert main(["recipes"]) == 74
    assert f"{shutil.disk_usage(Path.cwd()).free // 10**9}" in capsys.readouterr().err


def test_whoever_is_told_of_a_stop_may_be_gone():
    def gone(text):
        raise BrokenPipeError

    with announced(gone), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "SIGTERM"
