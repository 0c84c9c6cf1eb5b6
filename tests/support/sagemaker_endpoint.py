"""An endpoint's machines: Medloom's serving container in a process, and SageMaker's way of asking it."""

from __future__ import annotations

import contextlib
import json
import threading

import httpx
from moto.core.responses import ActionResult
from moto.sagemaker.exceptions import SagemakerClientError

from medloom.packaging.archive import extract
from support.transform_job import served_container

__all__ = ["Endpoints"]

_UNHEALTHY = (
    "The primary container for production variant AllTraffic did not pass the ping health check. Please check "
    "CloudWatch logs for this endpoint."
)
_GROUP = "/aws/sagemaker/Endpoints"


def container_of(aws, config):
    """Return where an endpoint's configuration has its model, and the variables of its container."""
    (variant,) = aws.backend.describe_endpoint_config(config)["ProductionVariants"]
    told = aws.backend.describe_model(variant["ModelName"]).response_object["PrimaryContainer"]
    return told["ModelDataUrl"], told.get("Environment", {})


class Endpoints:
    """Runs the containers of endpoints, one each, and hands on what is asked of them, for as long as its block."""

    def __init__(self, aws, folder):
        self.aws, self.folder = aws, folder
        self.containers, self.stacks, self.threads = {}, {}, []

    def __enter__(self):
        self.aws.on_endpoint, self.aws.invoked = self.begin, self.invoke
        return self

    def __exit__(self, *_):
        self.aws.on_endpoint = self.aws.invoked = None
        for thread in self.threads:
            thread.join()
        for stack in self.stacks.values():
            stack.close()

    def begin(self, endpoint):
        thread = threading.Thread(target=self.work, args=(endpoint,))
        self.threads.append(thread)
        thread.start()

    def work(self, endpoint):
        """Start a container; it takes over when it is healthy, as with a new configuration of an endpoint."""
        name, base = endpoint.endpoint_name, self.folder / f"{endpoint.endpoint_config_name}-{len(self.threads)}"
        uri, environment = container_of(self.aws, endpoint.endpoint_config_name)
        base.mkdir(parents=True)
        self.aws.reads(uri, base / "model.tar.gz")
        stack = contextlib.ExitStack()
        (base / "model").mkdir()
        extract(base / "model.tar.gz", base / "model")
        cache = {"MEDLOOM_CACHE": str(base / "cache")}
        try:
            url = stack.enter_context(served_container(base, **environment, **cache))
        except AssertionError as error:  # it has ended, with these lines
            self.aws.prints(name, [f"{error}"], "AllTraffic/i-1", f"{_GROUP}/{name}")
            endpoint.endpoint_status, endpoint.failure_reason = "Failed", _UNHEALTHY
            return
        assert httpx.get(f"{url}/ping", timeout=60).status_code == 200
        before, self.stacks[name], self.containers[name] = self.stacks.get(name), stack, url
        if before is not None:
            before.close()
        endpoint.endpoint_status = "InService"

    def invoke(self, asked):
        """Answer ``InvokeEndpoint`` as the runtime does: a refusal of the container is wrapped in an error."""
        name = asked.path.split("/")[2]
        if name not in self.aws.backend.endpoints or name not in self.containers:
            error = SagemakerClientError("ValidationError", f"Endpoint {name} of account was not found.")
            return asked.serialized(ActionResult(error))
        given = {key: value for key, value in asked.headers.items() if key.lower().startswith("x-amzn-sagemaker")}
        headers = {"Content-Type": asked.headers["Content-Type"], "Accept": asked.headers.get("Accept", "*/*"), **given}
        answer = httpx.post(f"{self.containers[name]}/invocations", content=asked.raw_body, headers=headers, timeout=60)
        if answer.status_code >= 400:
            said = {"OriginalStatusCode": answer.status_code, "OriginalMessage": answer.text, "Message": "container"}
            return 424, {"status": 424, "x-amzn-errortype": "ModelError"}, json.dumps(said)
        variant = {"x-Amzn-Invoked-Production-Variant": "AllTraffic"}
        return 200, {"Content-Type": answer.headers["content-type"], **variant}, answer.content
