"""A training job's machine: copies the channels, runs Medloom's container in a process, keeps the bucket in step."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tarfile
import threading

__all__ = ["Machine"]


class Machine:
    """Does the jobs of an account, each in a folder that stands for ``/opt/ml``.

    The job whose line begins with ``stop_at`` is asked to stop, as by ``StopTrainingJob``. With ``interrupt_at`` AWS
    takes the capacity back there: the container is asked to stop, and the same job goes on elsewhere, in a folder that
    has its channels and its checkpoints and nothing else.
    """

    def __init__(self, aws, folder, stop_at=None, interrupt_at=None):
        self.aws, self.folder, self.stop_at, self.interrupt_at = aws, folder, stop_at, interrupt_at
        self.threads, self.states = [], {}

    def begin(self, name):
        thread = threading.Thread(target=self.work, args=(name,))
        self.threads.append(thread)
        thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()

    def work(self, name):
        job = self.aws.job(name)
        for place in itertools.count(1):
            base = self.folder / f"{name}-{place}"
            self.set_up(job, base)
            self.is_at(name, "Training")
            lines, said, code = self.run(name, base)
            self.aws.prints(name, [line for line in lines if line.strip()])
            self.aws.writes(job.checkpoint_config["S3Uri"], base / "checkpoints")
            if said == "interrupted":
                for second in ("Interrupted", "Starting", "Downloading"):
                    self.is_at(name, second)
            else:
                self.end(name, base, said, code)
                return

    def is_at(self, name, second):
        self.states.setdefault(name, []).append(second)
        self.aws.goes_on(name, second)

    def end(self, name, base, said, code):
        """Say how a job ended; what its container left in ``model`` and ``output`` is in the bucket before."""
        job, failure = self.aws.job(name), base / "output" / "failure"
        where = f"{job.output_data_config['S3OutputPath'].rstrip('/')}/{name}/output"
        for folder, packed in (("model", "model.tar.gz"), ("output/data", "output.tar.gz")):
            self.pack(base / folder, base / "packed" / packed)
        self.aws.writes(where, base / "packed")
        if code:
            text = failure.read_text() if failure.is_file() else ""
            self.aws.ends(name, "Failed", f"AlgorithmError: {text}, exit code: {code}")
        else:
            self.aws.ends(name, "Stopped" if said == "stopped" else "Completed")

    def pack(self, folder, path):
        """Pack what is in a folder, as SageMaker does, if there is anything."""
        if folder.is_dir() and any(folder.iterdir()):
            path.parent.mkdir(exist_ok=True)
            with tarfile.open(path, "w:gz") as archive:
                archive.add(folder, ".")

    def set_up(self, job, base):
        said = {one["ChannelName"]: {"TrainingInputMode": "File"} for one in job.input_data_config}
        for name, value in {"hyperparameters": job.hyper_parameters, "inputdataconfig": said}.items():
            path = base / "input" / "config" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        for one in job.input_data_config:
            self.fetch(one["DataSource"]["S3DataSource"]["S3Uri"], base / "input" / "data" / one["ChannelName"])
        for name in ("checkpoints", "model", "output"):
            (base / name).mkdir()
        self.fetch(f"{job.checkpoint_config['S3Uri']}/", base / "checkpoints")

    def fetch(self, uri, folder):
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        s3 = self.aws.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", []):
                self.aws.reads(f"s3://{bucket}/{one['Key']}", folder / one["Key"].removeprefix(prefix))

    def run(self, name, base):
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "TRAINING_JOB_NAME": name}
        environment["MEDLOOM_CACHE"] = str(base / "cache")
        given = self.aws.job(name).algorithm_specification.get("ContainerArguments") or ["train"]
        program = [sys.executable, "-m", "medloom.container", *(word.replace("/opt/ml", str(base)) for word in given)]
        process = subprocess.Popen(
            program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines, said = [], ""
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            for word, asked in (("stop_at", "stopped"), ("interrupt_at", "interrupted")):
                at = getattr(self, word)
                if at is not None and line.startswith(at):
                    setattr(self, word, None)
                    said = asked
                    process.terminate()
        process.stdout.close()
        return lines, said, process.wait()
