"""What the server writes about itself: one line for each request, as JSON for programs or plain for people.

No line holds a name, a path, a value of a query, a header, metadata, an address, or a pixel. Messages of other
libraries may quote what they were given, so of those only the place is told.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from medloom.serving.http.watch import Finished, WatchedImage

__all__ = ["LogFormat", "RequestLog", "json_line", "logging_to"]

LogFormat = Literal["json", "plain", "none"]

_REQUESTS = "medloom.requests"
_MODELS = "medloom.serving.swapping"
"""Says which bundles were loaded anew."""
_OWN = ("medloom", "uvicorn.error", "asyncio")
_MOST_WAITING = 10_000
_END_S = 2.0


class RequestLog:
    """Writes a line for each request that is over; that the server was found up is not worth one."""

    def __init__(self) -> None:
        self._log = logging.getLogger(_REQUESTS)

    def finished(self, done: Finished) -> None:
        """Write the line: ``INFO``; ``WARNING`` where the server failed or turned the client away."""
        if not done.is_routine:
            level = logging.WARNING if done.status >= 500 else logging.INFO
            self._log.log(level, "request", extra={"request": done})


def json_line(level: str, text: str) -> str:
    """Return a line of the JSON log for what the command says that serves, such as where it listens."""
    return _line(time.time(), level, {"logger": "medloom", "message": text})


@contextmanager
def logging_to(form: LogFormat, stream: TextIO | None = None) -> Iterator[None]:
    """Write log lines while the block runs, in a thread of their own, so that a slow reader keeps no request waiting.

    Args:
        form: ``none`` writes only warnings, plainly.
        stream: Where to; stderr by default.
    """
    handler = _Background(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Plain())
    root, quiet = logging.getLogger(), form == "none"
    levels = {
        _REQUESTS: logging.CRITICAL if quiet else logging.INFO,
        _MODELS: logging.WARNING if quiet else logging.INFO,
    }
    before = {name: logging.getLogger(name).level for name in levels}
    root.addHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
        handler.close()


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        request = getattr(record, "request", None)
        when = request.began_s + request.seconds if request else record.created
        said = _fields(request) if request else {"logger": record.name, "message": _message(record)}
        return _line(when, record.levelname.lower(), said)


class _Plain(logging.Formatter):
    """One line for people."""

    def format(self, record: logging.LogRecord) -> str:
        done: Finished | None = getattr(record, "request", None)
        if done is None:
            return f"{_time(record.created)} {record.levelname.lower()}: {_message(record)}"
        if done.was_none:
            return f"{_time(done.began_s)} refused before it was a request: {done.code} {done.request_id}"
        stages = _sum_stages(done.images)
        times = ", ".join(f"{stage} {seconds * 1e3:.1f}" for stage, seconds in stages.items())
        return (
            f"{_time(done.began_s + done.seconds)} {done.method} {done.route} {done.status} {done.code} "
            f"{done.seconds * 1e3:.1f} ms{f' ({times})' if times else ''} {done.request_id}"
        )


def _line(seconds: float, level: str, said: Mapping[str, Any]) -> str:
    return json.dumps({"time": _time(seconds), "level": level, **said}, allow_nan=False)


def _fields(done: Finished) -> dict[str, Any]:
    """What programs are told of a request; of several images the sums, and each by itself."""
    said: dict[str, Any] = {
        "request_id": done.request_id,
        "method": done.method,
        "route": done.route,
        "status": done.status,
        "code": done.code,
        "content_type": done.content_type,
        "bytes_in": done.bytes_in,
        "bytes_out": done.bytes_out,
        "seconds": round(done.seconds, 6),
    }
    if done.was_none:
        return {"request_id": done.request_id, "code": done.code}
    said = {key: value for key, value in said.items() if value != ""}
    if len(done.images) == 1:
        return {**said, **_image_fields(done.images[0])}
    return {**said, "images": [_image_fields(image) for image in done.images]} if done.images else said


def _image_fields(image: WatchedImage) -> dict[str, Any]:
    said = {
        "model": image.model,
        "image_code": image.code,
        "image_type": image.content_type,
        "image_bytes": image.size_bytes,
        "mean": _number(image.mean),
        "std": _number(image.std),
        "batch_size": image.batch_size,
        "stages_s": {stage: round(seconds, 6) for stage, seconds in image.stages.items()},
    }
    return {key: value for key, value in said.items() if value not in (None, "")}


def _number(value: float | None) -> float | None:
    """Six digits; None for what JSON cannot hold."""
    return float(f"{value:.6g}") if value is not None and abs(value) < float("inf") else None


def _sum_stages(images: list[WatchedImage]) -> Mapping[str, float]:
    stages: dict[str, float] = {}
    for image in images:
        for stage, seconds in image.stages.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    return stages


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    """What was said; of libraries, and of exceptions, only which and where."""
    own = record.name in _OWN or record.name.startswith("medloom.")
    place = f"{Path(record.pathname).name}:{record.lineno}"
    said = " ".join(record.getMessage().split()) if own else f"{record.name} said something at {place}"
    error = record.exc_info[1] if record.exc_info else None
    return f"{said} ({_origin(error)})" if error is not None else said


def _origin(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    return f"{type(error).__name__}{where}"


class _Background(logging.Handler):
    """Writes in a thread; what a stream cannot take in time is counted and dropped."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._write_all, name="medloom-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_END_S)
            self._thread.join(_END_S)
        super().close()

    def _write_all(self) -> None:
        while (text := self._waiting.get()) is not None:
            lost, self._lost = self._lost, 0
            lines = [text, *([self._tell_lost(lost)] if lost else [])]
            with suppress(OSError, ValueError):  # whoever read it is gone
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()

    def _tell_lost(self, lost: int) -> str:
        text = f"{lost} lines were lost, because they were not read as fast as they were written"
        return self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, text, None, None))
