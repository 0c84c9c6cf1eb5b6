"""The try-it page, and what it asks for beside predictions.

``GET /`` shows it to browsers; who asks for JSON, or for nothing in particular, gets the description of the models.
Everything is in one file that ``page/build.mjs`` made; nothing is loaded from elsewhere, and the policy says so.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from html.parser import HTMLParser
from importlib.resources import files

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from medloom.errors import DecodeError, InputError
from medloom.serving.admission import Admission, Limits
from medloom.serving.bodies import only
from medloom.serving.http.asking import ask
from medloom.serving.http.body import declared_type, read_body
from medloom.serving.http.exchange import exchange
from medloom.serving.negotiation import HTML, prefers_page
from medloom.serving.preview import MOST_PIXELS, look
from medloom.serving.problems import Problem, of_decode_error, of_input_error
from medloom.serving.requests import page_of
from medloom.serving.service import Service

__all__ = ["OPEN", "routes"]

_DIGITS = 12

OPEN = ("/",)
"""Where the page is, which holds nothing of the models and asks for a token itself."""


@dataclass(frozen=True)
class _Built:
    """The page as it is sent."""

    content: bytes
    packed: bytes
    headers: Mapping[str, str]


def routes(service: Service, limits: Limits) -> list[BaseRoute]:
    """Return the routes: ``GET /`` for browsers, and ``POST /models/NAME/preview`` with an image's decoded pixels."""
    page = _Page(service, limits)
    return [
        _ForBrowsers("/", page.show, methods=["GET"]),
        Route("/models/{model}/preview", page.preview, methods=["POST"]),
    ]


class _ForBrowsers(Route):
    """Leaves requests that do not prefer HTML to the next route of the same path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if not prefers_page(", ".join(Headers(scope=scope).getlist("accept"))):
            return Match.NONE, {}
        return super().matches(scope)


class _Page:
    def __init__(self, service: Service, limits: Limits) -> None:
        self.service = service
        self.limits = limits
        self._threads = CapacityLimiter(limits.concurrency)

    async def show(self, request: Request) -> Response:
        """Answer with the page."""
        built = _built()
        if request.headers.get("if-none-match") == built.headers["ETag"]:
            return Response(status_code=304, headers=dict(built.headers))
        if re.search(r"\bgzip\b", request.headers.get("accept-encoding", "")):
            return Response(built.packed, headers={**built.headers, "Content-Encoding": "gzip"}, media_type=HTML)
        return Response(built.content, headers=dict(built.headers), media_type=HTML)

    async def preview(self, request: Request) -> Response:
        """Answer with the pixels that the model's decoder makes of an image."""
        return await exchange(request, self.service, self._preview)

    async def _preview(self, request: Request, admission: Admission) -> Response:
        model = self.service.models.get(request.path_params["model"])
        declared = declared_type(request)
        asked = only(await ask(request, await read_body(request, self.limits, admission), declared, admission))
        page = page_of(asked, model.manifest.input.page)
        work = partial(look, model.predictor, asked, page, _most_pixels(request))
        try:
            preview = await to_thread.run_sync(work, limiter=self._threads)
        except DecodeError as error:
            raise of_decode_error(error, asked.content_type) from error
        except InputError as error:
            raise of_input_error(error) from error
        content, media_type = await to_thread.run_sync(preview.encode, limiter=self._threads)
        return Response(content, headers={"Cache-Control": "no-store"}, media_type=media_type)


def _most_pixels(request: Request) -> int:
    """How many pixels the query says that a page draws; never more than every browser does.

    Raises:
        Problem: 400 if it is no whole number above 0.
    """
    text = request.query_params.get("most_pixels", str(MOST_PIXELS))
    if not (text.isascii() and text.isdigit() and 0 < len(text.lstrip("0")) <= _DIGITS):
        raise Problem(400, "bad_request", "most_pixels must be a whole number above 0", close=True)
    return min(int(text), MOST_PIXELS)


@cache
def _built() -> _Built:
    text = files("medloom.serving").joinpath("page/built.html").read_text("utf-8")
    content, inline = text.encode(), _Inline(text)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {inline.source('script')}",
            f"style-src {inline.source('style')}",
            "img-src data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
        "Vary": "Accept, Accept-Encoding",
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
    return _Built(content, gzip.compress(content, mtime=0), headers)


class _Inline(HTMLParser):
    """Collects what is inside the page's script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inside = {"script": "", "style": ""}
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in self.inside:
            self.inside[self.cdata_elem] += data

    def source(self, tag: str) -> str:
        """Return what lets the one element of this kind through the policy."""
        digest = hashlib.sha256(self.inside[tag].encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"
