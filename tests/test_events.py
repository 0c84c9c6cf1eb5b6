"""Listeners hear everything, may ask for an end, and cannot harm the work."""

from __future__ import annotations

import pytest

from medloom.events import Events, Noted, Progressed, Stop, Warned


def test_a_listener_that_fails_is_said_once_and_the_others_go_on():
    heard = []

    def broken(event):
        raise OSError("the tracker is down")

    events = Events([broken, heard.append])
    for text in ("one", "two"):
        events.emit(Noted(text))
    warnings = [event for event in heard if isinstance(event, Warned)]
    assert [event.text for event in heard if isinstance(event, Noted)] == ["one", "two"]
    assert len(warnings) == 1
    assert "the tracker is down" in warnings[0].text


def test_the_first_wish_to_stop_counts_and_everyone_still_hears():
    heard = []
    events = Events([lambda event: Stop("plateau"), lambda event: Stop("budget"), heard.append])
    assert events.emit(Noted("now")) == Stop("plateau")
    assert heard == [Noted("now")]


def test_what_a_listener_returns_by_accident_stops_nothing():
    assert Events([lambda event: True, lambda event: "stop"]).emit(Noted("now")) is None


def test_ctrl_c_inside_a_listener_is_not_swallowed():
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Events([interrupted]).emit(Noted("now"))


def test_progress_is_an_event_like_others():
    heard = []
    Events([heard.append]).progress("prepare")(3, 9)
    assert heard == [Progressed("prepare", 3, 9)]
