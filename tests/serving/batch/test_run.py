"""A batch: bounded, in order, and the same however often it was stopped."""

import json
import os
from functools import partial

import pytest

from medloom.errors import DiskFullError, UserError
from medloom.inference.inputs import ImageFile, opened
from medloom.inference.writers import Asked
from medloom.serving.batch import Batch, Listing, predict_files, run_batch
from medloom.serving.batch.work import Input, each_piece

ALL = 75
BATCH = Batch(workers=0)


@pytest.fixture
def folder_of(tmp_path, write_pictures):
    """The listing of a folder with so many pictures."""

    def make(count=ALL):
        images = write_pictures(tmp_path / "images", count)

        def entries():
            with opened([images]) as listed:
                yield from ((entry, {}) for entry in listed())

        return Listing(entries)

    return make


def wanted_for(calls):
    """Says so many times that the batch is to go on."""
    left = iter([True] * calls)
    return lambda: next(left, False)


def test_the_table_has_the_order_of_the_listing_and_the_answers_of_predict(
    neighbourly, folder_of, tmp_path, rows_of, written
):
    listing = folder_of()
    made = run_batch(neighbourly(), listing, tmp_path / "out", BATCH, {})
    assert (made.finished, made.done, made.now, made.result["inputs"]) == (True, ALL, ALL, ALL)
    assert [row["file"] for row in rows_of(tmp_path / "out")] == [entry.name for entry, _ in listing.entries()]
    predict_files(neighbourly(), [entry for entry, _ in listing.entries()], tmp_path / "small")
    assert written(tmp_path / "out") == written(tmp_path / "small")


@pytest.mark.parametrize("stops", [(0,), (1,), (2, 1), (1, 0, 1, 1)], ids=str)
def test_a_batch_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(
    neighbourly, folder_of, tmp_path, written, stops
):
    listing, done, sizes = folder_of(), 0, []
    run_batch(neighbourly(), listing, tmp_path / "whole", BATCH, {})
    for calls in stops:
        made = run_batch(neighbourly(), listing, tmp_path / "out", BATCH, {}, is_wanted=wanted_for(calls))
        assert (made.finished, made.done, made.now) == (False, done + 16 * calls, 16 * calls)
        done = made.done
    predictor = neighbourly()
    made = run_batch(predictor, listing, tmp_path / "out", BATCH, {})
    sizes = predictor.runtime.sizes
    assert (made.finished, made.now, sum(sizes)) == (True, ALL - done, ALL - done)
    assert written(tmp_path / "out") == written(tmp_path / "whole")


def test_a_finished_batch_that_is_asked_again_changes_nothing(neighbourly, folder_of, tmp_path):
    listing, out = folder_of(), tmp_path / "out"
    first = run_batch(neighbourly(), listing, out, BATCH, {})
    before = {path: path.stat().st_mtime_ns for path in [out, *out.iterdir()]}
    predictor = neighbourly()
    again = run_batch(predictor, listing, out, BATCH, {})
    assert predictor.runtime.sizes == []
    assert (again.result, again.finished, again.now) == (first.result, True, 0)
    assert {path: path.stat().st_mtime_ns for path in [out, *out.iterdir()]} == before


@pytest.mark.parametrize("cut", [1, 40, 10**6], ids=["last-byte", "some", "all-of-it"])
def test_a_line_that_a_kill_tore_is_done_again(neighbourly, folder_of, tmp_path, written, cut):
    listing, out = folder_of(), tmp_path / "out"
    run_batch(neighbourly(), listing, tmp_path / "whole", BATCH, {})
    run_batch(neighbourly(), listing, out, BATCH, {}, is_wanted=wanted_for(3))
    journal = out / "journal.jsonl"
    lines = unmarked(journal)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][: -min(cut, len(lines[-1]) - 1)])
    made = run_batch(neighbourly(), listing, out, BATCH, {})
    assert made.now == ALL - 32
    assert written(out) == written(tmp_path / "whole")


def unmarked(journal):
    """The lines of a journal as a kill leaves them, before it could say what is safe."""
    return [line for line in journal.read_bytes().splitlines(keepends=True) if not line.startswith(b'{"safe"')]


@pytest.mark.parametrize("rest", [b"", b"\0" * 300, b'\0\0{"ids":["x"]}\n'], ids=["whole", "zeros", "damaged"])
@pytest.mark.parametrize("pieces", [0, 2])
def test_after_a_power_cut_what_was_not_flushed_is_done_again(neighbourly, folder_of, tmp_path, written, pieces, rest):
    listing, out = folder_of(), tmp_path / "out"
    run_batch(neighbourly(), listing, tmp_path / "whole", BATCH, {})
    run_batch(neighbourly(), listing, out, BATCH, {}, is_wanted=wanted_for(3))
    journal = out / "journal.jsonl"
    begin, *lines = unmarked(journal)
    start = json.loads(begin)["start"].encode()
    assert start  # what Linux calls this start of the machine
    begin = begin.replace(start, b"f" * len(start))
    safe = b'{"safe":%d}\n' % len(begin + b"".join(lines[:pieces])) if pieces else b""
    journal.write_bytes(begin + b"".join([*lines, safe, rest]))
    assert run_batch(neighbourly(), listing, out, BATCH, {}).now == ALL - 16 * pieces
    assert run_batch(neighbourly(), listing, out, BATCH, {}).now == 0
    assert written(out) == written(tmp_path / "whole")


