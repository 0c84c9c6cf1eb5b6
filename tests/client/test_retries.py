"""A request is sent again only while nobody has answered it, and not before the server wants it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from medloom.client.retries import Retries, said_to_wait
from medloom.client.wire import NoAnswer, Request, Response, Wait

ASKED = Request("POST", "/invocations", b"image")
DONE = Response(200, {}, b"{}")
REFUSED = NoAnswer("nobody answers there", again=True)
LATE = NoAnswer("none came within 60 s", again=False)


def busy(status=503, **headers):
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def played(retries, answers):
    """Give these answers in turn; what was sent, for how long nothing was, and what came of it."""
    steps, left, sent, waits, answer = retries.sent(ASKED), list(answers), 0, [], None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return sent, waits, end.value
        if isinstance(step, Wait):
            waits.append(step.seconds)
            answer = None
        else:
            assert step == ASKED
            sent, answer = sent + 1, left.pop(0)


@pytest.mark.parametrize("status", [200, 204, 400, 401, 404, 413, 415, 422, 500, 501])
def test_what_was_answered_is_never_sent_again(status):
    answer = Response(status, {"retry-after": "1"}, b"")
    assert played(Retries(), [answer, DONE]) == (1, [], answer)


@pytest.mark.parametrize("answer", [busy(429), busy(502), busy(503), busy(504), REFUSED])
def test_what_nobody_answered_is_sent_again_after_a_while(answer):
    sent, waits, found = played(Retries(), [answer, answer, DONE])
    assert (sent, found) == (3, DONE)
    assert all(0.1 <= seconds <= 1.0 for seconds in waits)


def test_a_request_that_may_still_be_worked_on_is_not_sent_again():
    assert played(Retries(), [LATE, DONE]) == (1, [], LATE)


def test_a_server_that_says_when_is_not_asked_earlier():
    for _ in range(50):
        assert 7.0 <= played(Retries(), [busy(retry_after="7"), DONE])[1][0] <= 8.0
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28.0 <= played(Retries(), [busy(retry_after=later), DONE])[1][0] <= 31.0


def test_patience_ends_after_so_many_tries_or_so_long():
    assert played(Retries(times=2), [busy()] * 9)[0] == 3
    sent, waits, found = played(Retries(times=9, patience_s=10), [busy(retry_after="4")] * 9)
    assert (sent, found.status) == (3, 503)
    assert sum(waits) <= 10.0
    assert played(Retries(patience_s=10), [busy(retry_after="3600"), DONE])[:2] == (1, [])


def test_waits_grow_and_differ_between_clients():
    runs = [played(Retries(times=5), [REFUSED] * 6)[1] for _ in range(8)]
    assert all(waits[-1] > waits[0] for waits in runs)
    assert len({waits[0] for waits in runs}) > 1


@pytest.mark.parametrize("text", ["", "soon", "-3", "1e9", "٣"])
def test_a_retry_after_that_says_nothing_is_none(text):
    assert said_to_wait({"retry-after": text}) is None


def test_a_date_that_is_over_is_now():
    assert said_to_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
