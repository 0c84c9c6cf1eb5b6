"""One self-contained HTML file: Jinja2 with autoescape, every image inside as a data URI."""

from __future__ import annotations

import base64
from functools import cache
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

from medloom import __version__
from medloom.evaluation.text import number
from medloom.extras import require
from medloom.files import write_text
from medloom.pages import head
from medloom.wording import counted

if TYPE_CHECKING:
    import jinja2

__all__ = ["data_uri", "megabytes", "percent", "render", "write_page"]

_TEMPLATES = Path(__file__).with_name("templates")
_MAGIC = {
    b"\x89PNG": "image/png",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
    b"\xff\xd8\xff": "image/jpeg",
    b"<svg": "image/svg+xml",
    b"<?xml": "image/svg+xml",
}


def render(template: str, **context: object) -> str:
    """Fill a template of ``reports/templates`` and return the HTML.

    Every value is escaped; a name that the template uses and ``context`` lacks is an error, never a blank.
    The filters ``number``, ``percent``, ``megabytes`` and ``counted`` are there, and ``version``, that of Medloom.

    Args:
        template: File name, such as ``data_report.html``.
        context: What the template shows.

    Returns:
        The whole page.
    """
    return _environment().get_template(template).render(**context)


def write_page(path: Path, template: str, **context: object) -> Path:
    """Fill a template, as ``render`` does, and write the page.

    Args:
        path: Where it goes.
        template: File name, such as ``data_report.html``.
        context: What the template shows.

    Returns:
        The path.
    """
    write_text(path, render(template, **context))
    return path


def data_uri(image: bytes | Path) -> str:
    """Return an image as a ``data:`` URI, so that the page needs no second file.

    Args:
        image: The bytes of a PNG (animated or not), GIF, WebP, JPEG or SVG, or the path of such a file.

    Returns:
        The URI.

    Raises:
        ValueError: If it is none of these.
    """
    data = image.read_bytes() if isinstance(image, Path) else image
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        raise ValueError("expected a PNG, GIF, WebP, JPEG or SVG image")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def percent(value: float | None) -> str:
    """Return a share from 0 to 1 as a percentage, ``–`` for None."""
    return "–" if value is None else f"{100 * value:.1f} %"


def megabytes(value: float | None) -> str:
    """Return bytes as megabytes (10^6), ``–`` for None."""
    return "–" if value is None else f"{value / 1e6:,.1f} MB"


@cache
def _environment() -> jinja2.Environment:
    jinja = require("jinja2", "train")
    environment: jinja2.Environment = jinja.Environment(
        loader=jinja.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent, megabytes=megabytes, counted=counted)
    environment.globals["version"] = __version__
    environment.globals["head"] = lambda title: require("markupsafe", "train").Markup(head(unescape(title)))
    return environment
