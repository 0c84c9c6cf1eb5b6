"""A text of chapters as Markdown and as a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from medloom.pages import head

__all__ = ["Block", "Chapter", "Table", "as_html", "as_markdown"]

_CODE = re.compile(r"`([^`]*)`")


@dataclass(frozen=True)
class Table:
    """A table of texts; one without rows is not shown."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = str | list[str] | Table
"""A paragraph, a list or a table; what is in backticks is code."""


@dataclass(frozen=True)
class Chapter:
    """A title, empty for what stands first, and what is below it."""

    title: str
    blocks: Sequence[Block]


def as_markdown(title: str, chapters: Sequence[Chapter]) -> str:
    """Return the text as Markdown.

    Args:
        title: Of the whole.
        chapters: In their order.

    Example:
        >>> print(as_markdown("a", [Chapter("b", ["c", ["d"], Table(["e"], [["f|g"]])])]))
        # a
        <BLANKLINE>
        ## b
        <BLANKLINE>
        c
        <BLANKLINE>
        - d
        <BLANKLINE>
        | e |
        |---|
        | f\\|g |
        <BLANKLINE>
    """
    lines = [f"# {title}"]
    for chapter in chapters:
        lines += [f"## {chapter.title}"] if chapter.title else []
        lines += [_markdown(block) for block in chapter.blocks]
    return "\n\n".join(filter(None, lines)) + "\n"


def as_html(title: str, chapters: Sequence[Chapter]) -> str:
    """Return the text as a page that is complete in itself; every value is escaped.

    Args:
        title: Of the whole, as plain text.
        chapters: In their order.
    """
    parts = [f'<!doctype html>\n<html lang="en">\n{head(title)}\n<body>\n<main>\n<h1>{escape(title)}</h1>']
    for chapter in chapters:
        parts += [f"<h2>{escape(chapter.title)}</h2>"] if chapter.title else []
        parts += [_html(block) for block in chapter.blocks]
    parts.append(
        "<footer>This file is complete in itself and loads nothing from elsewhere. Not a medical device.</footer>"
    )
    return "\n".join(filter(None, parts)) + "\n</main>\n</body>\n</html>\n"


def _markdown(block: Block) -> str:
    if isinstance(block, str):
        return block
    if isinstance(block, list):
        return "\n".join(f"- {one}" for one in block)
    rows = [block.head, *block.rows]
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(block.head), *lines[1:]]) if block.rows else ""


def _html(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{_inline(block)}</p>"
    if isinstance(block, list):
        return "<ul>" + "".join(f"<li>{_inline(one)}</li>" for one in block) + "</ul>"
    if not block.rows:
        return ""
    top = "".join(f"<th>{_inline(cell)}</th>" for cell in block.head)
    rows = "".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>\n" for row in block.rows)
    return f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>'


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
