"""Each new connection goes to the server process that has the fewest."""

import asyncio
import functools
import os
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
import uvloop

from medloom.serving.http.sharing import Acceptor, Counts
from support.certificates import make


def in_both_loops(test):
    """Run a test in the event loop of Python, and in the one that the server takes."""

    @functools.wraps(test)
    def run(**fixtures):
        for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(test(**fixtures))

    return run


class _Held(asyncio.Protocol):
    """A connection that says whose it is."""

    def __init__(self, name, ended):
        self.name, self.ended = name, ended

    def connection_made(self, transport):
        transport.write(self.name)

    def connection_lost(self, exc):
        self.ended()


class _Part:
    """One of several that accept at a socket."""

    def __init__(self, name, listener, place):
        self._listener = listener.dup()
        self.acceptor = Acceptor(self._listener, place, lambda: _Held(name, self.acceptor.ended))

    def close(self):
        self.acceptor.close()
        self._listener.close()


@asynccontextmanager
async def _connected(listener):
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        yield await reader.readexactly(1)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def counts():
    found = Counts()
    yield found
    found.close()


@pytest.fixture
def encrypted(tmp_path):
    made, found = make("server"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "server.pem").write_bytes(made.pem + made.key_pem())
    found.load_cert_chain(tmp_path / "server.pem")
    return found


async def _asked(listener, opened, times):
    found = []
    for _ in range(times):
        one = _connected(listener)
        found.append(await one.__aenter__())
        opened.append(one)
    return b"".join(found)


async def _close(opened):
    for one in opened:
        await one.__aexit__(None, None, None)


@in_both_loops
async def test_connections_that_stay_are_spread_evenly(listener, counts):
    parts = [_Part(name, listener, counts.place(at)) for at, name in enumerate((b"a", b"b", b"c"))]
    opened = []
    found = await _asked(listener, opened, 12)
    assert sorted(found) == sorted(b"aaaabbbbcccc")
    await _close(opened)
    assert counts.fewest() == 0
    for part in parts:
        part.close()
    assert counts.fewest() is None


@in_both_loops
async def test_who_lost_its_connections_takes_the_next_ones(listener, counts):
    parts = [_Part(name, listener, counts.place(at)) for at, name in enumerate((b"a", b"b"))]
    opened = []
    found = await _asked(listener, opened, 8)
    await _close([one for name, one in zip(found, opened, strict=True) if name == ord("a")])
    while counts.fewest():  # until it has heard of the last one
        await asyncio.sleep(0)
    assert await _asked(listener, opened, 4) == b"aaaa"
    for part in parts:
        part.close()


@in_both_loops
async def test_a_process_that_does_not_take_its_connections_keeps_nobody_waiting_for_ever(listener, counts):
    counts.place(0).say(0)  # and never accepts
    part = _Part(b"b", listener, counts.place(1))
    opened = []
    assert await _asked(listener, opened, 20) == b"b" * 20
    await _close(opened)
    part.close()


@in_both_loops
async def test_a_client_that_speaks_no_tls_is_not_counted_for_long(listener, counts, encrypted):
    acceptor = Acceptor(listener, counts.place(0), asyncio.Protocol, encrypted)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.read()
    writer.close()
    while counts.fewest():
        await asyncio.sleep(0)
    acceptor.close()


def test_counts_are_one_memory_for_whoever_is_given_it():
    ours = Counts()
    theirs = Counts(os.dup(ours.descriptor))
    theirs.place(3).say(5)
    ours.place(7).say(2)
    assert ours.fewest() == theirs.fewest() == 2
    ours.place(7).leave()
    assert theirs.fewest() == 5
    assert ours.place(0).is_busier(6)
    assert not ours.place(0).is_busier(5)
    theirs.close()
    ours.close()
