"""Servers of the same model that somebody would write in an afternoon: FastAPI, and LitServe with its batching.

    python benchmarks/serving_peers.py fastapi|litserve model.tar.gz PORT

Both decode, prepare and finish with the bundle's own predictor, so that only the serving differs.
"""

from __future__ import annotations

import sys
from typing import Any

import litserve
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

import medloom


def serve_fastapi(bundle: str, port: int) -> None:
    """A handler that predicts in FastAPI's thread pool, an image at a time."""
    predictor, app = medloom.load(bundle), FastAPI()

    def answer(body: bytes) -> bytes:
        return predictor.predict(body).encode()

    @app.get("/ping")
    def ping() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        return Response(await run_in_threadpool(answer, await request.body()), media_type="application/json")

    uvicorn.run(app, port=port, log_level="error")


class Api(litserve.LitAPI):  # type: ignore[misc] # LitServe has no types
    """The steps of LitServe; it takes images as files of a form.

    Args:
        bundle: What is served.
    """

    def __init__(self, bundle: str) -> None:
        super().__init__(max_batch_size=8, batch_timeout=0.005)
        self.bundle = bundle

    def setup(self, device: str) -> None:
        self.predictor = medloom.load(self.bundle)

    def decode_request(self, request):  # it looks for annotations that FastAPI understands
        return self.predictor.prepare(request["image"].file.read())

    def batch(self, inputs: Any) -> Any:
        return inputs

    def unbatch(self, output: Any) -> Any:
        return output

    def predict(self, batch: Any) -> Any:
        return self.predictor.answer(batch)

    def encode_response(self, output: Any) -> Any:
        return output.plain()


def serve_litserve(bundle: str, port: int) -> None:
    """LitServe with batches of eight that wait 5 ms."""
    server = litserve.LitServer(Api(bundle), accelerator="cpu", healthcheck_path="/ping")
    server.run(port=port, host="127.0.0.1", generate_client_file=False, log_level="error")


if __name__ == "__main__":
    {"fastapi": serve_fastapi, "litserve": serve_litserve}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
