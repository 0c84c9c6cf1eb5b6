"""Several processes that share each batch, one for each GPU or a few on the CPU.

They only fit: the caller's process starts them, passes signals and progress on, and goes on when they are done.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue, SimpleQueue
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from medloom.data.store import PixelStore
from medloom.errors import MedloomError, TrainingError, UserError
from medloom.events import Event, Listener, Stop
from medloom.memory import killed_text
from medloom.signals import StopRequest
from medloom.training.fit import Job, fit
from medloom.training.keeper import Interrupted
from medloom.training.ledger import Ledger
from medloom.training.module import NonFiniteStep

__all__ = ["fit_in_processes", "visible_gpus"]

_POLL_S = 0.1
_HOST = "127.0.0.1"


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, by the names that ``CUDA_VISIBLE_DEVICES`` takes."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    given = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return given[:count] if len(given) >= count else [str(number) for number in range(count)]


def fit_in_processes(job: Job, store_path: Path, ledger: Ledger, listener: Listener) -> None:
    """Fit in ``train.devices`` processes on this machine.

    Args:
        job: What to do.
        store_path: The pixel store; each process opens it, and they share its pages.
        ledger: The history so far.
        listener: Who is told of batches and epochs, and may ask the run to stop.

    Raises:
        NonFiniteStep: If a loss or gradient is NaN or infinite.
        UserError: If the recipe or the data cannot be trained, as a process found.
        TrainingError: If a process failed.
    """
    line = _Line(get_context("spawn").Queue(), get_context("spawn").SimpleQueue())
    arguments = (job, store_path, ledger.state(), _free_port(), line)
    start: Callable[..., ProcessContext] = start_processes
    context = start(_process, arguments, job.devices, join=False, start_method="spawn")
    try:
        with StopRequest(lambda number: _pass_on(context.processes)):
            _follow(context, line, listener)
    finally:
        for process in context.processes:
            process.kill()
            process.join()
        line.close()


@dataclass(frozen=True)
class _Line:
    """Between the caller's process and the first of the others.

    Args:
        messages: Events and failures, to the caller.
        wishes: ``Stop`` of a listener, to the first process.
    """

    messages: Queue[Any]
    wishes: SimpleQueue[Stop]

    def tell(self, event: Event) -> Stop | None:
        """Hand an event to the caller; return the wish that came of an earlier one."""
        self.messages.put(event)
        return None if self.wishes.empty() else self.wishes.get()

    def close(self) -> None:
        """Close both queues."""
        self.messages.close()
        self.wishes.close()


def _follow(context: ProcessContext, line: _Line, listener: Listener) -> None:
    """Hand on what the processes say until they are done."""
    try:
        while not context.join(timeout=_POLL_S):
            _hand_on(line, listener)
    except ProcessException as error:
        _hand_on(line, listener)
        code = getattr(error, "exit_code", 0)
        if code < 0:
            raise TrainingError(f"{killed_text('a training process', code)}, or fewer train.devices") from error
        raise TrainingError(f"a training process failed: {error}") from error
    _hand_on(line, listener)


def _process(rank: int, job: Job, store_path: Path, ledger: dict[str, Any], port: int, line: _Line) -> None:
    """Take part as one of the processes. What goes wrong is told before it ends the process."""
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_ADDR=_HOST, MASTER_PORT=str(port))
    torch.set_num_threads(max(1, _threads() // job.devices))
    listener: Listener = line.tell if rank == 0 else lambda event: None
    try:
        with StopRequest() as stop:
            fit(job, PixelStore.open(store_path), Ledger.from_state(ledger), stop, listener)
        _part()
    except Interrupted:
        _part()
    except NonFiniteStep as found:
        line.messages.put({"step": found.step, "rows": found.rows.tolist()})
        raise
    except MedloomError as error:
        line.messages.put({"error": str(error), "users": isinstance(error, UserError)})
        raise


def _part() -> None:
    """Leave the others when all are done: a process that ends while its connections have threads may abort."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _hand_on(line: _Line, listener: Listener) -> None:
    """Tell the listener what has come, or raise what a process told."""
    while True:
        try:
            message = line.messages.get(timeout=_POLL_S)
        except Empty:
            return
        if isinstance(message, Event):
            stop = listener(message)
            if stop is not None:
                line.wishes.put(stop)
        elif "rows" in message:
            raise NonFiniteStep(message["step"], np.array(message["rows"], np.int64))
        else:
            raise (UserError if message["users"] else TrainingError)(message["error"])


def _pass_on(processes: list[Any]) -> None:
    """Ask every process to stop; SIGTERM even for Ctrl-C, which a terminal sends to all of them by itself."""
    for process in processes:
        if process.is_alive():
            os.kill(process.pid, signal.SIGTERM)


def _threads() -> int:
    """Threads of the processes together: what OMP_NUM_THREADS says, else every core."""
    return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else os.cpu_count() or 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
