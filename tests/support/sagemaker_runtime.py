"""SageMaker's runtime on loopback: hands bodies on to a container's application, and wraps what that refuses."""

from __future__ import annotations

import json

import httpx
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["aws_refuses", "sagemaker_runtime"]

NAME = "/endpoints/{name}/invocations"


def sagemaker_runtime(app, seen, refusals=None):
    """Return an application that answers for endpoints of any name as ``InvokeEndpoint`` does.

    Args:
        app: What answers in the container.
        seen: The headers of each request are added to it.
        refusals: By name of an endpoint what AWS itself answers there, a function from the number of the request.
    """

    async def invoke(request):
        seen.append(dict(request.headers))
        refused = (refusals or {}).get(request.path_params["name"])
        if refused is not None and (answer := refused(len(seen))) is not None:
            return answer
        handed = {name: request.headers[name] for name in ("content-type", "accept")}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://container") as container:
            answer = await container.post("/invocations", content=await request.body(), headers=handed)
        if answer.status_code < 400:
            return Response(answer.content, 200, {"Content-Type": answer.headers["content-type"]})
        wrapped = {"OriginalStatusCode": answer.status_code, "OriginalMessage": answer.text, "Message": "container"}
        return Response(json.dumps(wrapped), 424, {"x-amzn-errortype": "ModelError"}, "application/json")

    return Starlette(routes=[Route(NAME, invoke, methods=["POST"])])


def aws_refuses(status, code, message, **headers):
    """Return what AWS answers itself, such as ``ThrottlingException``."""
    named = {"x-amzn-errortype": code, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Response(json.dumps({"Message": message}), status, named, "application/json")