def test_a_journal_that_is_damaged_in_its_midst_is_refused(neighbourly, folder_of, tmp_path):
    listing, out = folder_of(), tmp_path / "out"
    run_batch(neighbourly(), listing, out, BATCH, {})
    journal = out / "journal.jsonl"
    journal.write_bytes(b"x" + journal.read_bytes()[1:])
    with pytest.raises(UserError, match="damaged in its midst; --overwrite"):
        run_batch(neighbourly(), listing, out, BATCH, {})
    assert run_batch(neighbourly(), listing, out, BATCH, {}, overwrite=True).now == ALL


def test_files_that_changed_are_done_again_and_the_table_follows_the_folder(neighbourly, folder_of, tmp_path, rows_of):
    listing, out, images = folder_of(20), tmp_path / "out", tmp_path / "images"
    run_batch(neighbourly(), listing, out, BATCH, {})
    (images / "p000/0000.png").write_bytes((images / "p001/0019.png").read_bytes())
    (images / "p000/0003.png").unlink()
    os.link(images / "p000/0005.png", images / "p000/0004b.png")
    os.utime(images / "p001/0011.png", ns=(1, 1))
    assert run_batch(neighbourly(), listing, out, BATCH, {}).now == 3
    assert [row["file"] for row in rows_of(out)] == [entry.name for entry, _ in listing.entries()]
    assert run_batch(neighbourly(), listing, out, BATCH, {}).now == 0


def test_another_bundle_or_option_in_the_same_folder_is_refused_with_what_differs(neighbourly, folder_of, tmp_path):
    listing, out = folder_of(3), tmp_path / "out"
    run_batch(neighbourly(), listing, out, BATCH, {"bundle": "first"})
    for batch, of, said in (
        (BATCH, {"bundle": "second"}, "bundle 'first', now 'second'"),
        (Batch(page=2, workers=0), {"bundle": "first"}, "page None, now 2"),
    ):
        with pytest.raises(UserError, match=said):
            run_batch(neighbourly(), listing, out, batch, of)
    (out / "mine.txt").write_text("a user's own")
    assert run_batch(neighbourly(), listing, out, BATCH, {"bundle": "second"}, overwrite=True).now == 3
    assert (out / "mine.txt").exists()


def test_a_folder_with_other_things_in_it_is_refused(neighbourly, folder_of, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="not empty and is no output of medloom batch"):
            run_batch(neighbourly(), folder_of(3), tmp_path / "out", BATCH, {}, overwrite=overwrite)


def test_a_second_process_in_the_same_folder_is_refused(neighbourly, folder_of, tmp_path):
    listing, out = folder_of(20), tmp_path / "out"
    refused = []

    def watch(_):
        if not refused:
            with pytest.raises(UserError, match="another process is at work") as error:
                run_batch(neighbourly(), listing, out, BATCH, {})
            refused.append(error)

    run_batch(neighbourly(), listing, out, BATCH, {}, watch=watch)
    assert refused


def test_a_full_disk_ends_it_and_what_is_finished_stays(neighbourly, folder_of, tmp_path, monkeypatch, written):
    listing, out = folder_of(), tmp_path / "out"
    run_batch(neighbourly(), listing, tmp_path / "whole", BATCH, {})
    write, calls = os.write, iter(range(100))
    full = partial(_full, write, calls)
    monkeypatch.setattr("medloom.serving.batch.journal.os.write", full)
    with pytest.raises(DiskFullError, match=r"journal\.jsonl: No space left"):
        run_batch(neighbourly(), listing, out, BATCH, {})
    monkeypatch.undo()
    assert 0 < len((out / "journal.jsonl").read_bytes().splitlines()) < 5
    run_batch(neighbourly(), listing, out, BATCH, {})
    assert written(out) == written(tmp_path / "whole")


def _full(write, calls, number, data):
    """Write all of the first lines, and half of the third."""
    if next(calls) < 2:
        return write(number, data)
    write(number, data[: len(data) // 2])
    raise OSError(28, "No space left on device")


def test_no_more_inputs_are_taken_than_are_under_way(neighbourly, tmp_path, write_pictures):
    data = next(write_pictures(tmp_path / "images", 1).rglob("*.png")).read_bytes()
    taken = 0

    def endless():
        nonlocal taken
        for taken in range(10**6):
            yield Input(taken, ImageFile(f"{taken}.png", lambda: data), {})

    pieces = each_piece(Asked(neighbourly(), tmp_path), endless(), batch_size=4)
    for number, piece in enumerate(pieces):
        assert len(piece) == 4
        assert taken <= 4 * (number + 5)
        if number == 20:
            break
    pieces.close()


def test_large_files_come_in_smaller_pieces(neighbourly, tmp_path, write_pictures):
    data = next(write_pictures(tmp_path / "images", 1).rglob("*.png")).read_bytes()
    sizes = [10, 10, 40 * 2**20, 40 * 2**20, 10, 100 * 2**20, 10]
    inputs = [
        Input(number, ImageFile(str(number), lambda: data), {}, stamp=f"{size}:0") for number, size in enumerate(sizes)
    ]
    pieces = list(each_piece(Asked(neighbourly(), tmp_path), inputs))
    assert sorted([[done.input.number for done in piece] for piece in pieces]) == [[0, 1, 2], [3, 4], [5], [6]]


def test_the_manifest_says_what_it_is_of_and_names_no_place(neighbourly, folder_of, tmp_path):
    run_batch(neighbourly(), folder_of(3), tmp_path / "out", BATCH, {"bundle": "b"})
    text = (tmp_path / "out/batch.json").read_text()
    plain = json.loads(text)
    assert plain["of"] == {"bundle": "b", "page": None, "uncertainty": "", "batch_size": 16}
    assert (plain["finished"], plain["result"]["inputs"], plain["times"]["runs"]) == (True, 3, 1)
    assert str(tmp_path) not in text
