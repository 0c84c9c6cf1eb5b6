"""A tracker that is down, slow or full never stops or slows what it follows, and says so once."""

from __future__ import annotations

import pytest

from medloom.events import EpochEnded, Events, Noted, Warned
from medloom.tracking import Follower, send_run
from support.tracked import Down, Full, Hanging, Kept, add_epochs, finish, write_run

EPOCH = EpochEnded(1, 9, {})


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "runs" / "one", finished=False)


@pytest.fixture
def follow(folder):
    """Follow the run with a tracker; what was said, and the follower as the only listener of events."""
    heard = []

    def begin(tracker):
        follower = Follower(folder, [tracker], Events([heard.append]))
        return follower, Events([follower]), heard

    return begin


def warnings(heard):
    return [event.text for event in heard if isinstance(event, Warned)]


def steps(tracker):
    (told,) = tracker.told.values()
    points = [point for what, *said in told if what == "points" for point in said[0]]
    return [point.step for point in points if point.name == "train_loss"]


def test_what_happens_is_sent_once_and_the_end_with_it(folder, follow):
    tracker = Kept()
    follower, events, heard = follow(tracker)
    for epoch in range(4, 9):
        add_epochs(folder, (0.5,), first=epoch)
        events.emit(EPOCH)
    finish(folder)
    follower.close("finished", wait_s=60)
    assert steps(tracker) == list(range(1, 9))
    (told,) = tracker.told.values()
    assert [said for what, *said in told if what == "state"][-1] == ["finished"]
    assert told[-1] == ("close",)
    assert heard == []


def test_one_that_never_answers_holds_nothing_up(folder, follow):
    tracker = Hanging()
    follower, events, heard = follow(tracker)
    events.emit(EPOCH)
    assert tracker.reached.wait(60)
    for _ in range(1000):  # would fill any queue that is not emptied
        events.emit(EPOCH)
    follower.close("finished", wait_s=0.01)
    (text,) = warnings(heard)
    assert f"medloom track {folder}" in text
    tracker.released.set()


def test_one_that_is_down_is_said_once_without_its_password(folder, follow):
    follower, events, heard = follow(Down())
    for _ in range(50):
        events.emit(EPOCH)
    follower.close("finished", wait_s=60)
    (text,) = warnings(heard)
    assert "ConnectionError: no answer from https" in text
    assert "secret" not in text
    assert f"medloom track {folder}" in text


def test_one_that_comes_back_has_everything_at_the_end(folder, follow, monkeypatch):
    tracker = Down()
    follower, events, heard = follow(tracker)
    events.emit(EPOCH)
    while not warnings(heard):
        events.emit(EPOCH)
    monkeypatch.setattr(Down, "up", True)
    follower.close("finished", wait_s=60)
    assert steps(tracker) == [1, 2, 3]
    assert [event for event in heard if isinstance(event, Noted)] == [Noted("down has everything of this run now")]


def test_one_without_room_gets_what_it_has_room_for(folder, follow):
    tracker = Full()
    follower, events, heard = follow(tracker)
    events.emit(EPOCH)
    follower.close("stopped", wait_s=60)
    assert set(steps(tracker)) == {1, 2, 3}
    assert "No space left on device" in warnings(heard)[0]
    send_run(folder, replaced := Kept())
    (told,) = replaced.told.values()
    assert {said[0] for what, *said in told if what == "file"} == {"progress/epoch_0001.png", "progress/epoch_0002.png"}


def test_nothing_is_sent_before_a_training_begins(folder, follow):
    (folder / "metrics.jsonl").unlink()
    tracker = Kept()
    follower, events, heard = follow(tracker)
    events.emit(EPOCH)
    follower.close("failed", wait_s=60)
    assert (tracker.told, heard) == ({}, [])
    assert not (folder / "tracking.json").exists()
