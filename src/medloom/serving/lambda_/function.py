"""A function on Lambda: one model, asked by requests or told of objects in a bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self

from medloom.errors import UserError
from medloom.serving.lambda_.context import Context, left_s
from medloom.serving.lambda_.deliveries import Clock, answer_delivery
from medloom.serving.lambda_.events import read_delivery
from medloom.serving.lambda_.http_requests import Requests, is_request
from medloom.serving.lambda_.objects import Objects, new_client
from medloom.serving.lambda_.settings import OUTPUT, Settings
from medloom.serving.lambda_.storage import Storage
from medloom.serving.service import Service

__all__ = ["Function"]


class Function:
    """Answers the events of one function; close it, or use it in a ``with`` block.

    Args:
        service: What answers; its limits should be `LIMITS`, and its images decoded behind a fence.
        settings: What the environment says; by default nothing is written anywhere.
        objects: Reads and writes objects; S3's by default, with the credentials of the function.

    Raises:
        UserError: If the settings do not fit the model.
        MissingExtraError: If an output is named and boto3 is not installed.

    Example:
        >>> function = Function(Service.of(predictor, manifest, LIMITS))  # doctest: +SKIP
        >>> function.answer(event, context)["statusCode"]  # doctest: +SKIP
        200
    """

    def __init__(self, service: Service, settings: Settings | None = None, objects: Objects | None = None) -> None:
        settings = settings or Settings()
        self._storage: Storage | None = None
        self._runner = asyncio.Runner()
        self._requests = Requests(service, self._runner)
        if settings.output is not None:
            self._storage = Storage(service, settings, objects or Objects(new_client()), self._runner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its event loop."""
        self._runner.close()

    def answer(self, event: Mapping[str, Any], context: Context | None = None) -> dict[str, Any]:
        """Answer an event.

        Args:
            event: A request, as a function URL, an HTTP API (formats 2.0 and 1.0) or a REST API hands it over; or what
                S3 says of objects, itself or through EventBridge, SNS or SQS.
            context: Of the invocation; a client that does not say how long it waits waits as long as it has left.

        Returns:
            To a request ``statusCode``, ``headers``, ``body`` and ``isBase64Encoded``; to a queue
            ``batchItemFailures``; else how many objects came to which end.

        Raises:
            UserError: If the event is of no known kind, so that nobody takes it for done, or the function is set up so
                that it can do nothing.
            ServerError: If not all objects could be answered for now.
        """
        if is_request(event):
            return self._requests.answer(event, left_s(context))
        delivery = read_delivery(event)
        if delivery is None:
            raise UserError(
                "the event is no request of a function URL or of API Gateway, which has requestContext.http or "
                "httpMethod, and no notice of S3, by itself or through EventBridge, SNS or SQS; connect the function "
                "to one of these"
            )
        if self._storage is None:
            raise UserError(
                f"objects of a bucket came and {OUTPUT} is not set; set it to where answers shall be written, such as "
                "s3://BUCKET/PREFIX/"
            )
        return answer_delivery(delivery, self._storage.answer, Clock(lambda: left_s(context)))
