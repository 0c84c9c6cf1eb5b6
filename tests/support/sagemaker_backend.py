"""The back end of SageMaker with containers that are pieces of Python on this machine."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import threading

import pytest

from medloom.backends.sagemaker import Account, Place, SageMakerBackend, Training
from support.aws import BUCKET, IMAGE, REGION, ROLE, opened_aws

__all__ = ["sagemaker_running"]


class Machines:
    """Runs what the containers of jobs would, so many at a time."""

    def __init__(self, aws, program, at_a_time):
        self.aws, self.program = aws, program
        self.free = threading.Semaphore(at_a_time)
        self.threads, self.processes, self.stopped = [], {}, set()
        self.lock = threading.Lock()

    def begin(self, name):
        thread = threading.Thread(target=self.work, args=(name,))
        self.threads.append(thread)
        thread.start()

    def work(self, name):
        with self.free:
            job = self.aws.job(name)
            with self.lock:
                if name in self.stopped:
                    return
                command = [*self.program, *job.algorithm_specification["ContainerArguments"]]
                environment = {**os.environ, **self.aws.environments[name]}
                out = subprocess.PIPE
                process = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, text=True
                )
                self.processes[name] = process
                self.aws.goes_on(name)
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if len(lines) == 1:  # a training that waits for its end has said something before
                    self.aws.prints(name, lines)
            process.stdout.close()
            code = process.wait()
            if lines[1:]:
                self.aws.prints(name, lines[1:])
            if name in self.stopped:
                self.aws.ends(name, "Stopped")
            elif code:
                said = f"AlgorithmError: , exit code: {code if code > 0 else 128 - code}"
                self.aws.ends(name, "Failed", said)
            else:
                self.aws.ends(name)

    def stop(self, name):
        with self.lock:
            self.stopped.add(name)
            if name in self.processes:
                self.processes[name].terminate()
            else:
                self.aws.ends(name, "Stopped")

    def close(self):
        for name in self.aws.jobs:
            if name in self.processes:
                self.processes[name].kill()
            else:
                self.stopped.add(name)
        for thread in self.threads:
            thread.join()


def sagemaker_running(program, at_a_time):
    """Return what opens such a back end."""

    @contextlib.contextmanager
    def opened():
        patch, numbers = pytest.MonkeyPatch(), itertools.count()
        patch.setattr("medloom.backends.sagemaker.backend._FRESH_S", 0.01)
        with opened_aws() as aws:
            machines = Machines(aws, program, at_a_time)
            aws.on_begin, aws.on_stop = machines.begin, machines.stop
            like = Training("like", IMAGE, {}, {})
            with SageMakerBackend(
                Account(REGION), Place(REGION, BUCKET, ROLE), like, lambda: str(next(numbers))
            ) as backend:
                yield backend
            machines.close()
        patch.undo()

    return opened
