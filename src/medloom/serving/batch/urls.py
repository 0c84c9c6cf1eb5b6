"""Images of a list that lie on the web: fetched as a server fetches what a request names, and from nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from medloom.errors import DataError
from medloom.serving.fetching import Fetcher
from medloom.serving.problems import Problem

__all__ = ["fetch_from"]

_SAID = {
    "url_not_allowed": "the URL is none of a host that --allow-url-host names; expected https://HOST/PATH",
    "not_fetched": "no image could be fetched from the URL",
}


def fetch_from(fetcher: Fetcher) -> Callable[[str], bytes]:
    """Return what fetches the image at a URL, to be asked by threads.

    Args:
        fetcher: Says from which hosts.
    """

    def fetch(url: str) -> bytes:
        try:
            return asyncio.run(fetcher.fetch(url))
        except Problem as problem:
            raise DataError(_SAID.get(problem.code, problem.message)) from problem

    return fetch
