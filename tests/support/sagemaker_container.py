"""A training job's machine: copies the channels, runs Medloom's container in a process, keeps the bucket in step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

__all__ = ["Machine"]


class Machine:
    """Does the jobs of an account, each in a folder that stands for ``/opt/ml``.

    ``stop_at`` is a word: the job whose line begins with it is asked to stop, as AWS does when it takes capacity back.
    """

    def __init__(self, aws, folder, stop_at=None):
        self.aws, self.folder, self.stop_at = aws, folder, stop_at
        self.threads = []

    def begin(self, name):
        thread = threading.Thread(target=self.work, args=(name,))
        self.threads.append(thread)
        thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()

    def work(self, name):
        job, base = self.aws.job(name), self.folder / name
        self.set_up(job, base)
        self.aws.goes_on(name)
        lines, stopped, code = self.run(name, base)
        self.aws.prints(name, [line for line in lines if line.strip()])
        self.aws.writes(job.checkpoint_config["S3Uri"], base / "checkpoints")
        failure = base / "output" / "failure"
        if code:
            said = failure.read_text() if failure.is_file() else ""
            self.aws.ends(name, "Failed", f"AlgorithmError: {said}, exit code: {code}")
        else:
            self.aws.ends(name, "Stopped" if stopped else "Completed")

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
                path = folder / one["Key"].removeprefix(prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(bucket, one["Key"], str(path))

    def run(self, name, base):
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "TRAINING_JOB_NAME": name}
        environment["MEDLOOM_CACHE"] = str(base / "cache")
        given = self.aws.job(name).algorithm_specification.get("ContainerArguments") or ["train"]
        program = [sys.executable, "-m", "medloom.container", *(word.replace("/opt/ml", str(base)) for word in given)]
        process = subprocess.Popen(
            program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines, stopped = [], False
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if self.stop_at is not None and line.startswith(self.stop_at):
                self.stop_at, stopped = None, True
                process.terminate()
        process.stdout.close()
        return lines, stopped, process.wait()
