"""Medloom's own paths: what is served, whether it is up, and one image in, one prediction out."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from medloom.serving.admission import Admission, Limits
from medloom.serving.answers import NotAcceptableError, accept_for
from medloom.serving.description import describe
from medloom.serving.drift import drift_of
from medloom.serving.http.asking import answer_all, ask, asked_page
from medloom.serving.http.body import declared_type, read_body
from medloom.serving.http.exchange import exchange
from medloom.serving.http.sagemaker import echoed, target_model
from medloom.serving.problems import Problem
from medloom.serving.service import Service, chosen_form

__all__ = ["routes"]


def routes(service: Service, limits: Limits) -> list[BaseRoute]:
    """Return the routes.

    ``GET /``, ``GET /ping``, ``GET /healthz``, ``GET /readyz``, ``POST /invocations``, and where there are several
    models ``POST /models/NAME/invocations``, which SageMaker calls ``/models/NAME/invoke``.
    """
    native = _Native(service, limits)
    return [
        Route("/", native.describe, methods=["GET"]),
        Route("/ping", native.ping, methods=["GET"]),
        Route("/healthz", native.alive, methods=["GET"]),
        Route("/readyz", native.ready, methods=["GET"]),
        Route("/invocations", native.invoke, methods=["POST"]),
        Route("/models/{model}/invocations", native.invoke, methods=["POST"]),
        Route("/models/{model}/invoke", native.invoke, methods=["POST"]),
    ]


class _Native:
    def __init__(self, service: Service, limits: Limits) -> None:
        self.service = service
        self.limits = limits

    async def ping(self, request: Request) -> Response:
        """Answer 200 while requests are taken, and say with which models."""
        del request
        models = [{"model": model.name, "phantom": model.manifest.phantom} for model in self.service.models.all()]
        said: dict[str, Any] = models[0] if len(models) == 1 else {"models": models}
        return self._state(ready=True, said=said)

    async def alive(self, request: Request) -> Response:
        """Answer 200 as long as there is a process that can."""
        del request
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Answer 200 while there is a model and requests are taken."""
        del request
        return self._state(ready=bool(self.service.models.names()), said={})

    async def describe(self, request: Request) -> Response:
        """Answer with what the model takes and gives; of several models, in a list."""
        del request
        most = self.limits.max_body_bytes
        found = [
            {
                **describe(model.predictor, model.manifest, most),
                "name": model.name,
                "drift": drift_of(self.service, model.name),
            }
            for model in self.service.models.all()
        ]
        return JSONResponse(found[0] if len(found) == 1 else {"models": found})

    async def invoke(self, request: Request) -> Response:
        """Answer one image with one prediction, or say why not."""
        return echoed(request, await exchange(request, self.service, self._answer, request.app.state.say))

    def _state(self, *, ready: bool, said: dict[str, Any]) -> Response:
        draining = self.service.gate.draining
        state = "going down" if draining else "ok" if ready else "no model is loaded"
        return JSONResponse({"status": state, **said}, status_code=200 if ready and not draining else 503)

    async def _answer(self, request: Request, admission: Admission) -> Response:
        model = self.service.models.get(request.path_params.get("model") or target_model(request)).name
        declared = declared_type(request)
        accept = _accept(request)
        chosen_form(accept, self.service.forms(model, asked_page(request) is not None))
        with admission.timed("read"):
            body = await read_body(request, self.limits, admission)
            asked = await ask(request, body, declared, admission)
        return await answer_all(self.service, asked, model=model, accept=accept, admission=admission)


def _accept(request: Request) -> str:
    """What the client wants to have: the forms that the query names, or the header.

    Raises:
        Problem: 406 if there is no such form.
    """
    named = [name for text in request.query_params.getlist("form") for name in text.lower().split(",")]
    if not named:
        return ", ".join(request.headers.getlist("accept"))
    try:
        return accept_for(list(dict.fromkeys(named)))
    except NotAcceptableError as error:
        raise Problem(406, "not_acceptable", str(error), close=True, accepted=error.forms) from error
