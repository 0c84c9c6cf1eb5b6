"""A batch transform as SageMaker runs it: the container in a process, and each object of the bucket sent to it.

As there, an answer of 400 or more is asked for again as often as the job says, and then ends the whole job; and of a
job that failed the answers that were there by then stay in the bucket.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from medloom.packaging.archive import extract

__all__ = ["TransformMachine", "posted", "served_container"]

PROGRAM = (sys.executable, "-m", "medloom.container")


@contextmanager
def served_container(base, program=PROGRAM, **environment):
    """What an image's entry point starts for ``serve`` with ``/opt/ml`` in ``base``; gives its address on loopback."""
    variables = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": "0", **environment}
    process = subprocess.Popen([*program, "serve"], stderr=subprocess.PIPE, text=True, env=variables)
    lines, reader = [], None
    try:
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://[\d.]+:(\d+)", line):
                break
        else:
            raise AssertionError("".join(lines))
        reader = threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True)
        reader.start()
        yield f"http://127.0.0.1:{found[1]}"
    finally:
        process.terminate()
        process.wait(60)
        if reader is not None:
            reader.join()
        process.stderr.close()


def posted(url, body, content_type, accept="application/json"):
    """Return the status, the media type and the body of what the container answers."""
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": content_type, "Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


class TransformMachine:
    """Runs the transform jobs of an account: ``aws.on_transform = TransformMachine(aws, folder).begin``.

    ``statuses`` holds what the container answered to each object, by the job and the name below its prefix.
    """

    def __init__(self, aws, folder, program=PROGRAM, batch="true"):
        self.aws, self.folder, self.program, self.batch = aws, folder, program, batch
        self.statuses, self.threads = {}, []

    def begin(self, name):
        self.aws.backend.transform_jobs[name].transform_job_status = "InProgress"
        thread = threading.Thread(target=self.work, args=(name,))
        self.threads.append(thread)
        thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()

    def work(self, name):
        job = self.aws.backend.transform_jobs[name]
        try:
            failed = self._worked(name, job)
        except BaseException as error:  # else whoever waits for the job waits for ever
            job.failure_reason, job.transform_job_status = f"InternalServerError: {error!r}", "Failed"
            raise
        if failed:
            job.failure_reason = "ClientError: See job logs for more information"
        job.transform_job_status = "Failed" if failed else "Completed"

    def _worked(self, name, job):
        base, container = self.folder / name, self.aws.backend._models[job.model_name].primary_container
        (base / "model").mkdir(parents=True)
        self._download(container["ModelDataUrl"], base / "model.tar.gz")
        extract(base / "model.tar.gz", base / "model")
        environment = {**container.get("Environment", {}), **(job.environment or {}), **self._said(job)}
        with served_container(base, self.program, **environment) as url:
            with urllib.request.urlopen(f"{url}/ping", timeout=60) as ping:
                assert ping.status == 200
            with urllib.request.urlopen(f"{url}/execution-parameters", timeout=60) as parameters:
                assert parameters.status == 200
            with ThreadPoolExecutor(job.max_concurrent_transforms or 1) as crew:
                answers = crew.map(lambda key: self._record(name, job, url, key), self._keys(job))
                return not all(answers)

    def _said(self, job):
        said = {"SAGEMAKER_BATCH": self.batch, "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD"}
        if job.max_payload_in_mb:
            said["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(job.max_payload_in_mb)
        if job.max_concurrent_transforms:
            said["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(job.max_concurrent_transforms)
        return said

    def _record(self, name, job, url, key):
        """Whether the container answered; the answer is an object then."""
        if job.transform_job_status != "InProgress" or any(
            status >= 400 for (of, _), status in self.statuses.items() if of == name
        ):
            return False
        bucket, prefix = _split(job.transform_input["DataSource"]["S3DataSource"]["S3Uri"])
        s3, given = self.aws.client("s3"), job.transform_input.get("ContentType", "")
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        for _ in range(1 + job.model_client_config.get("InvocationsMaxRetries", 3)):
            status, _, body = posted(url, content, given, job.transform_output.get("Accept", "*/*"))
            if status < 400:
                break
        relative = key.removeprefix(prefix)
        self.statuses[name, relative] = status
        if status >= 400:
            return False
        where, there = _split(job.transform_output["S3OutputPath"])
        s3.put_object(Bucket=where, Key=f"{there.rstrip('/')}/{relative}.out", Body=body)
        return True

    def _keys(self, job):
        bucket, prefix = _split(job.transform_input["DataSource"]["S3DataSource"]["S3Uri"])
        pages = self.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", []) if not one["Key"].endswith("/")]

    def _download(self, uri, path):
        bucket, key = _split(uri)
        self.aws.client("s3").download_file(bucket, key, str(path))


def _split(uri):
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
