"""Run the application with uvicorn, and stop without losing a request."""

from __future__ import annotations

import errno
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from medloom.errors import UserError
from medloom.serving.admission import Gate
from medloom.serving.http.connection import Connection, Settings
from medloom.serving.http.sharing import Acceptor, Place
from medloom.signals import announce

__all__ = ["has_terminal", "listen", "serve"]

_DRAIN_S = 20.0
_KEEP_ALIVE_S = 30
_BACKLOG = 2048


def listen(host: str = "127.0.0.1", port: int = 8080) -> socket.socket:
    """Open the socket that ``serve`` takes.

    Args:
        host: Address to listen on; ``127.0.0.1`` is this machine alone.
        port: Port to listen on; 0 takes a free one.

    Raises:
        UserError: If the port is in use.
        OSError: If the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UserError(
            f"port {port} of {host} is in use; name another with --port, or --port 0 for a free one"
        ) from None


def has_terminal() -> bool:
    """Whether what this process says is read in a terminal; one that was closed is none."""
    return os.isatty(2)


def serve(
    app: Starlette,
    listener: socket.socket,
    encrypted: ssl.SSLContext | None = None,
    *,
    reload: Callable[[], object] | None = None,
    place: Place | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT.

    Then ``/ping`` answers 503 at once, requests in progress are finished (for 20 s at most; hosts give 30), and
    the function returns. A second SIGINT does not wait. After SIGUSR1 it takes no more connections, for which others
    listen at the same socket, and returns when the requests in progress are finished.

    Args:
        app: From ``create_app``.
        listener: From ``listen``; closed at the end.
        encrypted: For HTTPS; see ``medloom.serving.http.tls``.
        reload: Called at SIGHUP, in the handler of the signal; where that says that the terminal is gone, the server
            ends instead.
        place: Where this process says how many connections it has, if several share the socket.
    """
    config = Settings(
        app,
        http=Connection,
        ws="none",
        log_level="warning",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(_DRAIN_S),
        ssl_context_factory=None if encrypted is None else lambda config, default: encrypted,
    )
    config.header_timeout_s = app.state.limits.header_timeout_s
    config.refused = app.state.refused
    server = _DrainingServer(config, app.state.gate, place)
    with _signals({"SIGHUP": None if reload is None else partial(server.hang_up, reload), "SIGUSR1": server.hand_over}):
        server.run(sockets=[listener])


@contextmanager
def _signals(calls: Mapping[str, Callable[[], object] | None]) -> Iterator[None]:
    """Call these at signals, as far as there are such and this is the thread that gets them."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name, call in calls.items():
            if call is not None and hasattr(signal, name):
                number = getattr(signal, name)
                before[number] = signal.signal(number, lambda *_, call=call: call())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _DrainingServer(uvicorn.Server):
    """Keeps listening while it drains, so that a load balancer's ``/ping`` sees the 503."""

    def __init__(self, config: Settings, gate: Gate, place: Place | None) -> None:
        super().__init__(config)
        self._settings, self._gate, self._place = config, gate, place
        self._deadline_s = float("inf")
        self._in_terminal = has_terminal()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._place is None or not sockets:
            await super().startup(sockets)
            return
        await super().startup([])
        settings, make = self._settings, partial(Connection, self._settings, self.server_state, {})
        for listener in sockets:
            acceptor = Acceptor(listener, self._place, make, settings.ssl)
            settings.ended = acceptor.ended
            self.servers.append(acceptor)  # type: ignore[arg-type] # it has what is asked of one

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del frame  # and no call of super(), which would end the process with the signal again: status 0 is meant
        if self._gate.draining and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        elif not self._gate.draining:
            self._gate.draining = True
            announce("stopping after the requests in progress, 20 s at most; press Ctrl-C again to stop at once")
            self._deadline_s = time.monotonic() + _DRAIN_S

    def hang_up(self, reload: Callable[[], object]) -> None:
        """Load the bundles anew, or end with the terminal."""
        if self._in_terminal and not has_terminal():
            self.handle_exit(signal.SIGTERM, None)
        else:
            reload()

    def hand_over(self) -> None:
        """Take no more connections, and end after the requests in progress."""
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if self._gate.draining and (self._gate.inside == 0 or time.monotonic() > self._deadline_s):
            self.should_exit = True
        return await super().on_tick(counter)
