"""Inference statistics as Triton's clients ask for them, made from what ``/metrics`` counts: of all processes together.

Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from medloom.serving.admission import Admission
from medloom.serving.http.exchange import exchange
from medloom.serving.http.inference_v2 import MODEL_VERSION, named, refusal
from medloom.serving.http.metrics import Metrics, ModelFigures
from medloom.serving.problems import Problem
from medloom.serving.service import Service

__all__ = ["Statistics"]

_NS, _MS = 1e9, 1e3
_STAGES = {
    "queue": ("queue",),
    "compute_input": ("decode", "prepare"),
    "compute_infer": ("predict",),
    "compute_output": ("encode",),
}
"""What Triton calls the stages of an image."""


class Statistics:
    """Answers ``GET /v2/models/stats``, and that of one model.

    Args:
        service: Whose models they are of.
        metrics: What counted.
    """

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service, self._metrics = service, metrics

    def routes(self) -> list[BaseRoute]:
        """Return the routes; they stand before those of a model, which might be called ``stats``."""
        model = "/v2/models/{model}"
        paths = ("/v2/models/stats", f"{model}/stats", f"{model}/versions/{{version}}/stats")
        return [Route(path, self._answer, methods=["GET"]) for path in paths]

    async def _answer(self, request: Request) -> Response:
        """Answer with the statistics of one model, or of all that are served."""
        return await exchange(request, self._service, self._made, refusal)

    async def _made(self, request: Request, admission: Admission) -> Response:
        del admission
        one = named(request, self._service).name if "model" in request.path_params else None
        names = self._service.models.names() if one is None else (one,)
        found = await asyncio.to_thread(self._metrics.of_models)
        if not self._metrics.counts(names):
            raise Problem(404, "not_counted", "so many models were asked that some are not counted by themselves")
        return JSONResponse({"model_stats": [_plain(name, found.get(name, ModelFigures())) for name in names]})


def _plain(name: str, figures: ModelFigures) -> dict[str, Any]:
    """One model's; of a batch of several images each has its share in ``execution_count``."""
    return {
        "name": name,
        "version": MODEL_VERSION,
        "last_inference": round(figures.last_s * _MS),
        "inference_count": figures.answered,
        "execution_count": round(figures.runs),
        "inference_stats": {
            "success": _duration(figures.answered, figures.seconds.get("ok", 0.0)),
            "fail": _duration(figures.failed, figures.seconds.get("failed", 0.0)),
            **{
                told: _duration(
                    max((figures.stages.get(stage, (0, 0.0))[0] for stage in stages), default=0),
                    sum(figures.stages.get(stage, (0, 0.0))[1] for stage in stages),
                )
                for told, stages in _STAGES.items()
            },
            "cache_hit": _duration(0, 0.0),
            "cache_miss": _duration(0, 0.0),
        },
        "batch_stats": [],
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * _NS)}
