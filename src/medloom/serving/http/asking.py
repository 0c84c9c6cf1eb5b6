"""From the body of a request to its images, and from these to the answer: one, or a list of them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from medloom.serving.admission import Admission
from medloom.serving.bodies import Asked, only, read_json
from medloom.serving.fetching import Fetcher
from medloom.serving.http.exchange import answered
from medloom.serving.http.multipart import boundary_of, read_form
from medloom.serving.problems import JSON, MULTIPART, Problem
from medloom.serving.requests import ImageRequest
from medloom.serving.service import Answer, Service, chosen_form

__all__ = ["answer_all", "ask", "asked_page", "entry_of", "list_of"]


async def ask(request: Request, body: bytes, declared: str, admission: Admission) -> Asked:
    """Return what a request asks for; what its query says of the page and the series holds for every image.

    Args:
        request: Its headers, its query, and who fetches URLs are looked at.
        body: Its body.
        declared: Media type of the body; see ``declared_type``.
        admission: Of the request; what URLs lead to is counted as a part of its body.

    Raises:
        Problem: If the body or the query is not sound; what is wrong with one image of several stands in its place.
    """
    page, series = asked_page(request), request.query_params.get("series")
    asked = await _asked(request, body, declared)
    fetcher: Fetcher = request.app.state.fetcher
    whole = [_said(one, page, series) for one in asked.images]
    return replace(asked, images=tuple(await _fetched(whole, fetcher, admission)))


async def answer_all(service: Service, asked: Asked, *, model: str, accept: str, admission: Admission) -> Response:
    """Answer one image in the form that the client wants, or several in one JSON list, errors in their places.

    Args:
        service: What answers.
        asked: From ``ask``.
        model: Name of the model.
        accept: The ``Accept`` header.
        admission: Of the request.

    Raises:
        Problem: If the one image cannot be answered, or a list is not wanted.
    """
    if not asked.several:
        return answered(await service.answer(only(asked), model=model, accept=accept, admission=admission))
    chosen_form(accept, (JSON,))
    with service.gate.working(admission):
        found = await asyncio.gather(*(_answer(service, one, model, admission) for one in asked.images))
    entries = [one.content if isinstance(one, Answer) else entry_of(one) for one in found]
    headers = next((dict(one.headers) for one in found if isinstance(one, Answer)), {})
    headers.pop("Server-Timing", None)  # several are at work at the same time, and this is of the first alone
    return Response(list_of(entries), headers=headers, media_type=JSON)


def list_of(entries: Sequence[bytes]) -> bytes:
    """Return the answer to several images: one list in JSON.

    Args:
        entries: JSON for each image, in order.
    """
    return b'{"answers": [' + b", ".join(entries) + b"]}"


def entry_of(problem: Problem) -> bytes:
    """Return what stands in such a list in the place of an answer."""
    return bytes(problem.answer({"error": problem.plain()}).body)


async def _answer(service: Service, one: ImageRequest | Problem, model: str, admission: Admission) -> Answer | Problem:
    if isinstance(one, Problem):
        return one
    try:
        return await service.answer(one, model=model, accept=JSON, admission=admission)
    except Problem as problem:
        return problem


async def _asked(request: Request, body: bytes, declared: str) -> Asked:
    if declared == JSON:
        return await asyncio.to_thread(read_json, body)
    if declared == MULTIPART:
        return await asyncio.to_thread(read_form, body, boundary_of(request.headers["content-type"]))
    return Asked((ImageRequest(body, declared),))


async def _fetched(
    images: Sequence[ImageRequest | Problem], fetcher: Fetcher, admission: Admission
) -> list[ImageRequest | Problem]:
    """Put what URLs lead to in their place."""
    urls = [one.url for one in images if isinstance(one, ImageRequest) and one.url]
    if not urls:
        return list(images)
    fetched = await fetcher.fetch_all(urls)
    admission.hold(sum(len(one) for one in fetched if isinstance(one, bytes)))
    found = iter(fetched)
    return [_put(one, found) if isinstance(one, ImageRequest) and one.url else one for one in images]


def _put(one: ImageRequest, found: Iterator[bytes | Problem]) -> ImageRequest | Problem:
    image = next(found)
    return image if isinstance(image, Problem) else replace(one, image=image, url="")


def asked_page(request: Request) -> int | None:
    """Return the page that the query names.

    Raises:
        Problem: 400 if it is no whole number.
    """
    text = request.query_params.get("page")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise Problem(400, "bad_page", "page must be a whole number, counted from 0", close=True)
    return int(text)


def _said(one: ImageRequest | Problem, page: int | None, series: str | None) -> ImageRequest | Problem:
    """Take what the query says; a body that says something else is refused."""
    if isinstance(one, Problem):
        return one
    if page is not None and one.page not in (None, page):
        raise Problem(400, "bad_page", "the query and the body name different pages", "Name the page once.")
    if series is not None and one.series not in (None, series):
        raise Problem(400, "bad_page", "the query and the body name different series", "Name the series once.")
    return replace(one, page=one.page if page is None else page, series=one.series if series is None else series)
