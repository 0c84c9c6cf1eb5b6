"""A server of a bundle on this machine, for as long as a block of a program: in notebooks and tests of clients."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from medloom.errors import InputError, UserError

__all__ = ["LocalServer"]

_PROGRAM = (sys.executable, "-P", "-m", "medloom.cli.main", "serve", "--port", "0")
_HOST = "127.0.0.1"
_ADDRESS = re.compile(rf"http://{re.escape(_HOST)}:\d+")
_ANSWER_S = 60.0
_END_S = 30.0


class LocalServer:
    """``medloom serve`` in a process of its own, which ends with the block.

    It listens to this machine alone, on a port that is free.

    Args:
        bundle: A ``model.tar.gz``.

    Raises:
        UserError: If it cannot be served; the message is the server's.

    Example:
        >>> with LocalServer("model.tar.gz") as server:  # doctest: +SKIP
        ...     server.predict("image.tif")["area_px"]
        812
    """

    def __init__(self, bundle: str | Path) -> None:
        self._bundle = str(bundle)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.url = ""
        """Where it answers, such as ``http://127.0.0.1:40123``."""

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(  # noqa: S603 - our own program and the user's file
            [*_PROGRAM, self._bundle], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        said = list[str]()
        for line in self._process.stderr or ():
            said.append(line)
            if found := _ADDRESS.search(line):
                self.url = found[0]
                self._reader = threading.Thread(target=_drain, args=(self._process.stderr,), daemon=True)
                self._reader.start()
                return self
        self._end()
        raise UserError(f"the server did not start: {' '.join(said).strip()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, after the requests in progress."""
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join()
        if process.stderr is not None:
            process.stderr.close()

    def predict(
        self, image: str | Path | bytes, *, accept: str = "application/json", query: Mapping[str, str] | None = None
    ) -> Any:  # noqa: ANN401 - JSON, or bytes
        """Ask for the prediction of one image, as ``POST /invocations``.

        Args:
            image: Path of a file, or its bytes.
            accept: What to answer with, such as ``image/png`` for the mask of a segmentation.
            query: Further parameters, such as ``{"page": "3"}``.

        Returns:
            The answer as plain types if it is JSON, else its bytes.

        Raises:
            InputError: If the server refuses the image; the message is the server's.
        """
        data = image if isinstance(image, bytes) else Path(image).expanduser().read_bytes()
        asked = "&".join(f"{key}={value}" for key, value in (query or {}).items())
        request = urllib.request.Request(  # noqa: S310 - the address is that of this machine
            f"{self.url}/invocations{'?' if asked else ''}{asked}",
            data,
            {"Content-Type": "application/octet-stream", "Accept": accept},
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S) as response:  # noqa: S310 - the same
                body: bytes = response.read()
                return json.loads(body) if "json" in response.headers["Content-Type"] else body
        except urllib.error.HTTPError as refused:
            said = json.loads(refused.read())
            raise InputError(
                f"the server refused it ({refused.code}): {said['message']}. {said.get('hint', '')}"
            ) from None


def _drain(stream: IO[str] | None) -> None:
    """Read what the server says further, or it would wait for somebody to."""
    for _ in stream or ():
        pass
