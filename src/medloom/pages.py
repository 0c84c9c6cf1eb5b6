"""What stands at the head of every page that Medloom writes: one style, and nothing loaded from elsewhere."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path

__all__ = ["head"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def head(title: str) -> str:
    """Return the head of a page, with the style of all of them inside.

    Args:
        title: As plain text; it is escaped.

    Example:
        >>> "<title>A &lt; B</title>" in head("A < B")
        True
    """
    return (
        '<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_style()}</style>\n</head>"
    )


@cache
def _style() -> str:
    return Path(__file__).with_name("pages.css").read_text("utf-8")
