"""Requests that could not be answered in time are refused before their body is read, and nothing is begun too late."""

import asyncio
import io
import threading
from dataclasses import replace

import numpy as np
import pytest

from medloom.serving import Limits, Service, create_app
from medloom.serving.admission import Admission, Gate
from medloom.serving.problems import Problem
from medloom.serving.room import Room

HEADERS = {"Content-Type": "application/x-npy"}


def _npy():
    buffer = io.BytesIO()
    np.save(buffer, np.full((16, 16, 3), 9, np.uint8))
    return buffer.getvalue()


async def _unsent():
    """A body that must not be asked for."""
    raise AssertionError("the body was read")
    yield b""


def _working(gate, count):
    """Let so many requests in that stay at work; returns what lets them go again."""
    held = []
    for _ in range(count):
        admission = Admission()
        held.append(gate.working(admission))
        held[-1].__enter__()
    return held


def test_what_comes_over_the_bound_is_told_when_to_come_again_before_its_body_is_read(
    served, make_client, assert_problem
):
    service = Service.of(*served, Limits(queue=2))
    client = make_client(create_app(service))
    held = _working(service.gate, 2)
    response = client.post("/invocations", _unsent(), HEADERS)
    assert_problem(response, 503, "overloaded")
    assert int(response.headers["retry-after"]) >= 1
    assert client.get("/ping").status_code == 200
    held[0].__exit__(None, None, None)
    assert client.post("/invocations", _npy(), HEADERS).status_code == 200


def test_requests_that_only_send_their_body_keep_nobody_out():
    gate = Gate(Limits(queue=1, reading=2))
    with gate.enter() as one, gate.enter(), gate.enter():
        with pytest.raises(Problem, match="more is asked"), gate.enter():
            raise AssertionError
        with gate.working(one):
            pass
    assert (gate.inside, gate.working_now) == (0, 0)


def test_one_client_may_not_take_all_places(served, make_client, assert_problem):
    service = Service.of(*served, Limits(per_client=1))
    client = make_client(create_app(service))
    with service.gate.enter(client="127.0.0.1"):
        response = client.post("/invocations", _unsent(), HEADERS)
        assert_problem(response, 429, "too_many")
        assert int(response.headers["retry-after"]) >= 1
        with service.gate.enter(client="10.0.0.2"):
            pass
    assert client.post("/invocations", _npy(), HEADERS).status_code == 200


def test_a_request_whose_wait_would_be_longer_than_it_has_is_refused_at_once():
    gate = Gate(Limits(queue=100))
    gate._interval_s = 2.0
    held = _working(gate, 20)
    with pytest.raises(Problem) as refused, gate.enter(timeout_s=30.0):
        raise AssertionError
    assert refused.value.retry_after_s == 30
    with gate.enter(timeout_s=50.0):
        pass
    assert len(held) == 20


def test_bodies_may_not_take_more_together_than_is_allowed(served, make_client, assert_problem):
    service = Service.of(*served, Limits(max_bodies_bytes=1000))
    client = make_client(create_app(service))
    with service.gate.enter() as other:
        other.hold(500)
        assert_problem(client.post("/invocations", _npy(), HEADERS), 503, "overloaded")
    assert client.post("/invocations", _npy(), HEADERS).status_code == 200


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "0", "00.000", "1e9", "1e999", "999999", "nan", "inf", "1,5", "5, 6", "5 s"]
)
def test_a_timeout_that_is_no_number_of_seconds_above_0_is_refused(served, make_client, assert_problem, text):
    client = make_client(create_app(Service.of(*served)))
    assert_problem(client.post("/invocations", _npy(), {**HEADERS, "X-Request-Timeout": text}), 400, "bad_timeout")


def test_work_whose_deadline_has_passed_is_not_begun(served, make_client, assert_problem):
    class Counting:
        name, calls = "counting", 0

        def run(self, batch_nchw, table_nf=None):
            self.calls += 1
            return served[0].runtime.run(batch_nchw, table_nf)

    decoded = []

    def decoder(*args, **options):
        decoded.append(1)
        return served[0].decoder(*args, **options)

    runtime = Counting()
    client = make_client(create_app(Service.of(replace(served[0], runtime=runtime, decoder=decoder), served[1])))
    assert_problem(client.post("/invocations", _npy(), {**HEADERS, "X-Request-Timeout": "0.000001"}), 503, "too_late")
    assert (runtime.calls, decoded) == (0, [])
    assert client.post("/invocations", _npy(), {**HEADERS, "X-Request-Timeout": "50.5"}).status_code == 200
    assert (runtime.calls, decoded) == (1, [1])


def test_large_images_wait_for_room_and_small_ones_beside_them_do_not():
    room, order = Room(100, decoders=4), []
    room.enter(60)

    def large():
        room.enter(90)
        order.append("large")
        room.leave(90)

    waiting = threading.Thread(target=large)
    waiting.start()
    room.enter(30)
    order.append("small")
    room.leave(30)
    room.leave(60)
    waiting.join(30)
    assert order == ["small", "large"]


def test_one_that_is_larger_than_the_room_has_it_for_itself_and_a_request_does_not_wait_for_itself():
    room = Room(100, decoders=1)
    room.enter(1000)
    room.enter(1000, more=True)
    room.leave(2000)
    room.enter(90)


def test_places_are_free_again_after_whatever_became_of_a_request(served, make_client):
    service = Service.of(*served, Limits(queue=1, reading=0, per_client=1))
    client = make_client(create_app(service))
    for body, headers in [
        (_npy(), HEADERS),
        (b"x", HEADERS),
        (b"x", {"Content-Type": "text/plain"}),
        (_npy(), HEADERS),
    ]:
        status = client.post("/invocations", body, headers).status_code
        assert status in (200, 400, 415, 422)
    assert status == 200
    assert (service.gate.inside, service.gate.working_now, service.gate._clients.total()) == (0, 0, 0)


def test_all_of_a_burst_is_answered_or_refused_and_what_is_answered_is_right(served, make_client):
    service = Service.of(*served, Limits(queue=6))
    expected = make_client(create_app(service)).post("/invocations", _npy(), HEADERS).content

    async def burst():
        import httpx

        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            calls = (client.post("/invocations", content=_npy(), headers=HEADERS) for _ in range(60))
            return await asyncio.gather(*calls)

    answers = asyncio.run(burst())
    assert {answer.status_code for answer in answers} == {200, 503}
    assert {answer.content for answer in answers if answer.status_code == 200} == {expected}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 503)
