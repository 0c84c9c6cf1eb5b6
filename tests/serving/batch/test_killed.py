"""``medloom batch`` as a process that is killed, terminated, or has no room."""

import os
import random
import resource
import signal
import subprocess
import sys

import pytest

from medloom.serving.batch.rounds import shared_out
from support.bundles import tiny_recipe, write_tiny_bundle

COUNT = 240
CALLS, _ = shared_out("onnx", None, None)


@pytest.fixture(scope="module")
def setting(tmp_path_factory, write_pictures):
    """A bundle and pictures, with a damaged one among them."""
    folder = tmp_path_factory.mktemp("killed")
    write_tiny_bundle(folder / "model.tar.gz", tiny_recipe(channels=("grey",)))
    write_pictures(folder / "images", COUNT)
    (folder / "images/p003/0031.png").write_bytes(b"\x89PNG\r\n\x1a\n rest is missing")
    return folder


def begin(setting, out, **options):
    command = [sys.executable, "-m", "medloom.cli.main", "batch", str(setting / "model.tar.gz")]
    return subprocess.Popen(
        [*command, str(setting / "images"), "-o", str(out), "--workers", "1", "--batch-size", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture(scope="module")
def whole(setting, written):
    """What a batch writes that nobody disturbs."""
    process = begin(setting, setting / "whole")
    process.communicate()
    assert process.returncode == 3
    return written(setting / "whole")


def lines_of(out):
    try:
        return (out / "journal.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def wait_for(process, out, lines):
    while process.poll() is None and lines_of(out) < lines:
        os.sched_yield()


@pytest.mark.slow
def test_a_batch_that_is_killed_at_any_moment_goes_on_and_ends_as_if_it_had_not_been(setting, whole, tmp_path, written):
    out, chance, kills = tmp_path / "out", random.Random(0), 0
    for lines in (0, 1, 2, 5, 9, 14, 20, 27):
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
        finished = lines_of(out)
        process = begin(setting, out)
        wait_for(process, out, lines)
        for _ in range(chance.randrange(200)):  # some moment of its work on the next files
            os.sched_yield()
        kills += process.poll() is None
        process.kill()
        process.communicate()
        assert lines_of(out) >= finished
        again = sum(path.stat().st_mtime_ns != time for path, time in before.items())
        assert again <= 2 * 4 * (CALLS + 2)  # the mask and overlay of no more inputs than were under way
    assert kills >= 6
    process = begin(setting, out)
    process.communicate()
    assert process.returncode == 3
    assert written(out) == whole


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_batch_that_is_asked_to_stop_finishes_what_is_under_way_and_says_how_to_go_on(
    setting, whole, tmp_path, written, number, code
):
    out = tmp_path / "out"
    process = begin(setting, out)
    wait_for(process, out, 3)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == code
    assert "stopping after what is under way" in said
    assert "inputs are done and kept; the same command goes on with the others" in said
    assert "Traceback" not in said
    assert not list(out.rglob("*.part"))
    assert (out / "journal.jsonl").read_bytes().endswith(b"\n")
    process = begin(setting, out)
    process.communicate()
    assert process.returncode == 3
    assert written(out) == whole


@pytest.mark.slow
def test_a_batch_without_room_exits_with_74_and_goes_on_when_there_is_some(setting, whole, tmp_path, written):
    out = tmp_path / "out"
    process = begin(setting, out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)))
    _, said = process.communicate()
    assert process.returncode == 74
    assert "could not write" in said
    assert "Traceback" not in said
    assert 0 < lines_of(out) < COUNT // 4
    process = begin(setting, out)
    process.communicate()
    assert process.returncode == 3
    assert written(out) == whole
