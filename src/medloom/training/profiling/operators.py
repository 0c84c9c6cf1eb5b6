"""A few steps under torch's profiler: which operators take the time, and a trace that Perfetto shows."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from medloom.files import write_bytes
from medloom.training.profiling.watch import Watch

__all__ = ["TRACE", "Tracer"]

TRACE = Path("profile") / "trace.json.gz"
"""Where the trace is, from the run directory."""

_SILENT = "6"
"""Kineto, which is behind torch's profiler, would write onto the terminal that it begins and ends."""

_AFTER, _WARM_UP, _STEPS = 4, 1, 4
_SHOWN = 15
_PLACES = ("traceName", "host_name")
"""What a trace says of this machine's folders and name; nobody who reads it needs that."""


class Tracer:
    """Looks at a few steps of a training, once.

    Args:
        run_dir: The run directory.
        watch: Its parts are shown in the trace.
    """

    def __init__(self, run_dir: Path, watch: Watch) -> None:
        self.operators: list[dict[str, Any]] = []
        self.trace: str | None = None
        self._run_dir = run_dir
        self._watch = watch
        self._step = 0
        self._at_work: profile | None = None

    @property
    def at_work(self) -> bool:
        """Whether a step is being looked at, which makes it longer."""
        return self._at_work is not None

    def after_step(self) -> None:
        """Begin, go on or end, as it is time."""
        self._step += 1
        if self._step == _AFTER:
            self._begin()
        elif self._at_work is not None:
            self._at_work.step()
            if self._step == _AFTER + _WARM_UP + _STEPS:
                self.close()

    def close(self) -> None:
        """End; what was seen by then is kept."""
        at_work, self._at_work = self._at_work, None
        if at_work is not None:
            self._watch.shown = None
            at_work.stop()

    def _begin(self) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", _SILENT)
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self._at_work = profile(
            activities=activities,
            schedule=schedule(wait=0, warmup=_WARM_UP, active=_STEPS, repeat=1),
            on_trace_ready=self._keep,
            acc_events=True,
        )
        self._at_work.start()
        self._watch.shown = record_function

    def _keep(self, seen: profile) -> None:
        self.operators = _top(list(seen.key_averages()))
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "trace.json"
            seen.export_chrome_trace(str(path))
            whole = json.loads(path.read_text("utf-8"))
        kept = {name: value for name, value in whole.items() if name not in _PLACES}
        (self._run_dir / TRACE).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self._run_dir / TRACE, gzip.compress(json.dumps(kept).encode(), mtime=0))
        self.trace = TRACE.as_posix()


def _top(events: list[FunctionEventAvg]) -> list[dict[str, Any]]:
    """The operators that took most of the time themselves, on the GPU where there is one."""
    on_gpu = any(_device_us(event) > 0 for event in events)
    operators = [
        event for event in events if not event.is_user_annotation and not str(event.key).startswith("ProfilerStep")
    ]
    operators.sort(key=_device_us if on_gpu else lambda event: float(event.self_cpu_time_total), reverse=True)
    whole_us = sum((_device_us(event) if on_gpu else float(event.self_cpu_time_total)) for event in operators)
    return [_plain(event, whole_us, on_gpu=on_gpu) for event in operators[:_SHOWN]]


def _plain(event: FunctionEventAvg, whole_us: float, *, on_gpu: bool) -> dict[str, Any]:
    own_us = _device_us(event) if on_gpu else float(event.self_cpu_time_total)
    return {
        "name": event.key,
        "on": "gpu" if on_gpu else "cpu",
        "calls": round(event.count / _STEPS, 2),
        "ms": round(own_us / 1000 / _STEPS, 4),
        "share": round(own_us / whole_us, 4) if whole_us > 0 else 0.0,
    }


def _device_us(event: FunctionEventAvg) -> float:
    return float(event.self_device_time_total)
