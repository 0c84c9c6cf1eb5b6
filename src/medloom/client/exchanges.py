"""What a client and a server say to each other, for clients that wait and clients that are awaited."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack
from urllib.parse import quote

from medloom.client.answers import Received, accept_for, checked, received
from medloom.client.payload import Options, Sendable, request_for
from medloom.client.retries import Retries
from medloom.client.wire import NoAnswer, Request, Response, Steps
from medloom.errors import InputError, ServerError, UserError
from medloom.inference import Prediction, VolumeAnswer

__all__ = ["Exchanges"]

_READY = 200


@dataclass(frozen=True)
class Exchanges:
    """The exchanges with one server.

    Args:
        server: What a user calls it.
        model: Name of the model; None where there is only one.
        retries: How often a request is tried.
        by_path: Whether a model is named in the path, as Medloom's own servers have it.
    """

    server: str
    model: str | None
    retries: Retries
    by_path: bool

    def predicted(self, image: Sendable, **options: Unpack[Options]) -> Steps[Prediction | VolumeAnswer]:
        """Send an image and read the answer."""
        return (yield from self.received(image, accept_for(), **options)).prediction

    def received(self, image: Sendable, accept: str, **options: Unpack[Options]) -> Steps[Received]:
        """Send an image and read the answer with all forms that ``accept_for`` asks for."""
        return received((yield from self._invoked(image, accept, options)), self.server)

    def encoded(self, image: Sendable, accept: str, **options: Unpack[Options]) -> Steps[bytes]:
        """Send an image and return the answer as it comes."""
        return (yield from self._invoked(image, accept, options)).content

    def described(self) -> Steps[dict[str, Any]]:
        """Ask what the model takes and gives."""
        self._check_own("what it takes; see the bundle's bundle.json")
        request = Request("GET", "/", headers={"Accept": "application/json"})
        response = checked((yield from self.retries.sent(request)), self.server)
        try:
            found: dict[str, Any] = dict(json.loads(response.content))
        except (ValueError, TypeError) as error:
            what = f"{self.server} answered with {response.media_type[:60] or 'no media type'}"
            raise ServerError(f"{what} and not with what its model takes; is it a Medloom server?") from error
        if self.model is None:
            return found
        models = found.get("models", [found])
        return next((one for one in models if one.get("name") == self.model), found)

    def ready(self) -> Steps[bool]:
        """Ask once whether it is ready."""
        self._check_own("whether it is ready; see its status in AWS")
        answer = yield Request("GET", "/readyz")
        return isinstance(answer, Response) and answer.status == _READY

    def _check_own(self, what: str) -> None:
        if not self.by_path:
            raise UserError(f"{self.server} cannot be asked {what}")

    @staticmethod
    def rows(images: Sequence[Sendable], metadata: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Return the metadata of each image.

        Raises:
            InputError: If there are some, but not one row for each.
        """
        if metadata and len(metadata) != len(images):
            raise InputError(f"{len(metadata)} rows of metadata for {len(images)} images; expected one for each")
        return metadata or [{}] * len(images)

    def _invoked(self, image: Sendable, accept: str, options: Options) -> Steps[Response]:
        named = self.model is not None
        path = f"/models/{quote(self.model or '', safe='')}/invocations" if named and self.by_path else "/invocations"
        headers = {"X-Medloom-Model": self.model} if self.model is not None and not self.by_path else {}
        request = request_for(image, path=path, accept=accept, headers=headers, **options)
        answer: Response | NoAnswer = yield from self.retries.sent(request)
        return checked(answer, self.server)
