"""New connections go to the server process that has the fewest: all accept at one socket, and the busier ones wait.

The kernel gives a connection to whichever process asks first, so one that is quick takes all that wait. Here each takes
one at a time, and writes down how many it has in memory that all of them see. A process that has more than another one
leaves a new connection to it for a moment, and takes it after all where the other does not.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import mmap
import os
import select
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Acceptor", "Counts", "Place"]

_log = logging.getLogger(__name__)

_PLACES = 1024
_COUNT = struct.Struct("=i")
_NOBODY = -1

_PAUSE_S = 0.005
"""For how long a busier process looks away."""

_PATIENCE_S = 1.0
"""For how long a connection may wait for a process that has fewer."""

_DISTRUST_S = 10.0
"""For how long nothing is left to the others once they let a connection wait: they may be stopped."""

_FULL_S = 1.0
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Counts:
    """How many connections each of several processes has: memory that they share, and that is gone with them.

    Args:
        descriptor: Of the memory, from a process that made it; new memory by default.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        size = _PLACES * _COUNT.size
        self.descriptor = _new_memory(size) if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, size)
        if descriptor is None:
            self._memory[:] = _COUNT.pack(_NOBODY) * _PLACES

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
        os.close(self.descriptor)

    def place(self, number: int) -> Place:
        """Return the place of one process; its number is given out by whoever starts them."""
        return Place(self, number % _PLACES)

    def set(self, number: int, count: int) -> None:
        """Write a count down; -1 for a process that takes no connections."""
        _COUNT.pack_into(self._memory, number * _COUNT.size, count)

    def fewest(self) -> int | None:
        """Return the smallest count of those that take connections; None where nobody does."""
        return min((count for (count,) in _COUNT.iter_unpack(self._memory[:]) if count != _NOBODY), default=None)


@dataclass(frozen=True)
class Place:
    """Where one process writes how many connections it has.

    Args:
        counts: The memory.
        number: Of the process.
    """

    counts: Counts
    number: int

    def say(self, connections: int) -> None:
        """Take connections, and have so many."""
        self.counts.set(self.number, connections)

    def leave(self) -> None:
        """Take no more connections."""
        self.counts.set(self.number, _NOBODY)

    def is_busier(self, connections: int) -> bool:
        """Whether another process has fewer."""
        fewest = self.counts.fewest()
        return fewest is not None and connections > fewest


def _new_memory(size: int) -> int:
    """Memory with a descriptor that other processes can be given."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("medloom-connections")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor


class Acceptor:
    """Accepts at a socket that several processes share; to be made and closed in the event loop.

    Args:
        listener: The socket.
        place: Where this process says how many connections it has.
        make: Makes the protocol of a connection. Each calls ``ended`` when it is lost.
        encrypted: For TLS.
    """

    def __init__(
        self,
        listener: socket.socket,
        place: Place,
        make: Callable[[], asyncio.Protocol],
        encrypted: ssl.SSLContext | None = None,
    ) -> None:
        self._listener, self._place, self._make, self._encrypted = listener, place, make, encrypted
        self._loop = asyncio.get_running_loop()
        self._connections = 0
        self._begun: set[asyncio.Task[None]] = set()
        self._left_since: float | None = None
        self._distrust_until = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        listener.setblocking(False)
        self._say()
        self._loop.add_reader(listener, self._take)

    def ended(self) -> None:
        """Note that a connection is lost."""
        self._connections -= 1
        self._say()

    def close(self) -> None:
        """Take no more; connections that there are go on."""
        if not self._closed:
            self._closed = True
            self._place.leave()
            self._loop.remove_reader(self._listener)
            if self._timer is not None:
                self._timer.cancel()

    async def wait_closed(self) -> None:
        """Return at once; for whoever treats it as an ``asyncio.Server``."""

    def _say(self) -> None:
        if not self._closed:
            self._place.say(self._connections)

    def _take(self) -> None:
        """Take the connection that waits, or leave it to a process that has fewer."""
        now = time.monotonic()
        if now >= self._distrust_until and self._place.is_busier(self._connections):
            self._left_since = self._left_since or now
            if now - self._left_since < _PATIENCE_S:
                self._look_away(_PAUSE_S)
                return
            self._distrust_until = now + _DISTRUST_S
        self._left_since = None
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another was faster, or the client left
            return
        except OSError as error:
            if error.errno not in _FULL:
                raise
            _log.error("no connection can be accepted for a second: %s", error.strerror)
            self._look_away(_FULL_S)
            return
        self._begin(connection)

    def _look_away(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        """Look whether the connection still waits; one that comes later has waited for nobody."""
        self._loop.add_reader(self._listener, self._take)
        waiting = select.poll()
        waiting.register(self._listener, select.POLLIN)
        if waiting.poll(0):
            self._take()
        else:
            self._left_since = None

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._connections += 1
        self._say()
        task = self._loop.create_task(self._connect(connection))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection, ssl=self._encrypted)
        except (OSError, asyncio.CancelledError):  # of TLS, too: it does not speak it, or is gone
            connection.close()
            self.ended()
